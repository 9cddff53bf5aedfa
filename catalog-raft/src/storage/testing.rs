//! What the tests of the log store share.

use std::ops::Range;

use bytes::Bytes;
use openraft::{
    EntryPayload, RaftLogReader,
    entry::RaftEntry,
    storage::{IOFlushed, RaftLogStorage},
    type_config::TypeConfigExt,
};

use super::LogStore;
use crate::raft::{Batch, Entry, LogId, TypeConfig};

/// Bytes of commands in an entry, where the test does not care.
pub const PAYLOAD: usize = 100;

/// A log id.
pub fn id(term: u64, index: u64) -> LogId {
    LogId::new_term_index(term, index)
}

/// An entry with that many bytes of commands.
pub fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    let commands = Batch(Bytes::from(vec![b'x'; bytes]));
    Entry::new(id(term, index), EntryPayload::Normal(commands))
}

/// Appends without waiting; what it gives waits for the sync.
pub async fn start_append(store: &mut LogStore, entries: Vec<Entry>) -> impl Future<Output = ()> + use<> {
    let (callback, done) = TypeConfig::oneshot();
    store.append(entries, IOFlushed::signal(callback)).await.unwrap();
    async { done.await.unwrap().unwrap() }
}

/// Appends, durably.
pub async fn append(store: &mut LogStore, term: u64, indexes: Range<u64>) {
    let entries = indexes.map(|index| entry(term, index, PAYLOAD)).collect();
    start_append(store, entries).await.await;
}

/// The log ids of what is there of a range.
pub async fn ids(store: &mut LogStore, range: Range<u64>) -> Vec<LogId> {
    store.try_get_log_entries(range).await.unwrap().into_iter().map(|entry| entry.log_id).collect()
}
