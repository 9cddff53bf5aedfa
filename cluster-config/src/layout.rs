//! A layout: raw TOML, validated once.

use std::{path::PathBuf, time::Duration};

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
    /// The replicas, by id from 1. TOML `[[catalog]]`.
    pub catalogs: Vec<CatalogNode>,
    /// The order servers. TOML `[[order]]`.
    pub orders: Vec<EdgeNode>,
    /// The front ends. TOML `[[frontend]]`.
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
}

/// Raft's times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RaftTimes {
    /// Between two heartbeats. TOML `heartbeat_ms`, default 50.
    pub heartbeat: Duration,
    /// The shortest election timeout. TOML `election_min_ms`, default 200.
    pub election_min: Duration,
    /// The longest, and the leader's lease. TOML `election_max_ms`, default 400.
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

impl Layout {
    /// The layout that `selector` names: a number N is `cluster-config/config_N.toml` below the current folder,
    /// or the copy built into the program; anything else is a path.
    ///
    /// # Errors
    /// Says what is wrong and where.
    pub fn load(_selector: &str) -> Result<Self, Error> {
        todo!()
    }
}
