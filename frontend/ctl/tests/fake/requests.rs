//! What is repeated, under which key, and what is said when that does not help.

use std::time::Duration;

use catalogctl::{
    find::Place,
    http::{Ask, Store, Trouble},
};
use serde_json::json;

use crate::{
    alone, ask,
    shop::{Act, Shop},
};

/// A buy is done once, whatever becomes of its answers.
#[test]
fn a_write_is_repeated_under_one_key_until_it_is_answered() {
    let shop = Shop::open(3);
    shop.then([
        Act::Lose,
        Act::Refuse(503, "outcome-unknown", None),
        Act::Refuse(429, "overloaded", None),
        Act::Refuse(503, "unavailable", None),
        Act::Say(502, "a proxy"),
    ]);
    let run = ask(&shop, &["-o", "json", "buy", "1"]).expect(0);
    let keys = shop.keys();
    assert_eq!(keys.len(), 6, "{keys:?}");
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    assert_eq!(uuid_version(&keys[0]), Some(7));
    assert_eq!(run.json()[0]["id"], keys[0]);
    assert_eq!(shop.inside().orders.len(), 1);
}

fn uuid_version(key: &str) -> Option<u32> {
    (key.len() == 36).then(|| key.as_bytes()[14] as char)?.to_digit(16)
}

#[test]
fn a_key_of_ones_own_is_taken_and_repeats_the_answer() {
    let shop = Shop::open(3);
    for _ in 0..2 {
        let run = ask(&shop, &["-o", "json", "add-stock", "2", "-30", "--key", "monday"]).expect(0);
        assert_eq!(run.json()[0]["quantity"], 70);
    }
    assert_eq!(shop.keys(), ["monday", "monday"]);
}

#[test]
fn the_wait_that_the_store_asks_for_is_kept() {
    let shop = Shop::open(3);
    shop.then([Act::Refuse(429, "overloaded", Some("1"))]);
    let began = std::time::Instant::now();
    ask(&shop, &["show", "1"]).expect(0);
    assert!(began.elapsed().as_millis() >= 1000, "{:?}", began.elapsed());
    // One that is longer than there is time is not begun.
    shop.then([Act::Refuse(503, "unavailable", Some("3000"))]);
    ask(&shop, &["show", "1", "--timeout", "5"]).expect(3).says("detail of unavailable");
}

/// On a machine that was busy an import whose every try had been refused ended with "unknown": its last try had a few
/// milliseconds left, and its answer came too late.
#[test]
fn a_try_that_has_no_time_to_be_answered_is_not_begun() {
    let shop = Shop::open(3);
    shop.then([Act::Refuse(503, "unavailable", Some("1"))]);
    let place = Place {
        fronts: vec![format!("http://{}", shop.address)],
        layout: None,
        patience: Duration::from_secs(6),
        name: shop.address.clone(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let trouble = runtime.block_on(async {
        let store = Store::new(place, Duration::from_millis(1_150)).expect("a way to it");
        store.send(&Ask::delete("/v1/items/1", "a key")).await.expect_err("the shop is busy")
    });
    assert!(matches!(trouble, Trouble::Unavailable(_)), "{trouble:?}");
    assert_eq!(shop.inside().asked.len(), 1);
}

#[test]
fn an_outcome_that_stays_unknown_is_said_with_the_key_to_ask_again_with() {
    let shop = Shop::open(3);
    shop.then(vec![Act::Refuse(503, "outcome-unknown", None); 100]);
    let run = ask(&shop, &["buy", "1", "2x3", "--timeout", "1"]).expect(4).says("the outcome is unknown");
    let key = shop.keys()[0].clone();
    let again = format!("buy 1 2x3 --timeout 1 --key {key}");
    assert!(run.err.contains(&again) && run.err.contains(&format!("orders {key}")), "{run:#?}");
    shop.inside().acts.clear();
    ask(&shop, &["buy", "1", "2x3", "--key", &key]).expect(0);
    // One doubt is not taken back by later answers that nothing was done.
    shop.then(vec![Act::Lose]);
    shop.then([Act::Refuse(503, "unavailable", Some("3000"))]);
    ask(&shop, &["set-cost", "1", "9", "--timeout", "30"]).expect(4);
    assert_eq!(shop.inside().items[&1]["cost"], 9);
}

/// Of a read nothing is in doubt.
#[test]
fn a_read_without_an_answer_is_unavailable_and_nothing_worse() {
    let shop = Shop::open(3);
    shop.then(vec![Act::Lose; 100]);
    ask(&shop, &["show", "1", "--timeout", "1"]).expect(3);
}

#[test]
fn what_is_refused_is_not_repeated() {
    let shop = Shop::open(3);
    shop.then([Act::Refuse(409, "out-of-stock", None)]);
    ask(&shop, &["buy", "1"]).expect(1).says("detail of out-of-stock");
    ask(&shop, &["show", "77"]).expect(1).says("detail of no-such-item");
    assert_eq!(shop.inside().asked.len(), 2);
    shop.then([Act::Lose, Act::Refuse(422, "expired", None)]);
    ask(&shop, &["set-cost", "1", "9"]).expect(4);
}

#[test]
fn the_next_front_end_is_asked_when_one_is_down() {
    let (shop, gone) = (Shop::open(3), Shop::open(0).address.clone());
    let both = format!("{gone},http://{}", shop.address);
    let began = std::time::Instant::now();
    alone(&["--address", &both, "buy", "1"]).expect(0);
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    alone(&["-a", &gone, "show", "1", "--timeout", "1"]).expect(3).says("catalogctl status");
}

#[test]
fn what_is_no_front_end_is_told_apart() {
    let shop = Shop::open(3);
    shop.then([Act::Say(404, "<html>")]);
    ask(&shop, &["show", "1"]).expect(3).says("not as a front end does");
    shop.then([Act::Say(200, "<html>")]);
    ask(&shop, &["show", "1"]).expect(3).says("not what a front end says");
    shop.then([Act::Say(301, "")]);
    ask(&shop, &["buy", "1"]).expect(3);
}

#[test]
fn pages_are_read_from_states_no_older_than_the_first() {
    let shop = Shop::open(2500);
    let run = ask(&shop, &["list", "-o", "json"]).expect(0);
    let numbers: Vec<u64> = run.json().iter().filter_map(|item| item["item_number"].as_u64()).collect();
    assert_eq!(numbers, (1..=2500).collect::<Vec<_>>());
    let asked = shop.inside().asked.clone();
    let revisions: Vec<Option<&str>> = asked.iter().map(|asked| asked.min_revision.as_deref()).collect();
    assert_eq!(revisions, [None, Some("10"), Some("10")]);
    let part = ask(&shop, &["list", "--limit", "1001", "--after", "7", "-o", "json"]).expect(0).json();
    assert_eq!((part.len(), &part[0]["item_number"], &part[1000]["item_number"]), (1001, &json!(8), &json!(1008)));
}
