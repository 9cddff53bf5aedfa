//! Who belongs to the group, and how that changes, as it crosses a peer port. Must not know who may change it.

use serde::{Deserialize, Serialize};

use crate::NodeId;

/// One change of who belongs to the group. Each is committed before the next may begin. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberChange {
    /// A replica that is up and empty is sent the log, and has no vote.
    AddLearner(Member),
    /// These vote, and no others (joint consensus: Raft dissertation 4.3). Those that begin to vote are learners that
    /// have caught up; those that end are members no longer.
    Voters(Vec<NodeId>),
    /// A learner is a member no longer.
    RemoveLearner(NodeId),
}

/// A replica as the membership names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its id, never used again for another disk.
    pub id: NodeId,
    /// `catalog-4`.
    pub name: String,
    /// `host:port` of its peer port.
    pub address: String,
    /// The incarnation of its disk.
    pub incarnation: u128,
}

/// How far a member is, as the leader sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Index of the last entry that its log is known to share with the leader's.
    pub matched: u64,
    /// How long ago it was last heard, in milliseconds; `None` when it never was.
    pub heard_ms: Option<u64>,
}

/// Who belongs to the group, as it was last committed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Members {
    /// Where it stands in the log; 0 before the group is founded.
    pub index: u64,
    /// The voters; while a change is half done, of the old group and of the new one.
    pub voters: Vec<NodeId>,
    /// Voters and learners.
    pub all: Vec<Member>,
    /// Whether a change has begun and is not yet done.
    pub changing: bool,
    /// Index of the last log entry of whoever answers.
    pub last_log: u64,
    /// How far each is, of the leader only.
    pub progress: Vec<(NodeId, Progress)>,
    /// `host:port` at which whoever answers serves clients.
    pub client: String,
}

impl Members {
    /// The member `id`.
    pub fn get(&self, id: NodeId) -> Option<&Member> {
        self.all.iter().find(|member| member.id == id)
    }

    /// Whether `id` votes.
    pub fn votes(&self, id: NodeId) -> bool {
        self.voters.contains(&id)
    }

    /// Ids of those that do not vote.
    pub fn learners(&self) -> impl Iterator<Item = NodeId> {
        self.all.iter().map(|member| member.id).filter(|id| !self.votes(*id))
    }

    /// How far `id` is; only the leader says so.
    pub fn progress(&self, id: NodeId) -> Option<Progress> {
        self.progress.iter().find(|(of, _)| *of == id).map(|(_, progress)| *progress)
    }
}
