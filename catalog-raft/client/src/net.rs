//! The sockets of the servers. In a simulation another network takes their place, and nothing else changes: see
//! `tests/simulation`. An encrypted stream would take their place here too: nothing else names what a connection is made of.

use std::io;

#[cfg(not(feature = "simulation"))]
pub use tokio::net::{
    TcpListener, TcpStream,
    tcp::{OwnedReadHalf, OwnedWriteHalf},
};
#[cfg(feature = "simulation")]
pub use turmoil::net::{
    TcpListener, TcpStream,
    tcp::{OwnedReadHalf, OwnedWriteHalf},
};

/// No delay, for small frames are answered; and keep-alive, so that a host that is gone without a word is noticed.
#[cfg(not(feature = "simulation"))]
pub(crate) fn prepare(stream: &TcpStream) -> io::Result<()> {
    use std::time::Duration;
    // After how long a silence it is tried, how often again, and how many times before it is given up.
    let alive = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(15))
        .with_interval(Duration::from_secs(5))
        .with_retries(3);
    stream.set_nodelay(true)?;
    socket2::SockRef::from(stream).set_tcp_keepalive(&alive)
}

#[cfg(feature = "simulation")]
pub(crate) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)
}
