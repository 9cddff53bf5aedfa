//! The client: orders queued, batched, and delivered.
//!
//! Must not know how a batch is delivered.

use std::{convert::Infallible, fmt, sync::Arc};

use catalog_client::{
    Command,
    batch::{Batcher, Limits, NoResult},
    deliveries::Deliveries,
};
use futures::future::join_all;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    MAX_BATCH, NotPlaced, Placed, Server,
    delivery::{Item, Tries, deliver},
    servers::Servers,
};

/// Batches under way at once. A second one would halve each, and a batch costs every replica a sync and some wake-ups
/// whatever its size.
const IN_FLIGHT: usize = 1;
/// A batch costs the servers together about as much as so many orders, whatever is in it.
const FEW: usize = 32;

/// A handle on the order service. Cheap to clone; its background tasks end with the last handle.
#[derive(Clone)]
pub struct Orders(Arc<Inner>);

struct Inner {
    servers: Arc<Servers>,
    batcher: Batcher<Item, Result<Placed, NotPlaced>, Infallible>,
    /// Aborted when dropped.
    _health: JoinSet<()>,
}

impl fmt::Debug for Orders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Orders").field("servers", &self.0.servers).field("batcher", &self.0.batcher).finish()
    }
}

impl Orders {
    /// A client of which `queue` orders at most may wait; must be called within a tokio runtime. Watches the
    /// health of the servers in the background and logs changes of it.
    pub fn new(sender: String, servers: Vec<Server>, queue: usize) -> Self {
        let servers = Arc::new(Servers::new(&sender, servers));
        let mut health = JoinSet::new();
        for index in 0..servers.len() {
            let servers = servers.clone();
            health.spawn(async move { servers.watch(index).await });
        }
        let limits = Limits { queued: queue, batch: MAX_BATCH, in_flight: IN_FLIGHT, gather: true, few: FEW };
        let to = servers.clone();
        let batcher = Batcher::new(limits, move |items, deadline| {
            let servers = to.clone();
            async move { Ok(deliver(servers, items, deadline).await) }
        });
        Self(Arc::new(Inner { servers, batcher, _health: health }))
    }

    /// Places one order: coalesced with others that wait, sent to a live server by turn, re-issued to another
    /// under the same id when one fails, until `deadline`.
    ///
    /// # Errors
    /// [`NotPlaced`] says whether it may have been placed.
    pub async fn place(&self, command: Command, deadline: Instant) -> Result<Placed, NotPlaced> {
        let tries = Tries::default();
        let item = Item { command, tries: tries.clone() };
        match self.0.batcher.run(item, deadline).await {
            Ok(result) => result,
            Err(NoResult::Full) => Err(NotPlaced::Overloaded),
            Err(NoResult::NotSent) => Err(NotPlaced::Unavailable("too many orders were before it".to_owned())),
            Err(NoResult::Closed) => Err(NotPlaced::Unavailable("shutting down".to_owned())),
            Err(NoResult::InFlight) if tries.withdraw() => {
                Err(NotPlaced::Unavailable("no order server took it in time".to_owned()))
            }
            Err(NoResult::InFlight) => Err(NotPlaced::Unknown),
            Err(NoResult::Failed(never)) => match never {},
        }
    }

    /// Places many orders, each for itself as [`Orders::place`] does: they travel together as far as there is room.
    pub async fn place_all(&self, commands: Vec<Command>, deadline: Instant) -> Vec<Result<Placed, NotPlaced>> {
        join_all(commands.into_iter().map(|command| self.place(command, deadline))).await
    }

    /// Each server and whether it is live.
    pub fn servers(&self) -> Vec<(Server, bool)> {
        self.0.servers.view()
    }

    /// What was counted of the batches on their way.
    pub fn deliveries(&self) -> &Deliveries {
        &self.0.servers.deliveries
    }

    /// How many orders wait.
    pub fn queued(&self) -> usize {
        self.0.batcher.queued()
    }

    /// Takes no more, and returns when all that was taken has its answer.
    pub async fn close(&self) {
        self.0.batcher.close().await;
    }
}
