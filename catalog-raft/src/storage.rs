//! Everything on disk: one RocksDB with one WAL, so that the log is never behind the state, and the files beside it.
//!
//! Owns opening and the format; the rooms below own one concern each.

mod build;
pub mod codec;
pub mod db;
mod flusher;
mod install;
pub mod keys;
mod log_reader;
mod log_store;
mod manifest;
mod mark;
mod options;
mod recovery;
mod snapshot;
mod space;
mod state;
mod state_machine;
mod tail;

#[cfg(test)]
mod fatal_tests;
#[cfg(test)]
mod log_tests;
#[cfg(test)]
mod state_tests;
#[cfg(test)]
mod suite;
#[cfg(test)]
mod testing;

pub use db::{Db, OpenError, fatal, is_for_want_of_space};
pub use flusher::FlushStats;
pub use log_store::LogStore;
pub use snapshot::{SnapshotFile, SnapshotReceiver};
pub use space::Space;
pub use state::{Applied, Installing, State};
pub use state_machine::{SNAPSHOTS, StateMachine};
