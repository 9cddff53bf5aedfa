//! Follows the catalog: the first ReadIndex, the stream of changes into the cache, the proof of freshness.
//!
//! Must not know HTTP, nor what is cached.

use std::{sync::Arc, time::Duration};

use catalog_client::{
    Revision,
    client::Catalog,
    watch::{Update, Watch},
};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::{feed::Feed, state::State, upstream::Upstream};

/// How often a ReadIndex revision is asked for.
const PROOF_EVERY: Duration = Duration::from_millis(200);
/// How long one question at the start may take, and how long to wait before the next.
const FIRST_TRY: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Lines about dropped entries are written no more often than this; those in between are counted.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Follows the catalog for as long as the process runs. `freshness`: how old a default read may be.
/// What comes goes to the cache first, then to `feed`.
pub async fn run(catalog: Catalog, upstream: Arc<Upstream>, feed: Arc<Feed>, freshness: Duration) {
    let position = begin(&upstream).await;
    feed.restart(position);
    tracing::info!(position, "ready: the cache follows the catalog from here");
    let proofs = prove(&upstream, freshness);
    let changes = follow(catalog, upstream.state(), &feed, position);
    tokio::join!(proofs, changes);
}

/// Asks until there is a quorum, and begins at its revision.
async fn begin(upstream: &Upstream) -> Revision {
    let mut told = false;
    loop {
        let asked = upstream.state().now();
        match upstream.read_index(Instant::now() + FIRST_TRY).await {
            Ok(index) => {
                upstream.state().begin(index, asked);
                return index;
            }
            Err(refusal) if !std::mem::replace(&mut told, true) => {
                tracing::warn!(%refusal, "not ready: waiting for a quorum of the catalog");
            }
            Err(_) => {}
        }
        sleep(FIRST_PAUSE).await;
    }
}

/// Asks every 200 ms as of when the position is fresh; logs when that changes.
async fn prove(upstream: &Upstream, freshness: Duration) {
    let state = upstream.state();
    let mut ticks = interval(PROOF_EVERY.min(freshness / 4).max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut fresh = true;
    loop {
        ticks.tick().await;
        let (asked, until) = (state.now(), Instant::now() + freshness);
        if let Ok(index) = upstream.read_index(until).await {
            state.wait_for_position(index, until).await;
            state.coherence().prove(asked, index);
        }
        let now_fresh = state.is_fresh();
        match (fresh, now_fresh) {
            (true, false) => tracing::warn!("freshness lost: default reads ask for a ReadIndex of their own"),
            (false, true) => tracing::info!(position = state.stream().position, "fresh again"),
            _ => {}
        }
        fresh = now_fresh;
    }
}

async fn follow(catalog: Catalog, state: &State, feed: &Feed, from: Revision) {
    let mut watch = Watch::new(catalog.clone(), Some(from));
    let mut log = DropLog::new();
    loop {
        match watch.next().await {
            Update::Connected { replica } => {
                state.connected();
                tracing::info!(position = watch.position(), "stream of changes live from {}", catalog.name_of(replica));
            }
            Update::Events { upto, events, .. } => {
                let dropped = state.apply(&events, upto);
                feed.publish(&events, upto);
                log.add(dropped, upto);
            }
            Update::Compacted { oldest } => {
                let position = oldest.max(state.coherence().need(0));
                tracing::warn!(oldest, position, "compacted: everything cached is dropped");
                state.restart(position);
                feed.restart(position);
                watch.restart(Some(position));
            }
            Update::Disconnected { replica, reason } => {
                if state.stream().live {
                    tracing::warn!(
                        position = watch.position(),
                        reason,
                        "stream of changes cut from {}",
                        catalog.name_of(replica)
                    );
                }
                state.disconnected();
            }
        }
    }
}

/// Tells of dropped entries without a line for each.
struct DropLog {
    next: Instant,
    dropped: u64,
}

impl DropLog {
    fn new() -> Self {
        Self { next: Instant::now(), dropped: 0 }
    }

    fn add(&mut self, dropped: u64, position: Revision) {
        self.dropped += dropped;
        if self.dropped > 0 && Instant::now() >= self.next {
            tracing::info!(entries = self.dropped, position, "invalidated");
            *self = Self { next: Instant::now() + LINE_EVERY, dropped: 0 };
        }
    }
}
