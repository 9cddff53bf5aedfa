//! The body of many orders, to the byte, and what is refused of it.

use std::sync::Arc;

use catalog_client::{Answer, CommandId, KeyOrigin, Order, OrderLine, Outcome, Version};
use serde_json::{Value, json};

use super::*;

fn parse(body: &str) -> Result<Vec<(Key, Vec<Line>)>, Problem> {
    parse_orders(Some("application/json"), body.as_bytes())
}

#[test]
fn each_order_has_its_lines_and_its_key() {
    let line = |item_number, quantity| Line { item_number, quantity };
    let orders = parse(
        r#"{"orders": [{"lines": [{"item_number": 1, "quantity": 2}], "idempotency_key": "a-1"},
                       {"lines": [{"item_number": 4, "quantity": 1}, {"item_number": 5, "quantity": 1}]}]}"#,
    )
    .unwrap();
    assert_eq!(
        (orders[0].0.text.as_str(), orders[0].0.origin, &orders[0].1),
        ("a-1", KeyOrigin::Client, &vec![line(1, 2)])
    );
    assert_eq!((orders[1].0.origin, &orders[1].1), (KeyOrigin::Made, &vec![line(4, 1), line(5, 1)]));
    let many = |n: usize| {
        format!("{{\"orders\": [{}]}}", vec![r#"{"lines": [{"item_number": 1, "quantity": 1}]}"#; n].join(","))
    };
    let ids: std::collections::BTreeSet<_> = parse(&many(MAX_ORDERS)).unwrap().iter().map(|(key, _)| key.id).collect();
    assert_eq!(ids.len(), MAX_ORDERS);
    assert_eq!(parse(&many(MAX_ORDERS + 1)).unwrap_err().status, 422);
}

#[test]
fn what_is_wrong_is_refused_for_all_and_named_by_its_place() {
    let good = r#"{"lines": [{"item_number": 1, "quantity": 1}]}"#;
    for (order, status) in [
        ("7", 400),
        ("[]", 400),
        ("{}", 400),
        (r#"{"lines": [{"item_number": 1, "quantity": 1}], "x": 1}"#, 400),
        (r#"{"lines": [{"item_number": 1, "quantity": 1}], "idempotency_key": "a b"}"#, 400),
        (r#"{"lines": [{"item_number": 1, "quantity": 1}], "idempotency_key": ""}"#, 400),
        (r#"{"lines": []}"#, 422),
        (r#"{"lines": [{"item_number": 1, "quantity": 0}]}"#, 422),
    ] {
        let problem = parse(&format!("{{\"orders\": [{good}, {order}]}}")).unwrap_err();
        assert_eq!(problem.status, status, "{order}");
        assert!(status == 400 && problem.members.is_empty() || problem.members["order"] == 1, "{problem:?}");
    }
    assert_eq!(parse(r#"{"orders": []}"#).unwrap_err().status, 422);
    assert_eq!(parse(r#"[{"lines": []}]"#).unwrap_err().status, 400);
    let status = |content_type, body: &[u8]| parse_orders(content_type, body).unwrap_err().status;
    assert_eq!(status(None, b"{}"), 415);
    assert_eq!(status(Some("application/json"), &vec![b' '; MAX_ORDERS_BODY + 1]), 413);
}

#[test]
fn the_answer_says_of_each_what_became_of_it() {
    let version = Version { revision: 41, n: 3 };
    let placed = |outcome| Ok(Placed { leader: 1, answer: Answer { version, outcome } });
    let title: Arc<str> = "A".into();
    let order = Order {
        id: CommandId(7),
        version,
        time_ms: 0,
        lines: vec![OrderLine { item_number: 1, title, quantity: 2, unit_cost: 5 }],
    };
    let key = |text: &str| Key::of_header(Some(text.as_bytes())).unwrap();
    let orders = [
        (key("a"), placed(Outcome::Placed(Arc::new(order)))),
        (key("b"), placed(Outcome::NoSuchItem { item_number: 9 })),
        (key("c"), Err(NotPlaced::Unknown)),
    ];
    let body: Value = serde_json::from_slice(&batch_json(&orders)).unwrap();
    let expected = json!({"revision": 41, "orders": [
        {"status": 201, "idempotency_key": "a", "order": {
            "id": "00000000-0000-0000-0000-000000000007", "total": 10, "revision": 41, "time": "1970-01-01T00:00:00.000Z",
            "lines": [{"item_number": 1, "title": "A", "quantity": 2, "unit_cost": 5}]}},
        {"status": 404, "idempotency_key": "b", "problem": {
            "type": "/problems/no-such-item", "title": "No such item", "status": 404, "detail": "there is no item 9",
            "item_number": 9}},
        {"status": 503, "idempotency_key": "c", "problem": {
            "type": "/problems/outcome-unknown", "title": "Outcome unknown", "status": 503,
            "detail": "no answer came in time; ask again with Idempotency-Key c", "idempotency_key": "c"}},
    ]});
    assert_eq!(body, expected);
    assert_eq!((newest(&orders), newest(&orders[2..])), (41, 0));
}
