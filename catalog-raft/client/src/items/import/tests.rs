//! The body of an import, to the byte, and how what is wrong is named.

use super::*;
use crate::{MAX_NUMBER, MAX_TITLE, items::refusal_of};

fn row(item_number: u64) -> Value {
    json!({"item_number": item_number, "title": "T", "topic": "t", "cost": 5, "quantity": 10})
}

fn body(items: &[Value]) -> Vec<u8> {
    json!({ "items": items }).to_string().into_bytes()
}

#[test]
fn a_body_is_an_action() {
    let new = |item_number| NewItem { item_number, title: "T".into(), topic: "t".into(), cost: 5, quantity: 10 };
    let items = vec![new(8), new(MAX_NUMBER)];
    let rows = [row(8), row(MAX_NUMBER)];
    for (said, existing) in [
        (None, Existing::Refuse),
        (Some("refuse"), Existing::Refuse),
        (Some("keep"), Existing::Keep),
        (Some("update"), Existing::Update),
    ] {
        let mut body = json!({ "items": rows });
        if let Some(said) = said {
            body["existing"] = said.into();
        }
        let expected = Action::ImportItems { items: items.clone(), existing };
        assert_eq!(parse_import(body.to_string().as_bytes()), Ok(expected));
    }
}

#[test]
fn another_shape_is_refused() {
    let with = |member: &str, value: Value| {
        let mut row = row(8);
        row[member] = value;
        json!({ "items": [row] })
    };
    for bad in [
        json!([row(8)]),
        json!({}),
        json!({"items": row(8)}),
        json!({"items": [[8, "T", "t", 5, 10]]}),
        json!({"items": [{"item_number": 8}]}),
        json!({"items": [row(8)], "existing": "replace"}),
        json!({"items": [row(8)], "existing": null}),
        json!({"items": [row(8)], "more": 1}),
        with("more", json!(1)),
        with("title", json!(5)),
        with("item_number", json!("8")),
        with("item_number", json!(null)),
    ] {
        let problem = parse_import(bad.to_string().as_bytes()).unwrap_err();
        assert_eq!((problem.status, problem.code), (400, "bad-request"), "{bad}");
    }
    assert_eq!(parse_import(b"not JSON").unwrap_err().status, 400);
    assert_eq!(parse_import(&vec![b' '; MAX_IMPORT_BODY + 1]).unwrap_err().status, 413);
}

#[test]
fn rows_that_are_wrong_are_named_by_their_place() {
    let with = |item_number: u64, member: &str, value: Value| {
        let mut row = row(item_number);
        row[member] = value;
        row
    };
    let rows = [
        row(8),
        with(9, "title", json!("")),
        with(10, "title", json!("x".repeat(MAX_TITLE + 1))),
        with(11, "topic", json!("")),
        with(12, "cost", json!(-1)),
        with(13, "quantity", json!(1.5)),
        row(0),
        row(MAX_NUMBER + 1),
        row(8),
        row(14),
    ];
    let problem = parse_import(&body(&rows)).unwrap_err();
    assert_eq!((problem.status, problem.code, &problem.members["count"]), (422, "invalid", &json!(8)));
    let named = problem.members["items"].as_array().unwrap();
    let indexes: Vec<_> = named.iter().map(|row| row["index"].as_u64().unwrap()).collect();
    assert_eq!(indexes, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(named[7], json!({"index": 8, "item_number": 8, "why": "row 0 has this number too"}));
    assert_eq!(named[6]["item_number"], json!(MAX_NUMBER + 1), "as it was sent");
    for (place, word) in ["title", "title", "topic", "cost", "quantity", "item_number"].iter().enumerate() {
        assert!(named[place]["why"].as_str().unwrap().starts_with(word), "{}", named[place]);
    }
    let many = parse_import(&body(&vec![row(0); 150])).unwrap_err();
    assert_eq!((many.members["items"].as_array().unwrap().len(), &many.members["count"]), (100, &json!(150)));
    for count in [0, MAX_IMPORT + 1] {
        let rows: Vec<_> = (1..).take(count).map(row).collect();
        assert_eq!(parse_import(&body(&rows)).unwrap_err().code, "invalid");
    }
}

#[test]
fn an_outcome_is_told() {
    let done = import_json(&Outcome::Imported { added: 3, updated: 2, kept: 1 }, 41).unwrap();
    assert_eq!(done, r#"{"added":3,"updated":2,"kept":1,"revision":41}"#);
    assert_eq!(import_json(&Outcome::Withdrawn, 41), None);
    let rows = vec![
        TakenRow { index: 3, withdrawn: false, item_number: 8 },
        TakenRow { index: 4, withdrawn: true, item_number: 9 },
    ];
    let problem = refusal_of(&Outcome::RowsTaken { count: 2, rows }).unwrap();
    assert_eq!((problem.status, problem.code, &problem.members["count"]), (409, "number-taken", &json!(2)));
    let expected = json!([
        {"index": 3, "item_number": 8, "why": "taken"},
        {"index": 4, "item_number": 9, "why": "withdrawn"},
    ]);
    assert_eq!(problem.members["items"], expected);
}
