//! Load: a connection that costs little to measure with, what is asked on it, and the figures that come of it.
//!
//! Must not know a cluster's processes, nor whether the server is one of ours. The generator shares its cores with the servers that it measures, so what it
//! spends is taken from them: requests are ready-made bytes and answers are read in place.

pub mod connection;
pub mod figures;
pub mod mix;
pub mod pace;
pub mod template;
