//! The cache: a bounded number of ready-made values, and what is known about when each last changed.
//!
//! PURE: no tokio, no clock, no I/O. Owns the entries, the tombstones and the rule which fill is accepted. Must not
//! know what a value is or who asks. Its caller applies every change, in order.
//!
//! Why nothing stale can be found here:
//! * Each key hangs on one tag (its item, its topic, or the list). Applying a change at revision `c` drops every
//!   entry of its tags filled below `c` and notes `c` as the tag's tombstone, in one step under the caller's lock.
//! * A fill read at `r` is accepted only if `r` is not beyond what has been applied and the tombstone of its tag is not
//!   above `r`. Tags share tombstones, of which each is as late as the latest of its tags: more fills are refused than
//!   need be, never less.
//! * So an entry filled at `r` is what its view holds at every revision from `r` up to `applied`.
//! * An outcome decided at `w > applied` is about to be answered: its items' entries and the list are dropped as if
//!   they had changed at `w`. In which topics those items were or are is not known, so all searches are hidden until
//!   `applied` has reached `w`; those that changed have been dropped by then.

use std::{hash::BuildHasher, num::NonZeroUsize, sync::Arc};

use catalog_client::{Change, Event, ItemNumber, Revision, mutant::Mutant};
use foldhash::fast::FixedState;
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
    /// Tombstones: the next power of two.
    pub tombstones: usize,
}

/// What an invalidation is remembered under.
#[derive(Debug, Clone, Copy, Hash)]
enum Tag<'a> {
    Item(ItemNumber),
    Topic(&'a str),
}

/// When what hangs on a tag last changed, at the latest: a table without keys, small enough to stay in a processor's cache.
#[derive(Debug)]
struct Tombstones(Box<[Revision]>);

#[derive(Debug)]
struct Entry<V> {
    revision: Revision,
    weight: usize,
    value: V,
}

/// The entries and their tombstones. The least recently used entries go first.
#[derive(Debug)]
pub struct Cache<V> {
    entries: LruCache<Key, Entry<V>>,
    weight: usize,
    max_weight: usize,
    tombstones: Tombstones,
    /// The list's tombstone.
    list: Revision,
    /// Every change up to here has been applied.
    applied: Revision,
    /// No search is shown until `applied` is here.
    searches_from: Revision,
    /// Fills below this are refused, whatever their key: what happened before it is not known.
    known_from: Revision,
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
            tombstones: Tombstones(vec![0; bounds.tombstones.next_power_of_two()].into()),
            list: 0,
            applied,
            searches_from: 0,
            known_from: applied,
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
        self.applied = self.applied.max(applied);
        self.known_from = self.known_from.max(self.applied);
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
        self.tombstones.bury(Tag::Item(item), revision);
        for key in views_of(item) {
            self.drop_below(&key, revision);
        }
    }

    fn invalidate_topic(&mut self, topic: &Arc<str>, revision: Revision) {
        self.tombstones.bury(Tag::Topic(topic), revision);
        self.drop_below(&Key::Search(topic.clone()), revision);
    }

    fn invalidate_list(&mut self, revision: Revision) {
        if self.list < revision {
            self.list = revision;
            self.drop_below(&Key::List, revision);
        }
    }

    fn last_invalidation(&self, key: &Key) -> Revision {
        let noted = match key {
            Key::Lookup(n) | Key::Quantity(n) | Key::V1Item(n) => self.tombstones.of(Tag::Item(*n)),
            Key::List => self.list,
            Key::Search(topic) => self.tombstones.of(Tag::Topic(topic)),
        };
        noted.max(self.known_from)
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

impl Tombstones {
    /// Notes that what hangs on `tag` changed at `revision`.
    fn bury(&mut self, tag: Tag, revision: Revision) {
        let noted = &mut self.0[self.place(tag)];
        *noted = revision.max(*noted);
    }

    fn of(&self, tag: Tag) -> Revision {
        self.0[self.place(tag)]
    }

    fn place(&self, tag: Tag) -> usize {
        // The same places in each process: what a run does must not hang on chance.
        FixedState::default().hash_one(tag) as usize & (self.0.len() - 1)
    }
}

fn views_of(item: ItemNumber) -> [Key; 3] {
    [Key::Lookup(item), Key::Quantity(item), Key::V1Item(item)]
}

#[cfg(test)]
mod tests;
