//! What a seed stands for: a cluster, and what is done to it when. Pure: a seed gives one plan.
//!
//! An episode has some of the kinds only, and more or less of them (swarm testing: Groce and others, 2012): what one kind
//! hides another time is then seen, and quiet stretches between faults occur as well as storms.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde::Serialize;

use super::{Kind, kind::Needs};
use crate::{net::Cut, options::Options, trial};

/// Before the first fault and after the last one the load runs alone for so long.
const CALM: Duration = Duration::from_millis(1000);
/// The mean time between the starts of two faults, drawn for the episode, in milliseconds.
const MEAN_GAP_MS: std::ops::Range<f64> = 400.0..2500.0;
/// Faults of an episode at most.
const MOST_FAULTS: usize = 100;

/// Whom a fault hits: the catalog, order server or front end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Victim {
    /// Whoever leads when it starts.
    Leader,
    /// The n-th, however many there are.
    Nth(usize),
}

/// One fault.
#[derive(Debug, Clone, Serialize)]
pub struct Fault {
    /// What is done.
    pub kind: Kind,
    /// To whom.
    pub victim: Victim,
    /// How links are cut, if they are.
    #[serde(skip)]
    pub how: Cut,
    /// How bad it is, from 0 to 1.
    pub severity: f64,
}

/// A fault and its time, since the first moment of the plan.
#[derive(Debug, Clone, Serialize)]
pub struct Planned {
    /// When it starts.
    pub start: Duration,
    /// When it is healed.
    pub end: Duration,
    /// What it is.
    pub fault: Fault,
}

/// What is done with a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// It starts.
    Begin,
    /// It strikes: at once, but for kinds that need some time before.
    Strike,
    /// It is healed.
    End,
}

/// What a seed stands for.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// Replicas of the catalog.
    pub catalogs: u64,
    /// Clients.
    pub clients: u64,
    /// Whether snapshots are made often and little of the log is kept.
    pub snapshots: bool,
    /// Whether the disks of catalogs are small; they are not in the layer's hands then.
    pub small_disks: bool,
    /// Faults by their start.
    pub faults: Vec<Planned>,
    /// How long it takes.
    pub lasts: Duration,
}

impl Plan {
    /// What `seed` stands for, in an episode that lasts so long, on a machine that may have small disks or not.
    pub fn draw(seed: u64, lasts: Duration, small_disks: bool) -> Self {
        Self::draw_of(seed, lasts, small_disks, &Kind::ALL)
    }

    /// As [`Plan::draw`], of these kinds of faults.
    ///
    /// # Panics
    /// When there are none.
    pub fn draw_of(seed: u64, lasts: Duration, small_disks: bool, all: &[Kind]) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let catalogs = if rng.random_ratio(1, 8) { 5 } else { 3 };
        let clients = rng.random_range(6..=24);
        let snapshots: bool = rng.random();
        let small_disks = rng.random_ratio(1, 5) && small_disks;
        let missing = if small_disks { Needs::Layer } else { Needs::SmallDisks };
        let can = |kind: &Kind| kind.needs() != missing;
        // Small disks are there to be filled.
        let must = |kind: &Kind| kind.needs() == Needs::SmallDisks;
        let mut kinds: Vec<Kind> = all.iter().copied().filter(|kind| rng.random() || must(kind)).filter(can).collect();
        if kinds.is_empty() {
            kinds = all.iter().copied().filter(can).collect();
        }
        let gap = Duration::from_secs_f64(rng.random_range(MEAN_GAP_MS) / 1000.0);
        let last = lasts.saturating_sub(CALM);
        let mut faults = Vec::new();
        let mut start = CALM;
        while start < last && faults.len() < MOST_FAULTS {
            let kind = *kinds.choose_weighted(&mut rng, |kind| kind.weight()).expect("weights are positive");
            draw_fault(&mut rng, kind, start, last, catalogs, &mut faults);
            // Times between events that come at random are distributed like this.
            start += gap.mul_f64(-rng.random_range(f64::MIN_POSITIVE..1.0).ln());
        }
        faults.sort_by_key(|planned| planned.start);
        let snapshots = snapshots || faults.iter().any(|planned| planned.fault.kind == Kind::SnapshotDeath);
        Self { seed, catalogs, clients, snapshots, small_disks, faults, lasts }
    }

    /// The cluster to bring up.
    pub fn options(&self) -> Options {
        let options = Options::new().catalogs(self.catalogs).frontends(2).proxied();
        let options = options.items_csv(trial::items_csv(&trial::ITEMS));
        let overloaded = self.faults.iter().any(|planned| planned.fault.kind == Kind::Overload);
        // A queue that is full soon: there is to be something to refuse.
        let options = if overloaded { options.set("queue", 128) } else { options };
        if self.snapshots { options.raft("snapshot_entries", 100).raft("log_kept_entries", 20) } else { options }
    }

    /// What is done when, with which of the faults, in order.
    pub fn steps(&self) -> Vec<(Duration, Step, usize)> {
        let of = |(id, planned): (usize, &Planned)| {
            let strike = planned.start + planned.fault.kind.strikes_after();
            [
                (planned.start, Step::Begin, id),
                (strike.min(planned.end), Step::Strike, id),
                (planned.end, Step::End, id),
            ]
        };
        let mut steps: Vec<_> = self.faults.iter().enumerate().flat_map(of).collect();
        steps.sort_unstable();
        steps
    }

    /// Whether front ends may be gone on the way.
    pub fn fronts_may_go(&self) -> bool {
        self.faults.iter().any(|planned| planned.fault.kind.hits_front_ends())
    }
}

fn draw_fault(rng: &mut StdRng, kind: Kind, start: Duration, last: Duration, catalogs: u64, faults: &mut Vec<Planned>) {
    let victim = if rng.random() { Victim::Leader } else { Victim::Nth(rng.random_range(0..60)) };
    let how = if rng.random() { Cut::Silent } else { Cut::Refused };
    let severity = rng.random();
    // Short ones as often as long ones, by orders of magnitude: some are shorter than an election, some longer.
    let times = kind.longest().as_secs_f64() / kind.shortest().as_secs_f64();
    let length = kind.shortest().mul_f64(times.powf(rng.random()));
    let fault = Fault { kind, victim, how, severity };
    if kind != Kind::Rolling {
        faults.push(Planned { start, end: last.min(start + length), fault });
        return;
    }
    let first = rng.random_range(0..60);
    for turn in 0..usize::try_from(catalogs).unwrap_or(0) {
        let start = start + length.mul_f64(1.5 * turn as f64);
        if start < last {
            let fault = Fault { victim: Victim::Nth(first + turn), ..fault.clone() };
            faults.push(Planned { start, end: last.min(start + length), fault });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const LASTS: Duration = Duration::from_secs(25);

    #[test]
    fn a_seed_gives_one_plan_and_another_seed_another_one() {
        let text = |seed| format!("{:?}", Plan::draw(seed, LASTS, true));
        assert_eq!(text(7), text(7));
        assert_ne!(text(7), text(8));
    }

    #[test]
    fn faults_lie_within_the_episode_and_every_kind_and_overlaps_occur() {
        let mut kinds = BTreeSet::new();
        let mut overlaps = 0;
        for seed in 0..200 {
            let plan = Plan::draw(seed, LASTS, true);
            assert!(!plan.faults.is_empty(), "{plan:?}");
            for planned in &plan.faults {
                assert!(CALM <= planned.start && planned.start < planned.end, "{planned:?}");
                assert!(planned.end <= LASTS - CALM, "{planned:?}");
                kinds.insert(planned.fault.kind);
            }
            overlaps += plan.faults.windows(2).filter(|pair| pair[1].start < pair[0].end).count();
        }
        assert_eq!(kinds.len(), Kind::ALL.len(), "{kinds:?}");
        assert!(overlaps > 200, "{overlaps}");
    }

    #[test]
    fn no_episode_has_faults_that_it_has_no_disks_for() {
        for (seed, can) in (0..200).flat_map(|seed| [(seed, true), (seed, false)]) {
            let plan = Plan::draw(seed, LASTS, can);
            let needs = |what| plan.faults.iter().any(|planned| planned.fault.kind.needs() == what);
            assert!(can || !plan.small_disks);
            assert!(!needs(if plan.small_disks { Needs::Layer } else { Needs::SmallDisks }), "{plan:?}");
        }
    }

    #[test]
    fn every_fault_begins_strikes_and_ends_in_this_order() {
        for seed in 0..20 {
            let plan = Plan::draw(seed, LASTS, true);
            let steps = plan.steps();
            assert!(steps.is_sorted_by_key(|(at, ..)| *at));
            for id in 0..plan.faults.len() {
                let own: Vec<Step> = steps.iter().filter(|(.., of)| *of == id).map(|(_, step, _)| *step).collect();
                assert_eq!(own, [Step::Begin, Step::Strike, Step::End]);
            }
        }
    }
}
