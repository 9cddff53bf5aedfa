//! The catalog's contract: what is said to a replica and what it answers, and the client that says it.
//!
//! Owns the types of commands, outcomes, reads and watch events, the frames that carry them on a replica's
//! peer port, and the bytes of the compatible HTTP surface. Must not know openraft, RocksDB, or who is where:
//! addresses are given to it.

pub mod batch;
pub mod client;
pub mod compat;
pub mod deliveries;
pub mod frame;
pub mod items;
pub mod mutant;
pub mod net;
pub mod object;
pub mod problem;
pub mod protocol;
mod types;
pub mod watch;

pub use types::{
    Action, Answer, Change, Command, CommandId, Event, Existing, InvalidKey, Item, ItemNumber, KeyOrigin, Line,
    MAX_IMPORT, MAX_LINES, MAX_NAMED_ROWS, MAX_NUMBER, MAX_TITLE, MAX_TOPIC, NewItem, NodeId, Order, OrderId,
    OrderLine, Outcome, Revision, TakenRow, Version,
};
