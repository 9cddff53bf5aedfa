//! Everything on disk: one RocksDB with one WAL, so that the log is never behind the state, and the files beside it.
//!
//! Owns opening and the format; the rooms below own one concern each.

pub mod codec;
pub mod db;
pub mod keys;
mod install;
mod snapshot;
mod state;
mod state_machine;

pub use snapshot::{SnapshotFile, SnapshotReceiver};
pub use state::{Applied, Installing, State};
pub use state_machine::{SNAPSHOTS, StateMachine};
