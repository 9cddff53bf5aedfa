//! `up`: starts what does not run and waits until the cluster serves.

use std::{path::Path, process::ExitCode};

use anyhow::{Context, ensure};
use cluster_config::{
    launch::{Cluster, State},
    table::table,
};

use super::serving;
use crate::{ask::Ask, place};

/// The status of `up --check` when there is something to start.
const INCOMPLETE: u8 = 3;

/// Brings the cluster up. With `from`, binaries are installed from there first, if anything has to be started.
///
/// # Errors
/// When a node cannot be started or does not serve in time.
pub async fn up(cluster: &Cluster, from: Option<&Path>, check: bool) -> anyhow::Result<ExitCode> {
    let ask = Ask::new()?;
    let here: Vec<String> = cluster.nodes().into_iter().filter(|node| cluster.is_local(node)).collect();
    ensure!(
        !here.is_empty(),
        "no address of layout {} belongs to this machine: edit the layout, or use layout 4, which needs one machine",
        cluster.selector
    );
    let down: Vec<&String> = here.iter().filter(|node| cluster.process(node).is_none()).collect();
    if down.is_empty() && serving::missing(cluster, &ask, &here).await.is_empty() {
        println!("the cluster is up already; nothing was changed");
        print_nodes(cluster);
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(paused) = here.iter().find(|node| is_paused(cluster, node)) {
        anyhow::bail!("{paused} is paused: run make resume NODE={paused} first");
    }
    if check {
        return Ok(ExitCode::from(INCOMPLETE));
    }
    if !down.is_empty() {
        if let Some(from) = from {
            install(cluster, from)?;
        }
        place::remember(cluster)?;
    }
    for node in down {
        if cluster.start(node)? {
            println!("{node} started");
        }
    }
    serving::wait(cluster, &ask, &here).await?;
    println!("the cluster of layout {} is up", cluster.selector);
    print_nodes(cluster);
    Ok(ExitCode::SUCCESS)
}

/// The command line for clients and operators, which is installed beside the servers where it was built with them.
const CLIENT: &str = "catalogctl";

/// Installs the servers' binaries, this program itself, and the command line.
///
/// # Errors
/// When one is missing.
pub fn install(cluster: &Cluster, from: &Path) -> anyhow::Result<()> {
    cluster.install_binaries(from)?;
    let this = std::env::current_exe().context("cannot find this program's own file")?;
    cluster.install(&this)?;
    let client = from.join(CLIENT);
    if client.is_file() { cluster.install(&client) } else { Ok(()) }
}

fn is_paused(cluster: &Cluster, node: &str) -> bool {
    cluster.process(node).and_then(|process| process.state()) == Some(State::Paused)
}

fn print_nodes(cluster: &Cluster) {
    let rows: Vec<[String; 4]> = cluster
        .nodes()
        .into_iter()
        .map(|node| {
            let pid = cluster.pid(&node).map_or("-".into(), |pid| pid.to_string());
            let address = cluster.address(&node).unwrap_or("-").to_owned();
            let peer = cluster.layout.catalogs.iter().find(|known| known.name == node).map_or("-", |known| &known.peer);
            [node, address, peer.to_owned(), pid]
        })
        .collect();
    println!("{}", table(["NODE", "ADDRESS", "PEER", "PID"], &rows));
    for front_end in &cluster.layout.frontends {
        println!("open http://{}/", front_end.address);
    }
    let client = cluster.run_dir.join("bin").join(CLIENT);
    if client.is_file() {
        let here = std::env::current_dir().unwrap_or_default();
        println!("or ask by {} --help", client.strip_prefix(here).unwrap_or(&client).display());
    }
}
