//! The front end's figures at `/metrics`: docs/metrics.md says what each means.
//!
//! Must not know who asks. What is counted is counted where it happens; only refusals are counted here.

use std::{sync::Arc, time::Duration};

use hyper::header::HeaderValue;
use metrics::{Kinds, Sheet};

use crate::front::{Front, MAX_WATCHERS};

/// The content type of [`text`].
pub const CONTENT_TYPE: HeaderValue = HeaderValue::from_static(metrics::CONTENT_TYPE);

/// The codes of refusals that have a count of their own.
const REASONS: [&str; 8] = [
    "overloaded",
    "unavailable",
    "outcome-unknown",
    "out-of-stock",
    "no-such-item",
    "not-found",
    "bad-request",
    "other",
];

/// Refusals since the start.
#[derive(Debug)]
pub struct Refusals(Kinds<{ REASONS.len() }>);

impl Default for Refusals {
    fn default() -> Self {
        Self(Kinds::new(REASONS))
    }
}

impl Refusals {
    /// Counts one by its code.
    pub fn count(&self, code: &str) {
        self.0.one_named(code);
    }
}

/// All figures, as they are now.
pub fn text(front: &Arc<Front>) -> String {
    let front = front.clone();
    metrics::text(move |sheet| {
        cache(&front, sheet);
        stream(&front, sheet);
        writes(&front, sheet);
        requests(&front, sheet);
    })
}

fn cache(front: &Front, sheet: &mut Sheet<'_>) {
    let counters = front.state().counters();
    let counts = counters.counts;
    sheet.counter("frontend_cache_hits_total", "Reads answered from the cache.", counters.hits);
    sheet.counter("frontend_cache_misses_total", "Reads that had to ask a replica.", counters.misses);
    sheet.counter("frontend_cache_fills_total", "Answers taken into the cache.", counts.fills);
    let help = "Answers not taken into the cache, because of a later change or their size.";
    sheet.counter("frontend_cache_fills_refused_total", help, counts.refused);
    let help = "Entries dropped to make room for others.";
    sheet.counter("frontend_cache_evictions_total", help, counts.evictions);
    let help = "Entries dropped because of a change.";
    sheet.counter("frontend_cache_invalidations_total", help, counts.invalidations);
    sheet.gauge("frontend_cache_entries", "Entries in the cache.", counters.entries as u64);
    sheet.gauge("frontend_cache_bytes", "About what the entries take.", counters.weight as u64);
}

fn stream(front: &Front, sheet: &mut Sheet<'_>) {
    let (state, stream) = (front.state(), front.state().stream());
    let help = "The revision up to which every change has been applied to the cache.";
    sheet.gauge("frontend_stream_position", help, stream.position);
    sheet.gauge("frontend_stream_live", "Whether a replica is sending changes.", u64::from(stream.live));
    let age = stream.last_frame.elapsed();
    sheet.seconds("frontend_stream_age_seconds", "Time since the last frame of the stream.", age);
    sheet.gauge("frontend_fresh", "Whether default reads may be answered from the cache.", u64::from(state.is_fresh()));
    let age = state.coherence().proof_age(state.now()).map(Duration::from_micros);
    let help = "Age of the last proof that the cache shows the present.";
    sheet.seconds("frontend_proof_age_seconds", help, age);
}

fn writes(front: &Front, sheet: &mut Sheet<'_>) {
    let (orders, changes) = (front.writes.orders().deliveries(), front.catalog.deliveries());
    let help = "Orders that wait to be sent to an order server.";
    sheet.gauge("frontend_orders_queued", help, front.writes.orders().queued() as u64);
    sheet.histogram("frontend_batch_orders", "Orders in each batch for an order server.", &orders.sizes);
    let help = "Times that a batch was sent to an order server, retries among them.";
    sheet.counter("frontend_order_tries_total", help, orders.tries.get());
    let help = "Time from sending a batch to an order server to its answer.";
    sheet.histogram("frontend_order_round_trip_seconds", help, &orders.round_trips);
    let help = "Changes of items that wait to be sent to the catalog.";
    sheet.gauge("frontend_changes_queued", help, front.writes.changes_queued() as u64);
    sheet.histogram("frontend_batch_changes", "Changes in each batch for the catalog.", &changes.sizes);
    let help = "Times that a batch of changes was sent to a replica, retries among them.";
    sheet.counter("frontend_change_tries_total", help, changes.tries.get());
    let help = "Time from sending a batch of changes to the leader to its answer.";
    sheet.histogram("frontend_change_round_trip_seconds", help, &changes.round_trips);
}

fn requests(front: &Front, sheet: &mut Sheet<'_>) {
    sheet.counters("frontend_refusals_total", "Requests that were refused.", "reason", front.refusals.0.all());
    sheet.gauge("frontend_connections", "Connections of clients.", front.connections.get() as u64);
    let watchers = MAX_WATCHERS - front.watchers.available_permits();
    sheet.gauge("frontend_watchers", "Clients that follow the changes.", watchers as u64);
    let help = "Calls to replicas under way, for reads that missed.";
    sheet.gauge("frontend_reads_under_way", help, front.upstream.calls() as u64);
    let orders = front.writes.orders().servers();
    let orders = orders.iter().map(|(server, live)| (server.name.as_str(), u64::from(*live)));
    let catalogs = front.catalog.replicas();
    let catalogs = catalogs.map(|node| (node.name.as_str(), u64::from(front.catalog.is_live(node.id))));
    let help = "Whether the last exchange with a server went well.";
    sheet.gauges("frontend_server_live", help, "server", catalogs.chain(orders));
}
