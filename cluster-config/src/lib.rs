//! Who is where: layouts and their validation, the arguments and logs that all servers share, and the processes
//! of a cluster on this machine.
//!
//! Must not know what a server does.

pub mod containers;
pub mod http;
pub mod launch;
pub mod layout;
pub mod net;
pub mod place;
pub mod server;
pub mod table;

pub use layout::{CatalogNode, EdgeNode, Error, Layout, RaftTimes};
