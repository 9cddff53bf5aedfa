//! The sockets of the servers. In a simulation another network takes their place, and nothing else changes: see
//! `tests/simulation`.

#[cfg(not(feature = "simulation"))]
pub use tokio::net::{TcpListener, TcpStream};
#[cfg(feature = "simulation")]
pub use turmoil::net::{TcpListener, TcpStream};
