//! `logs`: follows the logs of nodes, through rotation.

use std::{os::unix::process::CommandExt, process::Command};

use anyhow::{anyhow, ensure};
use cluster_config::launch::Cluster;

use super::named;
use crate::ask::Ask;

/// Becomes `tail -F`; returns only when it cannot.
///
/// # Errors
/// When there is no log, or no `tail`.
pub async fn logs(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    let nodes = named(cluster, &Ask::new()?, name).await?;
    let paths = nodes.iter().map(|node| cluster.run_dir.join(format!("{node}.log")));
    let logs: Vec<_> = paths.filter(|path| path.is_file()).collect();
    ensure!(!logs.is_empty(), "{name} has no log yet in {}", cluster.run_dir.display());
    let error = Command::new("tail").args(["-n", "100", "-F", "--"]).args(&logs).exec();
    Err(anyhow!("cannot run tail: {error}"))
}
