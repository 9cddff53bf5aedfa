//! The store's command line: one command for people and for scripts, over the front end's HTTP interface; over peer ports
//! where an operator asks replicas for what only they do.
//!
//! Must not know how a server does its work. Nothing here links Raft or a database.

pub mod cli;
pub mod commands;
pub mod failure;
pub mod find;
pub mod http;
pub mod import;
pub mod key;
pub mod output;
pub mod sse;
pub mod wire;
