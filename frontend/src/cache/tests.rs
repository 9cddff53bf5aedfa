//! Tests of the cache: what is accepted, what is dropped, what is hidden.

use catalog_client::{Item, Version};

use super::*;

const ROOMY: Bounds = Bounds { entries: 100, weight: 1000, tombstones: 100 };

fn put(item_number: ItemNumber, topic: &str, old_topic: Option<&str>) -> Change {
    let item = Item {
        item_number,
        title: "t".into(),
        topic: topic.into(),
        cost: 1,
        quantity: 1,
        version: Version { revision: 1, n: 0 },
    };
    Change::Put { item, old_topic: old_topic.map(Into::into) }
}

fn search(topic: &str) -> Key {
    Key::Search(topic.into())
}

fn event(revision: Revision, change: Change) -> [Event; 1] {
    [Event { revision, changes: vec![change] }]
}

#[test]
fn a_fill_that_raced_an_invalidation_is_refused() {
    let mut cache = Cache::new(ROOMY, 0);
    cache.apply(&event(10, put(1, "x", None)), 10);
    assert!(!cache.fill(Key::Lookup(1), 9, 1, 'a'), "read before the change");
    assert_eq!(cache.get(&Key::Lookup(1)), None);
    assert!(cache.fill(Key::Lookup(1), 10, 1, 'b'), "read at the change");
    assert!(cache.fill(Key::Lookup(2), 9, 1, 'c'), "another item");
    assert!(!cache.fill(Key::Lookup(2), 11, 1, 'd'), "beyond what was applied");
    assert_eq!((cache.get(&Key::Lookup(1)), cache.get(&Key::Lookup(2))), (Some('b'), Some('c')));
}

#[test]
fn a_change_goes_to_its_item_its_topics_and_the_list_and_nowhere_else() {
    let mut cache = Cache::new(ROOMY, 0);
    cache.apply(&[], 5);
    let keys = [Key::Lookup(1), Key::Quantity(1), Key::V1Item(1), Key::List, search("x"), search("y")];
    let others = [Key::Lookup(3), Key::Quantity(3), search("z")];
    for key in keys.iter().chain(&others) {
        assert!(cache.fill(key.clone(), 5, 1, ()));
    }
    cache.apply(&event(6, put(1, "y", Some("x"))), 7);
    assert!(keys.iter().all(|key| cache.get(key).is_none()));
    assert!(others.iter().all(|key| cache.get(key).is_some()));
    assert_eq!(cache.counts().invalidations, 6);
    assert!(keys.iter().all(|key| !cache.fill(key.clone(), 5, 1, ())));
    assert!(keys.iter().all(|key| cache.fill(key.clone(), 6, 1, ())));
}

#[test]
fn what_is_newer_than_a_change_stays() {
    let mut cache = Cache::new(ROOMY, 0);
    cache.apply(&[], 7);
    assert!(cache.fill(Key::List, 7, 1, ()));
    cache.apply(&event(7, put(1, "x", None)), 7);
    assert_eq!(cache.get(&Key::List), Some(()));
    cache.apply(&event(8, put(1, "x", None)), 8);
    assert_eq!(cache.get(&Key::List), None);
}

#[test]
fn an_answer_drops_its_items_and_the_list_and_hides_searches_until_its_revision_is_applied() {
    let mut cache = Cache::new(ROOMY, 0);
    cache.apply(&[], 5);
    for key in [Key::Lookup(1), Key::Lookup(3), Key::List, search("x")] {
        assert!(cache.fill(key, 5, 1, ()));
    }
    cache.answer(&[1], 8);
    assert_eq!((cache.get(&Key::Lookup(1)), cache.get(&Key::List)), (None, None));
    assert_eq!((cache.get(&Key::Lookup(3)), cache.get(&search("x"))), (Some(()), None));
    cache.apply(&[], 7);
    assert!(!cache.fill(Key::Lookup(1), 7, 1, ()), "read before what was answered");
    assert_eq!(cache.get(&search("x")), None);
    cache.apply(&[], 8);
    assert_eq!(cache.get(&search("x")), Some(()), "its topic did not change");
    assert!(cache.fill(Key::Lookup(1), 8, 1, ()));
    cache.answer(&[1], 8);
    assert_eq!(cache.get(&Key::Lookup(1)), Some(()), "already as far as the answer");
}

#[test]
fn a_tombstone_that_is_shared_refuses_more_and_never_less() {
    let mut cache = Cache::new(Bounds { tombstones: 1, ..ROOMY }, 0);
    cache.apply(&event(10, put(1, "x", None)), 11);
    assert!(cache.fill(Key::Lookup(9), 10, 1, ()), "read at the last change of all");
    cache.apply(&event(12, put(2, "x", None)), 12);
    assert_eq!(cache.get(&Key::Lookup(9)), Some(()), "what is there is dropped for itself alone");
    assert!(!cache.fill(Key::Lookup(1), 9, 1, ()), "read before its change");
    assert!(!cache.fill(Key::Lookup(9), 11, 1, ()), "refused with it: it cannot be told apart");
    assert!(cache.fill(Key::Lookup(9), 12, 1, ()));
}

#[test]
fn an_item_is_dropped_although_another_of_the_same_entry_has_its_tombstone() {
    let mut cache = Cache::new(Bounds { tombstones: 1, ..ROOMY }, 0);
    assert!(cache.fill(Key::Lookup(1), 0, 1, ()) && cache.fill(Key::Lookup(2), 0, 1, ()));
    let changes = vec![put(1, "x", None), put(2, "x", None)];
    cache.apply(&[Event { revision: 5, changes }], 5);
    assert_eq!((cache.get(&Key::Lookup(1)), cache.get(&Key::Lookup(2))), (None, None));
}

#[test]
fn entries_and_their_weight_are_bounded() {
    let mut cache = Cache::new(Bounds { entries: 2, weight: 10, tombstones: 2 }, 1);
    for item in 1..=3 {
        assert!(cache.fill(Key::Lookup(item), 1, 1, item));
    }
    assert_eq!((cache.len(), cache.get(&Key::Lookup(1))), (2, None));
    assert_eq!(cache.get(&Key::Lookup(2)), Some(2), "now the most recently used");
    assert!(cache.fill(Key::List, 1, 9, 0));
    assert_eq!(cache.get(&Key::Lookup(3)), None);
    assert!(!cache.fill(Key::List, 1, 11, 0), "too heavy to be kept at all");
    assert_eq!(cache.weight(), 10);
    assert_eq!(cache.counts(), Counts { invalidations: 0, fills: 4, refused: 1, evictions: 2 });
}

#[test]
fn after_clear_nothing_older_comes_back() {
    let mut cache = Cache::new(ROOMY, 3);
    assert!(!cache.fill(Key::List, 2, 1, ()));
    assert!(cache.fill(Key::List, 3, 1, ()));
    cache.clear(9);
    assert!(cache.is_empty());
    assert!(!cache.fill(Key::List, 8, 1, ()));
    assert!(cache.fill(Key::List, 9, 1, ()));
}

#[test]
fn a_dropped_item_is_a_miss_once() {
    let mut cache = Cache::new(ROOMY, 4);
    assert!(cache.fill(Key::Lookup(1), 4, 1, ()));
    cache.drop_item(1);
    assert_eq!(cache.get(&Key::Lookup(1)), None);
    assert!(cache.fill(Key::Lookup(1), 4, 1, ()));
}
