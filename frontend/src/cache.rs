//! The cache: a bounded number of ready-made values, and what is known about when each last changed.
//!
//! PURE: no tokio, no clock, no I/O. Owns the entries, the tombstones and the rule which fill is accepted. Must not
//! know what a value is or who asks. Its caller applies every change, in order.
//!
//! Why nothing stale can be found here:
//! * Each key hangs on one tag (its item, its topic, or the list). Applying a change at revision `c` drops every
//!   entry of its tags filled below `c` and notes `c` as the tag's tombstone, in one step under the caller's lock.
//! * A fill read at `r` is accepted only if `r` is not beyond what has been applied and no tombstone of its tag is
//!   above `r`. A tombstone that had to be forgotten raises `forgotten` to its revision, which refuses all fills
//!   below it: more than needed, never less.
//! * So an entry filled at `r` is what its view holds at every revision from `r` up to `applied`.
//! * An outcome decided at `w > applied` is about to be answered: its items' entries and the list are dropped as if
//!   they had changed at `w`. In which topics those items were or are is not known, so all searches are hidden until
//!   `applied` has reached `w`; those that changed have been dropped by then.

use std::{num::NonZeroUsize, sync::Arc};

use catalog_client::{Change, Event, ItemNumber, Revision, mutant::Mutant};
use lru::LruCache;

/// What is cached: an item under each of its views, the list, a search.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// `/lookup/{n}`
    Lookup(ItemNumber),
    /// `/get_quantity/{n}`
    Quantity(ItemNumber),
    /// `/v1/items/{n}`
    V1Item(ItemNumber),
    /// `/list`
    List,
    /// `/search/{topic}`
    Search(Arc<str>),
}

/// What keeps the cache from growing.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Entries, at least 1.
    pub entries: usize,
    /// The sum of the weights that fills give, in bytes. A heavier value is not kept.
    pub weight: usize,
    /// Tombstones, at least 1.
    pub tombstones: usize,
}

/// What an invalidation is remembered under.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Tag {
    Item(ItemNumber),
    Topic(Arc<str>),
}

#[derive(Debug)]
struct Entry<V> {
    revision: Revision,
    weight: usize,
    value: V,
}

/// The entries and their tombstones. The least recently used go first.
#[derive(Debug)]
pub struct Cache<V> {
    entries: LruCache<Key, Entry<V>>,
    weight: usize,
    max_weight: usize,
    tombstones: LruCache<Tag, Revision>,
    /// The list's tombstone.
    list: Revision,
    /// Every change up to here has been applied.
    applied: Revision,
    /// No search is shown until `applied` is here.
    searches_from: Revision,
    /// Fills below this are refused, whatever their key.
    forgotten: Revision,
    counts: Counts,
}

/// What has happened since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries dropped because of a change.
    pub invalidations: u64,
    /// Fills that were taken.
    pub fills: u64,
    /// Fills that were not: what they brought was older than a later change, or too heavy.
    pub refused: u64,
    /// Entries dropped to make room for others.
    pub evictions: u64,
}

impl<V: Clone> Cache<V> {
    /// An empty cache that follows changes from `applied` on.
    pub fn new(bounds: Bounds, applied: Revision) -> Self {
        let at_least_one = |n: usize| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
        Self {
            // `sparse`, so that a large bound does not allocate before it is used.
            entries: LruCache::sparse(at_least_one(bounds.entries)),
            weight: 0,
            max_weight: bounds.weight,
            tombstones: LruCache::sparse(at_least_one(bounds.tombstones)),
            list: 0,
            applied,
            searches_from: 0,
            forgotten: applied,
            counts: Counts::default(),
        }
    }

    /// The entry of `key`, which becomes the most recently used.
    pub fn get(&mut self, key: &Key) -> Option<V> {
        if self.applied < self.searches_from && matches!(key, Key::Search(_)) {
            return None;
        }
        self.entries.get(key).map(|entry| entry.value.clone())
    }

    /// Keeps `value` as what `key` holds, read at `revision`. Returns whether it was accepted: not when the key
    /// was invalidated at a later revision, or may have been, or may be by a change not yet applied.
    pub fn fill(&mut self, key: Key, revision: Revision, weight: usize, value: V) -> bool {
        let stale = revision < self.last_invalidation(&key) && !Mutant::StaleFillAccepted.is_on();
        if revision > self.applied || stale || weight > self.max_weight {
            self.counts.refused += 1;
            return false;
        }
        self.counts.fills += 1;
        if self.entries.peek(&key).is_some_and(|entry| entry.revision > revision) {
            return true;
        }
        self.drop_entry(&key);
        while self.weight + weight > self.max_weight || self.entries.len() >= self.entries.cap().get() {
            let Some((_, evicted)) = self.entries.pop_lru() else { break };
            self.weight -= evicted.weight;
            self.counts.evictions += 1;
        }
        self.weight += weight;
        self.entries.put(key, Entry { revision, weight, value });
        true
    }

    /// Applies everything that happened up to `upto`: `events`, in order.
    pub fn apply(&mut self, events: &[Event], upto: Revision) {
        for event in events {
            for change in &event.changes {
                self.apply_change(change, event.revision);
            }
        }
        self.applied = self.applied.max(upto);
    }

    /// Makes way for an answer decided at `revision` that tells something about `items`.
    pub fn answer(&mut self, items: &[ItemNumber], revision: Revision) {
        if revision <= self.applied {
            return;
        }
        for &item in items {
            self.invalidate_item(item, revision);
        }
        self.invalidate_list(revision);
        self.searches_from = self.searches_from.max(revision);
    }

    /// Drops the views of one item whatever their revision, because somebody asked for it.
    pub fn drop_item(&mut self, item: ItemNumber) {
        for key in views_of(item) {
            self.counts.invalidations += u64::from(self.drop_entry(&key));
        }
    }

    /// Drops everything, and goes on from `applied`: what happened before will never be known.
    pub fn clear(&mut self, applied: Revision) {
        self.counts.invalidations += self.entries.len() as u64;
        self.entries.clear();
        self.weight = 0;
        self.tombstones.clear();
        self.applied = self.applied.max(applied);
        self.forgotten = self.forgotten.max(self.applied);
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What all entries weigh.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// What has happened since the start.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn apply_change(&mut self, change: &Change, revision: Revision) {
        self.invalidate_item(change.item_number(), revision);
        self.invalidate_list(revision);
        match change {
            Change::Put { item, old_topic } => {
                self.invalidate_topic(&item.topic, revision);
                if let Some(old) = old_topic {
                    self.invalidate_topic(old, revision);
                }
            }
            Change::Withdrawn { topic, .. } => self.invalidate_topic(topic, revision),
        }
    }

    /// Drops the views of one item filled below `revision`, and refuses such fills from now on.
    fn invalidate_item(&mut self, item: ItemNumber, revision: Revision) {
        self.bury(Tag::Item(item), revision);
        for key in views_of(item) {
            self.drop_below(&key, revision);
        }
    }

    fn invalidate_topic(&mut self, topic: &Arc<str>, revision: Revision) {
        self.bury(Tag::Topic(topic.clone()), revision);
        self.drop_below(&Key::Search(topic.clone()), revision);
    }

    fn invalidate_list(&mut self, revision: Revision) {
        self.list = self.list.max(revision);
        self.drop_below(&Key::List, revision);
    }

    fn last_invalidation(&self, key: &Key) -> Revision {
        let noted = match key {
            Key::Lookup(n) | Key::Quantity(n) | Key::V1Item(n) => self.tombstone(&Tag::Item(*n)),
            Key::List => self.list,
            Key::Search(topic) => self.tombstone(&Tag::Topic(topic.clone())),
        };
        noted.max(self.forgotten)
    }

    fn tombstone(&self, tag: &Tag) -> Revision {
        self.tombstones.peek(tag).copied().unwrap_or(0)
    }

    fn bury(&mut self, tag: Tag, revision: Revision) {
        if let Some(noted) = self.tombstones.get_mut(&tag) {
            *noted = (*noted).max(revision);
            return;
        }
        if let Some((_, evicted)) = self.tombstones.push(tag, revision) {
            self.forgotten = self.forgotten.max(evicted);
        }
    }

    fn drop_below(&mut self, key: &Key, revision: Revision) {
        if self.entries.peek(key).is_some_and(|entry| entry.revision < revision) {
            self.counts.invalidations += u64::from(self.drop_entry(key));
        }
    }

    fn drop_entry(&mut self, key: &Key) -> bool {
        let Some(entry) = self.entries.pop(key) else { return false };
        self.weight -= entry.weight;
        true
    }
}

fn views_of(item: ItemNumber) -> [Key; 3] {
    [Key::Lookup(item), Key::Quantity(item), Key::V1Item(item)]
}

#[cfg(test)]
mod tests {
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
    fn a_forgotten_tombstone_refuses_every_older_fill() {
        let mut cache = Cache::new(Bounds { tombstones: 4, ..ROOMY }, 0);
        for (item, revision) in [(1, 10), (2, 11), (3, 12), (4, 13)] {
            cache.apply(&event(revision, put(item, "x", None)), revision);
        }
        assert!(!cache.fill(Key::Lookup(1), 9, 1, ()), "its tombstone is forgotten");
        assert!(!cache.fill(Key::Lookup(9), 9, 1, ()), "refused with it: it cannot be told apart");
        assert!(cache.fill(Key::Lookup(9), 10, 1, ()));
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
}
