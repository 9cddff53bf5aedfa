//! The order service's contract, and its client: buys coalesced into batches, spread over live order servers.
//!
//! Must not know how an order server reaches the catalog.

pub mod view;

use std::sync::Arc;

use catalog_client::{Answer, Command, NodeId};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// Where an order server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its name, `order-1`.
    pub name: String,
    /// `host:port`.
    pub address: String,
}

/// The path of the batch route: the body is bincode of [`PlaceBatch`], the answer bincode of [`BatchAnswer`].
pub const BATCH_PATH: &str = "/v1/orders:batch";

/// Many orders in one request. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceBatch {
    /// Each a [`catalog_client::Action::PlaceOrder`].
    pub commands: Vec<Command>,
    /// How long the sender still waits, in milliseconds.
    pub wait_ms: u32,
}

/// What became of each, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchAnswer {
    /// One a command.
    pub answers: Vec<Result<Placed, NotPlaced>>,
}

/// An answer of the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// The leader that committed it.
    pub leader: NodeId,
    /// The order, or why there is none.
    pub answer: Answer,
}

/// Why there is no answer. All but `Unknown` mean that the order was not and will not be placed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum NotPlaced {
    /// Too much waits already.
    #[error("overloaded")]
    Overloaded,
    /// No order server, or no quorum, by the deadline.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// What became of it was not learnt by the deadline.
    #[error("outcome unknown")]
    Unknown,
}

/// A handle on the order service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Orders(Arc<Inner>);

#[derive(Debug)]
struct Inner {}

impl Orders {
    /// A client; must be called within a tokio runtime. Watches the health of the servers in the background
    /// and logs changes of it.
    pub fn new(_sender: String, _servers: Vec<Server>) -> Self {
        todo!()
    }

    /// Places one order: coalesced with others that wait, sent to a live server by turn, re-issued to another
    /// under the same id when one fails, until `deadline`.
    ///
    /// # Errors
    /// [`NotPlaced`] says whether it may have been placed.
    pub async fn place(&self, _command: Command, _deadline: Instant) -> Result<Placed, NotPlaced> {
        let _ = &self.0;
        todo!()
    }

    /// Each server and whether it is live.
    pub fn servers(&self) -> Vec<(Server, bool)> {
        todo!()
    }

    /// Takes no more, and returns when all that was taken has its answer.
    pub async fn close(&self) {
        todo!()
    }
}
