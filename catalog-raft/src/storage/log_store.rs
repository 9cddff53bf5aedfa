//! The Raft log and vote on RocksDB. Owns what may be written in which order; syncing is the flusher's, reading is
//! `log_reader.rs`'s, and what entries mean is not known here.
//!
//! openraft calls the methods that write one after the other. Each writes one batch, so that the log never has a
//! hole, whichever of them a crash undoes. Between calls `Memory` equals what a reader of the database sees.

use std::{
    io,
    ops::Range,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use catalog_client::mutant::Mutant;
use openraft::{
    EntryPayload, OptionalSend,
    storage::{IOFlushed, LogState, RaftLogStorage},
};
use rocksdb::WriteBatch;

use super::{
    codec::{StoredLogId, StoredVote, encode_entry, to_bytes},
    db::{Db, OpenError},
    flusher::{Flush, FlushStats, Flusher},
    keys::{CF_LOG, CF_META, META_COMMITTED, META_PURGED, META_VOTE, log_key},
    recovery::{Found, recover},
    tail::Tail,
};
use crate::{
    figures::Point,
    raft::{Entry, LogId, TypeConfig, Vote},
};

/// The log store of a replica. Clones share everything; the last one to go waits for what is still to be synced.
#[derive(Debug, Clone)]
pub struct LogStore {
    pub(super) inner: Arc<Inner>,
}

/// What the clones share.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) db: Db,
    flusher: Flusher,
    memory: RwLock<Memory>,
    bytes_appended: AtomicU64,
}

/// What is known of the log without reading it. The lock is held across a write that removes entries, so that a
/// reader sees them all or none of them.
#[derive(Debug)]
pub(super) struct Memory {
    vote: Option<Vote>,
    /// Written with the next entries: a hint that needs no write of its own, since `applied` is written with each.
    committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
    /// The last entry, or the last one purged when there is none.
    last: Option<LogId>,
    /// The indexes of the entries.
    pub(super) present: Range<u64>,
    pub(super) tail: Tail,
}

impl LogStore {
    /// Opens the log of `db`; its newest entries are held in memory up to `tail_bytes`.
    ///
    /// # Errors
    /// When the disk is damaged, or has lost what it had synced.
    pub fn open(db: Db, tail_bytes: usize) -> Result<Self, OpenError> {
        let Found { vote, committed, purged, last, present, mark } = recover(&db)?;
        let flusher = Flusher::start(db.clone(), mark).map_err(OpenError::io(db.dir()))?;
        let memory = Memory { vote, committed, purged, last, present, tail: Tail::new(tail_bytes) };
        let inner = Inner { db, flusher, memory: RwLock::new(memory), bytes_appended: AtomicU64::new(0) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whether this disk has neither voted nor logged anything.
    pub fn is_empty(&self) -> bool {
        let memory = self.inner.read_memory();
        memory.vote.is_none() && memory.last.is_none()
    }

    /// Bytes of commands appended since start.
    pub fn bytes_appended(&self) -> u64 {
        self.inner.bytes_appended.load(Relaxed)
    }

    /// The counts of the flusher.
    pub fn flush_stats(&self) -> Arc<FlushStats> {
        Arc::clone(self.inner.flusher.stats())
    }

    /// The vote that was saved last.
    pub(super) fn vote(&self) -> Option<Vote> {
        self.inner.read_memory().vote
    }

    /// Waits until everything written to the database before, by anyone, is durable.
    pub async fn synced(&self) {
        self.inner.flusher.wait(|done| Flush::Barrier { done }).await;
    }
}

impl Inner {
    /// A panic under the lock ends in the process's end; until then what was written stands.
    pub(super) fn read_memory(&self) -> RwLockReadGuard<'_, Memory> {
        self.memory.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_memory(&self) -> RwLockWriteGuard<'_, Memory> {
        self.memory.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, entries: Vec<Entry>, callback: IOFlushed<TypeConfig>) -> io::Result<()> {
        let Some(last) = entries.last().map(|entry| entry.log_id) else {
            callback.io_completed(Ok(()));
            return Ok(());
        };
        let committed = self.check_append(&entries)?;
        let encoded: Vec<_> = entries.iter().map(encode_entry).collect();
        let mut batch = super::db::batch_of(encoded.iter().map(Vec::len));
        let mut bytes = 0;
        for (entry, encoded) in entries.iter().zip(encoded) {
            batch.put_cf(self.db.cf(CF_LOG), log_key(entry.log_id.index), encoded);
            if let EntryPayload::Normal(commands) = &entry.payload {
                bytes += commands.0.len() as u64;
            }
        }
        self.put_committed(&mut batch, committed);
        self.db.write(batch);
        self.bytes_appended.fetch_add(bytes, Relaxed);
        self.db.figures().stages.reached(Point::Appended, last.index);

        let mut memory = self.write_memory();
        if memory.present.is_empty() {
            memory.present.start = entries[0].log_id.index;
        }
        memory.present.end = last.index + 1;
        memory.last = Some(last);
        memory.tail.append(entries);
        drop(memory);
        self.flusher.send(Flush::Append { last, callback });
        Ok(())
    }

    /// Checks that the entries follow on the log and on each other; gives what is known to be committed.
    fn check_append(&self, entries: &[Entry]) -> io::Result<Option<LogId>> {
        let memory = self.read_memory();
        let first = entries[0].log_id.index;
        // Nothing yet, not even purged: the log may start anywhere.
        let anywhere = memory.last.is_none();
        let follows = anywhere || first == memory.present.end;
        if !follows || entries.windows(2).any(|pair| pair[0].log_id.index + 1 != pair[1].log_id.index) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("entries from {first} on would leave a hole in the log {:?}", memory.present),
            ));
        }
        Ok(memory.committed)
    }

    fn truncate_after(&self, after: Option<LogId>) {
        let mut memory = self.write_memory();
        let start = after.map_or(0, |after| after.index + 1).max(memory.present.start);
        if start >= memory.present.end {
            return;
        }
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(self.db.cf(CF_LOG), log_key(start), log_key(memory.present.end));
        self.db.write(batch);
        memory.tail.truncate(start);
        memory.present.end = start;
        memory.last = if memory.present.is_empty() { memory.purged } else { after };
    }

    fn purge(&self, upto: LogId) {
        let mut memory = self.write_memory();
        if memory.purged.is_some_and(|purged| purged.index >= upto.index) {
            return;
        }
        let start = upto.index + 1;
        let mut batch = WriteBatch::default();
        batch.put_cf(self.db.cf(CF_META), META_PURGED, to_bytes(&StoredLogId::from(upto)));
        if !memory.present.is_empty() && memory.present.start < start {
            let end = start.min(memory.present.end);
            batch.delete_range_cf(self.db.cf(CF_LOG), log_key(memory.present.start), log_key(end));
        }
        self.put_committed(&mut batch, memory.committed);
        self.db.write(batch);
        memory.tail.purge(start);
        memory.purged = Some(upto);
        memory.present = memory.present.start.max(start)..memory.present.end.max(start);
        if memory.present.is_empty() {
            memory.last = Some(upto);
        }
    }

    fn put_committed(&self, batch: &mut WriteBatch, committed: Option<LogId>) {
        if let Some(committed) = committed {
            batch.put_cf(self.db.cf(CF_META), META_COMMITTED, to_bytes(&StoredLogId::from(committed)));
        }
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let memory = self.inner.read_memory();
        Ok(LogState { last_purged_log_id: memory.purged, last_log_id: memory.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.inner.db.cf(CF_META), META_VOTE, to_bytes(&StoredVote::from(*vote)));
        self.inner.db.write(batch);
        if !Mutant::VoteNotSynced.is_on() {
            self.inner.flusher.wait(|done| Flush::Vote { vote: *vote, done }).await;
        }
        self.inner.write_memory().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.inner.write_memory().committed = committed;
        if let Some(committed) = committed {
            self.inner.db.figures().stages.reached(Point::Committed, committed.index);
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.inner.read_memory().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.inner.append(entries.into_iter().collect(), callback)
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        // Through the flusher, behind all appends: it must not raise the mark again to an entry that goes now.
        self.inner.flusher.wait(|done| Flush::Lower { after: last_log_id, done }).await;
        self.inner.truncate_after(last_log_id);
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        self.inner.purge(log_id);
        Ok(())
    }
}
