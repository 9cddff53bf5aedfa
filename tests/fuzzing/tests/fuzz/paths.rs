//! Paths, arguments and headers of requests over HTTP.

use catalog_client::{
    Version,
    compat::{Operation, methods_of, parse_get},
    items::{ItemPage, parse_if_match, parse_number, parse_page, tags_match},
};
use fuzzing::{frugal, fuzz, paid_by, spoil, spoilings};
use order_client::view::{self, Key};
use proptest::{collection::vec, prelude::*, sample::Index};

const WORDS: [&str; 10] =
    ["list", "search", "lookup", "get_quantity", "get_name", "update_c", "update_q", "buy", "invalidate", "v1"];
const SEGMENTS: [&str; 12] =
    ["1", "0", "-1", "+1", "9007199254740993", "99999999999999999999", "%31", "%", "%zz", "%ff%fe", "a%20b", ""];

/// The path that asks for an operation, every byte of its topic in percent-encoding.
fn said(operation: &Operation) -> String {
    match operation {
        Operation::List => "/list".to_owned(),
        Operation::Search(topic) => {
            format!("/search/{}", topic.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>())
        }
        Operation::Lookup(item) => format!("/lookup/{item}"),
        Operation::Quantity(item) => format!("/get_quantity/{item}"),
        Operation::Name(item) => format!("/get_name/{item}"),
        Operation::SetCost(item, cost) => format!("/update_c/{item}/{cost}"),
        Operation::ChangeStock(item, delta) => format!("/update_q/{item}/{delta}"),
        Operation::Buy(item) => format!("/buy/{item}"),
        Operation::Invalidate(item) => format!("/invalidate/{item}"),
    }
}

#[test]
fn paths() {
    let inputs = (any::<Index>(), vec(any::<Index>(), 0..4), spoilings());
    fuzz("paths", inputs, |(word, segments, spoilings)| {
        let mut path = format!("/{}", word.get(&WORDS));
        for segment in &segments {
            path = format!("{path}/{}", segment.get(&SEGMENTS));
        }
        let path = String::from_utf8_lossy(&spoil(path.into_bytes(), &spoilings)).into_owned();
        let parsed = frugal(paid_by(path.len()), || parse_get(&path));
        assert_eq!(parsed.is_some(), methods_of(&path).is_some());
        match parsed {
            None => {}
            Some(Err(refused)) => assert_eq!(refused.status, 400),
            Some(Ok(operation)) => assert_eq!(parse_get(&said(&operation)), Some(Ok(operation))),
        }
    });
}

#[test]
fn arguments_and_headers() {
    let good = prop_oneof![
        any::<u64>().prop_map(|number| number.to_string()),
        (any::<u64>(), any::<u32>()).prop_map(|(revision, n)| format!("\"{}\"", Version { revision, n })),
        (any::<u64>(), any::<u32>()).prop_map(|(revision, n)| Version { revision, n }.to_string()),
        any::<u128>().prop_map(|id| catalog_client::CommandId(id).to_string()),
        Just("*".to_owned()),
        Just("W/\"1.2\", \"3.4\"".to_owned()),
    ];
    fuzz("arguments and headers", (good, spoilings()), |(good, spoilings)| {
        let bytes = spoil(good.into_bytes(), &spoilings);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let some = Some(text.as_str());
        frugal(paid_by(bytes.len()), || {
            let _ = parse_page(ItemPage { topic: some, q: some, limit: some, after: some });
            let _ = tags_match(&text, "\"1.2\"");
            if let Ok(number) = parse_number(&text) {
                assert_eq!(parse_number(&number.to_string()), Ok(number));
            }
            if let Ok(Some(version)) = parse_if_match(some) {
                assert_eq!(parse_if_match(Some(&format!("\"{version}\""))), Ok(Some(version)));
            }
            if let Ok(page) = view::parse_page(None, some) {
                let after = page.after.map(|version| version.to_string());
                assert_eq!(view::parse_page(None, after.as_deref()), Ok(page));
            }
            if let Ok(key) = Key::of_header(Some(&bytes)) {
                assert_eq!(Key::of_header(Some(key.text.as_bytes())), Ok(key));
            }
        });
    });
}
