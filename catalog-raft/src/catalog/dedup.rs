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

use std::collections::{HashMap, VecDeque, hash_map::Entry};

use catalog_client::{CommandId, Revision, Version};
use foldhash::fast::RandomState;

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
    // How many records went before the first of `records`.
    forgotten: u64,
    // The hash of each row of records that is stored, by revision, oldest first: it leaves the state hash with the row.
    rows: VecDeque<(Revision, u128)>,
    // The place of each id's record, counted from the first record ever. Looked up, never iterated: its order differs
    // between replicas. Clients choose ids, so the hasher is seeded.
    places: HashMap<CommandId, u64, RandomState>,
}

impl Window {
    pub fn new(limits: Limits) -> Self {
        // Twice the bound: the table is never so full that it has to be laid out anew in the middle of a burst.
        let places = HashMap::with_capacity_and_hasher(limits.records * 2, RandomState::default());
        // Nor must this one be moved as it grows.
        let records = VecDeque::with_capacity(limits.records * 5 / 4);
        Self { limits, horizon: 0, records, forgotten: 0, rows: VecDeque::new(), places }
    }

    /// Commands executed below this revision are forgotten; those made below it are expired.
    pub fn horizon(&self) -> Revision {
        self.horizon
    }

    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn get(&self, id: CommandId) -> Option<&(Version, DedupRecord)> {
        let place = self.places.get(&id)? - self.forgotten;
        Some(&self.records[usize::try_from(place).expect("places lie within a deque in memory")])
    }

    /// Remembers a command under a version above all others. False if its id is remembered already.
    pub fn remember(&mut self, version: Version, record: DedupRecord) -> bool {
        match self.places.entry(record.id) {
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                vacant.insert(self.forgotten + self.records.len() as u64);
                self.records.push_back((version, record));
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
            self.places.remove(&record.id);
            self.forgotten += 1;
        }
        let passed = self.rows.partition_point(|(revision, _)| *revision < self.horizon);
        self.rows.drain(..passed)
    }
}
