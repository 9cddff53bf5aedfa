//! `compose up` and `compose down`: the servers in containers.

use std::{path::Path, time::Duration};

use anyhow::{Context, bail};
use cluster_config::{
    containers::{Compose, free_address},
    launch::Cluster,
    table::table,
};
use futures::future::join_all;

use super::serving::{PATIENCE, SAY_EVERY};
use crate::ask::{Ask, Deadline};

/// Between two rounds of questions.
const POLL: Duration = Duration::from_millis(100);
/// Lines of a log that a failure shows.
const LOG_LINES: usize = 15;

/// Brings the containers up, waits until all serve, and says where.
///
/// # Errors
/// When one cannot be started or does not serve in time.
pub async fn up(compose: &Compose) -> anyhow::Result<()> {
    let mut cluster = elsewhere(compose)?;
    compose.up(&[])?;
    wait(compose, &mut cluster, &Ask::new()?).await?;
    println!("the containers of {} are up", compose.project);
    let rows: Vec<[String; 2]> = cluster
        .nodes()
        .into_iter()
        .map(|node| {
            let address = cluster.address(&node).unwrap_or("-").to_owned();
            [node, address]
        })
        .collect();
    println!("{}", table(["NODE", "ADDRESS"], &rows));
    for front_end in &cluster.layout.frontends {
        println!("open http://{}/", front_end.address);
    }
    Ok(())
}

/// Removes the containers and networks; their volumes too, if so.
///
/// # Errors
/// When the engine does not.
pub fn down(compose: &Compose, volumes: bool) -> anyhow::Result<()> {
    compose.down(volumes)?;
    println!(
        "the containers of {} are down; {}",
        compose.project,
        if volumes { "their data is removed" } else { "their data is kept in its volumes" }
    );
    Ok(())
}

/// A cluster whose processes are not this program's.
///
/// # Errors
/// When its layout cannot be read.
pub fn elsewhere(compose: &Compose) -> anyhow::Result<Cluster> {
    Ok(Cluster { layout: compose.layout()?, selector: String::new(), run_dir: "run".into() })
}

/// Waits until every server says that it is ready, and has `cluster` know where they are.
///
/// # Errors
/// When one does not within [`PATIENCE`], with the end of its log.
pub async fn wait(compose: &Compose, cluster: &mut Cluster, ask: &Ask) -> anyhow::Result<()> {
    let deadline = Deadline::within(PATIENCE);
    let mut said = Duration::ZERO;
    loop {
        cluster.layout = compose.seen_from_here(compose.layout()?)?;
        let seen = &*cluster;
        let asked = seen.nodes().into_iter().map(|node| async move {
            let why = ask.ready(seen.address(&node).unwrap_or_default()).await.err()?;
            Some((node, why))
        });
        let missing: Vec<(String, String)> = join_all(asked).await.into_iter().flatten().collect();
        let Some((node, why)) = missing.first() else { return Ok(()) };
        if deadline.is_over() {
            let log = compose.log_end(node, LOG_LINES).unwrap_or_default();
            let seconds = deadline.patience().as_secs();
            bail!("{node} does not serve after {seconds} s: {why}\n--- the end of its log ---\n{log}");
        }
        if deadline.elapsed() >= said + SAY_EVERY {
            said = deadline.elapsed();
            let list: Vec<String> = missing.iter().map(|(node, why)| format!("{node} ({why})")).collect();
            println!("{:>3} s  waiting for {}", said.as_secs(), list.join(", "));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// A project of a name that no other run has.
///
/// # Errors
/// When this machine has no free port for its front end.
pub fn own_project(file: &Path, name: &str, tag: &str) -> anyhow::Result<Compose> {
    let file = std::fs::canonicalize(file).with_context(|| format!("cannot find {}", file.display()))?;
    let project = format!("catalog-store-{name}-{}", std::process::id());
    Ok(Compose::new(&file, &project, tag, &free_address()?))
}
