//! The wait of a batch for company.
//!
//! Clients that ask again as soon as they have an answer form two groups by themselves: one is under way while the other
//! waits, and each is half of what it could be, while a batch costs the same whatever its size. Group commit knows the
//! remedy (PostgreSQL's `commit_delay`, MySQL's `binlog_group_commit_sync_delay`): when a batch is back, the next one waits
//! a moment for those who have just had their results, and the two groups become one. It waits no longer than that batch
//! took, and where they do not come again, as under an open load, hardly ever.
//!
//! A process whose threads have no time to spare is one that answers other requests too, and many of them: where a few of
//! a hundred are to go into batches, those follow on each other without a pause, and the work for them, on both sides, takes
//! the time of all. There batches of few leave at a distance.

use std::time::Duration;

use tokio::time::Instant;

use super::{APART, InTree, Shared, load::Load};

/// How long a batch may wait for those who have just had their results, at most.
const COMPANY: Duration = Duration::from_millis(5);
/// How many batches go without after a wait in vain; it doubles with each one more, up to the second.
const GO_WITHOUT: (u32, u32) = (16, 1024);

/// What is known of the batch before, and whether waiting pays.
#[derive(Debug)]
pub(super) struct Gathering {
    /// The batch before: its weight, and when it left.
    sent: usize,
    left: Instant,
    /// How many more batches go without waiting, and how many do after the next wait in vain.
    without: u32,
    next_without: u32,
    load: Load,
}

impl Gathering {
    pub fn new() -> Self {
        Self { sent: 0, left: Instant::now(), without: 0, next_without: GO_WITHOUT.0, load: Load::default() }
    }

    /// A batch leaves.
    pub fn leaves<T, R, E>(&mut self, batch: &[InTree<T, R, E>]) {
        self.sent = batch.iter().map(|waiting| waiting.weight).sum();
        self.left = Instant::now();
    }

    /// Waits for company, after a batch is back.
    pub async fn wait<T, R, E>(&mut self, shared: &Shared<T, R, E>) {
        if shared.limits.gather
            && let Some(patience) = self.patience(self.left.elapsed())
        {
            let wanted = shared.lock().weight + self.sent;
            let came = shared.has(wanted, Instant::now() + patience).await;
            let held_up = shared.lock().weight > 0;
            self.learn(came, held_up);
        }
        if shared.limits.few > 0 && self.load.is_high() {
            shared.has(shared.limits.few, self.left + APART).await;
        }
    }

    /// How long to wait after a batch that took so long; `None` for not at all.
    fn patience(&mut self, took: Duration) -> Option<Duration> {
        if self.without > 0 {
            self.without -= 1;
            return None;
        }
        Some(took.min(COMPANY))
    }

    /// Whether all came that were waited for, and whether anybody was held up meanwhile.
    fn learn(&mut self, came: bool, held_up: bool) {
        if came {
            self.next_without = GO_WITHOUT.0;
        } else if held_up {
            self.without = self.next_without;
            self.next_without = (self.next_without * 2).min(GO_WITHOUT.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio::sync::{Notify, oneshot};

    use super::{
        super::{Limits, Place, Queue, Waiting},
        *,
    };

    const FEW: usize = 8;
    const AN_HOUR: Duration = Duration::from_secs(3600);

    fn shared() -> Shared<usize, usize, ()> {
        let queue = Queue { waiting: BTreeMap::new(), weight: 0, next: 0, wanted: 0, taken: 0, closed: false };
        let limits = Limits { queued: 100, batch: 64, in_flight: 1, gather: false, few: FEW };
        Shared { limits, queue: queue.into(), work: Notify::new(), finished: Notify::new() }
    }

    fn enter(shared: &Shared<usize, usize, ()>, items: usize) -> Vec<Place<'_, usize, usize, ()>> {
        let waiting =
            |item| Waiting { weight: 1, item, deadline: Instant::now() + AN_HOUR, reply: oneshot::channel().0 };
        (0..items).map(|item| shared.enter(waiting(item)).unwrap_or_else(|_| panic!("there is room"))).collect()
    }

    /// As if the batch before left in an hour: who waits for its time waits for longer than any test may take.
    fn gathering(is_high: bool) -> Gathering {
        Gathering { left: Instant::now() + AN_HOUR, load: Load::fixed(is_high), ..Gathering::new() }
    }

    #[tokio::test]
    async fn a_batch_of_few_waits_for_its_time_where_there_is_none_to_spare() {
        let shared = shared();
        let _few = enter(&shared, FEW - 1);
        let mut gathering = Gathering { left: Instant::now(), ..gathering(true) };
        gathering.wait(&shared).await;
        assert!(Instant::now() >= gathering.left + APART);
    }

    #[tokio::test]
    async fn it_waits_no_longer_than_until_there_are_enough_or_the_queue_shuts() {
        let (filled, shut) = (shared(), shared());
        let _few = (enter(&filled, FEW - 1), enter(&shut, FEW - 1));
        let more = async {
            let last = enter(&filled, 1);
            shut.shut();
            last
        };
        let (mut first, mut second) = (gathering(true), gathering(true));
        tokio::join!(first.wait(&filled), second.wait(&shut), more);
    }

    #[tokio::test]
    async fn with_time_to_spare_a_batch_of_few_leaves_at_once() {
        let shared = shared();
        let _few = enter(&shared, 1);
        gathering(false).wait(&shared).await;
    }

    #[test]
    fn what_was_waited_for_in_vain_is_waited_for_ever_more_rarely() {
        let took = Duration::from_millis(3);
        let mut gathering = Gathering::new();
        let mut waits = Vec::new();
        for batch in 0..5_000 {
            if let Some(patience) = gathering.patience(took) {
                assert_eq!(patience, took);
                waits.push(batch);
                gathering.learn(false, true);
            }
        }
        assert_eq!(waits, [0, 17, 50, 115, 244, 501, 1_014, 2_039, 3_064, 4_089]);
        while gathering.patience(took).is_none() {}
        gathering.learn(true, true);
        assert_eq!(gathering.patience(Duration::from_secs(1)), Some(COMPANY));
        // Nobody was there to be held up: nothing is learnt.
        gathering.learn(false, false);
        assert!(gathering.patience(took).is_some());
    }
}
