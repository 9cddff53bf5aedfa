//! Whether the threads that run the tasks of this process have time to spare.

use std::time::{Duration, Instant};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Threads that are busy for more than so many parts of a hundred have no time to spare.
const HIGH_PERCENT: u32 = 75;

/// How busy they were between the last two looks.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// When it was looked last, and for how long all threads together had been busy by then. In the time outside, whatever
    /// the runtime takes for it: threads are busy in no other.
    looked: Option<(Instant, Duration)>,
    is_high: bool,
}

impl Load {
    /// Whether there was none to spare when that was looked at last, which is now unless it was just before.
    pub fn is_high(&mut self) -> bool {
        match self.looked {
            Some((at, _)) if at.elapsed() < LOOK_EVERY => {}
            before => {
                let (busy, threads) = busy();
                self.is_high =
                    before.is_some_and(|(at, before)| is_high(busy.saturating_sub(before), at.elapsed(), threads));
                self.looked = Some((Instant::now(), busy));
            }
        }
        self.is_high
    }

    /// One that stays as it is.
    #[cfg(test)]
    pub fn fixed(is_high: bool) -> Self {
        Self { looked: Some((Instant::now() + Duration::from_secs(3600), Duration::ZERO)), is_high }
    }
}

fn is_high(busy: Duration, of: Duration, threads: u32) -> bool {
    busy > of * threads * HIGH_PERCENT / 100
}

/// The time that all threads have been busy, and how many there are. Waiting for a processor counts.
#[cfg(not(feature = "simulation"))]
fn busy() -> (Duration, u32) {
    let metrics = tokio::runtime::Handle::current().metrics();
    let busy = (0..metrics.num_workers()).map(|thread| metrics.worker_total_busy_duration(thread)).sum();
    (busy, u32::try_from(metrics.num_workers()).unwrap_or(u32::MAX))
}

/// In a simulation, where what happens must not hang on the machine, there is always time.
#[cfg(feature = "simulation")]
fn busy() -> (Duration, u32) {
    (Duration::ZERO, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_quarters_of_all_threads_are_high() {
        let second = Duration::from_secs(1);
        assert!(!is_high(second * 3 / 4, second, 1) && is_high(second * 4 / 5, second, 1));
        assert!(!is_high(second * 5 / 4, second, 2) && is_high(second * 8 / 5, second, 2));
    }

    #[cfg(not(feature = "simulation"))]
    #[tokio::test]
    async fn a_thread_that_does_nothing_else_is_seen() {
        let mut load = Load::default();
        for busy in [false, true, false] {
            // Again and again: whoever shares this machine may hold the thread up at any moment.
            loop {
                let began = Instant::now();
                while busy && began.elapsed() < LOOK_EVERY * 2 {}
                if !busy {
                    tokio::time::sleep(LOOK_EVERY * 2).await;
                }
                // What a task was busy for is counted when it lets others run.
                tokio::task::yield_now().await;
                if load.is_high() == busy {
                    break;
                }
            }
        }
    }
}
