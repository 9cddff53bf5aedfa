//! When requests of an open loop are due: evenly spaced from the start on, however long answers take. Must not know
//! what is asked.
//!
//! A request that no connection was free for is sent late, and its time counts from when it was due: a server that
//! stalls for a second is seen by all that would have come in that second, not by one request a connection.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::Notify,
};

/// Requests that are due, and who waits for them. For one thread.
#[derive(Debug)]
pub struct Pace {
    began: Instant,
    per_second: f64,
    /// How many have become due.
    due: Cell<u64>,
    /// How many of them were taken by a connection.
    taken: Cell<u64>,
    ready: Notify,
}

impl Pace {
    /// So many requests a second, from `began` on.
    pub fn new(began: Instant, per_second: f64) -> Self {
        Self { began, per_second, due: Cell::new(0), taken: Cell::new(0), ready: Notify::new() }
    }

    /// When the request of this place, counted from 0, is due.
    pub fn due_at(&self, place: u64) -> Instant {
        self.began + Duration::from_secs_f64(place as f64 / self.per_second)
    }

    /// Requests that were due by now and that no connection has taken.
    pub fn waiting(&self) -> u64 {
        self.due.get() - self.taken.get()
    }

    /// Waits for the next request that is due, takes it, and says when that was.
    pub async fn take(&self) -> Instant {
        while self.waiting() == 0 {
            self.ready.notified().await;
        }
        let place = self.taken.get();
        self.taken.set(place + 1);
        self.due_at(place)
    }

    /// Lets requests become due until `end`. Tokio's own timers are a millisecond coarse, which would be the larger
    /// part of most answers' time.
    ///
    /// # Errors
    /// When the system gives no timer.
    pub async fn run(&self, end: Instant) -> std::io::Result<()> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
        loop {
            let next = self.due_at(self.due.get());
            if next >= end {
                return Ok(());
            }
            let now = Instant::now();
            if next > now {
                let wait = next - now;
                let it_value = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
                let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
                timerfd_settime(timer.get_ref(), TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value })?;
                timer.readable().await?.clear_ready();
                continue;
            }
            self.due.set(self.due.get() + 1);
            self.ready.notify_one();
            // Behind by much, the connections still get their turns.
            if self.due.get() % 64 == 0 {
                tokio::task::yield_now().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn requests_are_due_at_their_rate_and_late_ones_from_when_they_were_due() {
        let began = Instant::now();
        let pace = Pace::new(began, 1_000.0);
        let (taken, ran) = tokio::join!(
            async {
                let first = pace.take().await;
                // A server that stalls: nothing is taken for a while.
                tokio::time::sleep(Duration::from_millis(100)).await;
                let waiting = pace.waiting();
                (first, waiting, pace.take().await)
            },
            pace.run(began + Duration::from_millis(200))
        );
        ran.unwrap();
        let (first, waiting, second) = taken;
        assert_eq!(first, began);
        assert!((50..=200).contains(&waiting), "{waiting} were due in 100 ms");
        // Not when it was taken, 100 ms later.
        assert_eq!(second, began + Duration::from_millis(1));
        assert_eq!(pace.waiting(), 198);
    }
}
