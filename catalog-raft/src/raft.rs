//! The types that this store gives to openraft. Nothing outside this crate sees openraft.

use std::fmt;

use bytes::Bytes;
use catalog_client::{Answer, Command, NodeId, frame, protocol::Member};
use serde::{Deserialize, Serialize};

openraft::declare_raft_types!(
    /// The configuration of openraft: standard Raft leader ids, batches of commands as entries.
    pub TypeConfig:
        D = Batch,
        R = Answers,
        NodeId = NodeId,
        Node = Peer,
        LeaderId = openraft::impls::leader_id_std::LeaderId<Self::Term, Self::NodeId>,
        ErrorSource = openraft::AnyError,
);

/// A running member of the Raft group.
pub type Raft = openraft::Raft<TypeConfig, crate::storage::StateMachine>;
/// Term and index of a log entry.
pub type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
/// A vote, granted or asked for.
pub type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
/// A log entry.
pub type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
/// Who votes and who learns.
pub type Membership = openraft::Membership<NodeId, Peer>;
/// A membership and where it stands in the log.
pub type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
/// What a snapshot stands for.
pub type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;

/// The commands of one log entry, encoded once by the proposer: cheap to clone for each follower.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch(pub Bytes);

/// What a [`Batch`] holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commands {
    /// When it was proposed: milliseconds since the Unix epoch, by the leader's clock.
    pub time_ms: u64,
    /// The commands; the place of one is its `n`.
    pub commands: Vec<Command>,
}

/// The version of the bytes in a [`Batch`].
const BATCH_VERSION: u8 = 1;

/// What most commands need, in bytes.
const COMMAND_BYTES: usize = 48;

impl Batch {
    /// Encodes commands.
    pub fn encode(commands: &Commands) -> Self {
        let mut bytes = Vec::with_capacity(commands.commands.len() * COMMAND_BYTES + COMMAND_BYTES);
        bytes.push(BATCH_VERSION);
        let config = bincode::config::standard();
        bincode::serde::encode_into_std_write(commands, &mut bytes, config).expect("commands always encode");
        Self(bytes.into())
    }

    /// Decodes the commands.
    ///
    /// # Errors
    /// `InvalidData` when the bytes are of another version or damaged.
    pub fn decode(&self) -> std::io::Result<Commands> {
        match self.0.split_first() {
            Some((&BATCH_VERSION, rest)) => frame::decode(rest),
            first => Err(std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                format!("a batch of version {:?}, not {BATCH_VERSION}", first.map(|(version, _)| version)),
            )),
        }
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch of {} bytes", self.0.len())
    }
}

/// The answers to the commands of an entry, in order; none to an entry without commands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers(pub Vec<Answer>);

/// A member of the group, as the membership in the log names it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Peer {
    /// `catalog-2`.
    pub name: String,
    /// `host:port` of its peer port.
    pub address: String,
    /// The incarnation of its disk: another disk under the same id is refused.
    pub incarnation: u128,
}

impl Peer {
    /// The same, as others are told of it.
    pub fn to_member(&self, id: NodeId) -> Member {
        Member { id, name: self.name.clone(), address: self.address.clone(), incarnation: self.incarnation }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name, self.address)
    }
}
/// A snapshot and what it stands for.
pub type Snapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, crate::storage::SnapshotFile>;
