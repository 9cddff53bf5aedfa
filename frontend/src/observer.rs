//! What the page shows over time: a sample a second of what was counted, and what became of the servers.
//!
//! One task looks five times a second at what the front end has in memory anyway, whether or not somebody watches: what
//! befell a server before the page was opened is told too. No server is asked for the sake of the page, and the histories
//! are bounded. Must not know HTTP.

mod samples;
mod timeline;

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use catalog_client::protocol::Status;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};

pub use self::{
    samples::Sample,
    timeline::{Event, Look},
};
use self::{samples::Totals, timeline::Timeline};
use crate::front::Front;

/// Between two samples.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Samples kept: the last five minutes.
const MAX_SAMPLES: usize = 300;
/// Events kept.
const MAX_EVENTS: usize = 200;

/// The histories, and who waits for the next look. One for the process.
#[derive(Debug)]
pub struct Observer {
    base: Instant,
    history: Mutex<History>,
    looks: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct History {
    samples: Numbered<Sample>,
    events: Numbered<Event>,
}

/// What somebody who watches has been told.
#[derive(Debug, Default)]
pub struct Told {
    samples: u64,
    events: u64,
}

/// What is new since somebody was last told.
#[derive(Debug)]
pub struct News {
    /// Milliseconds since this front end began: the clock of samples and events.
    pub now_ms: u64,
    /// Oldest first.
    pub samples: Vec<Sample>,
    /// Oldest first.
    pub events: Vec<Event>,
}

impl Observer {
    /// Nothing seen yet.
    pub fn new() -> Self {
        let base = Instant::now();
        Self { base, history: Mutex::default(), looks: watch::Sender::new(()) }
    }

    /// Tells of each look from now on.
    pub fn watch(&self) -> watch::Receiver<()> {
        self.looks.subscribe()
    }

    /// What is new, which counts as told from here.
    pub fn news(&self, told: &mut Told) -> News {
        let history = self.history();
        let samples = history.samples.after(&mut told.samples);
        let events = history.events.after(&mut told.events);
        News { now_ms: self.now_ms(), samples, events }
    }

    fn now_ms(&self) -> u64 {
        // Milliseconds since the start of the process fit.
        self.base.elapsed().as_millis() as u64
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Observer {
    fn default() -> Self {
        Self::new()
    }
}

/// Looks until the front end is gone.
pub async fn run(front: Weak<Front>) {
    let mut timeline = Timeline::default();
    let mut totals = None;
    let mut due = Instant::now();
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(front) = front.upgrade() else { return };
        let (observer, look) = (&front.observer, look(&front));
        let now_ms = observer.now_ms();
        let happened = timeline.observe(now_ms, &look);
        if !happened.is_empty() {
            observer.history().events.extend(happened, MAX_EVENTS);
        }
        let now = Instant::now();
        if now >= due {
            due = now + SAMPLE_EVERY;
            let seen = Totals::of(&front, now);
            if let Some(earlier) = totals.replace(seen) {
                let sample = Sample::between(&earlier, totals.as_ref().unwrap_or(&earlier), now_ms, &look);
                observer.history().samples.extend([sample], MAX_SAMPLES);
            }
        }
        observer.looks.send_replace(());
    }
}

/// What the front end knows of the servers now.
fn look(front: &Front) -> Look {
    let replica = |node: &catalog_client::client::Peer| {
        let is_live = front.catalog.is_live(node.id);
        let status: Option<Status> = front.catalog.last_status(node.id).filter(|_| is_live);
        (node.name.clone(), status)
    };
    let leader = front.catalog.leader().filter(|id| front.catalog.is_live(*id));
    Look {
        replicas: front.catalog.replicas().map(replica).collect(),
        orders: front.writes.orders().servers().into_iter().map(|(server, live)| (server.name, live)).collect(),
        leader: leader.map(|id| front.catalog.name_of(id).to_owned()),
        stream: front.state().stream().live,
    }
}

/// The last of a sequence, each numbered from 1.
#[derive(Debug)]
struct Numbered<T> {
    kept: VecDeque<T>,
    /// How many there have been.
    count: u64,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { kept: VecDeque::new(), count: 0 }
    }
}

impl<T: Clone> Numbered<T> {
    fn extend(&mut self, new: impl IntoIterator<Item = T>, bound: usize) {
        for one in new {
            if self.kept.len() == bound {
                self.kept.pop_front();
            }
            self.kept.push_back(one);
            self.count += 1;
        }
    }

    /// Those after the number `told`, which becomes that of the last.
    fn after(&self, told: &mut u64) -> Vec<T> {
        let new = usize::try_from(self.count - *told).unwrap_or(usize::MAX).min(self.kept.len());
        *told = self.count;
        self.kept.range(self.kept.len() - new..).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_who_watches_is_told_what_is_new_and_kept() {
        let mut numbered = Numbered::default();
        let (mut first, mut second) = (0, 0);
        numbered.extend([1, 2], 3);
        assert_eq!(numbered.after(&mut first), [1, 2]);
        numbered.extend([3, 4], 3);
        assert_eq!(numbered.after(&mut first), [3, 4]);
        assert_eq!(numbered.after(&mut second), [2, 3, 4], "1 is no longer kept");
        assert_eq!(numbered.after(&mut second), [] as [i32; 0]);
    }
}
