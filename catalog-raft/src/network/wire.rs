//! What replicas say to each other: own types, append-only, under the version of the frames.

use catalog_client::frame::{decode, encode};
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use serde::{Deserialize, Serialize};

use crate::{
    raft::TypeConfig,
    storage::codec::{StoredEntry, StoredLogId, StoredMembership, StoredVote},
};

/// Kinds of frames between replicas; those of the client protocol are below 10.
pub mod kind {
    /// [`super::Append`].
    pub const APPEND: u8 = 10;
    /// [`super::Appended`].
    pub const APPENDED: u8 = 11;
    /// [`super::Ballot`], a vote asked for.
    pub const VOTE: u8 = 12;
    /// [`super::Ballot`], asked before the term is raised.
    pub const PRE_VOTE: u8 = 13;
    /// [`super::Cast`], the answer to both.
    pub const CAST: u8 = 14;
    /// [`super::Transfer`].
    pub const TRANSFER: u8 = 15;
    /// [`super::Transferred`].
    pub const TRANSFERRED: u8 = 16;
    /// [`super::SnapshotBegin`].
    pub const SNAPSHOT_BEGIN: u8 = 17;
    /// The next bytes of a snapshot file.
    pub const SNAPSHOT_CHUNK: u8 = 18;
    /// The file is whole.
    pub const SNAPSHOT_END: u8 = 19;
    /// [`super::Installed`].
    pub const SNAPSHOT_INSTALLED: u8 = 20;
    /// A chunk is on its way to the disk: send the next.
    pub const SNAPSHOT_TAKEN: u8 = 21;
    /// Whether there is space on the disk, asked by a leader that has none.
    pub const SPACE: u8 = 22;
    /// The answer: a `bool`.
    pub const HAS_SPACE: u8 = 23;
}

/// AppendEntries; without entries a heartbeat, or a commit alone.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Append {
    vote: StoredVote,
    prev: Option<StoredLogId>,
    commit: Option<StoredLogId>,
    entries: Vec<StoredEntry>,
}

impl Append {
    /// The bytes of a request.
    pub fn encode(request: &AppendEntriesRequest<TypeConfig>) -> Vec<u8> {
        encode(&Self {
            vote: request.vote.into(),
            prev: request.prev_log_id.map(Into::into),
            commit: request.leader_commit.map(Into::into),
            entries: request.entries.iter().map(StoredEntry::from).collect(),
        })
    }

    /// The request of bytes.
    ///
    /// # Errors
    /// `InvalidData`.
    pub fn decode(bytes: &[u8]) -> std::io::Result<AppendEntriesRequest<TypeConfig>> {
        let append: Self = decode(bytes)?;
        Ok(AppendEntriesRequest {
            vote: append.vote.into(),
            prev_log_id: append.prev.map(Into::into),
            leader_commit: append.commit.map(Into::into),
            entries: append.entries.into_iter().map(Into::into).collect(),
        })
    }
}

/// The answer to an [`Append`], given once everything up to it is on stable storage.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Appended {
    /// The log matches, and is synced, up to here.
    Matching(Option<StoredLogId>),
    /// It does not hold this entry.
    Conflict(StoredLogId),
    /// It has seen a greater vote.
    HigherVote(StoredVote),
}

impl From<StreamAppendResult<TypeConfig>> for Appended {
    fn from(result: StreamAppendResult<TypeConfig>) -> Self {
        match result {
            Ok(matching) => Self::Matching(matching.map(Into::into)),
            Err(StreamAppendError::Conflict(id)) => Self::Conflict(id.into()),
            Err(StreamAppendError::HigherVote(vote)) => Self::HigherVote(vote.into()),
        }
    }
}

impl From<Appended> for StreamAppendResult<TypeConfig> {
    fn from(appended: Appended) -> Self {
        match appended {
            Appended::Matching(matching) => Ok(matching.map(Into::into)),
            Appended::Conflict(id) => Err(StreamAppendError::Conflict(id.into())),
            Appended::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote.into())),
        }
    }
}

/// RequestVote.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ballot {
    vote: StoredVote,
    last_log_id: Option<StoredLogId>,
    leadership_transfer: bool,
}

impl From<VoteRequest<TypeConfig>> for Ballot {
    fn from(request: VoteRequest<TypeConfig>) -> Self {
        Self {
            vote: request.vote.into(),
            last_log_id: request.last_log_id.map(Into::into),
            leadership_transfer: request.leadership_transfer,
        }
    }
}

impl From<Ballot> for VoteRequest<TypeConfig> {
    fn from(ballot: Ballot) -> Self {
        let mut request = Self::new(ballot.vote.into(), ballot.last_log_id.map(Into::into));
        request.leadership_transfer = ballot.leadership_transfer;
        request
    }
}

/// The answer to a [`Ballot`].
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cast {
    vote: StoredVote,
    granted: bool,
    last_log_id: Option<StoredLogId>,
}

impl From<VoteResponse<TypeConfig>> for Cast {
    fn from(response: VoteResponse<TypeConfig>) -> Self {
        Self {
            vote: response.vote.into(),
            granted: response.vote_granted,
            last_log_id: response.last_log_id.map(Into::into),
        }
    }
}

impl From<Cast> for VoteResponse<TypeConfig> {
    fn from(cast: Cast) -> Self {
        let vote: crate::raft::Vote = cast.vote.into();
        Self::new(vote, cast.last_log_id.map(Into::into), cast.granted)
    }
}

/// Asks a replica to take the lead.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    from: StoredVote,
    to: u64,
    last_log_id: Option<StoredLogId>,
}

impl From<TransferLeaderRequest<TypeConfig>> for Transfer {
    fn from(request: TransferLeaderRequest<TypeConfig>) -> Self {
        Self {
            from: (*request.from_leader()).into(),
            to: *request.to_node_id(),
            last_log_id: request.last_log_id().map(|id| (*id).into()),
        }
    }
}

impl From<Transfer> for TransferLeaderRequest<TypeConfig> {
    fn from(transfer: Transfer) -> Self {
        Self::new(transfer.from.into(), transfer.to, transfer.last_log_id.map(Into::into))
    }
}

/// The answer to a [`Transfer`].
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transferred {
    /// It will stand for election.
    Accepted,
    /// It follows another vote by now.
    VoteChanged {
        /// As the leader saw it.
        expected: StoredVote,
        /// As it is.
        actual: StoredVote,
    },
    /// It does not yet hold the whole log.
    LogNotFlushed {
        /// What the leader has.
        expected: Option<StoredLogId>,
        /// What it has.
        actual: Option<StoredLogId>,
    },
}

/// Opens the transfer of a snapshot.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotBegin {
    /// The leader's vote.
    pub vote: StoredVote,
    /// Up to where the snapshot goes.
    pub last_log_id: Option<StoredLogId>,
    /// Where its membership stands in the log.
    pub membership_log_id: Option<StoredLogId>,
    /// Its membership.
    pub membership: StoredMembership,
    /// The length of the file, in bytes.
    pub length: u64,
}

/// The answer to a whole snapshot.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// The follower's vote.
    pub vote: StoredVote,
}

#[cfg(test)]
mod fuzz;
