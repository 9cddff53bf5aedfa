//! `status`: one look at all servers, as front ends see them and as they say themselves.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, stdout},
    time::Duration,
};

use cluster_config::table::table;
use futures::future::join_all;
use reqwest::Client;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::sleep;

use super::Tools;
use crate::failure::Failure;

/// How long a question about a server's state may take.
const QUICK: Duration = Duration::from_secs(1);
/// Between two looks of `--watch`.
const EVERY: Duration = Duration::from_secs(1);

/// What `GET /v1/cluster` of a front end says, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
struct Cluster {
    frontend: Front,
    catalogs: Vec<Seen>,
    orders: Vec<Seen>,
}

#[derive(Debug, Default, Deserialize)]
struct Front {
    node: String,
}

/// A server as a front end sees it.
#[derive(Debug, Clone, Default, Deserialize)]
struct Seen {
    node: String,
    address: String,
    active: bool,
    role: Option<String>,
    term: Option<u64>,
    applied: Option<u64>,
}

/// What a replica says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Status {
    role: String,
    leader: Option<u64>,
    term: u64,
    last_log: u64,
    committed: u64,
    applied: u64,
    state_hash: String,
}

/// What is known of one server: the members of `make status` as JSON.
#[derive(Debug, Serialize)]
struct Server {
    node: String,
    /// `up`, `down`, or `starting` when it answers and does not serve yet.
    state: &'static str,
    address: String,
    /// Why it does not serve.
    why: Option<String>,
    /// How far it is behind the leader's last log entry.
    lag: Option<u64>,
    #[serde(flatten)]
    replica: Option<Replica>,
}

/// What is known of a replica.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
enum Replica {
    /// It has said so.
    Said(Status),
    /// A front end has, of one that cannot be reached from here.
    Seen { role: Option<String>, term: Option<u64>, applied: Option<u64> },
}

/// `status`.
///
/// # Errors
/// When no server answers at all.
pub async fn status(tools: &mut Tools, watch: bool) -> Result<(), Failure> {
    loop {
        let servers = look(tools).await;
        let is_terminal = stdout().is_terminal();
        if watch && is_terminal && !tools.out.is_json() {
            tools.out.bytes(b"\x1b[H\x1b[2J")?;
        }
        print(tools, &servers)?;
        if !watch {
            break if servers.iter().all(|server| server.state == "down") {
                Err(Failure::unavailable(format_args!(
                    "no server of {} answers: start it (make up), or name another by -c or --address",
                    tools.store.place.name
                )))
            } else {
                Ok(())
            };
        }
        if !is_terminal && !tools.out.is_json() {
            tools.out.line("")?;
        }
        tools.out.flush()?;
        sleep(EVERY).await;
    }
}

async fn look(tools: &Tools) -> Vec<Server> {
    let http = tools.store.client();
    let place = &tools.store.place;
    let clusters = join_all(place.fronts.iter().map(|front| get::<Cluster>(http, front, "/v1/cluster"))).await;
    let mut catalogs: BTreeMap<String, Seen> = BTreeMap::new();
    let mut orders = BTreeMap::new();
    let mut fronts = BTreeMap::new();
    let not_seen =
        |node: &str, address: &str| Seen { node: node.to_owned(), address: address.to_owned(), ..Seen::default() };
    if let Some(layout) = &place.layout {
        catalogs.extend(layout.catalogs.iter().map(|node| (node.name.clone(), not_seen(&node.name, &node.client))));
        orders.extend(layout.orders.iter().map(|node| (node.name.clone(), not_seen(&node.name, &node.address))));
        fronts.extend(layout.frontends.iter().map(|node| (node.name.clone(), not_seen(&node.name, &node.address))));
    }
    for (address, cluster) in place.fronts.iter().zip(clusters) {
        let address = address.trim_start_matches("http://");
        let Some(cluster) = cluster else {
            if place.layout.is_none() {
                fronts.insert(address.to_owned(), not_seen(address, address));
            }
            continue;
        };
        fronts
            .insert(cluster.frontend.node.clone(), Seen { active: true, ..not_seen(&cluster.frontend.node, address) });
        // A server is up if any front end reaches it.
        for (known, seen) in [(&mut catalogs, cluster.catalogs), (&mut orders, cluster.orders)] {
            for seen in seen {
                let before = known.entry(seen.node.clone()).or_default();
                if seen.active || before.node.is_empty() {
                    *before = seen;
                }
            }
        }
    }
    let catalogs = join_all(catalogs.into_values().map(|seen| replica(http, seen)));
    let others = join_all(orders.into_values().chain(fronts.into_values()).map(|seen| server(http, seen)));
    let (mut servers, others) = tokio::join!(catalogs, others);
    let last = leader(&servers).map(|leads| leads.last_log);
    for server in &mut servers {
        let applied = match &server.replica {
            Some(Replica::Said(status)) => Some(status.applied),
            Some(Replica::Seen { applied, .. }) => *applied,
            None => None,
        };
        server.lag = last.zip(applied).map(|(last, applied)| last.saturating_sub(applied));
    }
    servers.extend(others);
    servers
}

async fn replica(http: &Client, seen: Seen) -> Server {
    let front = format!("http://{}", seen.address);
    let (said, server) = tokio::join!(get::<Status>(http, &front, "/v1/status"), server(http, seen.clone()));
    let Seen { active, role, term, applied, .. } = seen;
    let seen = Replica::Seen { role, term, applied };
    let replica = said.map(Replica::Said).or(active.then_some(seen));
    Server { replica, ..server }
}

/// Asks whether it serves. One that cannot be reached from here is what front ends say it is.
async fn server(http: &Client, seen: Seen) -> Server {
    let Seen { node, address, active, .. } = seen;
    let sent = http.get(format!("http://{address}/readyz")).timeout(QUICK).send().await;
    let (state, why) = match sent {
        Ok(answer) if answer.status().is_success() => ("up", None),
        Ok(answer) => ("starting", Some(why(&answer.bytes().await.unwrap_or_default()))),
        Err(_) if active => ("up", None),
        Err(_) => ("down", None),
    };
    Server { node, state, address, why, lag: None, replica: None }
}

async fn get<T: DeserializeOwned>(http: &Client, front: &str, path: &str) -> Option<T> {
    let answer = http.get(format!("{front}{path}")).timeout(QUICK).send().await.ok()?;
    answer.error_for_status().ok()?.json().await.ok()
}

/// The reason in the body of a refusal.
fn why(body: &[u8]) -> String {
    let document: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let told = ["error", "detail"].iter().find_map(|member| document.get(member)?.as_str());
    told.unwrap_or("not ready").to_owned()
}

fn said(servers: &[Server]) -> impl Iterator<Item = &Status> {
    servers.iter().filter_map(|server| match &server.replica {
        Some(Replica::Said(status)) => Some(status),
        _ => None,
    })
}

/// Of those that claim to lead, the one of the highest term.
fn leader(servers: &[Server]) -> Option<&Status> {
    said(servers).filter(|status| status.role == "leader").max_by_key(|status| status.term)
}

/// Whether a majority of the replicas agrees on who leads.
fn is_agreed(servers: &[Server]) -> bool {
    let replicas = servers.iter().filter(|server| server.node.starts_with("catalog-")).count();
    leader(servers).is_some_and(|leads| {
        let agree = |status: &&Status| status.term == leads.term && status.leader == leads.leader;
        said(servers).filter(agree).count() > replicas / 2
    })
}

fn print(tools: &mut Tools, servers: &[Server]) -> Result<(), Failure> {
    if tools.out.is_json() {
        return tools.out.json(&servers);
    }
    fn shown(value: Option<impl ToString>) -> String {
        value.map_or("-".into(), |value| value.to_string())
    }
    let row = |server: &Server| {
        let (role, term, applied, hash) = match &server.replica {
            Some(Replica::Said(said)) => {
                (Some(said.role.clone()), Some(said.term), Some(said.applied), Some(said.state_hash.clone()))
            }
            Some(Replica::Seen { role, term, applied }) => (role.clone(), *term, *applied, None),
            None => (None, None, None, None),
        };
        [
            server.node.clone(),
            server.state.to_owned(),
            shown(role),
            shown(term),
            shown(applied),
            shown(server.lag),
            server.address.clone(),
            shown(hash),
        ]
    };
    let rows: Vec<_> = servers.iter().map(row).collect();
    tools.out.line(table(["NODE", "STATE", "ROLE", "TERM", "APPLIED", "LAG", "ADDRESS", "STATE HASH"], &rows))?;
    for server in servers.iter().filter(|server| server.state == "starting") {
        let why = server.why.as_deref().unwrap_or("not ready");
        tools.out.line(format_args!("{} does not serve: {why}", server.node))?;
    }
    if !is_agreed(servers) && said(servers).next().is_some() {
        tools.out.line("no leader that a majority agrees on")?;
    }
    Ok(())
}
