//! An operator's CSV, spoiled: refused with a sentence, or items within their bounds.

use fuzzing::{frugal, fuzz, paid_by, spoil, spoilings};
use proptest::{collection::btree_map, collection::vec, prelude::*};

use super::*;

fn texts() -> impl Strategy<Value = String> {
    vec(any::<char>(), 1..30).prop_map(|letters| letters.into_iter().collect())
}

fn items() -> impl Strategy<Value = Vec<NewItem>> {
    let rest = (texts(), texts(), 0..=MAX_NUMBER, 0..=MAX_NUMBER);
    btree_map(1..=MAX_NUMBER, rest, 0..6).prop_map(|items| {
        let item = |(item_number, (title, topic, cost, quantity)): (u64, (String, String, u64, u64))| NewItem {
            item_number,
            title: title.into(),
            topic: topic.into(),
            cost,
            quantity,
        };
        items.into_iter().map(item).collect()
    })
}

fn csv(items: &[NewItem]) -> Vec<u8> {
    let mut rows = csv::Writer::from_writer(Vec::new());
    rows.write_record(["item_number", "title", "topic", "cost", "quantity"]).unwrap();
    for item in items {
        let [number, cost, quantity] = [item.item_number, item.cost, item.quantity].map(|number| number.to_string());
        rows.write_record([&*number, &item.title, &item.topic, &cost, &quantity]).unwrap();
    }
    rows.into_inner().unwrap()
}

#[test]
fn fuzz_first_items() {
    fuzz("first items", (items(), spoilings()), |(items, spoilings)| {
        let good = csv(&items);
        assert_eq!(parse(&good[..]).unwrap(), items);
        let bad = spoil(good, &spoilings);
        match frugal(paid_by(bad.len()), || parse(&bad[..])) {
            Ok(items) => {
                let in_bounds = |item: &NewItem| {
                    (1..=MAX_NUMBER).contains(&item.item_number)
                        && (1..=MAX_TITLE).contains(&item.title.len())
                        && (1..=MAX_TOPIC).contains(&item.topic.len())
                        && item.cost.max(item.quantity) <= MAX_NUMBER
                };
                assert!(items.iter().all(in_bounds));
                assert_eq!(parse(&csv(&items)[..]).unwrap(), items);
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    });
}
