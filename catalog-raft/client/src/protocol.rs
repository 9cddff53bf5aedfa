//! What crosses a peer port on connections of purpose `Client` and `Watch`.
//!
//! On a `Client` connection each frame of kind [`REQUEST`] is an [`Envelope`] of [`Request`]; the replica answers
//! each with frames of kind [`RESPONSE`], envelopes of [`Response`] with the same `id`, in any order. Enums are
//! append-only.

use serde::{Deserialize, Serialize};

pub use self::members::{Member, MemberChange, Members, Progress};
use crate::{Answer, Command, Event, Item, ItemNumber, NodeId, Order, OrderId, Revision, Version, frame::encode};

mod members;

/// The kind of a frame that holds `Envelope<Request>`.
pub const REQUEST: u8 = 1;
/// The kind of a frame that holds `Envelope<Response>`.
pub const RESPONSE: u8 = 2;
/// The kind of a frame that holds a [`WatchFrom`].
pub const WATCH_FROM: u8 = 3;
/// The kind of a frame that holds a [`WatchFrame`].
pub const WATCH: u8 = 4;

/// The most commands in one [`Request::Submit`].
pub const MAX_SUBMIT: usize = 4096;
/// The most items or orders in one frame of a [`Response::Read`]; longer lists come in several.
pub const CHUNK: usize = 1000;

/// Pairs a response with its request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope<T> {
    /// Chosen by the asking side, unique on the connection while it waits.
    pub id: u64,
    /// What is said.
    pub body: T,
}

/// What a replica is asked. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Propose these commands, in order. Only the leader does.
    Submit {
        /// 1 to [`MAX_SUBMIT`] commands.
        commands: Vec<Command>,
        /// How long the asker still waits, in milliseconds.
        wait_ms: u32,
    },
    /// Read a view.
    Read {
        /// What.
        view: View,
        /// From which state.
        at: ReadAt,
        /// How long to wait for that state, in milliseconds.
        wait_ms: u32,
    },
    /// A revision that reflects every write acknowledged before now (ReadIndex, Raft dissertation 6.4).
    /// Only the leader answers, after a round of heartbeats.
    ReadIndex {
        /// How long the asker waits, in milliseconds.
        wait_ms: u32,
    },
    /// The replica's state.
    Status,
    /// Who belongs to the group: [`Response::Members`].
    Members {
        /// Only of the leader, who alone knows how far the others are.
        of_leader: bool,
    },
    /// Change who belongs to the group. Only the leader does; the answer is [`Response::Members`] as they are then, or
    /// [`Response::NotChanged`].
    ChangeMembers {
        /// [`Members::index`] that the change was decided on: another one means that it has to be decided anew.
        based_on: u64,
        /// What.
        change: MemberChange,
    },
    /// Build a snapshot now, each replica its own. Answered at once: [`Response::SnapshotAsked`].
    Snapshot,
    /// Hand the leadership to another voter. Only the leader does; the answer is [`Response::Transferred`], or
    /// [`Response::NotTransferred`].
    TransferLeader {
        /// To whom; `None` for the voter that is furthest on.
        to: Option<NodeId>,
    },
}

/// What can be read.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum View {
    /// One item.
    Item(ItemNumber),
    /// Items by number.
    Items {
        /// Only of this topic.
        topic: Option<String>,
        /// Only those whose title has, for each [word](crate::items::words()) of this, one that begins with it. Within the bounds of
        /// [`check_query`](crate::items::check_query).
        words: Option<String>,
        /// Only numbers above this one.
        after: Option<ItemNumber>,
        /// At most so many; `None` for all.
        limit: Option<u32>,
    },
    /// One order.
    Order(OrderId),
    /// Orders in the order in which they were placed.
    Orders {
        /// Only those placed after this one.
        after: Option<Version>,
        /// At most so many.
        limit: u32,
    },
}

/// From which state a view is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadAt {
    /// The replica's own state, as it is.
    Local,
    /// A state at least as new.
    AtLeast(Revision),
    /// A state that reflects every write acknowledged before the request. Any replica: a follower asks the leader.
    Linearizable,
}

/// What a replica answers. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// The answers to a [`Request::Submit`], one a command, in order.
    Submitted {
        /// The leader that committed them.
        leader: NodeId,
        /// One a command.
        answers: Vec<Answer>,
    },
    /// The answer to a [`Request::Read`], or one part of it.
    Read {
        /// The state it was read from; the same in all parts.
        revision: Revision,
        /// The data, or the next part of a list.
        data: Data,
        /// Whether this is the last part.
        last: bool,
    },
    /// The answer to a [`Request::ReadIndex`].
    ReadIndex(Revision),
    /// The answer to a [`Request::Status`].
    Status(Box<Status>),
    /// It was not done.
    Refused(Refusal),
    /// The answer to a [`Request::Members`], and to a [`Request::ChangeMembers`] that was done.
    Members(Box<Members>),
    /// Why a [`Request::ChangeMembers`] was not done, and what to do first.
    NotChanged(String),
    /// The answer to a [`Request::Snapshot`].
    SnapshotAsked(SnapshotAsked),
    /// Who leads after a [`Request::TransferLeader`].
    Transferred(NodeId),
    /// Why a [`Request::TransferLeader`] was not done, and what to do.
    NotTransferred(String),
}

/// What a replica knows when it is asked for a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotAsked {
    /// Up to where its last snapshot goes, 0 without one.
    pub snapshot: Revision,
    /// What it has applied. The snapshot is there once [`Status::snapshot`] has come as far.
    pub applied: Revision,
}

impl SnapshotAsked {
    /// Whether the last snapshot has everything, so that no other is built.
    pub fn is_there(&self) -> bool {
        self.snapshot >= self.applied
    }
}

/// What a view holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Data {
    /// Of [`View::Item`].
    Item(Option<Item>),
    /// Of [`View::Items`].
    Items {
        /// At most [`CHUNK`] in one frame.
        items: Vec<Item>,
        /// In the last part: whether there are more beyond the limit.
        more: bool,
    },
    /// Of [`View::Order`].
    Order(Option<Order>),
    /// Of [`View::Orders`].
    Orders {
        /// At most [`CHUNK`] in one frame.
        orders: Vec<Order>,
        /// In the last part: whether there are more beyond the limit.
        more: bool,
    },
}

/// Why something was not done. All but [`Refusal::Unknown`] mean that it did not and will not take effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Ask the leader, if it is named.
    #[error("not the leader")]
    NotLeader {
        /// Who leads, as far as this replica knows.
        leader: Option<NodeId>,
    },
    /// Too much is waiting already: come back later.
    #[error("overloaded")]
    Overloaded,
    /// The leader cannot reach a quorum, or the state was not reached in time.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// Proposed, but what became of it is not known.
    #[error("outcome unknown")]
    Unknown,
    /// The request itself is wrong.
    #[error("invalid request: {0}")]
    Invalid(String),
}

/// A replica's state: the body of `GET /v1/status`, in this order of fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// `catalog-1`.
    pub node: String,
    /// Its id.
    pub id: NodeId,
    /// `leader`, `follower`, `candidate`, `learner` or `shutdown`.
    pub role: String,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeId>,
    /// The term.
    pub term: u64,
    /// Index of the last log entry.
    pub last_log: u64,
    /// Index of the last entry known to be committed.
    pub committed: u64,
    /// Index of the last entry applied: its revision.
    pub applied: Revision,
    /// Index up to which the last snapshot goes, 0 without one.
    pub snapshot: u64,
    /// Index up to which the log is purged, 0 when it is whole.
    pub purged: u64,
    /// Hash over items, orders and dedup records, read together with `applied`.
    pub state_hash: String,
    /// Items in the catalogue.
    pub items: u64,
    /// Orders in the ledger.
    pub orders: u64,
    /// Ids of the voters.
    pub voters: Vec<NodeId>,
    /// Ids of the learners.
    pub learners: Vec<NodeId>,
    /// Always `fsync`.
    pub durability: String,
    /// The version of the program.
    pub version: String,
}

/// Asks for changes: the first and only frame that a watcher sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchFrom {
    /// The last revision known; `None` begins at the replica's present one.
    pub after: Option<Revision>,
}

/// A stretch of history: everything that happened in `(prev, upto]`. Without events it is a bookmark, sent at
/// least every [`WATCH_IDLE_MS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WatchFrame {
    /// Ordered, unique, atomic per revision.
    Events {
        /// Where the stretch before ended; in the first frame, the revision asked for.
        prev: Revision,
        /// Where this one ends.
        upto: Revision,
        /// In ascending order of revision.
        events: Vec<Event>,
    },
    /// The revision asked for is no longer kept: reload, then watch from a newer one. The replica closes.
    Compacted {
        /// The oldest revision that can be resumed from.
        oldest: Revision,
    },
}

/// The payload of a [`WatchFrame::Events`] whose events are encoded already.
pub fn events_frame(prev: Revision, upto: Revision, encoded: &[impl AsRef<[u8]>]) -> Vec<u8> {
    // Of a list bincode writes the length, then each after the other.
    let mut payload = encode(&WatchFrame::Events { prev, upto, events: Vec::new() });
    payload.pop();
    payload.extend(encode(&encoded.len()));
    encoded.iter().for_each(|event| payload.extend_from_slice(event.as_ref()));
    payload
}

/// The longest silence on a watch stream, in milliseconds.
pub const WATCH_IDLE_MS: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Change;

    #[test]
    fn events_that_are_encoded_already_make_the_same_frame() {
        let event = |revision| {
            let change =
                |n| Change::Withdrawn { item_number: n, topic: "t".into(), version: Version { revision, n: 7 } };
            Event { revision, changes: (0..revision).map(change).collect() }
        };
        for count in [0, 1, 250, 251, 300] {
            let events: Vec<_> = (1..=count).map(event).collect();
            let encoded: Vec<_> = events.iter().map(encode).collect();
            let (prev, upto) = (count * 1000, u64::MAX);
            assert_eq!(events_frame(prev, upto, &encoded), encode(&WatchFrame::Events { prev, upto, events }));
        }
    }
}
