//! Raft between replicas: our frames over long-lived connections, one a purpose, so that heartbeats and votes never
//! wait behind data. Must not know what the log holds.

mod client;
mod owed;
mod server;
mod wire;

pub use client::Network;
pub use server::{Identity, serve_raft};
