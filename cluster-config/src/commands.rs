//! What each command does, and what they share: naming nodes, waiting until they serve.

pub mod down;
mod group;
pub mod logs;
pub mod replicas;
pub mod restart;
pub mod serving;
pub mod signals;
pub mod status;
pub mod up;

use anyhow::{Context, ensure};
use cluster_config::launch::Cluster;

use crate::ask::{self, Ask};

/// The nodes that `name` means: one, all, or today's leader.
async fn named(cluster: &Cluster, ask: &Ask, name: &str) -> anyhow::Result<Vec<String>> {
    let nodes = cluster.nodes();
    match name {
        "all" => Ok(nodes),
        "leader" => {
            let statuses = ask.statuses(cluster).await;
            let (leader, _) = ask::leader(&statuses)
                .context("there is no leader: no catalog that answers claims to lead; see make status")?;
            Ok(vec![leader.to_owned()])
        }
        _ => {
            ensure!(
                nodes.iter().any(|node| node == name),
                "there is no node `{name}`: name one of {}, leader or all",
                nodes.join(", ")
            );
            Ok(vec![name.to_owned()])
        }
    }
}
