//! Where the time of an entry goes on its leader. Whoever moves the log on says how far it is; whoever proposed an entry
//! reads in the end when it passed each point. Nobody waits for anybody here: an entry whose slot another has taken
//! meanwhile goes uncounted. Must not know what moves the log.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use metrics::Histogram;
use tokio::time::Instant;

/// Entries whose times are remembered: more than are ever on their way at once.
const SLOTS: usize = 64;
const POINTS: usize = 4;

/// A point that each entry passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// It is in the log, not yet synced, and on its way to the followers.
    Appended,
    /// This replica's disk has synced it.
    Synced,
    /// It is known to be committed.
    Committed,
    /// It is applied, written, and told to watchers.
    Applied,
}

/// Microseconds since the replica began, plus one; 0 is never.
pub type Micros = u64;

/// When entries passed which point, and how long they took from one to the next.
#[derive(Debug)]
pub struct Stages {
    base: Instant,
    /// How far the log had come at each point when somebody last said so.
    upto: [AtomicU64; POINTS],
    slots: [Slot; SLOTS],
    queued: Histogram,
    proposed: Histogram,
    synced: Histogram,
    committed: Histogram,
    applied: Histogram,
    answered: Histogram,
}

#[derive(Debug, Default)]
struct Slot {
    index: AtomicU64,
    at: [AtomicU64; POINTS],
}

impl Default for Stages {
    fn default() -> Self {
        Self {
            base: Instant::now(),
            upto: Default::default(),
            slots: std::array::from_fn(|_| Slot::default()),
            queued: Histogram::times(),
            proposed: Histogram::times(),
            synced: Histogram::times(),
            committed: Histogram::times(),
            applied: Histogram::times(),
            answered: Histogram::times(),
        }
    }
}

impl Stages {
    /// Now.
    pub fn now(&self) -> Micros {
        // 2^64 microseconds are half a million years.
        self.base.elapsed().as_micros() as Micros + 1
    }

    /// The log has come to `point` up to the entry at `last`.
    pub fn reached(&self, point: Point, last: u64) {
        self.reached_at(point, last, self.now());
    }

    fn reached_at(&self, point: Point, last: u64, now: Micros) {
        let before = self.upto[point as usize].swap(last, Relaxed);
        // A log that was truncated goes on from further back.
        let first = if before < last { (before + 1).max((last + 1).saturating_sub(SLOTS as u64)) } else { last };
        for index in first..=last {
            let slot = self.slot(index);
            if point == Point::Appended {
                slot.index.store(index, Relaxed);
                slot.at.iter().for_each(|at| at.store(0, Relaxed));
            }
            if slot.index.load(Relaxed) == index {
                slot.at[point as usize].store(now, Relaxed);
            }
        }
    }

    /// A submission that came at `arrived` is about to be proposed.
    pub fn taken(&self, arrived: Micros) {
        self.queued.observe(self.now().saturating_sub(arrived));
    }

    /// The answers to the entry at `index` have come to its proposer, who began to propose it at `taken`.
    pub fn answered(&self, index: u64, taken: Micros) {
        self.answered_at(index, taken, self.now());
    }

    fn answered_at(&self, index: u64, taken: Micros, now: Micros) {
        let slot = self.slot(index);
        let at = |point: Point| slot.at[point as usize].load(Relaxed);
        let [appended, synced, committed, applied] =
            [Point::Appended, Point::Synced, Point::Committed, Point::Applied].map(at);
        if slot.index.load(Relaxed) != index || [appended, committed, applied].contains(&0) {
            return;
        }
        // Both followers may be faster than this disk: then its sync took at least as long as all of it.
        let synced = if synced == 0 { now } else { synced };
        let spans = [
            (&self.proposed, taken, appended),
            (&self.synced, appended, synced),
            (&self.committed, appended, committed),
            (&self.applied, committed, applied),
            (&self.answered, applied, now),
        ];
        for (stage, from, to) in spans {
            stage.observe(to.saturating_sub(from));
        }
    }

    /// Each stage under its name.
    pub fn all(&self) -> [(&'static str, &Histogram); 6] {
        [
            ("queued", &self.queued),
            ("proposed", &self.proposed),
            ("synced", &self.synced),
            ("committed", &self.committed),
            ("applied", &self.applied),
            ("answered", &self.answered),
        ]
    }

    fn slot(&self, index: u64) -> &Slot {
        &self.slots[(index % SLOTS as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Point; POINTS] = [Point::Appended, Point::Synced, Point::Committed, Point::Applied];

    /// How many values each stage has seen but the first, and their sum in microseconds.
    fn seen(stages: &Stages) -> Vec<(u64, u64)> {
        stages.all()[1..].iter().map(|(_, stage)| (stage.count(), (stage.sum() * 1e6).round() as u64)).collect()
    }

    fn count(stages: &Stages) -> Vec<u64> {
        seen(stages).iter().map(|(count, _)| *count).collect()
    }

    #[test]
    fn each_stage_lasts_from_the_one_before_and_the_sync_runs_beside_the_commit() {
        let stages = Stages::default();
        ALL.iter().zip([102, 105, 109, 114]).for_each(|(point, now)| stages.reached_at(*point, 70, now));
        stages.answered_at(70, 100, 120);
        assert_eq!(seen(&stages), [(1, 2), (1, 3), (1, 7), (1, 5), (1, 6)]);
    }

    #[test]
    fn a_sync_that_is_slower_than_all_others_takes_until_the_answer() {
        let stages = Stages::default();
        let points = [Point::Appended, Point::Committed, Point::Applied];
        points.iter().zip([102, 109, 114]).for_each(|(point, now)| stages.reached_at(*point, 1, now));
        stages.answered_at(1, 100, 120);
        assert_eq!(seen(&stages), [(1, 2), (1, 18), (1, 7), (1, 5), (1, 6)]);
    }

    #[test]
    fn what_is_said_of_the_last_entry_holds_for_those_before_it() {
        let stages = Stages::default();
        stages.reached_at(Point::Appended, 10, 1);
        ALL.iter().for_each(|point| stages.reached_at(*point, 12, 2));
        (10..=12).for_each(|index| stages.answered_at(index, 1, 3));
        assert_eq!(count(&stages), [3; 5]);
    }

    #[test]
    fn an_entry_that_is_not_remembered_goes_uncounted() {
        let stages = Stages::default();
        ALL.iter().for_each(|point| stages.reached_at(*point, 1_000, 1));
        stages.answered_at(1_000 - SLOTS as u64, 1, 2);
        stages.answered_at(1_001, 1, 2);
        stages.reached_at(Point::Appended, 990, 3);
        stages.answered_at(990, 1, 4);
        assert_eq!(count(&stages), [0; 5], "overwritten, not there yet, and not committed");
        stages.answered_at(1_000, 1, 2);
        assert_eq!(count(&stages), [1; 5]);
    }
}
