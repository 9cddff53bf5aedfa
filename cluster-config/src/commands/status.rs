//! `status`: one look at all nodes.

use std::collections::BTreeMap;

use cluster_config::{
    launch::{Cluster, State},
    table::table,
};
use serde::Serialize;

use super::serving;
use crate::ask::{self, Ask, Status};

/// What is known of one node.
#[derive(Debug, Serialize)]
struct NodeState {
    node: String,
    /// `up`, `down`, `paused`, or `starting` when it runs and does not serve yet.
    state: &'static str,
    pid: Option<i32>,
    address: Option<String>,
    /// Why it does not serve.
    why: Option<String>,
    /// How far it is behind the leader's last log entry.
    lag: Option<u64>,
    #[serde(flatten)]
    catalog: Option<Status>,
}

/// Prints a table of all nodes, or with `json` a JSON document.
///
/// # Errors
/// When the HTTP client cannot be made.
pub async fn status(cluster: &Cluster, json: bool) -> anyhow::Result<()> {
    let ask = Ask::new()?;
    let nodes = cluster.nodes();
    let (statuses, missing) = tokio::join!(ask.statuses(cluster), serving::missing(cluster, &ask, &nodes));
    let states: Vec<NodeState> = nodes.into_iter().map(|node| state_of(cluster, node, &statuses, &missing)).collect();
    if json {
        println!("{}", serde_json::to_string_pretty(&states)?);
    } else {
        print(&states);
        let leader = ask::agreed_leader(&statuses, cluster.layout.catalogs.len());
        if leader.is_none() && !statuses.is_empty() {
            println!("no leader that a majority agrees on");
        }
    }
    Ok(())
}

fn state_of(
    cluster: &Cluster,
    node: String,
    statuses: &BTreeMap<String, Status>,
    missing: &BTreeMap<String, String>,
) -> NodeState {
    let catalog = statuses.get(&node).cloned();
    let why = missing.get(&node).cloned();
    let process = cluster.process(&node);
    let state = match process.and_then(|process| process.state()) {
        Some(State::Paused) => "paused",
        Some(State::Running) if why.is_some() => "starting",
        None if cluster.is_local(&node) || why.is_some() => "down",
        _ => "up",
    };
    let last = ask::leader(statuses).map(|(_, leads)| leads.last_log);
    let lag = last.zip(catalog.as_ref()).map(|(last, status)| last.saturating_sub(status.applied));
    let address = cluster.address(&node).map(str::to_owned);
    NodeState { state, pid: process.map(|process| process.pid()), address, why, lag, catalog, node }
}

fn print(states: &[NodeState]) {
    fn shown(value: Option<impl ToString>) -> String {
        value.map_or("-".into(), |value| value.to_string())
    }
    let rows: Vec<[String; 9]> = states
        .iter()
        .map(|node| {
            let catalog = node.catalog.as_ref();
            [
                node.node.clone(),
                node.state.into(),
                shown(catalog.map(|status| &status.role)),
                shown(catalog.map(|status| status.term)),
                shown(catalog.map(|status| status.applied)),
                shown(node.lag),
                shown(node.pid),
                shown(node.address.as_ref()),
                shown(catalog.map(|status| &status.state_hash)),
            ]
        })
        .collect();
    println!("{}", table(["NODE", "STATE", "ROLE", "TERM", "APPLIED", "LAG", "PID", "ADDRESS", "STATE HASH"], &rows));
    for node in states.iter().filter(|node| node.state == "starting") {
        println!("{} does not serve: {}", node.node, node.why.as_deref().unwrap_or("not ready"));
    }
}
