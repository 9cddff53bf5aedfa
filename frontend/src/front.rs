//! The front end put together: what every request needs.
//!
//! Must not know HTTP.

use std::sync::Arc;

use catalog_client::client::{Catalog, Options, Peer};
use cluster_config::Layout;
use metrics::Level;
use order_client::{Orders, Server};
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    feed::Feed,
    follow,
    metrics::Refusals,
    observer::{self, Observer},
    reply::CacheStatus,
    state::State,
    upstream::Upstream,
    writes::Writes,
};

/// Clients that may watch at a time. They share one stream from a replica, so that each costs no more than its connection:
/// see docs/growth.md for how much that is.
pub const MAX_WATCHERS: usize = 2048;
/// Those of them that may have a stream of their own from a replica, because they are behind: replicas have 1,024
/// connections each, for each other too.
const MAX_BEHIND: usize = 256;
/// Clients that may look at the cluster live at a time.
pub const MAX_LOOKERS: usize = 64;

/// What every request needs. One for the process.
#[derive(Debug)]
pub struct Front {
    /// `frontend-1`.
    pub node: String,
    /// Who is where.
    pub layout: Layout,
    /// The catalog.
    pub catalog: Catalog,
    /// Reads.
    pub upstream: Arc<Upstream>,
    /// Writes.
    pub writes: Writes,
    /// The values of `Cache-Status`.
    pub cache_status: CacheStatus,
    /// The changes of late.
    pub feed: Arc<Feed>,
    /// Places for watchers.
    pub watchers: Arc<Semaphore>,
    /// Places for those of them that are behind.
    pub behind: Arc<Semaphore>,
    /// What the page shows over time.
    pub observer: Observer,
    /// Places for those who look at the cluster live.
    pub lookers: Arc<Semaphore>,
    /// Connections of clients.
    pub connections: Level,
    /// Refusals since the start, by reason.
    pub refusals: Refusals,
    /// Cancelled when the process is to end.
    pub stopping: CancellationToken,
}

impl Front {
    /// Connects to the catalog and the order servers and begins to follow the catalog, in the background. Must be
    /// called within a tokio runtime.
    pub fn start(layout: Layout, node: &str) -> Arc<Self> {
        let catalog = Catalog::new(Options {
            cluster: layout.cluster.clone(),
            sender: node.to_owned(),
            replicas: peers(&layout),
        });
        let servers = layout.orders.iter().map(|o| Server { name: o.name.clone(), address: o.address.clone() });
        let orders = Orders::new(node.to_owned(), servers.collect(), layout.queue);
        let state = Arc::new(State::new(layout.cache.then_some(layout.cache_entries), layout.freshness));
        let upstream = Upstream::new(catalog.clone(), state.clone());
        let feed = Arc::<Feed>::default();
        tokio::spawn(follow::run(catalog.clone(), upstream.clone(), feed.clone(), layout.freshness));
        let front = Arc::new(Self {
            node: node.to_owned(),
            writes: Writes::new(catalog.clone(), orders, state, layout.queue),
            cache_status: CacheStatus::new(node),
            feed,
            watchers: Arc::new(Semaphore::new(MAX_WATCHERS)),
            behind: Arc::new(Semaphore::new(MAX_BEHIND)),
            observer: Observer::new(),
            lookers: Arc::new(Semaphore::new(MAX_LOOKERS)),
            connections: Level::default(),
            refusals: Refusals::default(),
            stopping: CancellationToken::new(),
            catalog,
            upstream,
            layout,
        });
        tokio::spawn(observer::run(Arc::downgrade(&front)));
        front
    }

    /// What this front end holds.
    pub fn state(&self) -> &State {
        self.upstream.state()
    }

    /// When a request that arrives now must be answered.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.layout.deadline
    }
}

fn peers(layout: &Layout) -> Vec<Peer> {
    let peer = |replica: &cluster_config::CatalogNode| Peer {
        id: replica.id,
        name: replica.name.clone(),
        address: replica.peer.clone(),
    };
    layout.catalogs.iter().map(peer).collect()
}
