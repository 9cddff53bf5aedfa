//! The bodies of orders, to the byte, and what is refused.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn order() -> Order {
    let line =
        |item_number, quantity, unit_cost| OrderLine { item_number, title: "A \"b\"".into(), quantity, unit_cost };
    Order {
        id: CommandId(0x0123_4567_89ab_7def_8123_4567_89ab_cdef),
        version: Version { revision: 41, n: 3 },
        time_ms: 1_709_210_096_007,
        lines: vec![line(1, 2, 50), line(4, 1, 2)],
    }
}

#[test]
fn an_order_as_json() {
    let expected = r#"{"id":"01234567-89ab-7def-8123-456789abcdef","lines":[{"item_number":1,"title":"A \"b\"","quantity":2,"unit_cost":50},{"item_number":4,"title":"A \"b\"","quantity":1,"unit_cost":2}],"total":102,"revision":41,"time":"2024-02-29T12:34:56.007Z"}"#;
    assert_eq!(std::str::from_utf8(&order_json(&order())).unwrap(), expected);
    let never = Order { time_ms: u64::MAX, ..order() };
    assert!(order_json(&never).ends_with(b"\"9999-12-31T23:59:59.999Z\"}"));
}

#[test]
fn a_page_of_orders() {
    let page: Value = serde_json::from_slice(&orders_json(&[order()], true, 44)).unwrap();
    assert_eq!((&page["next"], &page["revision"]), (&json!("41.3"), &json!(44)));
    assert_eq!(page["orders"][0]["total"], 102);
    let last: Value = serde_json::from_slice(&orders_json(&[order()], false, 44)).unwrap();
    assert_eq!(last["next"], Value::Null);
    assert_eq!(orders_json(&[], true, 0), br#"{"orders":[],"next":null,"revision":0}"#);
}

#[test]
fn pages_are_asked_for_within_bounds() {
    let page = |limit, after| parse_page(limit, after).map_err(|problem| problem.status);
    assert_eq!(page(None, None), Ok(PageOf { after: None, limit: 100 }));
    let after = Some(Version { revision: 41, n: 3 });
    assert_eq!(page(Some("1000"), Some("41.3")), Ok(PageOf { after, limit: 1000 }));
    for limit in ["0", "1001", "-1", "+1", "", "x", "99999999999999999999"] {
        assert_eq!(page(Some(limit), None), Err(400), "{limit}");
    }
    for after in ["", "1", ".", "1.", ".1", "+1.1", "1.1.1", "1.4294967296", "a.b"] {
        assert_eq!(page(None, Some(after)), Err(400), "{after}");
    }
}

#[test]
fn bodies_of_orders() {
    let parse = |body: &str| parse_order(Some("application/json"), body.as_bytes());
    let line = |item_number, quantity| Line { item_number, quantity };
    assert_eq!(
        parse(r#" {"lines": [{"item_number": 1, "quantity": 2}, {"quantity": 9007199254740992, "item_number": 4}]}"#),
        Ok(vec![line(1, 2), line(4, MAX_NUMBER)])
    );
    for (body, status) in [
        ("", 400),
        ("[]", 400),
        ("{}", 400),
        (r#"[[{"item_number": 1, "quantity": 1}]]"#, 400),
        (r#"{"lines": {}}"#, 400),
        (r#"{"lines": [[1, 1]]}"#, 400),
        (r#"{"lines": [{"item_number": 1}]}"#, 400),
        (r#"{"lines": [{"item_number": "1", "quantity": 1}]}"#, 400),
        (r#"{"lines": [{"item_number": 1, "quantity": 1, "x": 1}]}"#, 400),
        (r#"{"lines": [{"item_number": 1, "quantity": 1}], "x": 1}"#, 400),
        (r#"{"lines": [{"item_number": 1, "quantity": 1}], "lines": []}"#, 400),
        (r#"{"lines": []}"#, 422),
        (r#"{"lines": [{"item_number": 0, "quantity": 1}]}"#, 422),
        (r#"{"lines": [{"item_number": 1, "quantity": 0}]}"#, 422),
        (r#"{"lines": [{"item_number": 1, "quantity": -1}]}"#, 422),
        (r#"{"lines": [{"item_number": 1, "quantity": 1.5}]}"#, 422),
        (r#"{"lines": [{"item_number": 1, "quantity": 9007199254740993}]}"#, 422),
        (r#"{"lines": [{"item_number": 1, "quantity": 9007199254740992}, {"item_number": 1, "quantity": 1}]}"#, 422),
    ] {
        assert_eq!(parse(body).map_err(|problem| problem.status), Err(status), "{body}");
    }
    let many = |n: usize| format!("{{\"lines\": [{}]}}", vec![r#"{"item_number": 1, "quantity": 1}"#; n].join(","));
    assert_eq!(parse(&many(100)).map(|lines| lines.len()), Ok(100));
    assert_eq!(parse(&many(101)).map_err(|problem| problem.status), Err(422));
    let status = |content_type, body: &[u8]| parse_order(content_type, body).map_err(|problem| problem.status);
    assert_eq!(status(None, b"{}"), Err(415));
    assert_eq!(status(Some("text/plain"), b"{}"), Err(415));
    assert_eq!(status(Some("application/json"), &[b' '; MAX_BODY + 1]), Err(413));
}

#[test]
fn keys_of_clients_are_echoed_and_others_made() {
    let own = Key::of_header(Some(b"order-7")).unwrap();
    assert_eq!((own.text.as_str(), own.origin), ("order-7", KeyOrigin::Client));
    assert_eq!(own.id, CommandId::from_key("order-7").unwrap());
    let made = Key::of_header(None).unwrap();
    assert_eq!((made.text, made.origin), (made.id.to_string(), KeyOrigin::Made));
    for header in [&b""[..], b"a b", b"\xff"] {
        assert_eq!(Key::of_header(Some(header)), Err(InvalidKey));
    }
}

#[test]
fn refusals_say_what_and_what_to_do() {
    let out_of_stock = Outcome::OutOfStock { item_number: 4, wanted: 3, left: 2 };
    let body: Value = serde_json::from_slice(&order_of(&out_of_stock).unwrap_err().body()).unwrap();
    let expected = json!({
        "type": "/problems/out-of-stock", "title": "Out of stock", "status": 409,
        "detail": "item 4: 3 wanted, 2 left", "item_number": 4, "wanted": 3, "left": 2,
    });
    assert_eq!(body, expected);
    let status = |outcome: Outcome| order_of(&outcome).map(|_| ()).map_err(|problem| problem.status);
    assert_eq!(status(Outcome::NoSuchItem { item_number: 1 }), Err(404));
    assert_eq!(status(Outcome::KeyReused), Err(422));
    assert_eq!(status(Outcome::Expired), Err(422));
    assert_eq!(status(Outcome::TooLarge), Err(422));
    let (status, message) = not_placed_message(&NotPlaced::Unknown, "k");
    assert_eq!(status, 503);
    assert_eq!(message, "outcome-unknown: no answer came in time; ask again with Idempotency-Key k");
    assert_eq!(not_placed(&NotPlaced::Overloaded, "k").status, 429);
    assert_eq!(not_placed(&NotPlaced::Unavailable("no leader".into()), "k").status, 503);
}

proptest! {
    #[test]
    fn no_body_panics_and_every_order_read_is_within_bounds(body in prop::collection::vec(any::<u8>(), 0..200), lines in prop::collection::vec((any::<i64>(), any::<u64>()), 0..5)) {
        let _ = parse_order(Some("application/json"), &body);
        let lines: Vec<Value> = lines.iter().map(|(n, q)| json!({"item_number": n, "quantity": q})).collect();
        if let Ok(lines) = parse_order(Some("application/json"), json!({"lines": lines}).to_string().as_bytes()) {
            prop_assert!(lines.iter().all(|line| (1..=MAX_NUMBER).contains(&line.item_number)));
            prop_assert!(lines.iter().map(|line| line.quantity).max() <= Some(MAX_NUMBER));
        }
    }
}
