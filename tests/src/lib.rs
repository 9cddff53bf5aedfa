//! The harness of the tests that run real servers: clusters of processes on free ports, a plain HTTP client, and
//! waiting for conditions.
//!
//! Starts processes only through `cluster_config::launch`, as `make up` does. Must not know how a server does its
//! work: it sees addresses, files of the run folder, and process ids.

pub mod checks;
pub mod client;
pub mod cluster;
pub mod disk;
pub mod eventually;
pub mod faults;
pub mod history;
pub mod load;
pub mod metrics;
pub mod net;
pub mod observe;
pub mod operator;
pub mod options;
pub mod trial;
pub mod watcher;
pub mod workload;

pub use client::{Answer, Client, Request};
pub use cluster::{Shared, TestCluster};
pub use eventually::{PATIENCE, eventually, try_eventually};
pub use operator::Operator;
pub use options::Options;
