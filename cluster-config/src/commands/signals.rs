//! `kill`, `stop`, `pause`, `resume`: a signal to one node, to the leader, or to all.

use std::time::Duration;

use anyhow::{Context, bail};
use cluster_config::launch::Cluster;

use super::named;
use crate::ask::Ask;

/// How long a node may take to end after SIGTERM.
pub const STOP_PATIENCE: Duration = Duration::from_secs(15);

/// SIGKILL.
///
/// # Errors
/// When a named node does not run.
pub async fn kill(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    each(cluster, name, "killed", |node| cluster.kill(node)).await
}

/// SIGTERM, and waits.
///
/// # Errors
/// When a named node does not run, or does not end in time.
pub async fn stop(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    each(cluster, name, "stopped", |node| cluster.stop(node, STOP_PATIENCE)).await
}

/// SIGSTOP.
///
/// # Errors
/// When a named node does not run.
pub async fn pause(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    each(cluster, name, "paused", |node| cluster.pause(node)).await
}

/// SIGCONT.
///
/// # Errors
/// When a named node does not run.
pub async fn resume(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    // A paused leader cannot be told from the status documents: nobody paused answers.
    if name == "leader" {
        bail!("a paused leader cannot be found by asking: name the node, or all");
    }
    each(cluster, name, "resumed", |node| cluster.resume(node)).await
}

/// Does `act` to every node that `name` means, all at once, and says of each what was `done`. Of `all`, those that
/// do not run are left out.
async fn each(
    cluster: &Cluster,
    name: &str,
    done: &str,
    act: impl Fn(&str) -> anyhow::Result<()> + Sync,
) -> anyhow::Result<()> {
    let ask = Ask::new()?;
    let nodes = named(cluster, &ask, name).await?;
    let mut told = Vec::new();
    for node in nodes {
        match cluster.pid(&node) {
            Some(pid) => told.push((node, pid)),
            None if name == "all" => {}
            None => bail!("{node} is not running"),
        }
    }
    if told.is_empty() {
        bail!("nothing is running");
    }
    let statuses = ask.statuses(cluster).await;
    let results: Vec<anyhow::Result<()>> = std::thread::scope(|scope| {
        let acts: Vec<_> = told.iter().map(|(node, _)| scope.spawn(|| act(node))).collect();
        acts.into_iter().map(|act| act.join().unwrap_or_else(|_| bail!("a thread panicked"))).collect()
    });
    let mut failed = Vec::new();
    for ((node, pid), result) in told.iter().zip(results) {
        let role = statuses.get(node).map_or(String::new(), |status| format!("{}, ", status.role));
        match result {
            Ok(()) => println!("{node} ({role}pid {pid}) {done}"),
            Err(error) => failed.push(format!("{error:#}")),
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(anyhow::anyhow!(failed.join("; "))).context("not all was done") }
}
