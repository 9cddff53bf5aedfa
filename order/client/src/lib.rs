//! The order service's contract, and its client: buys coalesced into batches, spread over live order servers.
//!
//! Must not know how an order server reaches the catalog.

mod delivery;
mod http;
mod orders;
mod servers;
#[cfg(test)]
mod tests;
pub mod view;

use catalog_client::{Action, Answer, Command, NodeId};
use serde::{Deserialize, Serialize};

pub use orders::Orders;

/// Where an order server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its name, `order-1`.
    pub name: String,
    /// `host:port`.
    pub address: String,
}

/// The path of the batch route: the body is bincode of [`PlaceBatch`], the answer bincode of [`BatchAnswer`].
/// Any status but 200 with 4xx or 503 means that nothing of the batch took or will take effect.
pub const BATCH_PATH: &str = "/v1/orders:batch";
/// The content type of both.
pub const BATCH_CONTENT_TYPE: &str = "application/octet-stream";
/// The most commands in one [`PlaceBatch`].
pub const MAX_BATCH: usize = 1024;
/// The most lines of all orders that are sent on together: each comes back with a title, and an answer must fit
/// one frame of the catalog's peer port.
pub const MAX_BATCH_LINES: usize = 16_384;
/// The longest body of a batch request, in bytes.
pub const MAX_BATCH_BODY: usize = 8 << 20;
/// The longest body of a batch answer, in bytes.
pub const MAX_BATCH_ANSWER: usize = 32 << 20;

/// Many orders in one request. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceBatch<C = Command> {
    /// Each a [`catalog_client::Action::PlaceOrder`].
    pub commands: Vec<C>,
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

/// Cuts a batch, in order, into parts of at most [`MAX_BATCH_LINES`] lines; an order is never cut.
pub fn parts_by_lines<T>(items: Vec<T>, command: impl Fn(&T) -> &Command) -> Vec<Vec<T>> {
    let (mut parts, mut lines) = (Vec::new(), usize::MAX);
    for item in items {
        let more = match &command(&item).action {
            Action::PlaceOrder { lines } => lines.len(),
            _ => 1,
        };
        lines = lines.saturating_add(more);
        if lines > MAX_BATCH_LINES {
            parts.push(Vec::new());
            lines = more;
        }
        parts.last_mut().expect("the first item begins a part").push(item);
    }
    parts
}
