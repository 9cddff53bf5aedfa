//! The newest entries of the log, decoded, so that apply and replication do not read back what was just appended.
//! Bounded by bytes and by count. Pure: knows nothing of disks.

use std::{collections::VecDeque, mem::size_of, ops::Range};

use openraft::EntryPayload;

use crate::raft::Entry;

/// Entries held at most, however small they are.
pub const MAX_ENTRIES: usize = 16 * 1024;
/// What a membership is counted as, in bytes: they are few, and not worth encoding to be measured.
const MEMBERSHIP_BYTES: usize = 1024;

/// The bytes that an entry holds in memory, nearly.
pub fn entry_bytes(entry: &Entry) -> usize {
    size_of::<Entry>()
        + match &entry.payload {
            EntryPayload::Blank => 0,
            EntryPayload::Normal(batch) => batch.0.len(),
            EntryPayload::Membership(_) => MEMBERSHIP_BYTES,
        }
}

/// Consecutive entries at the end of the log; none, when what was appended last is larger than the bound.
#[derive(Debug)]
pub struct Tail {
    entries: VecDeque<Entry>,
    bytes: usize,
    max_bytes: usize,
}

impl Tail {
    /// Holds at most `max_bytes`.
    pub fn new(max_bytes: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, max_bytes }
    }

    /// The indexes held.
    pub fn range(&self) -> Range<u64> {
        match (self.entries.front(), self.entries.back()) {
            (Some(first), Some(last)) => first.log_id.index..last.log_id.index + 1,
            _ => 0..0,
        }
    }

    /// Adds entries at the end, and drops the oldest ones past the bounds. Entries that do not follow on the last
    /// one replace everything.
    pub fn append(&mut self, entries: impl IntoIterator<Item = Entry>) {
        for entry in entries {
            if !self.entries.is_empty() && entry.log_id.index != self.range().end {
                self.clear();
            }
            self.bytes += entry_bytes(&entry);
            self.entries.push_back(entry);
            while self.bytes > self.max_bytes || self.entries.len() > MAX_ENTRIES {
                self.drop_front();
            }
        }
    }

    /// Drops the entries from `index` on.
    pub fn truncate(&mut self, index: u64) {
        while self.entries.back().is_some_and(|entry| entry.log_id.index >= index) {
            if let Some(entry) = self.entries.pop_back() {
                self.bytes -= entry_bytes(&entry);
            }
        }
    }

    /// Drops the entries before `index`.
    pub fn purge(&mut self, index: u64) {
        while self.entries.front().is_some_and(|entry| entry.log_id.index < index) {
            self.drop_front();
        }
    }

    /// The entries of `range`, as many as fit into `max_bytes` but at least one; `None` when not all of `range` is
    /// held.
    pub fn get(&self, range: Range<u64>, max_bytes: usize) -> Option<Vec<Entry>> {
        let held = self.range();
        if range.is_empty() || range.start < held.start || range.end > held.end {
            return None;
        }
        let first = usize::try_from(range.start - held.start).expect("a bounded queue is indexed by usize");
        let count = usize::try_from(range.end - range.start).expect("a bounded queue is indexed by usize");
        let mut bytes = 0;
        let entries = self.entries.range(first..first + count).enumerate().take_while(|(nth, entry)| {
            bytes += entry_bytes(entry);
            *nth == 0 || bytes <= max_bytes
        });
        Some(entries.map(|(_, entry)| entry.clone()).collect())
    }

    fn drop_front(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry_bytes(&entry);
        }
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::entry, *};

    const PAYLOAD: usize = 1000;

    fn tail_of(max_bytes: usize, indexes: Range<u64>) -> Tail {
        let mut tail = Tail::new(max_bytes);
        tail.append(indexes.map(|index| entry(1, index, PAYLOAD)));
        tail
    }

    fn indexes(entries: &[Entry]) -> Vec<u64> {
        entries.iter().map(|entry| entry.log_id.index).collect()
    }

    #[test]
    fn gives_what_it_holds_and_nothing_else() {
        let tail = tail_of(usize::MAX, 5..10);
        assert_eq!(tail.range(), 5..10);
        assert_eq!(indexes(&tail.get(6..9, usize::MAX).unwrap()), [6, 7, 8]);
        assert!(tail.get(4..6, usize::MAX).is_none());
        assert!(tail.get(8..11, usize::MAX).is_none());
        assert!(tail.get(7..7, usize::MAX).is_none());
    }

    #[test]
    fn gives_at_least_one_entry_whatever_the_limit() {
        let tail = tail_of(usize::MAX, 0..10);
        assert_eq!(indexes(&tail.get(2..9, 1).unwrap()), [2]);
        let two = 2 * entry_bytes(&entry(1, 0, PAYLOAD));
        assert_eq!(indexes(&tail.get(2..9, two).unwrap()), [2, 3]);
    }

    #[test]
    fn keeps_within_its_bytes_by_dropping_the_oldest() {
        let three = 3 * entry_bytes(&entry(1, 0, PAYLOAD));
        let mut tail = tail_of(three, 0..10);
        assert_eq!(tail.range(), 7..10);
        assert_eq!(tail.bytes, three);
        tail.append([entry(1, 10, three)]);
        assert_eq!((tail.range(), tail.bytes), (0..0, 0));
        tail.append([entry(1, 11, 0)]);
        assert_eq!(tail.range(), 11..12);
    }

    #[test]
    fn keeps_within_its_count() {
        let mut tail = Tail::new(usize::MAX);
        let count = MAX_ENTRIES as u64 + 10;
        tail.append((0..count).map(|index| entry(1, index, 0)));
        assert_eq!(tail.range(), 10..count);
    }

    #[test]
    fn truncates_purges_and_starts_anew() {
        let mut tail = tail_of(usize::MAX, 0..10);
        tail.truncate(8);
        tail.purge(3);
        assert_eq!(tail.range(), 3..8);
        tail.append([entry(2, 8, 1)]);
        assert_eq!(tail.range(), 3..9);
        tail.append([entry(2, 20, 1)]);
        assert_eq!(tail.range(), 20..21);
        assert_eq!(tail.bytes, entry_bytes(&entry(2, 20, 1)));
        tail.purge(100);
        assert_eq!((tail.range(), tail.bytes), (0..0, 0));
    }
}
