//! What a server has of the system: its listeners, and the signals that end it.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, bail};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep},
};

use super::CLOSING_PATIENCE;
use crate::layout::Layout;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;
/// How long a bind waits for an address that is still in use: by the process before it, or as the near end of an
/// outgoing connection, since the default ports lie in the range from which the kernel takes those.
const BIND_PATIENCE: Duration = Duration::from_secs(3);
/// Between two tries to bind.
const BIND_PAUSE: Duration = Duration::from_millis(50);

/// Binds a listener, with `SO_REUSEADDR`; refuses an address beyond loopback unless the layout says `insecure`.
///
/// # Errors
/// Says what to do.
pub async fn bind(layout: &Layout, address: &str) -> anyhow::Result<TcpListener> {
    let resolved: Vec<SocketAddr> = tokio::net::lookup_host(address)
        .await
        .with_context(|| format!("cannot resolve {address}; correct the layout or the name service"))?
        .collect();
    if let Some(open) = resolved.iter().find(|at| !layout.insecure && !at.ip().is_loopback()) {
        bail!(
            "{address} is {open}, beyond loopback, and traffic is neither encrypted nor authenticated; \
             use a loopback address, or say `insecure = true` in the layout if the network is trusted"
        );
    }
    let Some(&at) = resolved.first() else { bail!("{address} resolves to nothing; correct the layout") };
    if !at.ip().is_loopback() {
        tracing::warn!(
            "INSECURE: {address} is beyond loopback, and traffic is neither encrypted nor authenticated: whoever reaches \
             it can read and change everything. The layout says `insecure = true`: keep strangers off this network"
        );
    }
    let began = Instant::now();
    loop {
        match listen(at) {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && began.elapsed() < BIND_PATIENCE => {
                sleep(BIND_PAUSE).await
            }
            Err(error)
                if error.kind() == std::io::ErrorKind::AddrInUse
                    && began.elapsed() < CLOSING_PATIENCE
                    && TcpStream::connect(at).await.is_err() =>
            {
                sleep(BIND_PAUSE).await
            }
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                bail!(
                    "cannot listen on {address}: another program uses it; stop that program or give this server another port in the layout"
                )
            }
            Err(error) if error.kind() == std::io::ErrorKind::AddrNotAvailable => {
                bail!(
                    "cannot listen on {address}: it is not an address of this machine; correct the layout, or start this server where it lives"
                )
            }
            Err(error) => return Err(error).with_context(|| format!("cannot listen on {address}")),
        }
    }
}

fn listen(at: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if at.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    socket.listen(BACKLOG)
}

/// Returns when SIGTERM or SIGINT arrives.
pub async fn terminated() {
    let (mut term, mut int) = match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(term), Ok(int)) => (term, int),
        // Without handlers both signals keep their default effect, which ends the process as well.
        _ => return std::future::pending().await,
    };
    tokio::select! {
        _ = term.recv() => tracing::info!("SIGTERM received"),
        _ = int.recv() => tracing::info!("SIGINT received"),
    }
}

/// SIGUSR1, by which an operator asks a catalog for a snapshot.
#[derive(Debug)]
pub struct SnapshotSignal(Option<Signal>);

impl SnapshotSignal {
    /// Listens from now on; before, the signal ends the process.
    pub fn listen() -> Self {
        Self(signal(SignalKind::user_defined1()).ok())
    }

    /// Returns when it arrives. May be dropped and called again.
    pub async fn arrives(&mut self) {
        match &mut self.0 {
            Some(signal) => {
                signal.recv().await;
            }
            None => std::future::pending().await,
        }
    }
}
