//! The window of remembered commands: which ids were executed lately, and with what outcome.
//!
//! Owns what is remembered and when it is forgotten. Must not know what commands do.
//!
//! # Why a command never executes twice
//!
//! A command bears the revision at which it was made, `born`. `apply` executes one only if its id is not in the window
//! and `horizon ≤ born ≤ index`. So every record has `born ≤ revision`. A record is forgotten only when the
//! horizon has passed its revision, and the horizon never goes back: from then on `born ≤ revision < horizon`, and
//! every copy of the command is expired, whenever it arrives. Only who makes a *new* command under an old id, with a
//! newer `born`, gets past this: for placed orders the ledger is asked then, and knows them for ever.
//!
//! Since an edge knows only committed revisions, `born < index` holds for every honest command: an entry that was
//! appended at or below a committed index, by a leader that did not know of it, never commits.

use std::{collections::VecDeque, hash::BuildHasher};

use catalog_client::{CommandId, Revision, Version};
use foldhash::fast::RandomState;
use hashbrown::hash_table::{Entry, HashTable};

use super::rows::DedupRecord;

/// For how many revisions a command is remembered. At the greatest rate seen, about 3,500 entries a second, this is
/// 14 s, well beyond the 5 s for which an edge retries.
pub const WINDOW: u64 = 50_000;

/// The most commands remembered: with large entries the window is shorter than [`WINDOW`]. At 51,000 commands a second, the
/// most seen of requests of one order, this is nearly 9 s, beyond the 5 s for which an edge retries. Requests of many may
/// come three times as fast: what was placed is then found in the ledger, and a repetition of what was refused is expired.
pub const WINDOW_RECORDS: usize = 450_000;

/// The bounds of the window. They decide outcomes, so every replica must have the same: they are not configuration.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// See [`WINDOW`].
    pub revisions: u64,
    /// See [`WINDOW_RECORDS`]. The commands of the last entry stay, however many.
    pub records: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { revisions: WINDOW, records: WINDOW_RECORDS }
    }
}

#[derive(Debug)]
pub(super) struct Window {
    limits: Limits,
    horizon: Revision,
    // By version, oldest first: what is forgotten lies together, and is found without a look into the map.
    records: VecDeque<(Version, DedupRecord)>,
    // How many records went before the first of `records`, modulo 2^32: far more than are ever kept.
    forgotten: u32,
    // The hash of each row of records that is stored, by revision, oldest first: it leaves the state hash with the row.
    rows: VecDeque<(Revision, u128)>,
    // The place of each id's record, counted as `forgotten` is. The ids are in the records alone: every new one is looked
    // up here at a place of chance, so this has to be small. Never iterated: its order differs between replicas. Clients
    // choose ids, so the hasher is seeded.
    places: HashTable<u32>,
    hasher: RandomState,
}

impl Window {
    pub fn new(limits: Limits) -> Self {
        // Twice the bound: the table is never so full that it has to be laid out anew in the middle of a burst.
        let places = HashTable::with_capacity(limits.records * 2);
        // Nor must this one be moved as it grows.
        let records = VecDeque::with_capacity(limits.records * 5 / 4);
        let hasher = RandomState::default();
        Self { limits, horizon: 0, records, forgotten: 0, rows: VecDeque::new(), places, hasher }
    }

    /// Commands executed below this revision are forgotten; those made below it are expired.
    pub fn horizon(&self) -> Revision {
        self.horizon
    }

    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn get(&self, id: CommandId) -> Option<&(Version, DedupRecord)> {
        let record = |place: u32| &self.records[index(place, self.forgotten)];
        let is_its = |place: &u32| record(*place).1.id == id;
        self.places.find(self.hasher.hash_one(id), is_its).map(|place| record(*place))
    }

    /// Remembers a command under a version above all others. False if its id is remembered already.
    pub fn remember(&mut self, version: Version, record: DedupRecord) -> bool {
        let DedupRecord { id, fingerprint, outcome } = record;
        let Self { records, forgotten, places, hasher, .. } = self;
        let id_at = |place: u32| records[index(place, *forgotten)].1.id;
        match places.entry(hasher.hash_one(id), |place| id_at(*place) == id, |place| hasher.hash_one(id_at(*place))) {
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                let count = u32::try_from(records.len()).expect("fewer than 2^32 records are kept");
                // Before its place: that may be out of the processor's cache, and what is written after it would wait.
                records.push_back((version, DedupRecord { id, fingerprint, outcome }));
                vacant.insert(forgotten.wrapping_add(count));
                true
            }
        }
    }

    /// Notes that records of `revision` are stored in a row of this hash.
    pub fn stored(&mut self, revision: Revision, hash: u128) {
        debug_assert!(self.rows.back().is_none_or(|(last, _)| *last < revision), "one row an entry, in order");
        self.rows.push_back((revision, hash));
    }

    /// The revision of the newest row that is stored.
    pub fn newest_row(&self) -> Option<Revision> {
        self.rows.back().map(|(revision, _)| *revision)
    }

    pub fn restore_horizon(&mut self, horizon: Revision) {
        self.horizon = horizon;
    }

    /// The version of the newest record.
    pub fn newest(&self) -> Option<Version> {
        self.records.back().map(|(version, _)| *version)
    }

    /// The version of the oldest record.
    pub fn oldest(&self) -> Option<Version> {
        self.records.front().map(|(version, _)| *version)
    }

    /// Moves the horizon at the end of entry `index`, forgets the records that it has passed, and gives the rows that
    /// are stored of them, oldest first.
    pub fn forget(&mut self, index: Revision) -> impl Iterator<Item = (Revision, u128)> {
        self.horizon = self.horizon.max(index.saturating_sub(self.limits.revisions));
        while let Some(oldest) = self.oldest() {
            if oldest.revision >= self.horizon {
                if self.records.len() <= self.limits.records || oldest.revision == index {
                    break;
                }
                self.horizon = oldest.revision + 1;
            }
            let (_, record) = self.records.pop_front().expect("the oldest record was just seen");
            let place = self.places.find_entry(self.hasher.hash_one(record.id), |place| *place == self.forgotten);
            place.expect("every record has a place").remove();
            self.forgotten = self.forgotten.wrapping_add(1);
        }
        let passed = self.rows.partition_point(|(revision, _)| *revision < self.horizon);
        self.rows.drain(..passed)
    }
}

/// Where the record of a place is, when so many records went before the first.
fn index(place: u32, forgotten: u32) -> usize {
    place.wrapping_sub(forgotten) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::rows::Remembered;

    #[test]
    fn ids_are_found_where_the_count_of_records_wraps_around() {
        let mut window = Window::new(Limits { revisions: 1000, records: 3 });
        window.forgotten = u32::MAX - 5;
        for revision in 1..20_u64 {
            let id = |revision: u64| CommandId(u128::from(revision));
            let record = |revision| DedupRecord { id: id(revision), fingerprint: 0, outcome: Remembered::Placed };
            assert!(window.remember(Version { revision, n: 0 }, record(revision)));
            assert!(!window.remember(Version { revision, n: 1 }, record(revision)));
            assert_eq!(window.forget(revision).count(), 0);
            for known in 1..=revision {
                let found = window.get(id(known)).map(|(version, _)| version.revision);
                assert_eq!(found, (known + 3 > revision).then_some(known), "{known} after {revision}");
            }
        }
    }
}
