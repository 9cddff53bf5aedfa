//! `down` and `clean`: stops everything; removes what it left.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use cluster_config::launch::{Cluster, Process};

use super::signals::STOP_PATIENCE;
use crate::ask::{self, Ask};

/// Stops everything and keeps the data.
///
/// # Errors
/// When a process does not end even by SIGKILL.
pub async fn down(cluster: &Cluster) -> anyhow::Result<()> {
    if !cluster.nodes().iter().any(|node| cluster.process(node).is_some()) {
        println!("nothing is running");
        return Ok(());
    }
    stop_in_order(cluster, |line| println!("{line}")).await?;
    println!("the cluster is down; its data is kept in {}", cluster.run_dir.display());
    Ok(())
}

/// Stops whatever runs, and `say`s so: front ends first, so that no request is lost, then order servers, then
/// catalogs, the leader last, so that it need not hand over to one that goes next.
///
/// # Errors
/// When a process does not end even by SIGKILL.
pub async fn stop_in_order(cluster: &Cluster, say: impl Fn(String) + Sync) -> anyhow::Result<()> {
    let layout = &cluster.layout;
    let names = |nodes: &[cluster_config::EdgeNode]| nodes.iter().map(|node| node.name.clone()).collect::<Vec<_>>();
    stop_together(cluster, &names(&layout.frontends), &say)?;
    stop_together(cluster, &names(&layout.orders), &say)?;
    let statuses = Ask::new()?.statuses(cluster).await;
    let leader = ask::leader(&statuses).map(|(name, _)| name.to_owned());
    let catalogs = layout.catalogs.iter().map(|node| node.name.clone());
    let (leader, followers): (Vec<_>, Vec<_>) = catalogs.partition(|name| leader.as_ref() == Some(name));
    stop_together(cluster, &followers, &say)?;
    stop_together(cluster, &leader, &say)
}

fn stop_together(cluster: &Cluster, nodes: &[String], say: &(impl Fn(String) + Sync)) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let running = nodes.iter().filter(|node| cluster.process(node).is_some());
        let stops: Vec<_> = running.map(|node| scope.spawn(move || stop_or_kill(cluster, node, say))).collect();
        stops.into_iter().try_for_each(|stop| stop.join().unwrap_or_else(|_| bail!("a thread panicked")))
    })
}

fn stop_or_kill(cluster: &Cluster, node: &str, say: &impl Fn(String)) -> anyhow::Result<()> {
    match cluster.stop(node, STOP_PATIENCE) {
        Ok(()) => say(format!("{node} stopped")),
        Err(_) if cluster.process(node).is_none() => say(format!("{node} stopped")),
        Err(error) => {
            say(format!("{error:#}; killing it"));
            cluster.kill(node)?;
        }
    }
    Ok(())
}

/// Removes the run folder.
///
/// # Errors
/// When anything of it still runs.
pub fn clean(run_dir: &Path) -> anyhow::Result<()> {
    if !run_dir.exists() {
        println!("nothing to clean");
        return Ok(());
    }
    if let Some(node) = running_in(run_dir) {
        bail!("{node} is running: run make down first; nothing was removed");
    }
    if let Some(node) = running_in(&run_dir.join("demo")) {
        bail!(
            "{node} of a demo is running: let it end, or run make demo, which ends what an earlier one left; nothing was removed"
        );
    }
    let known = ["bin", "built", "demo", "cluster.json"];
    ensure!(
        known.iter().any(|name| run_dir.join(name).exists()),
        "{} does not look like the run folder of a cluster; nothing was removed",
        run_dir.display()
    );
    std::fs::remove_dir_all(run_dir).with_context(|| format!("cannot remove {}", run_dir.display()))?;
    println!("removed {}", run_dir.display());
    Ok(())
}

/// A node whose pid file in `folder` names a process that lives, whatever layout it is of.
pub fn running_in(folder: &Path) -> Option<String> {
    let files = std::fs::read_dir(folder).ok()?.flatten();
    files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|ext| ext == "pid")).find_map(|path| {
        let text = std::fs::read_to_string(&path).ok()?;
        Process::parse(&text).filter(Process::is_alive)?;
        Some(path.file_stem()?.to_string_lossy().into_owned())
    })
}
