//! The store and its peers under the same loads, one after another in one run, and the figures held against the targets.
//!
//! Peers are set up as their users would: what they acknowledge is on disk, and what has replicas has them. Must not
//! know how a server does its work, nor judge by its exit status what was measured: figures are for people.

pub mod cells;
pub mod chart;
pub mod disk;
pub mod drive;
pub mod faults;
pub mod growth;
pub mod idle;
pub mod machine;
pub mod measure;
pub mod process;
pub mod questions;
pub mod results;
pub mod syncs;
pub mod system;
pub mod targets;
