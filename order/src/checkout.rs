//! Orders on their way to the leader: queued, batched, submitted; and what is known of the leader and its revision.
//!
//! Must not know HTTP.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use catalog_client::{
    Command, Order, Outcome, Revision,
    batch::{Batcher, Limits, NoResult},
    client::{Catalog, Error},
    protocol::{MAX_SUBMIT, Refusal},
};
use futures::future::join_all;
use order_client::{NotPlaced, Placed, parts_by_lines};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_util::task::AbortOnDropHandle;

use crate::metrics::Metrics;

/// Batches under way at once: one travels while the other is decided.
const IN_FLIGHT: usize = 2;
/// The catalog is asked to answer so much before the deadline.
const HEARD_BEFORE: Duration = Duration::from_millis(50);
/// Between two looks whether there is a leader, while no order tells.
const PROBE_EVERY: Duration = Duration::from_millis(500);
/// How long such a look may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// Sales are logged so often, all that were made meanwhile: for each batch by itself the log's thread would wake, and it
/// takes turns with whoever else is on its core, looking for more, before it sleeps again.
const LOG_EVERY: Duration = Duration::from_millis(20);
/// Batches whose sales wait to be logged, at most.
const UNLOGGED: usize = 1024;
/// A leader heard of so recently counts as there: longer than an election, so that one does not take every order
/// server out of the rotation.
const LEADER_KNOWN_FOR: Duration = Duration::from_secs(3);

/// A handle on the orders under way. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Checkout {
    pub(crate) catalog: Catalog,
    /// Requests, each with its orders: weighed by them.
    batcher: Batcher<Vec<Command>, Vec<Result<Placed, NotPlaced>>, Infallible>,
    seen: Arc<Seen>,
    metrics: Arc<Metrics>,
    /// Aborted with the last handle.
    _tasks: Arc<[AbortOnDropHandle<()>; 2]>,
}

/// What answers have told.
#[derive(Debug, Default)]
struct Seen {
    /// The greatest revision; 0 before there was any.
    revision: AtomicU64,
    /// When a leader last answered.
    leader: Mutex<Option<Instant>>,
}

impl Seen {
    fn note(&self, revision: Revision) {
        self.revision.fetch_max(revision, Ordering::AcqRel);
        *self.leader.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn leader_within(&self, age: Duration) -> bool {
        self.leader.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| at.elapsed() <= age)
    }
}

impl Checkout {
    /// Of `queue` orders at most may wait; must be called within a tokio runtime.
    pub(crate) fn new(catalog: Catalog, queue: usize) -> Self {
        let seen = Arc::new(Seen::default());
        let limits = Limits { queued: queue, batch: MAX_SUBMIT, in_flight: IN_FLIGHT, gather: false, few: 0 };
        let (sold, unlogged) = mpsc::channel(UNLOGGED);
        let batcher = Batcher::new(limits, {
            let till = Till { catalog: catalog.clone(), seen: seen.clone(), sold };
            move |requests: Vec<Vec<Command>>, deadline| {
                let till = till.clone();
                async move { Ok(till.submit_all(requests, heard_before(deadline)).await) }
            }
        });
        let tasks = [tokio::spawn(probe(catalog.clone(), seen.clone())), tokio::spawn(log_sales(unlogged))];
        Self { catalog, batcher, seen, metrics: Arc::default(), _tasks: Arc::new(tasks.map(AbortOnDropHandle::new)) }
    }

    /// The greatest revision seen in any answer: where an id made now is born. `None` before the first.
    pub(crate) fn revision(&self) -> Option<Revision> {
        Some(self.seen.revision.load(Ordering::Acquire)).filter(|revision| *revision > 0)
    }

    /// Whether a leader answered recently.
    pub(crate) fn has_leader(&self) -> bool {
        self.seen.leader_within(LEADER_KNOWN_FOR)
    }

    /// How many orders wait.
    pub(crate) fn queued(&self) -> usize {
        self.batcher.queued()
    }

    /// Has one order placed, with whatever else waits.
    pub(crate) async fn place(&self, command: Command, deadline: Instant) -> Result<Placed, NotPlaced> {
        let mut results = self.place_all(vec![command], deadline).await;
        results.pop().unwrap_or(Err(NotPlaced::Unknown))
    }

    /// Has at most [`order_client::MAX_BATCH`] orders placed, with whatever else waits; one result an order.
    pub(crate) async fn place_all(&self, commands: Vec<Command>, deadline: Instant) -> Vec<Result<Placed, NotPlaced>> {
        let count = commands.len();
        if count == 0 {
            return Vec::new();
        }
        let not_placed = match self.batcher.run_weighing(count, commands, deadline).await {
            Ok(results) => {
                results.iter().for_each(|result| self.metrics.count(result));
                return results;
            }
            Err(NoResult::Full) => NotPlaced::Overloaded,
            Err(NoResult::NotSent) => NotPlaced::Unavailable("too many orders were before it".to_owned()),
            Err(NoResult::Closed) => NotPlaced::Unavailable("shutting down".to_owned()),
            Err(NoResult::InFlight) => NotPlaced::Unknown,
            Err(NoResult::Failed(never)) => match never {},
        };
        let results = vec![Err(not_placed); count];
        results.iter().for_each(|result| self.metrics.count(result));
        results
    }

    /// What was counted.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Takes no more, and returns when all that was taken has its outcome.
    pub(crate) async fn close(&self) {
        self.batcher.close().await;
    }
}

/// When to ask the catalog to have answered, so that its answer is still heard by whoever waits until `deadline`:
/// otherwise an order that was certainly refused would be called unknown.
fn heard_before(deadline: Instant) -> Instant {
    let left = deadline.saturating_duration_since(Instant::now());
    deadline - HEARD_BEFORE.min(left / 4)
}

/// What submits, and what it tells of it.
#[derive(Clone)]
struct Till {
    catalog: Catalog,
    seen: Arc<Seen>,
    sold: mpsc::Sender<Vec<Arc<Order>>>,
}

impl Till {
    /// Submits the orders of many requests together, and gives each request its results.
    async fn submit_all(&self, requests: Vec<Vec<Command>>, deadline: Instant) -> Vec<Vec<Result<Placed, NotPlaced>>> {
        let counts: Vec<usize> = requests.iter().map(Vec::len).collect();
        let parts = parts_by_lines(requests.into_iter().flatten().collect(), |command| command);
        let submitted = parts.into_iter().map(|part| self.submit(part, deadline));
        let mut results = join_all(submitted).await.into_iter().flatten();
        counts.into_iter().map(|count| results.by_ref().take(count).collect()).collect()
    }

    async fn submit(&self, commands: Vec<Command>, deadline: Instant) -> Vec<Result<Placed, NotPlaced>> {
        let count = commands.len();
        match self.catalog.submit(commands, deadline).await {
            Ok(submitted) => {
                let leader = submitted.leader;
                let newest = submitted.answers.iter().map(|answer| answer.version.revision).max();
                newest.into_iter().for_each(|revision| self.seen.note(revision));
                let sales = submitted.answers.iter().filter_map(|answer| match &answer.outcome {
                    Outcome::Placed(order) => Some(order.clone()),
                    _ => None,
                });
                if let Err(unlogged) = self.sold.try_send(sales.collect()) {
                    log(&unlogged.into_inner());
                }
                submitted.answers.into_iter().map(|answer| Ok(Placed { leader, answer })).collect()
            }
            Err(error) => vec![Err(not_placed(error)); count],
        }
    }
}

fn not_placed(error: Error) -> NotPlaced {
    match error {
        Error::Unknown | Error::Refused(Refusal::Unknown) => NotPlaced::Unknown,
        Error::Refused(Refusal::Overloaded) => NotPlaced::Overloaded,
        Error::Refused(Refusal::Unavailable(why)) => NotPlaced::Unavailable(why),
        Error::Refused(other) => NotPlaced::Unavailable(other.to_string()),
    }
}

/// Logs what was sold, a little later: a line costs as much as an order.
async fn log_sales(mut sold: mpsc::Receiver<Vec<Arc<Order>>>) {
    while let Some(orders) = sold.recv().await {
        log(&orders);
        while let Ok(orders) = sold.try_recv() {
            // Not before those who wait for answers.
            tokio::task::yield_now().await;
            log(&orders);
        }
        sleep(LOG_EVERY).await;
    }
}

fn log(orders: &[Arc<Order>]) {
    for order in orders {
        for line in &order.lines {
            tracing::info!(request = %order.id, quantity = line.quantity, "Bought book {}", line.title);
        }
    }
}

/// Asks for the leader's revision while no order tells: so that ids are not born in the past, and that readiness
/// is known without orders.
async fn probe(catalog: Catalog, seen: Arc<Seen>) {
    loop {
        if !seen.leader_within(PROBE_EVERY)
            && let Ok(revision) = catalog.read_index(Instant::now() + PROBE_TIMEOUT).await
        {
            seen.note(revision);
        }
        sleep(PROBE_EVERY).await;
    }
}
