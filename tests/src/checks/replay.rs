//! The stock of every item at every revision, as the ledger and the acknowledged deltas say it must have been.

use std::collections::{BTreeMap, HashMap};

use crate::history::{Ask, Final, History, Item, Outcome, Revision};

/// What one revision did to one item.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Step {
    /// All that was taken, in units, and all that was added: their order within a revision is not known.
    taken: i64,
    added: i64,
    /// The stock after it.
    after: i64,
}

/// Stocks over time.
#[derive(Debug)]
pub struct Replay {
    initial: BTreeMap<Item, i64>,
    costs: BTreeMap<Item, u64>,
    steps: BTreeMap<Item, BTreeMap<Revision, Step>>,
    /// New costs: several within one revision are in an order that is not known.
    set: BTreeMap<Item, BTreeMap<Revision, Vec<u64>>>,
    /// The cost that was seen of an item after it was set at a revision.
    seen: HashMap<(Item, Revision), u64>,
}

impl Replay {
    /// Replays the front end's ledger and the deltas that took effect.
    pub fn of(history: &History, end: &Final) -> Self {
        let mut steps: BTreeMap<Item, BTreeMap<Revision, Step>> = BTreeMap::new();
        let mut step = |item, revision, delta: i64| {
            let step: &mut Step = steps.entry(item).or_default().entry(revision).or_default();
            if delta < 0 {
                step.taken -= delta;
            } else {
                step.added += delta;
            }
        };
        for order in &end.ledger {
            for (item, units) in &order.lines {
                step(*item, order.revision, -i64::try_from(*units).unwrap_or(i64::MAX));
            }
        }
        for write in &history.writes {
            if let (Ask::AddStock(item, delta), Outcome::Ok(revision)) = (&write.ask, write.outcome) {
                step(*item, revision, *delta);
            }
        }
        let mut set: BTreeMap<Item, BTreeMap<Revision, Vec<u64>>> = BTreeMap::new();
        for write in &history.writes {
            if let (Ask::SetCost(item, cost), Outcome::Ok(revision)) = (&write.ask, write.outcome) {
                set.entry(*item).or_default().entry(revision).or_default().push(*cost);
                step(*item, revision, 0);
            }
        }
        for (item, steps) in &mut steps {
            let mut stock = end.initial.get(item).copied().unwrap_or_default();
            for step in steps.values_mut() {
                stock += step.added - step.taken;
                step.after = stock;
            }
        }
        let mut seen = HashMap::new();
        for read in history.looks() {
            let last = set.get(&read.item).and_then(|set| set.range(..=read.revision).next_back());
            if let Some((revision, _)) = last {
                seen.insert((read.item, *revision), read.cost);
            }
        }
        Self { initial: end.initial.clone(), costs: end.costs.clone(), steps, set, seen }
    }

    /// The stock of an item at a revision.
    pub fn stock_at(&self, item: Item, revision: Revision) -> i64 {
        let step = self.steps.get(&item).and_then(|steps| steps.range(..=revision).next_back());
        step.map_or_else(|| self.initial.get(&item).copied().unwrap_or_default(), |(_, step)| step.after)
    }

    /// Whether an item can have had this cost at a revision.
    pub fn may_cost(&self, item: Item, revision: Revision, cost: u64) -> bool {
        match self.set.get(&item).and_then(|set| set.range(..=revision).next_back()) {
            Some((_, costs)) => costs.contains(&cost),
            None => self.costs.get(&item).is_none_or(|initial| *initial == cost),
        }
    }

    /// The last revision up to `upto` at which an item changed; 0 when it never had.
    pub fn changed_last(&self, item: Item, upto: Revision) -> Revision {
        let last = self.steps.get(&item).and_then(|steps| steps.range(..=upto).next_back());
        last.map_or(0, |(revision, _)| *revision)
    }

    /// The cost that some read saw of an item whose cost was set at `revision`.
    pub fn seen_cost(&self, item: Item, revision: Revision) -> Option<u64> {
        self.seen.get(&(item, revision)).copied()
    }

    /// The items that changed at each revision after `from`, up to and with `upto`.
    pub fn changes(&self, from: Revision, upto: Revision) -> BTreeMap<Revision, Vec<Item>> {
        let mut changes: BTreeMap<Revision, Vec<Item>> = BTreeMap::new();
        for (item, steps) in &self.steps {
            for revision in steps.range(from + 1..upto.max(from) + 1).map(|(revision, _)| *revision) {
                changes.entry(revision).or_default().push(*item);
            }
        }
        changes
    }

    /// The least stock that an item can have had at any moment of a revision.
    pub fn least_within(&self, item: Item, revision: Revision) -> i64 {
        let taken = self.steps.get(&item).and_then(|steps| steps.get(&revision)).map_or(0, |step| step.taken);
        self.stock_at(item, revision.saturating_sub(1)) - taken
    }

    /// Whether an item changed after `from`, up to and with `upto`.
    pub fn changed(&self, item: Item, from: Revision, upto: Revision) -> bool {
        from < upto && self.steps.get(&item).is_some_and(|steps| steps.range(from + 1..=upto).next().is_some())
    }

    /// The first revision at which the stock of an item was negative.
    pub fn first_negative(&self) -> Option<(Item, Revision, i64)> {
        let all =
            self.steps.iter().flat_map(|(item, steps)| steps.iter().map(move |(at, step)| (*item, *at, step.after)));
        all.filter(|(_, _, stock)| *stock < 0).min_by_key(|(_, at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::story, *};

    #[test]
    fn tells_the_stock_at_every_revision() {
        let (history, end) = story();
        let replay = Replay::of(&history, &end);
        let stocks: Vec<i64> = (4..=10).map(|at| replay.stock_at(1, at)).collect();
        assert_eq!(stocks, [3, 1, 0, 0, 5, 4, 4]);
        assert_eq!((replay.stock_at(2, 5), replay.stock_at(2, 6), replay.stock_at(3, 9)), (10, 6, 0));
        assert_eq!((replay.least_within(1, 5), replay.least_within(1, 8), replay.least_within(1, 9)), (1, 0, 4));
        assert!(replay.may_cost(2, 5, 20) && replay.may_cost(2, 6, 7) && !replay.may_cost(2, 6, 20));
        assert_eq!(replay.changes(5, 8), BTreeMap::from([(6, vec![1, 2]), (8, vec![1])]));
        assert!(replay.changed(1, 8, 9) && !replay.changed(1, 6, 7) && !replay.changed(1, 9, 9));
        assert_eq!(replay.first_negative(), None);
    }
}
