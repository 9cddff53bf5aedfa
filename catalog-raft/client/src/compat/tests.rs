//! The bytes of every operation, and what is refused.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{MAX_NUMBER, Order, Version};

fn item(item_number: u64, title: &str, topic: &str, cost: u64, quantity: u64) -> Item {
    Item {
        item_number,
        title: title.into(),
        topic: topic.into(),
        cost,
        quantity,
        version: Version { revision: 1, n: 0 },
    }
}

fn first_four() -> [Item; 4] {
    [
        item(1, "How to get a good grade in 677 in 20 minutes a day", "Distributed_systems", 50, 100),
        item(2, "RPCs for Dummies", "Distributed_systems", 51, 101),
        item(3, "Xen and the Art of Surviving Graduate School", "Graduate_School", 12, 100),
        item(4, "Cooking for the Impatient Graduate Student", "Graduate_School", 2, 10),
    ]
}

fn changed() -> Outcome {
    Outcome::Changed(item(1, "t", "t", 10, 99))
}

fn placed() -> Outcome {
    let id = crate::CommandId(1);
    Outcome::Placed(Arc::new(Order { id, version: Version { revision: 1, n: 0 }, time_ms: 0, lines: vec![] }))
}

#[track_caller]
fn golden(body: &[u8], length: usize, text: &str) {
    assert_eq!(std::str::from_utf8(body).unwrap(), text);
    assert_eq!(body.len(), length);
}

#[test]
fn bodies_of_reads_are_equal_to_the_byte() {
    let [one, two, _, four] = first_four();
    golden(&quantity_body(Some(&one)), 17, r#"{"quantity": 100}"#);
    let sold = Item { cost: 10, quantity: 99, ..one.clone() };
    golden(&quantity_body(Some(&sold)), 16, r#"{"quantity": 99}"#);
    golden(&name_body(Some(&one)), 63, r#"{"title": "How to get a good grade in 677 in 20 minutes a day"}"#);
    golden(&name_body(Some(&four)), 55, r#"{"title": "Cooking for the Impatient Graduate Student"}"#);
    golden(
        &lookup_body(Some(&sold)),
        91,
        r#"{"title": "How to get a good grade in 677 in 20 minutes a day", "cost": 10, "quantity": 99}"#,
    );
    assert_eq!(lookup_body(Some(&one)).len(), 92);
    golden(
        &search_body([&one, &two]),
        132,
        r#"[{"item_number": 1, "title": "How to get a good grade in 677 in 20 minutes a day"}, {"item_number": 2, "title": "RPCs for Dummies"}]"#,
    );
    assert_eq!(list_body(&first_four()).len(), 518);
    assert!(list_body(&first_four()).starts_with(
        br#"[{"item_number": 1, "title": "How to get a good grade in 677 in 20 minutes a day", "topic": "Distributed_systems", "cost": 50, "quantity": 100}, {"item_number": 2, "#
    ));
    golden(&lookup_body(None), 4, "null");
    golden(&quantity_body(None), 4, "null");
    golden(&name_body(None), 4, "null");
    golden(&search_body([]), 2, "[]");
}

#[test]
fn bodies_of_writes_are_equal_to_the_byte() {
    let body = |operation: Operation, outcome: Outcome| {
        let (status, body) = write_body(&operation, &outcome);
        assert_eq!(status, 200);
        body
    };
    golden(&body(Operation::SetCost(1, 10), changed()), 44, r#""Cost of item :1 successfully updated to:10""#);
    golden(&body(Operation::ChangeStock(1, -1), changed()), 49, r#""Quantity of record 1 successfully changed by -1""#);
    golden(&body(Operation::Buy(1), placed()), 28, r#""Record successfully bought""#);
    let gone = Outcome::OutOfStock { item_number: 1, wanted: 1, left: 0 };
    golden(&body(Operation::Buy(1), gone), 22, r#""Item is unavailable.""#);
    golden(&body(Operation::Buy(9), Outcome::NoSuchItem { item_number: 9 }), 22, r#""Item is unavailable.""#);
    let error = r#""error in update operation""#;
    golden(&body(Operation::SetCost(9, 1), Outcome::NoSuchItem { item_number: 9 }), 27, error);
    golden(&body(Operation::ChangeStock(1, -9), Outcome::BelowZero { item_number: 1, left: 2 }), 27, error);
    golden(&body(Operation::ChangeStock(1, 9), Outcome::TooLarge), 27, error);
}

#[test]
fn a_key_that_cannot_be_used_is_refused_in_words() {
    for outcome in [Outcome::KeyReused, Outcome::Expired] {
        let (status, body) = write_body(&Operation::Buy(1), &outcome);
        assert_eq!(status, 422);
        assert!(body.starts_with(b"{\"error\": \""), "{body:?}");
    }
    golden(&error_body("a \"b\""), 20, r#"{"error": "a \"b\""}"#);
}

#[test]
fn a_list_in_parts_is_the_list() {
    let items = first_four();
    let whole = list_body(&items);
    for cut in 0..=items.len() {
        let mut writer = ListWriter::list();
        let mut parts = [writer.part(&items[..cut]), writer.part(&items[cut..])].concat();
        parts.extend_from_slice(&writer.end());
        assert_eq!(parts, whole);
    }
    assert_eq!(&ListWriter::search().end()[..], b"[]");
}

#[test]
fn strings_are_escaped_as_python_does() {
    let mut out = Writer::default();
    out.string("\u{0}\u{8}\t\n\u{b}\u{c}\r\u{1f} \"\\/\u{7f}\u{80}é€\u{ffff}😀");
    assert_eq!(
        out.finish(),
        "\"\\u0000\\b\\t\\n\\u000b\\f\\r\\u001f \\\"\\\\/\\u007f\\u0080\\u00e9\\u20ac\\uffff\\ud83d\\ude00\""
    );
}

#[test]
fn paths_of_gets() {
    let ok = |path: &str| parse_get(path).unwrap().unwrap();
    assert_eq!(ok("/list"), Operation::List);
    assert_eq!(ok("/search/Distributed_systems"), Operation::Search("Distributed_systems".into()));
    assert_eq!(ok("/search/b%C3%BCcher%2f%20+"), Operation::Search("bücher/ +".into()));
    assert_eq!(ok("/lookup/1"), Operation::Lookup(1));
    assert_eq!(ok("/lookup/%31"), Operation::Lookup(1));
    assert_eq!(ok("/lookup/9007199254740992"), Operation::Lookup(MAX_NUMBER));
    assert_eq!(ok("/get_quantity/2"), Operation::Quantity(2));
    assert_eq!(ok("/get_name/3"), Operation::Name(3));
    assert_eq!(ok("/update_c/1/10"), Operation::SetCost(1, 10));
    assert_eq!(ok("/update_c/1/0"), Operation::SetCost(1, 0));
    assert_eq!(ok("/update_q/1/-1"), Operation::ChangeStock(1, -1));
    assert_eq!(ok("/update_q/1/-9007199254740992"), Operation::ChangeStock(1, -(1 << 53)));
    assert_eq!(ok("/buy/7"), Operation::Buy(7));
    assert_eq!(ok("/invalidate/7"), Operation::Invalidate(7));
    for path in ["", "/", "list", "/lists", "/LIST", "//lookup/1", "/v1/items", "/%6cist"] {
        assert_eq!(parse_get(path), None, "{path}");
    }
}

#[test]
fn paths_that_are_wrong_in_form() {
    let long = format!("/search/{}", "x".repeat(257));
    let deep = format!("/lookup{}", "/1".repeat(10_000));
    for path in [
        "/list/",
        "/list/1",
        "/search",
        "/search/",
        "/search/a/b",
        "/search/%",
        "/search/%f",
        "/search/%fg",
        "/search/%ff",
        "/search/%+1",
        "/lookup",
        "/lookup/",
        "/lookup/abc",
        "/lookup/0",
        "/lookup/-1",
        "/lookup/+1",
        "/lookup/1.0",
        "/lookup/1e3",
        "/lookup/ 1",
        "/lookup/%201",
        "/lookup/1/",
        "/lookup/9007199254740993",
        "/lookup/99999999999999999999999999",
        "/lookup/١",
        "/lookup/1%00",
        "/buy/1/2",
        "/update_c/1",
        "/update_c/1/",
        "/update_c/1/-1",
        "/update_c/0/1",
        "/update_c/1/9007199254740993",
        "/update_q/1/-",
        "/update_q/1/--1",
        "/update_q/1/+1",
        "/update_q/1/9007199254740993",
        "/update_q/1/-9223372036854775808",
        &long,
        &deep,
    ] {
        let error = parse_get(path).unwrap().unwrap_err();
        assert_eq!(error.status, 400, "{path}");
        assert!(error.message.len() < 200);
    }
}

#[test]
fn bodies_of_posts() {
    let ok = |path: &str, body: &str| parse_post(path, Some("application/json"), body.as_bytes()).unwrap().unwrap();
    assert_eq!(ok("/search/", r#"{"topic": "Graduate_School"}"#), Operation::Search("Graduate_School".into()));
    assert_eq!(ok("/lookup/", r#"{"item_number": 1}"#), Operation::Lookup(1));
    assert_eq!(ok("/lookup", " {\"item_number\":\"1\"}\n"), Operation::Lookup(1));
    assert_eq!(ok("/get_quantity/", r#"{"item_number": 1}"#), Operation::Quantity(1));
    assert_eq!(ok("/update_c/", r#"{"item_number": 1, "cost": "10"}"#), Operation::SetCost(1, 10));
    assert_eq!(ok("/update_q/", r#"{"quantity": -1, "item_number": 1}"#), Operation::ChangeStock(1, -1));
    assert_eq!(ok("/update_q/", r#"{"quantity": "-1", "item_number": "1"}"#), Operation::ChangeStock(1, -1));
    assert_eq!(ok("/buy/", r#"{"item_number": 1}"#), Operation::Buy(1));
    for path in ["/list", "/list/", "/get_name/", "/invalidate/", "/lookup/1", "/buy/1", "/", "/nothing/"] {
        assert_eq!(parse_post(path, Some("application/json"), b"{}"), None, "{path}");
    }
}

#[test]
fn posts_that_are_wrong_in_form() {
    let status = |content_type, body: &[u8]| parse_post("/buy/", content_type, body).unwrap().map_err(|e| e.status);
    let good = br#"{"item_number": 1}"#;
    for content_type in ["application/json", "Application/JSON; charset=utf-8", " application/json ;x=y"] {
        assert_eq!(status(Some(content_type), good), Ok(Operation::Buy(1)));
    }
    for content_type in
        [None, Some(""), Some("text/json"), Some("application/jsonl"), Some("text/plain; application/json")]
    {
        assert_eq!(status(content_type, good), Err(415));
    }
    assert_eq!(status(Some("application/json"), &[b' '; MAX_BODY + 1]), Err(413));
    for body in [
        "",
        " ",
        "null",
        "1",
        "[1]",
        "\"x\"",
        "{",
        "{}",
        r#"{"item_number": 1"#,
        r#"{"item_number": 1} x"#,
        r#"{"item_number": null}"#,
        r#"{"item_number": true}"#,
        r#"{"item_number": 1.0}"#,
        r#"{"item_number": 1e0}"#,
        r#"{"item_number": [1]}"#,
        r#"{"item_number": {"a": 1}}"#,
        r#"{"item_number": 0}"#,
        r#"{"item_number": -1}"#,
        r#"{"item_number": "x"}"#,
        r#"{"item_number": "+1"}"#,
        r#"{"item_number": ""}"#,
        r#"{"item_number": " 1"}"#,
        r#"{"item_number": 9007199254740993}"#,
        r#"{"item_number": 18446744073709551616}"#,
        r#"{"item_number": 1, "x": 1}"#,
        r#"{"item_number": 1, "item_number": 2}"#,
        r#"{"Item_number": 1}"#,
        r#"{item_number: 1}"#,
        "{\"item_number\": 1, \"\u{1}\": 1}",
    ] {
        assert_eq!(status(Some("application/json"), body.as_bytes()), Err(400), "{body}");
    }
    assert_eq!(status(Some("application/json"), b"{\"item_number\": \"\xff\"}"), Err(400));
    let huge = format!("{{\"{}\": 1}}", "x".repeat(60_000));
    let error = parse_post("/buy/", Some("application/json"), huge.as_bytes()).unwrap().unwrap_err();
    assert_eq!((error.status, error.message.len() <= 1200), (400, true));
}

#[test]
fn methods_tell_405_from_404() {
    assert_eq!(methods_of("/list"), Some(&["GET", "HEAD"][..]));
    assert_eq!(methods_of("/lookup/1"), Some(&["GET", "HEAD"][..]));
    assert_eq!(methods_of("/lookup/"), Some(&["GET", "HEAD", "POST"][..]));
    assert_eq!(methods_of("/buy/1"), Some(&["GET"][..]));
    assert_eq!(methods_of("/buy"), Some(&["GET", "POST"][..]));
    assert_eq!(methods_of("/get_name/1"), Some(&["GET", "HEAD"][..]));
    assert_eq!(methods_of("/v1/items"), None);
}

#[test]
fn writes_become_actions() {
    let buy = Action::PlaceOrder { lines: vec![Line { item_number: 3, quantity: 1 }] };
    assert_eq!(command_action(&Operation::Buy(3)), Some(buy));
    assert_eq!(command_action(&Operation::Lookup(3)), None);
    let Some(Action::ChangeItem { cost, add_quantity, .. }) = command_action(&Operation::SetCost(3, 9)) else {
        panic!("set cost changes an item");
    };
    assert_eq!((cost, add_quantity), (Some(9), None));
    let Some(Action::ChangeItem { cost, add_quantity, .. }) = command_action(&Operation::ChangeStock(3, -9)) else {
        panic!("a change of stock changes an item");
    };
    assert_eq!((cost, add_quantity), (None, Some(-9)));
}

/// What Python writes for one UTF-16 unit.
fn model(text: &str) -> String {
    let escape = |unit: u16| match unit {
        0x22 => "\\\"".to_owned(),
        0x5c => "\\\\".to_owned(),
        0x0a => "\\n".to_owned(),
        0x0d => "\\r".to_owned(),
        0x09 => "\\t".to_owned(),
        0x0c => "\\f".to_owned(),
        0x08 => "\\b".to_owned(),
        0x20..=0x7e => char::from(unit as u8).to_string(),
        _ => format!("\\u{unit:04x}"),
    };
    format!("\"{}\"", text.encode_utf16().map(escape).collect::<String>())
}

proptest! {
    #[test]
    fn a_string_is_as_the_model_writes_it_and_reads_back(text in any::<String>()) {
        let mut out = Writer::default();
        out.string(&text);
        let json = out.finish();
        prop_assert_eq!(std::str::from_utf8(&json).unwrap(), model(&text));
        prop_assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), text);
    }

    #[test]
    fn a_list_reads_back(rows in prop::collection::vec((1..=MAX_NUMBER, any::<String>(), any::<String>(), any::<u64>(), any::<u64>()), 0..9)) {
        let items: Vec<Item> = rows.iter().map(|(n, title, topic, cost, quantity)| item(*n, title, topic, *cost, *quantity)).collect();
        let read: Vec<serde_json::Value> = serde_json::from_slice(&list_body(&items)).unwrap();
        prop_assert_eq!(read.len(), items.len());
        for (row, item) in read.iter().zip(&items) {
            let expected = serde_json::json!({
                "item_number": item.item_number, "title": &*item.title, "topic": &*item.topic, "cost": item.cost,
                "quantity": item.quantity,
            });
            prop_assert_eq!(row, &expected);
        }
    }

    #[test]
    fn no_path_or_body_panics(path in any::<String>(), word in "/(list|search|lookup|update_c|update_q|buy)(/[0-9%a-f/-]{0,30})?", body in prop::collection::vec(any::<u8>(), 0..200)) {
        for path in [path, word] {
            let _ = (parse_get(&path), methods_of(&path), parse_post(&path, Some("application/json"), &body));
        }
    }
}
