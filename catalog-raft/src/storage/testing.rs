//! What the tests of the log store share.

use bytes::Bytes;
use openraft::{EntryPayload, entry::RaftEntry};

use crate::raft::{Batch, Entry, LogId};

/// An entry with that many bytes of commands.
pub fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    let commands = Batch(Bytes::from(vec![b'x'; bytes]));
    Entry::new(LogId::new_term_index(term, index), EntryPayload::Normal(commands))
}
