//! Redis with its append-only file synced before each answer, and a replica that does the same. The replica is not waited
//! for: what was acknowledged can be lost with the primary. Must not know what is asked.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, ensure};
use cluster_config::launch::free_addresses;
use rustix::process::Signal;
use tests::{PATIENCE, try_eventually};
use tokio::process::Command;

use crate::process::{Folder, Server, find, output};

/// What stands for an item.
pub const KEY: &str = "stock:1";
/// Of the item.
pub const STOCK: u64 = 1_000_000_000;
/// Takes one if there is one.
const BUY: &str = "local q = tonumber(redis.call('GET', KEYS[1])) \
                   if q and q > 0 then return redis.call('DECR', KEYS[1]) end return redis.error_reply('sold out')";

/// The primary and its replica.
#[derive(Debug)]
pub struct Redis {
    folder: Arc<Folder>,
    home: PathBuf,
    ports: [String; 2],
    servers: Vec<Server>,
    script: String,
}

impl Redis {
    /// Chooses its ports.
    ///
    /// # Errors
    /// When there is no room.
    pub fn set_up(folder: Arc<Folder>) -> anyhow::Result<Self> {
        let addresses = free_addresses(2)?;
        let port = |at: usize| addresses[at].rsplit(':').next().unwrap_or_default().to_owned();
        let (ports, home) = ([port(0), port(1)], folder.sub("redis")?);
        Ok(Self { folder, home, ports, servers: Vec::new(), script: String::new() })
    }

    /// Starts both, and waits until the replica follows.
    ///
    /// # Errors
    /// When it does not.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        let program = find("redis-server").context("Redis is not installed")?;
        for (name, port) in ["redis-primary", "redis-replica"].into_iter().zip(&self.ports) {
            let data = self.home.join(name);
            std::fs::create_dir_all(&data)?;
            let mut command = Command::new(&program);
            command.args(["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--dir"]);
            command.arg(data).args(["--appendfsync", "always", "--daemonize", "no"]);
            if *port != self.ports[0] {
                command.args(["--replicaof", "127.0.0.1", &self.ports[0]]);
            }
            self.servers.push(Server::start(&self.folder, name, command)?);
        }
        try_eventually("a replica of Redis", PATIENCE, || async {
            let said = self.ask(&["INFO", "replication"]).await?;
            ensure!(said.contains("state=online"), "{said}");
            anyhow::Ok(())
        })
        .await?;
        self.ask(&["SET", KEY, &STOCK.to_string()]).await?;
        // Scripts are forgotten when a server ends.
        self.script = self.ask(&["SCRIPT", "LOAD", BUY]).await?;
        Ok(())
    }

    /// Stops both.
    ///
    /// # Errors
    /// When one does not end.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        for server in self.servers.drain(..) {
            server.stop(Signal::TERM).await?;
        }
        Ok(())
    }

    /// redis-benchmark with so many buys.
    pub fn benchmark(&self, connections: u32, buys: u64) -> Command {
        let mut command = Command::new("redis-benchmark");
        command.args(["-h", "127.0.0.1", "-p", &self.ports[0], "--csv"]);
        command.args(["-c", &connections.to_string(), "-n", &buys.to_string(), "EVALSHA", &self.script, "1", KEY]);
        command
    }

    /// What is left of the item.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn stock(&self) -> anyhow::Result<u64> {
        Ok(self.ask(&["GET", KEY]).await?.parse()?)
    }

    async fn ask(&self, words: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new("redis-cli");
        command.args(["-h", "127.0.0.1", "-p", &self.ports[0]]).args(words);
        Ok(output(&mut command).await?.trim().to_owned())
    }
}
