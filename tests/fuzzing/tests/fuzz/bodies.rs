//! Bodies of requests over HTTP, on both surfaces, as front ends, order servers and catalogs read them.

use catalog_client::{
    Action, Existing, MAX_LINES, MAX_NUMBER, MAX_TITLE, MAX_TOPIC, NewItem,
    compat::{MAX_BODY, Operation, error_body, parse_post},
    items::{parse_change, parse_import, parse_new_item},
};
use fuzzing::{frugal, fuzz, paid_by, spoil, spoilings};
use order_client::view::parse_order;
use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::{Value, json};

const JSON: Option<&str> = Some("application/json");
const KEYS: [&str; 10] =
    ["item_number", "quantity", "cost", "topic", "title", "add_quantity", "lines", "items", "existing", "other"];
const VALUES: [&str; 22] = [
    "1",
    "0",
    "-1",
    "-0",
    "9007199254740992",
    "9007199254740993",
    "-9007199254740992",
    "18446744073709551616",
    "1e400",
    "1.0",
    "true",
    "null",
    "\"1\"",
    "\"-7\"",
    "\"\"",
    "\"\\ud800\"",
    "\"\\u0000 \\\" \u{e9}\"",
    "[{\"item_number\": 1, \"quantity\": 2}]",
    "[[1, 2]]",
    "[{\"item_number\": 1, \"title\": \"\", \"topic\": \"t\", \"cost\": 1, \"quantity\": 1.5}]",
    "\"update\"",
    "{}",
];

/// Objects that look like bodies, and some that do not.
fn objects() -> impl Strategy<Value = String> {
    let member = (any::<Index>(), any::<Index>())
        .prop_map(|(key, value)| format!("\"{}\": {}", key.get(&KEYS), value.get(&VALUES)));
    prop_oneof![
        8 => vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(", "))),
        1 => (1..3000_usize).prop_map(|depth| "[".repeat(depth)),
        1 => (1..3000_usize).prop_map(|depth| format!("{{\"lines\": {}", "[{\"lines\":".repeat(depth))),
        1 => (0..=MAX_BODY + 1).prop_map(|length| format!("{{\"topic\": \"{}\"}}", "x".repeat(length))),
    ]
}

fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![1..=MAX_NUMBER, 1..10_u64, Just(MAX_NUMBER)]
}

fn texts(max: usize) -> impl Strategy<Value = String> {
    vec(any::<char>(), 1..40).prop_map(move |letters| {
        let mut text: String = letters.into_iter().collect();
        while text.len() > max {
            text.pop();
        }
        text
    })
}

fn operations() -> impl Strategy<Value = Operation> {
    let limit = MAX_NUMBER as i64;
    prop_oneof![
        texts(MAX_TOPIC).prop_map(Operation::Search),
        numbers().prop_map(Operation::Lookup),
        numbers().prop_map(Operation::Quantity),
        numbers().prop_map(Operation::Buy),
        (numbers(), 0..=MAX_NUMBER).prop_map(|(item, cost)| Operation::SetCost(item, cost)),
        (numbers(), -limit..=limit).prop_map(|(item, delta)| Operation::ChangeStock(item, delta)),
    ]
}

/// The path and the body of an operation.
fn said(operation: &Operation) -> (&'static str, Value) {
    match operation {
        Operation::Search(topic) => ("/search/", json!({ "topic": topic })),
        Operation::Lookup(item) => ("/lookup/", json!({ "item_number": item })),
        Operation::Quantity(item) => ("/get_quantity", json!({ "item_number": item })),
        Operation::Buy(item) => ("/buy/", json!({ "item_number": item.to_string() })),
        Operation::SetCost(item, cost) => ("/update_c/", json!({ "item_number": item, "cost": cost })),
        Operation::ChangeStock(item, delta) => ("/update_q", json!({ "item_number": item, "quantity": delta })),
        other => panic!("{other:?} is never posted"),
    }
}

/// Bytes of a body: a good one spoiled, or what only looks like one.
fn body(good: &Value, other: Option<String>, spoilings: &[fuzzing::Spoiling]) -> Vec<u8> {
    spoil(other.unwrap_or_else(|| good.to_string()).into_bytes(), spoilings)
}

#[test]
fn the_compatible_surface() {
    let paths = ["/search", "/lookup/", "/get_quantity/", "/buy", "/update_c", "/update_q/"];
    let inputs = (operations(), any::<Index>(), prop::option::of(objects()), spoilings());
    fuzz("bodies of the compatible surface", inputs, |(good, path, other, spoilings)| {
        let path = *path.get(&paths);
        let (own, value) = said(&good);
        assert_eq!(parse_post(own, JSON, value.to_string().as_bytes()), Some(Ok(good)));
        let body = body(&value, other, &spoilings);
        match frugal(paid_by(body.len()), || parse_post(path, JSON, &body)).expect("it is posted to") {
            Ok(understood) => {
                let (path, value) = said(&understood);
                assert_eq!(parse_post(path, JSON, value.to_string().as_bytes()), Some(Ok(understood)));
            }
            Err(refused) => {
                assert!(matches!(refused.status, 400 | 413), "{refused:?}");
                let said: Value = serde_json::from_slice(&error_body(&refused.message)).expect("JSON");
                assert!(said.is_object());
            }
        }
    });
}

/// The body that asks for an action, without what is absent.
fn of_action(action: &Action) -> Value {
    let mut value = match action {
        Action::AddItem { item_number, title, topic, cost, quantity } => {
            json!({ "item_number": item_number, "title": title, "topic": topic, "cost": cost, "quantity": quantity })
        }
        Action::ChangeItem { title, topic, cost, add_quantity, .. } => {
            json!({ "title": title, "topic": topic, "cost": cost, "add_quantity": add_quantity })
        }
        Action::PlaceOrder { lines } => json!({ "lines": lines }),
        Action::ImportItems { items, existing } => json!({ "items": items, "existing": existing }),
        other => panic!("{other:?} has no body"),
    };
    value.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
    value
}

/// Good actions of one kind are understood, spoiled ones refused or understood the same when said again.
fn v1(
    target: &str,
    good: impl Strategy<Value = Action>,
    read: impl Fn(&[u8]) -> Result<Action, catalog_client::problem::Problem>,
) {
    fuzz(target, (good, prop::option::of(objects()), spoilings()), |(good, other, spoilings)| {
        let value = of_action(&good);
        assert_eq!(read(value.to_string().as_bytes()), Ok(good));
        let body = body(&value, other, &spoilings);
        match frugal(paid_by(body.len()), || read(&body)) {
            Ok(understood) => assert_eq!(read(of_action(&understood).to_string().as_bytes()), Ok(understood)),
            Err(problem) => {
                assert!(matches!(problem.status, 400 | 413 | 422), "{problem:?}");
                assert!(problem.detail.len() < 2000 && serde_json::from_slice::<Value>(&problem.body()).is_ok());
            }
        }
    });
}

#[test]
fn new_items() {
    let item = (prop::option::of(numbers()), texts(MAX_TITLE), texts(MAX_TOPIC), 0..=MAX_NUMBER, 0..=MAX_NUMBER);
    let good = item.prop_map(|(item_number, title, topic, cost, quantity)| Action::AddItem {
        item_number,
        title: title.into(),
        topic: topic.into(),
        cost,
        quantity,
    });
    v1("bodies of new items", good, parse_new_item);
}

#[test]
fn imports() {
    let row = (numbers(), texts(MAX_TITLE), texts(MAX_TOPIC), 0..=MAX_NUMBER, 0..=MAX_NUMBER);
    let row = row.prop_map(|(item_number, title, topic, cost, quantity)| NewItem {
        item_number,
        title: title.into(),
        topic: topic.into(),
        cost,
        quantity,
    });
    let existing = prop::sample::select(vec![Existing::Refuse, Existing::Keep, Existing::Update]);
    let good = (vec(row, 1..5), existing).prop_map(|(mut items, existing)| {
        items.sort_by_key(|item| item.item_number);
        items.dedup_by_key(|item| item.item_number);
        Action::ImportItems { items, existing }
    });
    v1("bodies of imports", good, parse_import);
}

#[test]
fn changes() {
    let limit = MAX_NUMBER as i64;
    let text = |max| prop::option::of(texts(max));
    let change = (text(MAX_TITLE), text(MAX_TOPIC), prop::option::of(0..=MAX_NUMBER), -limit..=limit);
    let good = change.prop_map(|(title, topic, cost, delta)| Action::ChangeItem {
        item_number: 3,
        title: title.map(Into::into),
        topic: topic.map(Into::into),
        cost,
        add_quantity: Some(delta),
        if_match: None,
    });
    v1("bodies of changes", good, |body| parse_change(3, None, body));
}

#[test]
fn orders() {
    // Lines of one item that add up to too much are refused.
    let line = (numbers(), 1..=MAX_NUMBER / MAX_LINES as u64)
        .prop_map(|(item_number, quantity)| catalog_client::Line { item_number, quantity });
    let good = vec(line, 1..6).prop_map(|lines| Action::PlaceOrder { lines });
    v1("bodies of orders", good, |body| parse_order(JSON, body).map(|lines| Action::PlaceOrder { lines }));
}
