//! The program `bare` with the bytes of our cached lookup: what HTTP costs when nothing is behind it. Must not know
//! where the bytes come from.

use std::{path::Path, path::PathBuf, sync::Arc};

use cluster_config::launch::free_addresses;
use rustix::process::Signal;
use tokio::{net::TcpStream, process::Command};

use super::ours::Page;
use crate::process::{Folder, Server};

/// The bare server.
#[derive(Debug)]
pub struct Bare {
    folder: Arc<Folder>,
    program: PathBuf,
    answer: PathBuf,
    address: String,
    server: Option<Server>,
}

impl Bare {
    /// Writes down what it is to answer.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn set_up(folder: Arc<Folder>, programs: &Path, page: &Page) -> anyhow::Result<Self> {
        let body = String::from_utf8_lossy(&page.body);
        let answer = serde_json::json!({ "headers": page.headers, "body": body }).to_string();
        let answer = folder.file("bare.json", &answer)?;
        let address = free_addresses(1)?.remove(0);
        Ok(Self { folder, program: programs.join("bare"), answer, address, server: None })
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Starts it, unless it runs.
    ///
    /// # Errors
    /// When it does not serve.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        if self.server.is_some() {
            return Ok(());
        }
        let mut command = Command::new(&self.program);
        command.arg(&self.address).arg(&self.answer);
        let server = self.server.insert(Server::start(&self.folder, "bare", command)?);
        accepts(server, &self.address).await
    }

    /// Stops it.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        match self.server.take() {
            Some(server) => server.stop(Signal::TERM).await,
            None => Ok(()),
        }
    }
}

/// Waits until a server accepts connections.
///
/// # Errors
/// When it ends instead.
pub(super) async fn accepts(server: &mut Server, address: &str) -> anyhow::Result<()> {
    server.until(|| async { Ok(TcpStream::connect(address).await?) }).await.map(drop)
}
