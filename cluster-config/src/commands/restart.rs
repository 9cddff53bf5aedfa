//! `restart`: starts nodes again on their own data, and waits until they serve and have caught up.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use cluster_config::launch::Cluster;

use super::{
    named,
    serving::{self, log_end},
    signals::STOP_PATIENCE,
};
use crate::ask::{self, Ask, Deadline, Status};

/// Between two looks at how far a replica has come.
const POLL: Duration = Duration::from_millis(10);

/// Restarts what `name` means. Of `all`, those that are down are started together, for a majority is needed to
/// serve; then those that ran are restarted one by one, the leader last.
///
/// # Errors
/// When a node cannot be started, or does not serve or catch up in time.
pub async fn restart(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    let ask = Ask::new()?;
    let nodes = named(cluster, &ask, name).await?;
    let (running, down): (Vec<String>, Vec<String>) =
        nodes.into_iter().partition(|node| cluster.process(node).is_some());
    start_together(cluster, &ask, &down).await?;
    let (leader, others): (Vec<String>, Vec<String>) = {
        let statuses = ask.statuses(cluster).await;
        let leader = ask::leader(&statuses).map(|(name, _)| name.to_owned());
        running.into_iter().partition(|node| leader.as_ref() == Some(node))
    };
    for node in others.into_iter().chain(leader) {
        cluster.stop(&node, STOP_PATIENCE)?;
        println!("{node} stopped");
        start_together(cluster, &ask, &[node]).await?;
    }
    Ok(())
}

async fn start_together(cluster: &Cluster, ask: &Ask, nodes: &[String]) -> anyhow::Result<()> {
    let began = Instant::now();
    for node in nodes {
        ensure!(cluster.start(node)?, "{node} was started by another program meanwhile");
    }
    for node in nodes {
        let caught_up = caught_up(cluster, ask, node).await?;
        let seconds = began.elapsed().as_secs_f64();
        match caught_up {
            Some(status) => println!(
                "{node} serves and has caught up after {seconds:.2} s: {}, applied {}, state hash {}",
                status.role, status.applied, status.state_hash
            ),
            None => println!("{node} serves after {seconds:.2} s"),
        }
    }
    Ok(())
}

/// Waits until `node` serves, and, if it is a catalog, until it has applied all that was committed when it was
/// first asked. Returns a catalog's status then.
///
/// # Errors
/// When it ends, or is not so far within [`serving::PATIENCE`].
pub async fn caught_up(cluster: &Cluster, ask: &Ask, node: &str) -> anyhow::Result<Option<Status>> {
    let deadline = Deadline::within(serving::PATIENCE);
    let is_catalog = cluster.layout.catalogs.iter().any(|known| known.name == node);
    let Some(address) = cluster.address(node) else { bail!("there is no node {node}") };
    let mut target = None;
    loop {
        if is_catalog && target.is_none() {
            let statuses = ask.statuses(cluster).await;
            target = ask::leader(&statuses).map(|(_, leads)| leads.committed);
        }
        let why = match ask.ready(address).await {
            Err(why) => why,
            Ok(()) if !is_catalog => return Ok(None),
            Ok(()) => match (ask.status(address).await, target) {
                (Some(status), Some(target)) if status.applied >= target => return Ok(Some(status)),
                (Some(status), Some(target)) => format!("applied {} of {target}", status.applied),
                (_, None) => "there is no leader to catch up with; a majority of the catalogs must be up".into(),
                (None, _) => "it does not tell its status".into(),
            },
        };
        let has_ended = cluster.is_local(node) && cluster.process(node).is_none();
        ensure!(!has_ended, "{node} has ended{}", log_end(&cluster.run_dir, node));
        if deadline.is_over() {
            bail!(
                "{node} has not caught up after {} s: {why}{}",
                deadline.patience().as_secs(),
                log_end(&cluster.run_dir, node)
            );
        }
        tokio::time::sleep(POLL).await;
    }
}
