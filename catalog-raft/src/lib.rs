//! A replica of the catalog: the pure catalogue, the Raft group that agrees on its commands, and their storage.

pub mod catalog;
pub mod network;
pub mod raft;
pub mod storage;
pub mod watch;
