//! A replica of the catalog: the pure catalogue, the Raft group that agrees on its commands, and their storage.

pub mod api;
mod blocking;
pub mod catalog;
pub mod figures;
pub mod founding;
mod handover;
pub mod items;
pub mod members;
pub mod metrics;
pub mod network;
pub mod peers;
pub mod proposals;
pub mod raft;
pub mod reads;
pub mod replica;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod snapshots;
pub mod storage;
pub mod watch;
