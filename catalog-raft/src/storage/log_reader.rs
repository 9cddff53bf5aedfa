//! Reading the Raft log: from the tail in memory, or else from disk, off the runtime's threads. What is read is
//! checked: consecutive indexes, bytes that decode. Anything else is an error, which ends the process.

use std::{
    collections::VecDeque,
    fmt::Debug,
    io,
    ops::{Bound, Range, RangeBounds},
    sync::Arc,
};

use futures::{Stream, stream};
use openraft::{OptionalSend, RaftLogReader};
use rocksdb::{DBRawIterator, ReadOptions};

use super::{
    codec::decode_entry,
    keys::{CF_LOG, log_index, log_key},
    log_store::{Inner, LogStore, Memory},
};
use crate::{
    blocking,
    raft::{Entry, TypeConfig, Vote},
};

/// Bytes read at once, by replication and by apply: enough to fill a pipe, small enough for many readers. An entry
/// that is larger is read alone.
pub const CHUNK_BYTES: usize = 2 << 20;

impl LogStore {
    /// The entries of `range` that are there, as many as fit into `max_bytes` but at least one.
    async fn read(&self, range: Range<u64>, max_bytes: usize) -> io::Result<Vec<Entry>> {
        {
            let memory = self.inner.read_memory();
            let there = memory.there(&range);
            if there.is_empty() {
                return Ok(Vec::new());
            }
            if let Some(entries) = memory.tail.get(there, max_bytes) {
                return Ok(entries);
            }
        }
        let inner = Arc::clone(&self.inner);
        blocking::apart(move || inner.read_disk(&range, max_bytes)).await?
    }

    /// As [`LogStore::read`], for a range that must not have been purged.
    async fn read_chunk(&self, range: Range<u64>) -> io::Result<Vec<Entry>> {
        let purged = self.inner.read_memory().purged;
        match purged {
            Some(purged) if !range.is_empty() && range.start <= purged.index => {
                Err(io::Error::other(format!("entries {range:?} are wanted, but the log is purged up to {purged}")))
            }
            _ => self.read(range, CHUNK_BYTES).await,
        }
    }
}

impl Memory {
    /// What is there of `range`.
    fn there(&self, range: &Range<u64>) -> Range<u64> {
        range.start.max(self.present.start)..range.end.min(self.present.end)
    }
}

impl Inner {
    fn read_disk(&self, range: &Range<u64>, max_bytes: usize) -> io::Result<Vec<Entry>> {
        let (there, mut rows) = {
            // An iterator sees the database as it was when it was made. Made under the lock, it sees the range that
            // the lock shows, whatever is truncated or purged meanwhile.
            let memory = self.read_memory();
            let there = memory.there(range);
            if there.is_empty() {
                return Ok(Vec::new());
            }
            let rows = self.iterate(&there);
            (there, rows)
        };
        rows.seek(log_key(there.start));
        let mut entries = Vec::new();
        let mut bytes = 0;
        for index in there {
            let Some((key, value)) = rows.item() else {
                rows.status().map_err(io::Error::other)?;
                return Err(damaged(index, "it is missing"));
            };
            if log_index(key) != Some(index) {
                return Err(damaged(index, "it is missing"));
            }
            bytes += value.len();
            if bytes > max_bytes && !entries.is_empty() {
                break;
            }
            let entry = decode_entry(value).map_err(|error| damaged(index, &error.to_string()))?;
            if entry.log_id.index != index {
                return Err(damaged(index, "it holds another index"));
            }
            entries.push(entry);
            rows.next();
        }
        Ok(entries)
    }

    fn iterate(&self, range: &Range<u64>) -> DBRawIterator<'_> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(log_key(range.start));
        options.set_iterate_upper_bound(log_key(range.end));
        // A follower that catches up reads everything once: it must not empty the cache for the others.
        options.fill_cache(false);
        self.db.raw().raw_iterator_cf_opt(self.db.cf(CF_LOG), options)
    }
}

fn damaged(index: u64, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("log entry {index} on disk is damaged: {what}"))
}

fn half_open(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        self.read(half_open(&range), usize::MAX).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.vote())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.read_chunk(start..end).await
    }

    /// In chunks: apply may ask for all of a long log at once after a restart.
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let store = self.clone();
        stream::try_unfold((VecDeque::new(), half_open(&range)), move |(mut chunk, mut rest)| {
            let store = store.clone();
            async move {
                if chunk.is_empty() {
                    chunk = VecDeque::from(store.read_chunk(rest.clone()).await?);
                }
                let next: Option<Entry> = chunk.pop_front();
                Ok(next.map(|entry| {
                    rest.start = entry.log_id.index + 1;
                    (entry, (chunk, rest))
                }))
            }
        })
    }
}
