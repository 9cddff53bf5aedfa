//! The bytes of Raft's own records, on disk and between replicas: our types, because openraft's serde derives promise
//! no stable format. Append-only; each record opens with a version byte.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use bytes::Bytes;
use catalog_client::{
    NodeId,
    frame::{decode, encode},
};
use openraft::{EntryPayload, entry::RaftEntry};
use serde::{Deserialize, Serialize};

use crate::raft::{Batch, Entry, LogId, Membership, Peer, Vote};

/// The version of these records.
const VERSION: u8 = 1;

/// Term and index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StoredLogId {
    /// Term of the leader that proposed it.
    pub term: u64,
    /// Index.
    pub index: u64,
}

impl From<LogId> for StoredLogId {
    fn from(id: LogId) -> Self {
        Self { term: id.leader_id.term, index: id.index }
    }
}

impl From<StoredLogId> for LogId {
    fn from(id: StoredLogId) -> Self {
        Self::new_term_index(id.term, id.index)
    }
}

/// A vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredVote {
    /// Term.
    pub term: u64,
    /// For whom.
    pub node: NodeId,
    /// Whether a quorum granted it.
    pub committed: bool,
}

impl From<Vote> for StoredVote {
    fn from(vote: Vote) -> Self {
        Self { term: vote.leader_id.term, node: vote.leader_id.voted_for, committed: vote.committed }
    }
}

impl From<StoredVote> for Vote {
    fn from(vote: StoredVote) -> Self {
        if vote.committed { Self::new_committed(vote.term, vote.node) } else { Self::new(vote.term, vote.node) }
    }
}

/// A membership, checked when it is decoded: every voter is a node, no configuration is empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "UncheckedMembership")]
pub struct StoredMembership {
    configs: Vec<BTreeSet<NodeId>>,
    nodes: BTreeMap<NodeId, Peer>,
}

/// The fields of a [`StoredMembership`], as they were read.
#[derive(Deserialize)]
struct UncheckedMembership {
    configs: Vec<BTreeSet<NodeId>>,
    nodes: BTreeMap<NodeId, Peer>,
}

impl TryFrom<UncheckedMembership> for StoredMembership {
    type Error = String;

    fn try_from(read: UncheckedMembership) -> Result<Self, String> {
        match Membership::new(read.configs.clone(), read.nodes.clone()) {
            Ok(_) => Ok(Self { configs: read.configs, nodes: read.nodes }),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl From<&Membership> for StoredMembership {
    fn from(membership: &Membership) -> Self {
        Self {
            configs: membership.get_joint_config().clone(),
            nodes: membership.nodes().map(|(id, peer)| (*id, peer.clone())).collect(),
        }
    }
}

impl From<StoredMembership> for Membership {
    fn from(stored: StoredMembership) -> Self {
        Self::new(stored.configs, stored.nodes).expect("it came from a membership, or was checked when it was decoded")
    }
}

/// A log entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredEntry {
    /// Term and index.
    pub log_id: StoredLogId,
    /// What it holds.
    pub payload: StoredPayload,
}

/// What a log entry holds. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoredPayload {
    /// A new leader's first entry.
    Blank,
    /// Commands.
    Batch(Bytes),
    /// A membership.
    Membership(StoredMembership),
}

impl From<&Entry> for StoredEntry {
    fn from(entry: &Entry) -> Self {
        let payload = match &entry.payload {
            EntryPayload::Blank => StoredPayload::Blank,
            EntryPayload::Normal(Batch(bytes)) => StoredPayload::Batch(bytes.clone()),
            EntryPayload::Membership(membership) => StoredPayload::Membership(membership.into()),
        };
        Self { log_id: entry.log_id.into(), payload }
    }
}

impl From<StoredEntry> for Entry {
    fn from(stored: StoredEntry) -> Self {
        let payload = match stored.payload {
            StoredPayload::Blank => EntryPayload::Blank,
            StoredPayload::Batch(bytes) => EntryPayload::Normal(Batch(bytes)),
            StoredPayload::Membership(membership) => EntryPayload::Membership(membership.into()),
        };
        Self::new(stored.log_id.into(), payload)
    }
}

/// The bytes of a record: version, then bincode.
pub fn to_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = encode(value);
    bytes.insert(0, VERSION);
    bytes
}

/// The record of `bytes`.
///
/// # Errors
/// `InvalidData` for another version or damaged bytes.
pub fn from_bytes<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => decode(rest),
        first => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a record of version {:?}, not {VERSION}", first.map(|(version, _)| version)),
        )),
    }
}

/// A log entry as bytes.
pub fn encode_entry(entry: &Entry) -> Vec<u8> {
    to_bytes(&StoredEntry::from(entry))
}

/// A log entry from bytes.
///
/// # Errors
/// As [`from_bytes`].
pub fn decode_entry(bytes: &[u8]) -> io::Result<Entry> {
    from_bytes::<StoredEntry>(bytes).map(Entry::from)
}

#[cfg(test)]
pub(crate) mod fuzz;
