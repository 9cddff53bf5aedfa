//! The bodies of items, to the byte, and what is refused.

use super::*;
use crate::{Action, Version, protocol::View};

fn item() -> Item {
    Item {
        item_number: 4,
        title: "A \"b\"".into(),
        topic: "x".into(),
        cost: 2,
        quantity: 10,
        version: Version { revision: 41, n: 3 },
    }
}

#[test]
fn an_item_and_a_page() {
    let expected = r#"{"item_number":4,"title":"A \"b\"","topic":"x","cost":2,"quantity":10,"revision":41}"#;
    assert_eq!(item_json(&item()), expected);
    assert_eq!(etag(&item()), "\"41.3\"");
    let page = format!(r#"{{"items":[{expected}],"next":"4","revision":44}}"#);
    assert_eq!(page_json(&[item()], true, 44), page);
    assert_eq!(page_json(&[], false, 44), r#"{"items":[],"next":null,"revision":44}"#);
}

#[test]
fn an_event() {
    let gone = Change::Withdrawn { item_number: 5, topic: "y".into(), version: Version { revision: 41, n: 4 } };
    let event = Event { revision: 41, changes: vec![Change::Put { item: item(), old_topic: None }, gone] };
    let expected = r#"{"revision":41,"changes":[{"type":"put","item_number":4,"title":"A \"b\"","topic":"x","cost":2,"quantity":10,"revision":41,"n":3},{"type":"withdrawn","item_number":5,"topic":"y","n":4}]}"#;
    assert_eq!(event_json(&event), expected);
}

#[test]
fn pages_are_asked_for_within_bounds() {
    let ask = |limit, after| parse_page(ItemPage { limit, after, ..ItemPage::default() });
    let view = |after, limit| View::Items { topic: None, words: None, after, limit: Some(limit) };
    assert_eq!(ask(None, None), Ok(view(None, 100)));
    assert_eq!(ask(Some("1000"), Some("7")), Ok(view(Some(7), 1000)));
    for (limit, after) in [("0", "1"), ("1001", "1"), ("+1", "1"), ("", "1"), ("1", ""), ("1", "x"), ("1", "-1")] {
        assert_eq!(ask(Some(limit), Some(after)).map_err(|p| p.status), Err(400), "{limit} {after}");
    }
}

#[test]
fn searches_are_asked_for_within_bounds() {
    let ask = |q: &str| parse_page(ItemPage { q: Some(q), ..ItemPage::default() }).map_err(|p| (p.status, p.detail));
    let view = |q: &str| View::Items { topic: None, words: Some(q.into()), after: None, limit: Some(DEFAULT_PAGE) };
    for good in
        ["", "  ", "a b", &"ä".repeat(MAX_QUERY / 2), &"a ".repeat(MAX_QUERY_WORDS), &"- ".repeat(MAX_QUERY / 2)]
    {
        assert_eq!(ask(good), Ok(view(good)), "{good}");
    }
    let (long, many) = ("a".repeat(MAX_QUERY + 1), "a,".repeat(MAX_QUERY_WORDS + 1));
    assert_eq!(ask(&long), Err((400, "q is longer than 256 bytes: search for fewer words".to_owned())));
    assert_eq!(ask(&many), Err((400, "q has more than 32 words: search for fewer".to_owned())));
}

/// What `frontend/page/catalogue.js` has to make of the same texts: `tests/page` tries some.
#[test]
fn words_are_runs_of_letters_and_digits_in_lower_case() {
    let all = |text| words(text).collect::<Vec<_>>();
    for (text, expected) in [
        ("", vec![]),
        (" -_!… ", vec![]),
        ("How to get 677 in 20", vec!["how", "to", "get", "677", "in", "20"]),
        ("Tünnes & SCHÄL's", vec!["tünnes", "schäl", "s"]),
        ("two\u{a0}words\ttwo", vec!["two", "words", "two"]),
        // The end of a word is no other letter than its middle, or ΟΔΟΣ would not begin ΟΔΟΣΉΜΑΝΣΗ.
        ("ΟΔΟΣ οδός", vec!["οδοσ", "οδόσ"]),
        // One letter that is two in lower case, the second of which alone would end a word.
        ("İstanbul", vec!["i\u{307}stanbul"]),
        ("x\u{307}y", vec!["x", "y"]),
        ("Straße STRASSE", vec!["straße", "strasse"]),
        ("ⅣⒶ½٣", vec!["ⅳⓐ½٣"]),
        ("日本語の本", vec!["日本語の本"]),
        ("हिन्दी", vec!["हिन", "दी"]),
    ] {
        assert_eq!(all(text), expected, "{text}");
    }
}

#[test]
fn bodies_of_new_items() {
    let status = |body: &str| parse_new_item(body.as_bytes()).map(|_| 0).map_err(|p| p.status);
    let good = r#"{"title": "t", "topic": "x", "cost": 0, "quantity": 9007199254740992}"#;
    let expected =
        Action::AddItem { item_number: None, title: "t".into(), topic: "x".into(), cost: 0, quantity: MAX_NUMBER };
    assert_eq!(parse_new_item(good.as_bytes()), Ok(expected));
    for (body, expected) in [
        ("", 400),
        ("[]", 400),
        (r#"["t", "x", 1, 1]"#, 400),
        ("{}", 400),
        (r#"{"title": 1, "topic": "x", "cost": 1, "quantity": 1}"#, 400),
        (r#"{"title": "t", "topic": "x", "cost": "1", "quantity": 1}"#, 400),
        (r#"{"title": "t", "topic": "x", "cost": 1, "quantity": 1, "more": 1}"#, 400),
        (r#"{"title": "t", "topic": "x", "cost": 1, "quantity": 1} x"#, 400),
        (r#"{"title": "", "topic": "x", "cost": 1, "quantity": 1}"#, 422),
        (r#"{"title": "t", "topic": "", "cost": 1, "quantity": 1}"#, 422),
        (r#"{"title": "t", "topic": "x", "cost": -1, "quantity": 1}"#, 422),
        (r#"{"title": "t", "topic": "x", "cost": 1, "quantity": 1.5}"#, 422),
        (r#"{"title": "t", "topic": "x", "cost": 1, "quantity": 9007199254740993}"#, 422),
        (r#"{"title": "t", "topic": "x", "cost": 1, "quantity": 99999999999999999999999}"#, 422),
        (r#"{"item_number": 0, "title": "t", "topic": "x", "cost": 1, "quantity": 1}"#, 422),
    ] {
        assert_eq!(status(body), Err(expected), "{body}");
    }
    let long = format!(r#"{{"title": "{}", "topic": "x", "cost": 1, "quantity": 1}}"#, "t".repeat(1025));
    assert_eq!(status(&long), Err(422));
    assert_eq!(status(&" ".repeat(65_537)), Err(413));
}

#[test]
fn bodies_of_changes() {
    let parse = |body: &str| parse_change(4, None, body.as_bytes()).map_err(|p| p.status);
    let expected = Action::ChangeItem {
        item_number: 4,
        title: None,
        topic: None,
        cost: Some(1),
        add_quantity: Some(-3),
        if_match: None,
    };
    assert_eq!(parse(r#"{"cost": 1, "add_quantity": -3}"#), Ok(expected));
    assert_eq!(parse("{}"), Err(400));
    assert_eq!(parse(r#"{"quantity": 1}"#), Err(400));
    assert_eq!(parse(r#"{"cost": -1}"#), Err(422));
    assert_eq!(parse(r#"{"title": ""}"#), Err(422));
    assert_eq!(parse(r#"{"add_quantity": 9007199254740993}"#), Err(422));
}

#[test]
fn conditions() {
    let version = |revision, n| Some(Version { revision, n });
    let parse = |text| parse_if_match(Some(text)).map_err(|p| p.status);
    assert_eq!(parse_if_match(None), Ok(None));
    assert_eq!(parse("*"), Ok(None));
    assert_eq!(parse("\"12.3\""), Ok(version(12, 3)));
    for never in ["W/\"12.3\"", "\"\"", "\"abc\"", "\"12\""] {
        assert_eq!(parse(never), Ok(version(0, 0)), "{never}");
    }
    for wrong in ["", "12.3", "\"", "\"12.3", "\"1.0\", \"2.0\""] {
        assert_eq!(parse(wrong), Err(400), "{wrong}");
    }
    assert!(tags_match("\"1.0\", W/\"41.3\"", &etag(&item())) && tags_match("*", "\"1.0\""));
    assert!(!tags_match("\"1.0\"", &etag(&item())));
}

#[test]
fn refusals_have_their_status() {
    let status = |outcome: Outcome| refusal_of(&outcome).map(|problem| problem.status);
    assert_eq!(status(Outcome::Withdrawn), None);
    assert_eq!(status(Outcome::NoSuchItem { item_number: 1 }), Some(404));
    assert_eq!(status(Outcome::NumberTaken { item_number: 1 }), Some(409));
    assert_eq!(status(Outcome::BelowZero { item_number: 1, left: 0 }), Some(409));
    assert_eq!(status(Outcome::ChangedSince { version: Version { revision: 1, n: 0 } }), Some(412));
    assert_eq!(status(Outcome::TooLarge), Some(422));
}
