//! The client of the catalog's peer ports: one multiplexed connection a replica, the leader followed, commands
//! retried under the same id until their deadline.
//!
//! Must not know HTTP, nor what an answer is used for.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    Answer, Command, NodeId, Revision,
    protocol::{Data, ReadAt, Refusal, Status, View},
};

/// Where a replica is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its id.
    pub id: NodeId,
    /// Its name, `catalog-1`.
    pub name: String,
    /// `host:port` of its peer port.
    pub address: String,
}

/// Who asks, and whom.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cluster's name.
    pub cluster: String,
    /// The asker's name, `order-1`.
    pub sender: String,
    /// All replicas of the layout, at least one.
    pub replicas: Vec<Peer>,
}

/// What [`Catalog::submit`] brings back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// The leader that committed them.
    pub leader: NodeId,
    /// One answer a command, in order.
    pub answers: Vec<Answer>,
}

/// What [`Catalog::read`] brings back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadAnswer {
    /// The state it was read from.
    pub revision: Revision,
    /// The replica that served it.
    pub replica: NodeId,
    /// The data.
    pub data: Data,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing took effect, and nothing will.
    #[error("{0}")]
    Refused(Refusal),
    /// A try may have reached a leader; what became of it was not learnt by the deadline.
    #[error("outcome unknown: no answer by the deadline")]
    Unknown,
}

/// A handle on the whole catalog. Cheap to clone; connections are made when first used and made again when lost.
#[derive(Debug, Clone)]
pub struct Catalog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: Options,
}

impl Catalog {
    /// A client; must be called within a tokio runtime.
    pub fn new(options: Options) -> Self {
        Self(Arc::new(Inner { options }))
    }

    /// Who asks, and whom.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// The name of a replica.
    pub fn name_of(&self, _id: NodeId) -> &str {
        todo!()
    }

    /// Whether the last exchange with this replica went well. Unknown replicas and those never tried: false.
    pub fn is_live(&self, _id: NodeId) -> bool {
        todo!()
    }

    /// Who leads, as far as answers have told.
    pub fn leader(&self) -> Option<NodeId> {
        todo!()
    }

    /// Has `commands` (1 to [`crate::protocol::MAX_SUBMIT`]) committed, in order: finds the leader, follows
    /// redirects, and tries again under the same ids through elections and lost answers until `deadline`.
    ///
    /// # Errors
    /// [`Error::Refused`] only when no try can have taken effect; else [`Error::Unknown`].
    pub async fn submit(&self, _commands: Vec<Command>, _deadline: Instant) -> Result<Submitted, Error> {
        todo!()
    }

    /// Reads a view from `replica`, or, without one, round robin over live replicas, failing over until `deadline`.
    /// Lists that come in parts are put together.
    ///
    /// # Errors
    /// [`Error::Refused`] with why.
    pub async fn read(
        &self,
        _replica: Option<NodeId>,
        _view: &View,
        _at: ReadAt,
        _deadline: Instant,
    ) -> Result<ReadAnswer, Error> {
        todo!()
    }

    /// As [`Catalog::read`], but part by part: the first part has arrived when this returns; the others follow
    /// on the channel (of bounded size) and end with its close. A part that fails is an `Err`, the last one.
    ///
    /// # Errors
    /// [`Error::Refused`] when no replica gave a first part.
    pub async fn read_parts(
        &self,
        _replica: Option<NodeId>,
        _view: &View,
        _at: ReadAt,
        _deadline: Instant,
    ) -> Result<(ReadAnswer, tokio::sync::mpsc::Receiver<Result<Data, Error>>), Error> {
        todo!()
    }

    /// A revision that reflects every write acknowledged anywhere before the call.
    ///
    /// # Errors
    /// [`Error::Refused`] when there was no leader with a quorum by `deadline`.
    pub async fn read_index(&self, _deadline: Instant) -> Result<Revision, Error> {
        todo!()
    }

    /// The state of one replica.
    ///
    /// # Errors
    /// [`Error::Refused`] when it does not answer by `deadline`.
    pub async fn status(&self, _replica: NodeId, _deadline: Instant) -> Result<Status, Error> {
        todo!()
    }
}
