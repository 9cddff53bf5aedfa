//! A layout: raw TOML, validated once. Owns what a layout may say and the sentences that refuse one; must not know
//! processes, sockets, or what a server does with its part.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

pub mod edit;
mod raw;

/// A validated layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The cluster's name; servers of another cluster are refused. TOML `cluster`, default `bookshop`.
    pub cluster: String,
    /// Whether servers may listen beyond loopback. TOML `insecure`, default false; needed when any address is not loopback.
    pub insecure: bool,
    /// The first items, a CSV with the header `item_number,title,topic,cost,quantity`. TOML `items` (relative to the
    /// layout's file); `None` loads the seven books.
    pub items: Option<PathBuf>,
    /// Raft's times. TOML table `raft`.
    pub raft: RaftTimes,
    /// How long a request may take in all. TOML `deadline_ms`, default 5000.
    pub deadline: Duration,
    /// How old, at most, a default read may be. TOML `freshness_ms`, default 1000.
    pub freshness: Duration,
    /// Whether the front end caches. TOML `cache`, default true.
    pub cache: bool,
    /// Entries of the front end's cache. TOML `cache_entries`, default 100000.
    pub cache_entries: usize,
    /// Orders that may wait at an order server or a front end. TOML `queue`, default 8192.
    pub queue: usize,
    /// A line in the log for every request. TOML `log_requests`, default false.
    pub log_requests: bool,
    /// Threads that run the tasks of each server; 0 is half of the processors, at least 1: servers share a machine, and
    /// on few cores more threads only hand work to each other. TOML `threads`, default 0.
    pub threads: usize,
    /// Ids of replicas that are gone for good and never used again. TOML `retired`, default none.
    pub retired: Vec<u64>,
    /// The replicas, by id from 1. TOML `[[catalog]]`.
    pub catalogs: Vec<CatalogNode>,
    /// The order servers, by id. TOML `[[order]]`.
    pub orders: Vec<EdgeNode>,
    /// The front ends, by id. TOML `[[frontend]]`.
    pub frontends: Vec<EdgeNode>,
}

/// A replica of the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogNode {
    /// Its id in the Raft group: its instance number. TOML `id`.
    pub id: u64,
    /// `catalog-<id>`.
    pub name: String,
    /// `host:port` of the client port. TOML `client`.
    pub client: String,
    /// `host:port` of the peer port. TOML `peer`.
    pub peer: String,
    /// Where it listens for `client`, if something that forwards stands between. TOML `listen_client`, default `client`.
    pub listen_client: String,
    /// Where it listens for `peer`, if something that forwards stands between. TOML `listen_peer`, default `peer`.
    pub listen_peer: String,
    /// The id of the replica whose place it has taken. TOML `replaces`, default none.
    pub replaces: Option<u64>,
}

/// An order server or a front end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeNode {
    /// Its instance number. TOML `id`.
    pub id: u64,
    /// `order-<id>` or `frontend-<id>`.
    pub name: String,
    /// `host:port`. TOML `address`.
    pub address: String,
    /// Where it listens, if something that forwards stands between. TOML `listen`, default `address`.
    pub listen: String,
}

/// Raft's times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RaftTimes {
    /// Between two heartbeats. TOML `heartbeat_ms`, default 50.
    pub heartbeat: Duration,
    /// The shortest election timeout. TOML `election_min_ms`, default 200.
    pub election_min: Duration,
    /// The longest, and the leader's lease. TOML `election_max_ms`, default 350.
    pub election_max: Duration,
    /// Log entries applied between two snapshots, at most. TOML `snapshot_entries`, default 200000.
    pub snapshot_entries: u64,
    /// Bytes of log between two snapshots, at most. TOML `snapshot_bytes`, default 268435456.
    pub snapshot_bytes: u64,
    /// Log entries kept behind a snapshot for replicas that lag. TOML `log_kept_entries`, default 50000.
    pub log_kept_entries: u64,
    /// Bytes of decoded log entries kept in memory. TOML `log_cache_bytes`, default 67108864.
    pub log_cache_bytes: u64,
}

/// A layout that cannot be used, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such file, or not readable.
    #[error("{0}")]
    Read(String),
    /// Not a layout.
    #[error("{0}")]
    Invalid(String),
}

/// The layouts that come with the program, so that it runs from any folder.
const BUILT_IN: [&str; 4] = [
    include_str!("../config_1.toml"),
    include_str!("../config_2.toml"),
    include_str!("../config_3.toml"),
    include_str!("../config_4.toml"),
];

/// The longest time that a layout may name: beyond it a slip of the unit is more likely than intent.
const MAX_TIME: Duration = Duration::from_secs(600);

impl Layout {
    /// The layout that `selector` names: a number N is `cluster-config/config_N.toml` below the current folder,
    /// or the copy built into the program; anything else is a path.
    ///
    /// # Errors
    /// Says what is wrong and where.
    pub fn load(selector: &str) -> Result<Self, Error> {
        let (text, path) = Self::text(selector)?;
        Self::parse(&text, &path)
    }

    /// The text of the layout that `selector` names, and the path that names it in errors.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn text(selector: &str) -> Result<(String, PathBuf), Error> {
        let Ok(number) = selector.parse::<usize>() else {
            let text = std::fs::read_to_string(selector).map_err(|error| {
                Error::Read(format!(
                    "{selector}: cannot read this layout ({error}); give a number from 1 to 4 or the path of a layout's file"
                ))
            })?;
            return Ok((text, selector.into()));
        };
        let path = PathBuf::from(format!("cluster-config/config_{number}.toml"));
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok((text, path)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                match number.checked_sub(1).and_then(|at| BUILT_IN.get(at)) {
                    Some(text) => Ok(((*text).into(), path)),
                    None => Err(Error::Read(format!(
                        "there is no layout {number}: give a number from 1 to 4, the path of a layout's file, or write {}",
                        path.display()
                    ))),
                }
            }
            Err(error) => Err(Error::Read(format!("{}: cannot read this layout: {error}", path.display()))),
        }
    }

    /// The same layout as TOML, each of its servers at an address of `addresses` instead: client and peer of each
    /// catalog, then order servers, then front ends.
    ///
    /// # Errors
    /// When there are too few addresses, or the layout cannot be written as TOML.
    pub fn moved_to(&self, addresses: &[String]) -> Result<String, Error> {
        raw::Layout::moved(self, addresses).map_err(Error::Invalid)
    }

    /// How many addresses the layout uses.
    pub fn address_count(&self) -> usize {
        self.addresses().count()
    }

    /// The layout that `text` holds. `path` names it in errors, and its folder is where `items` is looked for.
    ///
    /// # Errors
    /// Says what is wrong and what to do.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let invalid = |what: String| Error::Invalid(format!("{}: {what}", path.display()));
        let raw: raw::Layout = toml::from_str(text).map_err(|error| invalid(format!("not a layout: {error}")))?;
        let layout = raw.into_layout(path.parent().unwrap_or(Path::new(""))).map_err(invalid)?;
        layout.check().map_err(invalid)?;
        Ok(layout)
    }

    /// Each address of the layout at which others look for a node, with the node.
    fn addresses(&self) -> impl Iterator<Item = (&str, &str)> {
        let catalogs = self
            .catalogs
            .iter()
            .flat_map(|node| [(node.name.as_str(), node.client.as_str()), (&node.name, &node.peer)]);
        let edges = self.orders.iter().chain(&self.frontends).map(|node| (node.name.as_str(), node.address.as_str()));
        catalogs.chain(edges)
    }

    /// Each address on which a node listens although others look for it elsewhere, with the node.
    fn hidden_addresses(&self) -> impl Iterator<Item = (&str, &str)> {
        let catalogs = self.catalogs.iter().flat_map(|node| {
            [(&node.name, &node.client, &node.listen_client), (&node.name, &node.peer, &node.listen_peer)]
        });
        let edges = self.orders.iter().chain(&self.frontends).map(|node| (&node.name, &node.address, &node.listen));
        catalogs
            .chain(edges)
            .filter(|(_, shown, listen)| shown != listen)
            .map(|(name, _, listen)| (name.as_str(), listen.as_str()))
    }

    fn check(&self) -> Result<(), String> {
        if self.cluster.is_empty()
            || self.cluster.len() > 64
            || !self.cluster.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        {
            return Err("`cluster` must be 1 to 64 letters, digits, dots, dashes or underscores".into());
        }
        if self.catalogs.is_empty() {
            return Err("there is no catalog: add at least one [[catalog]] with id, client and peer".into());
        }
        check_ids("catalog", self.catalogs.iter().map(|node| node.id))?;
        check_ids("order", self.orders.iter().map(|node| node.id))?;
        check_ids("frontend", self.frontends.iter().map(|node| node.id))?;
        if let Some(node) = self.catalogs.iter().find(|node| self.retired.contains(&node.id)) {
            let id = node.id;
            return Err(format!("[[catalog]]: id {id} is `retired`, and an id is never used again; give it a new one"));
        }
        self.check_addresses()?;
        self.check_times()?;
        for (name, value) in [("cache_entries", self.cache_entries), ("queue", self.queue)] {
            if value == 0 {
                return Err(format!("`{name}` must be at least 1"));
            }
        }
        for (name, value) in [
            ("snapshot_entries", self.raft.snapshot_entries),
            ("snapshot_bytes", self.raft.snapshot_bytes),
            ("log_cache_bytes", self.raft.log_cache_bytes),
        ] {
            if value == 0 {
                return Err(format!("`raft.{name}` must be at least 1"));
            }
        }
        Ok(())
    }

    fn check_addresses(&self) -> Result<(), String> {
        let mut used = BTreeMap::new();
        for (node, address) in self.addresses().chain(self.hidden_addresses()) {
            let host = host(address).map_err(|why| format!("{node}: `{address}` {why}"))?;
            if !self.insecure && !is_loopback(host) {
                return Err(format!(
                    "{node}: `{address}` is not loopback, and traffic is neither encrypted nor authenticated; \
                     use 127.0.0.1, or say `insecure = true` if the network is trusted"
                ));
            }
            if let Some(other) = used.insert(address, node) {
                let who =
                    if other == node { format!("{node} uses twice") } else { format!("{other} and {node} both use") };
                return Err(format!(
                    "{who} `{address}`; give every server, and both ports of a catalog, an address of its own"
                ));
            }
        }
        Ok(())
    }

    fn check_times(&self) -> Result<(), String> {
        let raft = &self.raft;
        for (name, value) in [
            ("deadline_ms", self.deadline),
            ("freshness_ms", self.freshness),
            ("raft.heartbeat_ms", raft.heartbeat),
            ("raft.election_min_ms", raft.election_min),
            ("raft.election_max_ms", raft.election_max),
        ] {
            if value.is_zero() || value > MAX_TIME {
                return Err(format!("`{name}` must be from 1 to {} milliseconds", MAX_TIME.as_millis()));
            }
        }
        if raft.heartbeat * 2 > raft.election_min {
            return Err(format!(
                "`raft.election_min_ms` must be at least twice `raft.heartbeat_ms`, so at least {}, or one late heartbeat unseats a leader",
                (raft.heartbeat * 2).as_millis()
            ));
        }
        if raft.election_min >= raft.election_max {
            return Err(format!(
                "`raft.election_max_ms` must be greater than `raft.election_min_ms` ({}), or replicas stand for election together",
                raft.election_min.as_millis()
            ));
        }
        Ok(())
    }
}

fn check_ids(kind: &str, ids: impl Iterator<Item = u64>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for id in ids {
        if id == 0 {
            return Err(format!("[[{kind}]]: `id` must be at least 1"));
        }
        if !seen.insert(id) {
            return Err(format!("[[{kind}]]: id {id} is given twice; give each an id of its own"));
        }
    }
    Ok(())
}

/// The host of `host:port`, without the brackets of IPv6.
fn host(address: &str) -> Result<&str, &'static str> {
    let (host, port) = address.rsplit_once(':').ok_or("has no port; write host:port")?;
    if !matches!(port.parse::<u16>(), Ok(1..)) || port.starts_with('+') {
        return Err("has no port from 1 to 65535; write host:port");
    }
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let ip: std::net::Ipv6Addr = inner.parse().map_err(|_| "is not an IPv6 address in brackets")?;
        return if ip.is_unspecified() { Err(UNSPECIFIED) } else { Ok(inner) };
    }
    if host.contains(':') {
        return Err("is an IPv6 address without brackets; write [address]:port");
    }
    let digits = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match host.parse::<std::net::Ipv4Addr>() {
        Ok(ip) if ip.is_unspecified() => Err(UNSPECIFIED),
        Ok(_) => Ok(host),
        Err(_) if digits => Err("is neither a host name nor an IPv4 address"),
        Err(_) if host.len() > 253 || !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) => {
            Err("has no usable host; write host:port with a host name, an IPv4 address, or [IPv6]")
        }
        Err(_) => Ok(host),
    }
}

const UNSPECIFIED: &str =
    "names every interface, but others must be able to connect to it; write this machine's own address or name";

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
