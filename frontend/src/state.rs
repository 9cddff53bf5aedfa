//! What this front end holds: the cache, the numbers of coherence, and where the stream of changes stands.
//!
//! The one place where the three move together. Must not know HTTP, nor how replicas are asked.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use catalog_client::{Event, ItemNumber, Revision};
use metrics::{Counter, Spread};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use crate::{
    cache::{Bounds, Cache, Counts, Key},
    coherence::{Coherence, Micros, Verdict},
    page::Held,
};

/// How long an answer is held for the stream to come as far. Bookmarks come five times as often: a stream that
/// takes longer is as good as cut.
const HOLD: Duration = Duration::from_millis(500);
/// What the cached answers may weigh in all, in bytes.
const CACHE_BYTES: usize = 256 << 20;
/// Tombstones: half a megabyte. Of fills that cross an entry of some hundred changes one in some hundred is not kept.
const TOMBSTONES: usize = 65_536;

/// Where the stream of changes stands.
#[derive(Debug, Clone, Copy)]
pub struct Stream {
    /// Every change up to here has been applied to the cache.
    pub position: Revision,
    /// Whether a replica is sending.
    pub live: bool,
    /// When the last frame came.
    pub last_frame: Instant,
    /// Whether the first ReadIndex has been answered: nothing is served from here before.
    pub begun: bool,
}

/// What the cache says to a read.
#[derive(Debug)]
pub enum Lookup {
    /// This is the answer.
    Hit(Held),
    /// Ask a replica.
    Miss,
}

/// Counters of the cache since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Entries now.
    pub entries: usize,
    /// What they weigh, in bytes.
    pub weight: usize,
    /// Reads answered from it.
    pub hits: u64,
    /// Reads that had to ask a replica.
    pub misses: u64,
    /// What has happened to its entries.
    pub counts: Counts,
}

/// All of it. One for the process.
#[derive(Debug)]
pub struct State {
    /// `None` when the layout switches the cache off.
    cache: Option<Mutex<Cache<Held>>>,
    coherence: Coherence,
    stream: watch::Sender<Stream>,
    base: Instant,
    hits: Spread,
    misses: Counter,
}

impl State {
    /// Nothing known yet. `entries`: the cache's bound, or `None` for no cache; `freshness`: how old a default read
    /// may be.
    pub fn new(entries: Option<usize>, freshness: Duration) -> Self {
        let now = Instant::now();
        let bounds = |entries: usize| Bounds { entries, weight: CACHE_BYTES, tombstones: TOMBSTONES };
        Self {
            cache: entries.map(|entries| Mutex::new(Cache::new(bounds(entries), 0))),
            coherence: Coherence::new(Micros::try_from(freshness.as_micros()).unwrap_or(Micros::MAX)),
            stream: watch::Sender::new(Stream { position: 0, live: false, last_frame: now, begun: false }),
            base: now,
            hits: Spread::default(),
            misses: Counter::new(),
        }
    }

    /// Microseconds since this front end began: the clock of freshness.
    pub fn now(&self) -> Micros {
        // 2^64 microseconds are half a million years.
        self.base.elapsed().as_micros() as Micros
    }

    /// Reads answered from the cache since the start.
    pub fn hits(&self) -> u64 {
        self.hits.get()
    }

    /// Whether there is a cache.
    pub fn has_cache(&self) -> bool {
        self.cache.is_some()
    }

    /// The rules and their numbers.
    pub fn coherence(&self) -> &Coherence {
        &self.coherence
    }

    /// Whether the position is proven fresh now.
    pub fn is_fresh(&self) -> bool {
        self.coherence.is_fresh(self.now())
    }

    /// Where the stream stands.
    pub fn stream(&self) -> Stream {
        *self.stream.borrow()
    }

    /// Counters of the cache.
    pub fn counters(&self) -> Counters {
        let of_cache = self.cache().map(|cache| (cache.len(), cache.weight(), cache.counts()));
        let (entries, weight, counts) = of_cache.unwrap_or_default();
        Counters { entries, weight, counts, hits: self.hits.get(), misses: self.misses.get() }
    }

    /// Looks a key up for a default read that wants at least `min_revision`. Only hits are counted here.
    pub fn lookup(&self, key: &Key, min_revision: Revision) -> Lookup {
        if self.coherence.verdict(self.now(), min_revision) == Verdict::Cache
            && let Some(held) = self.cache().and_then(|mut cache| cache.get(key))
        {
            // A list known to be too long still has to be read.
            if matches!(held, Held::Page(_)) {
                self.hits.one();
            }
            return Lookup::Hit(held);
        }
        Lookup::Miss
    }

    /// Counts a read that had to ask a replica.
    pub fn count_miss(&self) {
        self.misses.one();
    }

    /// Makes way for an answer read at `revision`: waits until the position is there. With the stream cut, or too
    /// slow, the cache goes unused until it is. Returns whether the position is there.
    pub async fn settle(&self, revision: Revision, deadline: Instant) -> bool {
        let until = deadline.min(Instant::now() + HOLD);
        let settled = self.cache.is_none() || self.reaches(revision, until).await;
        if !settled {
            self.coherence.answer_beyond(revision);
        }
        self.coherence.raise_floor(revision);
        settled
    }

    /// Whether there is an entry of `key`, of whatever age.
    pub fn holds(&self, key: &Key) -> bool {
        self.cache().is_some_and(|mut cache| cache.get(key).is_some())
    }

    /// Waits until the position is at `revision`, while the stream lives, for so long. Returns whether it is there.
    pub async fn reaches(&self, revision: Revision, until: Instant) -> bool {
        if self.coherence.position() >= revision {
            return true;
        }
        let mut stream = self.stream.subscribe();
        let moved = stream.wait_for(|stream| stream.position >= revision || !stream.live);
        let _ = timeout_at(until, moved).await;
        self.coherence.position() >= revision
    }

    /// Waits until the position is at `revision`, or `until`.
    pub async fn wait_for_position(&self, revision: Revision, until: Instant) {
        let mut stream = self.stream.subscribe();
        let _ = timeout_at(until, stream.wait_for(|stream| stream.position >= revision)).await;
    }

    /// Waits until the first ReadIndex has been answered. Returns whether it was before `deadline`.
    pub async fn wait_for_beginning(&self, deadline: Instant) -> bool {
        if self.coherence.floor() > 0 {
            return true;
        }
        let mut stream = self.stream.subscribe();
        matches!(timeout_at(deadline, stream.wait_for(|stream| stream.begun)).await, Ok(Ok(_)))
    }

    /// Keeps what was read at `revision`, unless it was invalidated since.
    pub fn fill(&self, key: Key, revision: Revision, held: Held) {
        if let Some(mut cache) = self.cache() {
            cache.fill(key, revision, held.weight(), held);
        }
    }

    /// Makes way for an outcome decided at `revision` that tells something about `items`.
    pub fn answer(&self, items: &[ItemNumber], revision: Revision) {
        if let Some(mut cache) = self.cache() {
            cache.answer(items, revision);
        }
        self.coherence.raise_floor(revision);
    }

    /// Drops the entries of one item because somebody asked for it.
    pub fn drop_item(&self, item: ItemNumber) {
        if let Some(mut cache) = self.cache() {
            cache.drop_item(item);
        }
    }

    /// The first ReadIndex, asked at `asked`: the stream will begin at `index`.
    pub fn begin(&self, index: Revision, asked: Micros) {
        self.restart(index);
        self.coherence.raise_floor(index);
        self.coherence.prove(asked, index);
        self.stream.send_modify(|stream| stream.begun = true);
    }

    /// A replica has accepted the stream.
    pub fn connected(&self) {
        self.stream.send_modify(|stream| (stream.live, stream.last_frame) = (true, Instant::now()));
    }

    /// The stream broke.
    pub fn disconnected(&self) {
        self.stream.send_modify(|stream| stream.live = false);
    }

    /// Everything that happened up to `upto` since the position before. Returns how many entries it dropped.
    pub fn apply(&self, events: &[Event], upto: Revision) -> u64 {
        let dropped = {
            let mut cache = self.cache();
            let before = cache.as_ref().map_or(0, |cache| cache.counts().invalidations);
            if let Some(cache) = &mut cache {
                cache.apply(events, upto);
            }
            // Within the lock: a fill that sees the position sees what was applied.
            self.coherence.advance(upto);
            cache.map_or(0, |cache| cache.counts().invalidations - before)
        };
        self.stream.send_modify(|stream| {
            *stream = Stream { position: upto.max(stream.position), live: true, last_frame: Instant::now(), ..*stream };
        });
        dropped
    }

    /// What happened up to `position` will never be known: drops everything and goes on from there.
    pub fn restart(&self, position: Revision) {
        {
            let mut cache = self.cache();
            if let Some(cache) = &mut cache {
                cache.clear(position);
            }
            self.coherence.advance(position);
        }
        self.stream.send_modify(|stream| {
            *stream = Stream { position: position.max(stream.position), live: false, ..*stream };
        });
    }

    fn cache(&self) -> Option<MutexGuard<'_, Cache<Held>>> {
        // The cache's own steps do not panic half way; a poisoned lock is one of a caller that had nothing to undo.
        self.cache.as_ref().map(|cache| cache.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
