//! What the server counts, and its figures at `/metrics`: docs/metrics.md says what each means.
//!
//! Must not know what the figures are for.

use catalog_client::Outcome;
use metrics::{Kinds, Level};
use order_client::{NotPlaced, Placed};

use crate::checkout::Checkout;

/// What became of an order: placed, refused by a rule of the shop, or not decided.
const RESULTS: [&str; 10] = [
    "placed",
    "out-of-stock",
    "no-such-item",
    "too-large",
    "key-reused",
    "expired",
    "invalid",
    "overloaded",
    "unavailable",
    "outcome-unknown",
];

/// Counts since the start, and what there is now.
#[derive(Debug)]
pub(crate) struct Metrics {
    results: Kinds<{ RESULTS.len() }>,
    /// Connections of clients and front ends.
    pub(crate) connections: Level,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { results: Kinds::new(RESULTS), connections: Level::default() }
    }
}

impl Metrics {
    /// Counts one order.
    pub(crate) fn count(&self, result: &Result<Placed, NotPlaced>) {
        let which = match result {
            Ok(placed) => match placed.answer.outcome {
                Outcome::Placed(_) => 0,
                Outcome::OutOfStock { .. } => 1,
                Outcome::NoSuchItem { .. } => 2,
                Outcome::TooLarge => 3,
                Outcome::KeyReused => 4,
                Outcome::Expired => 5,
                _ => 6,
            },
            Err(NotPlaced::Overloaded) => 7,
            Err(NotPlaced::Unavailable(_)) => 8,
            Err(NotPlaced::Unknown) => 9,
        };
        self.results.one(which);
    }
}

/// All figures of the server, as they are now.
pub(crate) fn text(checkout: &Checkout) -> String {
    let checkout = checkout.clone();
    metrics::text(move |sheet| {
        let counted = checkout.metrics();
        sheet.counters("order_results_total", "Orders by what became of them.", "result", counted.results.all());
        sheet.gauge("order_queued", "Orders that wait to be submitted.", checkout.queued() as u64);
        let submitted = checkout.catalog.deliveries();
        sheet.histogram("order_batch_orders", "Orders in each submission to the catalog.", &submitted.sizes);
        let help = "Times that a submission was sent to a replica, retries among them.";
        sheet.counter("order_tries_total", help, submitted.tries.get());
        let help = "Time from sending a submission to the leader to its answer.";
        sheet.histogram("order_round_trip_seconds", help, &submitted.round_trips);
        let revision = checkout.revision().unwrap_or(0);
        sheet.gauge("order_revision", "The greatest revision seen in an answer of the catalog.", revision);
        let known = u64::from(checkout.has_leader());
        sheet.gauge("order_leader_known", "Whether a leader of the catalog answered recently.", known);
        let connections = counted.connections.get() as u64;
        sheet.gauge("order_connections", "Connections of front ends and other clients.", connections);
    })
}
