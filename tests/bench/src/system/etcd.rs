//! etcd with three members, as a user starts it: defaults, but for ports. Must not know what is put.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, ensure};
use cluster_config::launch::free_addresses;
use rustix::process::Signal;
use serde_json::Value;
use tests::{Client, PATIENCE, Request, try_eventually};
use tokio::process::Command;

use crate::process::{Folder, Server, find};

/// How many members.
const MEMBERS: usize = 3;

/// The cluster.
#[derive(Debug)]
pub struct Etcd {
    folder: Arc<Folder>,
    data: PathBuf,
    clients: Vec<String>,
    peers: Vec<String>,
    servers: Vec<Server>,
    leader: String,
}

impl Etcd {
    /// Chooses its ports.
    ///
    /// # Errors
    /// When there is no room.
    pub fn set_up(folder: Arc<Folder>) -> anyhow::Result<Self> {
        let mut clients = free_addresses(2 * MEMBERS)?;
        let peers = clients.split_off(MEMBERS);
        let data = folder.sub("etcd")?;
        Ok(Self { folder, data, clients, peers, servers: Vec::new(), leader: String::new() })
    }

    /// `host:port` of the leader, to which puts go without a detour.
    pub fn leader(&self) -> &str {
        &self.leader
    }

    /// Starts the members and waits until they have a leader.
    ///
    /// # Errors
    /// When they have none in time.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        let program = find("etcd").context("etcd is not installed")?;
        let all: Vec<String> = self.peers.iter().enumerate().map(|(at, peer)| format!("m{at}=http://{peer}")).collect();
        for (at, (client, peer)) in self.clients.iter().zip(&self.peers).enumerate() {
            let (name, client, peer) = (format!("m{at}"), format!("http://{client}"), format!("http://{peer}"));
            let mut command = Command::new(&program);
            command
                .args(["--name", &name, "--data-dir"])
                .arg(self.data.join(&name))
                .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
                .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
                .args(["--initial-cluster", &all.join(","), "--initial-cluster-state", "new"])
                .args(["--logger", "zap", "--log-outputs", "stderr"]);
            self.servers.push(Server::start(&self.folder, &format!("etcd-{name}"), command)?);
        }
        let http = Client::without_pool();
        let found = try_eventually("a leader of etcd", PATIENCE, || async {
            for client in &self.clients {
                if leads(&http, client).await? {
                    return Ok(client.clone());
                }
            }
            anyhow::bail!("no member leads")
        });
        self.leader = found.await?;
        self.servers.iter_mut().try_for_each(Server::check)
    }

    /// Stops the members.
    ///
    /// # Errors
    /// When one does not end.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        for server in self.servers.drain(..) {
            server.stop(Signal::TERM).await?;
        }
        Ok(())
    }
}

async fn leads(http: &Client, client: &str) -> anyhow::Result<bool> {
    let answer = http.try_send(Request::post(format!("http://{client}/v3/maintenance/status"), "{}")).await?;
    ensure!(answer.status == 200, "{}", answer.text());
    let status: Value = serde_json::from_slice(&answer.body)?;
    let leader = status["leader"].as_str().context("no leader yet")?;
    Ok(status["header"]["member_id"].as_str() == Some(leader))
}
