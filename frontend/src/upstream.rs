//! Reads that the cache cannot answer: which revision they must have, one call for all who miss the same key, and
//! the hold until the stream of changes is as far as what was read.
//!
//! Must not know HTTP, nor what views look like.

mod flights;

use std::{sync::Arc, time::Duration};

use catalog_client::{
    Revision,
    batch::{Batcher, Limits, NoResult},
    client::{self, Catalog, ReadAnswer},
    protocol::{Data, ReadAt, Refusal, View},
};
use hyper::header::HeaderValue;
use metrics::Histogram;
use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};

use self::flights::Flights;
use crate::{
    cache::Key,
    page::{Held, view_of, whole_view_of},
    state::{Lookup, State},
};

/// Calls to replicas under way; a read beyond them is refused at once.
const MAX_CALLS: usize = 4096;
/// Reads that wait for a ReadIndex; one more is refused at once.
const MAX_INDEX_WAITERS: usize = 16_384;
/// Questions for a ReadIndex under way. A second one would halve what each is for, and a round of heartbeats costs every
/// replica a few wake-ups however many wait for it. One that is with a dead leader goes on to the next by itself.
const INDEX_CALLS: usize = 1;

/// How long a linearizable read of something cached waits for the stream, which is as far as a replica most of the time,
/// before it asks a replica.
const CATCH_UP: Duration = Duration::from_millis(20);

/// What a read asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ask {
    /// `?read=linearizable`.
    pub linearizable: bool,
    /// `X-Min-Revision`, 0 without.
    pub min_revision: Revision,
}

/// How a read was answered, as `Cache-Status` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// From the cache.
    Hit,
    /// By a replica: the cache had no entry that would do.
    Miss,
    /// By a replica: the cache is off or was not to be asked.
    Bypass,
    /// By a replica: nothing proves that the cache is fresh.
    Stale,
}

/// Asks replicas. One for the process.
#[derive(Debug)]
pub struct Upstream {
    catalog: Catalog,
    state: Arc<State>,
    flights: Flights,
    calls: Semaphore,
    indexes: Batcher<(), Revision, client::Error>,
    /// From asking a replica for a view to its answer: calls that failed are not in it.
    pub times: Histogram,
}

impl Upstream {
    /// Must be made within a tokio runtime.
    pub fn new(catalog: Catalog, state: Arc<State>) -> Arc<Self> {
        let limits = Limits {
            queued: MAX_INDEX_WAITERS,
            batch: MAX_INDEX_WAITERS,
            in_flight: INDEX_CALLS,
            gather: true,
            few: 0,
        };
        let asked = catalog.clone();
        let indexes = Batcher::new(limits, move |waiting: Vec<()>, deadline| {
            let catalog = asked.clone();
            async move { catalog.read_index(deadline).await.map(|index| vec![index; waiting.len()]) }
        });
        Arc::new(Self {
            catalog,
            state,
            flights: Flights::default(),
            calls: Semaphore::new(MAX_CALLS),
            indexes,
            times: Histogram::times(),
        })
    }

    /// Calls to replicas under way.
    pub fn calls(&self) -> usize {
        MAX_CALLS - self.calls.available_permits()
    }

    /// What this front end holds.
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// A revision that reflects every write acknowledged anywhere before the call; one question serves all who
    /// waited when it was put.
    ///
    /// # Errors
    /// When no leader with a quorum answered by `deadline`.
    pub async fn read_index(&self, deadline: Instant) -> Result<Revision, Refusal> {
        let asked = self.state.now();
        let index = self.indexes.run((), deadline).await.map_err(|no_result| match no_result {
            NoResult::Full => Refusal::Overloaded,
            NoResult::Failed(client::Error::Refused(refusal)) => refusal,
            _ => Refusal::Unavailable("no leader with a quorum answered in time".to_owned()),
        })?;
        self.state.coherence().prove(asked, index);
        Ok(index)
    }

    /// The page of a key.
    ///
    /// # Errors
    /// When no replica gave it by `deadline`.
    pub async fn page(self: &Arc<Self>, key: Key, ask: Ask, deadline: Instant) -> Result<(Held, Source), Refusal> {
        if !ask.linearizable
            && let Lookup::Hit(held) = self.state.lookup(&key, ask.min_revision)
        {
            return Ok((held, Source::Hit));
        }
        let (known, source) = self.bar(ask.linearizable, deadline).await?;
        if ask.linearizable
            && ask.min_revision <= known
            && let Some(held) = self.proven(&key, known, deadline).await
        {
            return Ok((held, Source::Hit));
        }
        self.state.count_miss();
        // A minimum that nobody has reached yet may never be: such a call is not one for others to join. Without
        // a cache every read makes its own call, so that what the cache saves can be measured.
        let held = if self.state.has_cache() && ask.min_revision <= known {
            self.shared(key, known, deadline).await?
        } else {
            self.fetch(key, known.max(ask.min_revision), deadline).await?
        };
        Ok((held, source))
    }

    /// The cache's entry of `key`, if it holds at `known`: every change up to there has been applied to the cache, so
    /// what is still in it has not changed since it was filled. That it is linearizable follows from `known` alone.
    async fn proven(&self, key: &Key, known: Revision, deadline: Instant) -> Option<Held> {
        if !self.state.holds(key) || !self.state.reaches(known, deadline.min(Instant::now() + CATCH_UP)).await {
            return None;
        }
        match self.state.lookup(key, known) {
            Lookup::Hit(Held::Page(page)) => Some(Held::Page(Arc::new(page.holding_at(known)))),
            _ => None,
        }
    }

    /// A view that is not cached.
    ///
    /// # Errors
    /// When no replica gave it by `deadline`.
    pub async fn read(&self, view: &View, ask: Ask, deadline: Instant) -> Result<(ReadAnswer, Source), Refusal> {
        let (known, source) = self.bar(ask.linearizable, deadline).await?;
        let answer = self.call(view, known.max(ask.min_revision), deadline).await?;
        self.state.settle(answer.revision, deadline).await;
        Ok((answer, if source == Source::Stale { source } else { Source::Bypass }))
    }

    /// The whole of a list, part by part.
    ///
    /// # Errors
    /// When no replica gave the first part by `deadline`.
    pub async fn stream(
        &self,
        key: &Key,
        ask: Ask,
        deadline: Instant,
    ) -> Result<(ReadAnswer, mpsc::Receiver<Result<Data, client::Error>>, Source), Refusal> {
        let (known, source) = self.bar(ask.linearizable, deadline).await?;
        let at = ReadAt::AtLeast(known.max(ask.min_revision));
        let parts = self.catalog.read_parts(None, &whole_view_of(key), at, deadline).await;
        let (first, rest) = parts.map_err(refusal_of)?;
        self.state.settle(first.revision, deadline).await;
        Ok((first, rest, source))
    }

    /// The least revision that a read which begins now must have, but for its own minimum, and why a replica is
    /// asked.
    async fn bar(&self, linearizable: bool, deadline: Instant) -> Result<(Revision, Source), Refusal> {
        let coherence = self.state.coherence();
        if !linearizable && self.state.is_fresh() {
            let source = if self.state.has_cache() { Source::Miss } else { Source::Bypass };
            return Ok((coherence.need(0), source));
        }
        let index = self.read_index(deadline).await?;
        let source = if linearizable || !self.state.has_cache() { Source::Bypass } else { Source::Stale };
        Ok((index.max(coherence.need(0)), source))
    }

    /// Asks a replica for a page, waits until the stream is there too, and keeps it.
    async fn fetch(&self, key: Key, at: Revision, deadline: Instant) -> Result<Held, Refusal> {
        let answer = self.call(&view_of(&key), at, deadline).await?;
        let served_by = self.catalog.name_of(answer.replica);
        let header = HeaderValue::from_str(served_by).unwrap_or(HeaderValue::from_static(""));
        let Some(held) = Held::of(&key, &answer.data, answer.revision, header) else {
            tracing::warn!("{served_by} answered something else than what was asked");
            return Err(Refusal::Unavailable(format!("{served_by} answered something else than what was asked")));
        };
        if self.state.settle(answer.revision, deadline).await {
            self.state.fill(key, answer.revision, held.clone());
        }
        Ok(held)
    }

    async fn call(&self, view: &View, at: Revision, deadline: Instant) -> Result<ReadAnswer, Refusal> {
        let _permit = self.calls.try_acquire().map_err(|_| Refusal::Overloaded)?;
        let begun = Instant::now();
        let answer = self.catalog.read(None, view, ReadAt::AtLeast(at), deadline).await.map_err(refusal_of)?;
        self.times.time(begun.elapsed());
        Ok(answer)
    }
}

fn refusal_of(error: client::Error) -> Refusal {
    match error {
        client::Error::Refused(refusal) => refusal,
        client::Error::Unknown => Refusal::Unavailable("no answer in time".to_owned()),
    }
}
