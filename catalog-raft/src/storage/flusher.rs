//! One thread that owns syncing: everything that waits is made durable by one fdatasync, then marked, then told.
//! Group commit happens here. Nothing is told before its sync returned; a sync that fails ends the process.

#[cfg(feature = "simulation")]
mod simulated;
#[cfg(not(feature = "simulation"))]
mod threaded;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use catalog_client::mutant::Mutant;
use metrics::Histogram;
use openraft::storage::IOFlushed;
use tokio::{sync::oneshot, time::Instant};

#[cfg(feature = "simulation")]
use self::simulated::Worker;
#[cfg(not(feature = "simulation"))]
use self::threaded::Worker;
use super::{
    db::{Db, fatal},
    mark::MarkFile,
};
use crate::{
    figures::Point,
    raft::{LogId, TypeConfig, Vote},
};

/// Requests that wait. openraft has fewer in flight (a follower takes 64 messages ahead, a leader proposes a few
/// batches), so a sender never finds the queue full but when the disk stalls for seconds; it then waits, which is
/// the pressure wanted, and cannot deadlock: this thread needs nothing of the runtime.
const QUEUE: usize = 4096;
/// How much earlier [`Mutant::AckBeforeFsync`] tells, at most.
const EARLY: Duration = Duration::from_millis(200);
/// A sync that takes longer is logged: election time-outs are near.
const SLOW_SYNC: Duration = Duration::from_millis(100);

/// What waits for a sync.
pub enum Flush {
    /// Entries were appended up to `last`.
    Append {
        /// The last of them.
        last: LogId,
        /// Told when they are durable.
        callback: IOFlushed<TypeConfig>,
    },
    /// A vote was written.
    Vote {
        /// The vote.
        vote: Vote,
        /// Told when it is durable.
        done: oneshot::Sender<()>,
    },
    /// The entries behind `after` are about to be truncated.
    Lower {
        /// The last entry that stays.
        after: Option<LogId>,
        /// Told when the mark is lowered, durably.
        done: oneshot::Sender<()>,
    },
    /// Whatever was written before is wanted durable.
    Barrier {
        /// Told when it is.
        done: oneshot::Sender<()>,
    },
}

/// Counts of the flusher, since start.
#[derive(Debug)]
pub struct FlushStats {
    largest: AtomicU64,
    sizes: Histogram,
    times: Histogram,
}

impl Default for FlushStats {
    fn default() -> Self {
        Self { largest: AtomicU64::new(0), sizes: Histogram::sizes(), times: Histogram::times() }
    }
}

impl FlushStats {
    /// The most requests that one sync served.
    pub fn largest(&self) -> u64 {
        self.largest.load(Relaxed)
    }

    /// How many requests each sync served.
    pub fn sizes(&self) -> &Histogram {
        &self.sizes
    }

    /// How long each sync took.
    pub fn times(&self) -> &Histogram {
        &self.times
    }

    fn count(&self, requests: usize, time: Duration) {
        self.largest.fetch_max(requests as u64, Relaxed);
        self.sizes.observe(requests as u64);
        self.times.time(time);
    }
}

/// The handle of what syncs. Dropping it waits until everything that was sent is durable.
#[derive(Debug)]
pub struct Flusher {
    worker: Worker,
    stats: Arc<FlushStats>,
}

impl Flusher {
    /// Starts what syncs; it owns the mark from here on.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(db: Db, mark: MarkFile) -> std::io::Result<Self> {
        let stats = Arc::new(FlushStats::default());
        let worker = Worker::start(Syncing::new(db, mark, Arc::clone(&stats)))?;
        Ok(Self { worker, stats })
    }

    /// Hands over what waits for a sync.
    pub fn send(&self, flush: Flush) {
        if !self.worker.send(flush) {
            // It ends only with this handle, or by a panic: nothing can be made durable any more.
            fatal("the flusher is gone", &"it panicked");
        }
    }

    /// Sends what `flush` makes, and waits until it is done.
    pub async fn wait(&self, flush: impl FnOnce(oneshot::Sender<()>) -> Flush) {
        let (done, waiter) = oneshot::channel();
        self.send(flush(done));
        if waiter.await.is_err() {
            fatal("the flusher is gone", &"it panicked");
        }
    }

    /// Its counts.
    pub fn stats(&self) -> &Arc<FlushStats> {
        &self.stats
    }
}

/// What happens to what waits: [`Syncing::sync`], then [`Syncing::tell`].
struct Syncing {
    db: Db,
    mark: MarkFile,
    stats: Arc<FlushStats>,
    last: Instant,
}

impl Syncing {
    fn new(db: Db, mark: MarkFile, stats: Arc<FlushStats>) -> Self {
        Self { db, mark, stats, last: Instant::now() }
    }

    /// Whether the batch needs no sync: never, but for a broken variant.
    fn needs_none(&self, batch: &mut Vec<Flush>) -> bool {
        Mutant::AckBeforeFsync.is_on() && acknowledge_early(batch, self.last)
    }

    /// Makes durable what `requests` requests wait for, and whatever else was written.
    fn sync(&mut self, requests: usize) {
        let started = Instant::now();
        self.db.sync();
        self.last = Instant::now();
        let time = self.last - started;
        self.stats.count(requests, time);
        if time > SLOW_SYNC {
            tracing::warn!(millis = time.as_millis(), requests, "a sync of the disk was slow");
        }
    }

    /// Marks and tells what was synced.
    fn tell(&mut self, batch: &mut Vec<Flush>) {
        if let Err(error) = note(&mut self.mark, batch) {
            fatal("a write of the mark failed", &error);
        }
        let appended = batch.iter().rev().find_map(|flush| match flush {
            Flush::Append { last, .. } => Some(last.index),
            _ => None,
        });
        if let Some(last) = appended {
            self.db.figures().stages.reached(Point::Synced, last);
        }
        batch.drain(..).for_each(tell);
    }
}

/// What [`Mutant::AckBeforeFsync`] breaks: appends are told before the sync, and there is none as long as the `last` one
/// was lately. Returns whether to do without.
fn acknowledge_early(batch: &mut Vec<Flush>, last: Instant) -> bool {
    let early: Vec<Flush> = batch.extract_if(.., |flush| matches!(flush, Flush::Append { .. })).collect();
    early.into_iter().for_each(tell);
    batch.is_empty() && last.elapsed() < EARLY
}

/// Marks what the sync has made durable, in order.
fn note(file: &mut MarkFile, batch: &[Flush]) -> std::io::Result<()> {
    let mut mark = file.mark();
    for flush in batch {
        match flush {
            Flush::Append { last, .. } => mark.log = Some((*last).into()),
            Flush::Vote { vote, .. } => mark.vote = Some((*vote).into()),
            Flush::Lower { after, .. } => {
                file.note(mark)?;
                file.lower(after.map(Into::into))?;
                mark = file.mark();
            }
            Flush::Barrier { .. } => {}
        }
    }
    file.note(mark)
}

fn tell(flush: Flush) {
    match flush {
        Flush::Append { callback, .. } => callback.io_completed(Ok(())),
        // Who no longer waits needs no answer.
        Flush::Vote { done, .. } | Flush::Lower { done, .. } | Flush::Barrier { done } => _ = done.send(()),
    }
}

#[cfg(all(test, not(feature = "simulation")))]
mod tests {
    use openraft::type_config::TypeConfigExt;

    use super::{super::mark::Mark, *};

    fn id(term: u64, index: u64) -> LogId {
        LogId::new_term_index(term, index)
    }

    fn append(last: LogId) -> Flush {
        Flush::Append { last, callback: IOFlushed::noop() }
    }

    /// Runs a flusher over what waits already; gives its counts and the mark that it leaves.
    fn run_over(dir: &std::path::Path, waiting: Vec<Flush>) -> (Arc<FlushStats>, Mark) {
        let db = Db::open(dir).unwrap();
        let (sender, receiver) = std::sync::mpsc::sync_channel(waiting.len());
        waiting.into_iter().for_each(|flush| sender.send(flush).ok().unwrap());
        drop(sender);
        let stats = Arc::new(FlushStats::default());
        threaded::run(Syncing::new(db, MarkFile::open(dir, true).unwrap(), Arc::clone(&stats)), &receiver);
        (stats, MarkFile::open(dir, false).unwrap().mark())
    }

    #[tokio::test]
    async fn one_sync_serves_all_that_wait() {
        let dir = tempfile::tempdir().unwrap();
        let (told, done) = TypeConfig::oneshot();
        let (vote_told, vote_done) = oneshot::channel();
        let vote = Vote::new(2, 1);
        let mut waiting: Vec<Flush> = (0..100).map(|index| append(id(1, index))).collect();
        waiting.push(Flush::Append { last: id(1, 100), callback: IOFlushed::signal(told) });
        waiting.push(Flush::Vote { vote, done: vote_told });
        let (stats, mark) = run_over(dir.path(), waiting);
        assert_eq!((stats.times().count(), stats.sizes().sum(), stats.largest()), (1, 102.0, 102));
        assert_eq!(mark, Mark { log: Some(id(1, 100).into()), vote: Some(vote.into()) });
        done.await.unwrap().unwrap();
        vote_done.await.unwrap();
    }

    #[test]
    fn a_lowered_mark_is_not_raised_by_what_was_appended_before() {
        let dir = tempfile::tempdir().unwrap();
        let lower = |after| Flush::Lower { after, done: oneshot::channel().0 };
        let (_, mark) = run_over(dir.path(), vec![append(id(1, 5)), append(id(1, 9)), lower(Some(id(1, 3)))]);
        assert_eq!(mark.log, Some(id(1, 3).into()));
        let (_, mark) = run_over(dir.path(), vec![lower(Some(id(1, 2))), append(id(2, 3))]);
        assert_eq!(mark.log, Some(id(2, 3).into()));
    }
}
