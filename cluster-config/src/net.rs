//! The sockets of the servers. In a simulation another network takes their place, and nothing else changes: see
//! `tests/simulation`. An encrypted stream would take their place here too: nothing else names what a connection is made of.

#[cfg(not(feature = "simulation"))]
pub use tokio::net::{TcpListener, TcpStream};
#[cfg(feature = "simulation")]
pub use turmoil::net::{TcpListener, TcpStream};
