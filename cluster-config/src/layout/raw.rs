//! A layout as its TOML spells it: the defaults, and the units in the names. Must not judge what it reads.

use std::{path::Path, time::Duration};

use serde::{Deserialize, Serialize};

use super::{CatalogNode, EdgeNode, RaftTimes};

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Layout {
    #[serde(default = "cluster")]
    cluster: String,
    #[serde(default)]
    insecure: bool,
    items: Option<std::path::PathBuf>,
    #[serde(default)]
    raft: Raft,
    #[serde(default = "deadline_ms")]
    deadline_ms: u64,
    #[serde(default = "freshness_ms")]
    freshness_ms: u64,
    #[serde(default = "cache")]
    cache: bool,
    #[serde(default = "cache_entries")]
    cache_entries: usize,
    #[serde(default = "queue")]
    queue: usize,
    #[serde(default)]
    log_requests: bool,
    #[serde(default)]
    threads: usize,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    retired: Vec<u64>,
    #[serde(default)]
    catalog: Vec<Catalog>,
    #[serde(default)]
    order: Vec<Edge>,
    #[serde(default)]
    frontend: Vec<Edge>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Catalog {
    id: u64,
    client: String,
    peer: String,
    listen_client: Option<String>,
    listen_peer: Option<String>,
    replaces: Option<u64>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Edge {
    id: u64,
    address: String,
    listen: Option<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct Raft {
    heartbeat_ms: u64,
    election_min_ms: u64,
    election_max_ms: u64,
    snapshot_entries: u64,
    snapshot_bytes: u64,
    log_kept_entries: u64,
    log_cache_bytes: u64,
}

impl Default for Raft {
    fn default() -> Self {
        Self {
            heartbeat_ms: 50,
            election_min_ms: 200,
            election_max_ms: 350,
            snapshot_entries: 200_000,
            snapshot_bytes: 256 << 20,
            log_kept_entries: 50_000,
            log_cache_bytes: 64 << 20,
        }
    }
}

fn cluster() -> String {
    "bookshop".into()
}

fn deadline_ms() -> u64 {
    5000
}

fn freshness_ms() -> u64 {
    1000
}

fn cache() -> bool {
    true
}

fn cache_entries() -> usize {
    100_000
}

fn queue() -> usize {
    8192
}

impl Layout {
    /// Names and sorts the nodes, and gives the times their type. `folder` is where a relative `items` is.
    pub(super) fn into_layout(self, folder: &Path) -> Result<super::Layout, String> {
        let items = self.items.map(|path| folder.join(path));
        if let Some(path) = items.as_ref().filter(|path| !path.is_file()) {
            return Err(format!(
                "`items` names {}, which is not a file; write a path relative to the layout's folder",
                path.display()
            ));
        }
        let mut catalogs: Vec<CatalogNode> = self
            .catalog
            .into_iter()
            .map(|node| CatalogNode {
                id: node.id,
                name: format!("catalog-{}", node.id),
                listen_client: node.listen_client.unwrap_or_else(|| node.client.clone()),
                listen_peer: node.listen_peer.unwrap_or_else(|| node.peer.clone()),
                client: node.client,
                peer: node.peer,
                replaces: node.replaces,
            })
            .collect();
        catalogs.sort_by_key(|node| node.id);
        Ok(super::Layout {
            cluster: self.cluster,
            insecure: self.insecure,
            items,
            raft: self.raft.into_times(),
            deadline: Duration::from_millis(self.deadline_ms),
            freshness: Duration::from_millis(self.freshness_ms),
            cache: self.cache,
            cache_entries: self.cache_entries,
            queue: self.queue,
            log_requests: self.log_requests,
            threads: self.threads,
            retired: self.retired,
            catalogs,
            orders: edges("order", self.order),
            frontends: edges("frontend", self.frontend),
        })
    }
}

impl Layout {
    /// The layout `from` with its servers at `addresses`, in the order of [`super::Layout::moved_to`], as TOML.
    pub(super) fn moved(from: &super::Layout, addresses: &[String]) -> Result<String, String> {
        let mut next = addresses.iter().cloned();
        let mut next = || next.next().ok_or("there are too few addresses for the layout");
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let mut catalog = Vec::new();
        for node in &from.catalogs {
            let (client, peer) = (next()?, next()?);
            catalog.push(Catalog { id: node.id, client, peer, listen_client: None, listen_peer: None, replaces: None });
        }
        let mut edges = |nodes: &[EdgeNode]| {
            nodes
                .iter()
                .map(|node| Ok(Edge { id: node.id, address: next()?, listen: None }))
                .collect::<Result<Vec<_>, &str>>()
        };
        let raft = &from.raft;
        let layout = Self {
            cluster: from.cluster.clone(),
            insecure: from.insecure,
            items: from.items.as_ref().map(std::path::absolute).transpose().map_err(|error| error.to_string())?,
            raft: Raft {
                heartbeat_ms: ms(raft.heartbeat),
                election_min_ms: ms(raft.election_min),
                election_max_ms: ms(raft.election_max),
                snapshot_entries: raft.snapshot_entries,
                snapshot_bytes: raft.snapshot_bytes,
                log_kept_entries: raft.log_kept_entries,
                log_cache_bytes: raft.log_cache_bytes,
            },
            deadline_ms: ms(from.deadline),
            freshness_ms: ms(from.freshness),
            cache: from.cache,
            cache_entries: from.cache_entries,
            queue: from.queue,
            log_requests: from.log_requests,
            threads: from.threads,
            retired: from.retired.clone(),
            order: edges(&from.orders)?,
            frontend: edges(&from.frontends)?,
            catalog,
        };
        toml::to_string(&layout).map_err(|error| error.to_string())
    }
}

impl Raft {
    fn into_times(self) -> RaftTimes {
        RaftTimes {
            heartbeat: Duration::from_millis(self.heartbeat_ms),
            election_min: Duration::from_millis(self.election_min_ms),
            election_max: Duration::from_millis(self.election_max_ms),
            snapshot_entries: self.snapshot_entries,
            snapshot_bytes: self.snapshot_bytes,
            log_kept_entries: self.log_kept_entries,
            log_cache_bytes: self.log_cache_bytes,
        }
    }
}

fn edges(kind: &str, nodes: Vec<Edge>) -> Vec<EdgeNode> {
    let mut nodes: Vec<EdgeNode> = nodes
        .into_iter()
        .map(|node| EdgeNode {
            id: node.id,
            name: format!("{kind}-{}", node.id),
            listen: node.listen.unwrap_or_else(|| node.address.clone()),
            address: node.address,
        })
        .collect();
    nodes.sort_by_key(|node| node.id);
    nodes
}
