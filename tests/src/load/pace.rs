//! When requests of an open loop are due: evenly spaced from the start on, however long answers take. Must not know
//! what is asked.
//!
//! A request that no connection was free for is sent late, and its time counts from when it was due: a server that
//! stalls for a second is seen by all that would have come in that second, not by one request a connection.

use std::{
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// Requests that are due, and who waits for them.
#[derive(Debug)]
pub struct Pace {
    began: Instant,
    per_second: f64,
    /// How many have become due.
    due: AtomicU64,
    /// How many of them were taken by a connection.
    taken: AtomicU64,
    ready: Notify,
}

impl Pace {
    /// So many requests a second, from `began` until `end`.
    pub fn start(began: Instant, end: Instant, per_second: f64) -> Arc<Self> {
        let (due, taken) = (AtomicU64::new(0), AtomicU64::new(0));
        let pace = Arc::new(Self { began, per_second, due, taken, ready: Notify::new() });
        let clock = pace.clone();
        // A thread of its own, since tokio's timers are a millisecond coarse: more than most answers take.
        thread::spawn(move || clock.run(end));
        pace
    }

    /// When the request of this place, counted from 0, is due.
    fn due_at(&self, place: u64) -> Instant {
        self.began + Duration::from_secs_f64(place as f64 / self.per_second)
    }

    /// Requests that were due by now and that no connection has taken.
    pub fn waiting(&self) -> u64 {
        self.due.load(Relaxed).saturating_sub(self.taken.load(Relaxed))
    }

    /// Waits for the next request that is due, takes it, and says when that was.
    pub async fn take(&self) -> Instant {
        loop {
            let due = self.due.load(Relaxed);
            let next = |taken| (taken < due).then_some(taken + 1);
            if let Ok(place) = self.taken.fetch_update(Relaxed, Relaxed, next) {
                return self.due_at(place);
            }
            self.ready.notified().await;
        }
    }

    fn run(&self, end: Instant) {
        // The kernel may be 50 us late by default, to save power. If it will not do better, that is what it is.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        for place in 0.. {
            let next = self.due_at(place);
            if next >= end {
                return;
            }
            thread::sleep(next.saturating_duration_since(Instant::now()));
            self.due.store(place + 1, Relaxed);
            self.ready.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn requests_are_due_at_their_rate_and_late_ones_from_when_they_were_due() {
        let began = Instant::now();
        let pace = Pace::start(began, began + Duration::from_millis(200), 1_000.0);
        assert_eq!(pace.take().await, began);
        // A server that stalls: nothing is taken for a while, and nothing is due after the end.
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(pace.waiting(), 199);
        // From when it was due, not from when it was taken.
        assert_eq!(pace.take().await, began + Duration::from_millis(1));
        assert_eq!(pace.take().await, began + Duration::from_millis(2));
        assert_eq!(pace.waiting(), 197);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn all_that_wait_get_their_turns_and_none_before_it_is_due() {
        let began = Instant::now();
        let pace = Pace::start(began, began + Duration::from_millis(100), 1_000.0);
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let pace = pace.clone();
                tokio::spawn(async move { (pace.take().await, Instant::now()) })
            })
            .collect();
        for (place, task) in waiting.into_iter().enumerate() {
            let (due, now) = task.await.unwrap();
            assert!(now >= due && due <= began + Duration::from_millis(20), "{place}: due {:?}", due - began);
        }
    }
}
