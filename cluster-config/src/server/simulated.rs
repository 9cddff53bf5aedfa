//! What a server has of a simulated system.

use anyhow::Context;

use crate::{layout::Layout, net::TcpListener};

/// Binds a listener on the host that runs.
///
/// # Errors
/// When the port is taken, or the address has none.
pub async fn bind(_layout: &Layout, address: &str) -> anyhow::Result<TcpListener> {
    let port = address.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()).context("an address has a port")?;
    TcpListener::bind(("0.0.0.0", port)).await.with_context(|| format!("cannot listen on {address}"))
}

/// Never: hosts of a simulation are crashed.
pub async fn terminated() {
    std::future::pending().await
}

/// The signal that asks for a snapshot, which never comes.
#[derive(Debug)]
pub struct SnapshotSignal;

impl SnapshotSignal {
    /// Listens for nothing.
    pub fn listen() -> Self {
        Self
    }

    /// Never returns.
    pub async fn arrives(&mut self) {
        std::future::pending().await
    }
}
