//! Whether a concurrent history has an order that a sequential model explains: the search of Wing and Gong ("Testing and
//! verifying concurrent objects", 1993) with the memory of Lowe ("Testing for linearizability", 2017), as in Porcupine.
//! Knows nothing of what is modelled.
//!
//! An operation can come next if it was sent before any operation not yet placed was answered. States that were
//! tried are remembered by the set of operations placed and the state reached; the set by a sum of random 128-bit
//! numbers, one an operation, so that two sets are taken for one with a chance of about 2^-100.

use std::{collections::HashSet, hash::Hash, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};

/// A sequential object.
pub(super) trait Model: Copy + Eq + Hash + std::fmt::Debug {
    /// What is done to it, with its answer.
    type Deed: std::fmt::Debug;

    /// The object after the deed, if the deed can be answered like this.
    fn after(&self, deed: &Self::Deed) -> Option<Self>;
}

/// An operation.
#[derive(Debug, Clone)]
pub(super) struct Op<D> {
    /// When it was sent.
    pub start: Duration,
    /// When it was answered; `None` when it never was: then it may come at any time, or not at all.
    pub end: Option<Duration>,
    /// Where it is probably found: candidates are tried in this order.
    pub hint: (u64, u64),
    /// What was done.
    pub deed: D,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// There is an order.
    Order,
    /// There is none; where the search came furthest.
    None(String),
    /// The budget was not enough.
    Undecided,
}

/// One operation placed, and the state before it.
struct Placed<M> {
    op: usize,
    before: M,
}

/// The operations not yet placed, by start, as a list.
struct Waiting {
    next: Vec<usize>,
    prev: Vec<usize>,
}

impl Waiting {
    /// All of `count`; the index `count` is the list's own end.
    fn new(count: usize) -> Self {
        let around = |at: usize| if at == 0 { count } else { at - 1 };
        Self { next: (1..=count).chain([0]).collect(), prev: (0..=count).map(around).collect() }
    }

    fn remove(&mut self, op: usize) {
        let (prev, next) = (self.prev[op], self.next[op]);
        self.next[prev] = next;
        self.prev[next] = prev;
    }

    fn put_back(&mut self, op: usize) {
        let (prev, next) = (self.prev[op], self.next[op]);
        self.next[prev] = op;
        self.prev[next] = op;
    }
}

/// Looks for an order of `ops` from `initial`, in at most `budget` steps.
pub(super) fn search<M: Model>(initial: M, ops: &[Op<M::Deed>], budget: usize) -> Found {
    let mut order: Vec<&Op<M::Deed>> = ops.iter().collect();
    order.sort_by_key(|op| op.start);
    let mut waiting = Waiting::new(order.len());
    let mut rng = StdRng::seed_from_u64(0);
    let names: Vec<u128> = order.iter().map(|_| rng.random()).collect();
    let mut unanswered = order.iter().filter(|op| op.end.is_some()).count();
    let (mut state, mut set) = (initial, 0_u128);
    let mut tried = HashSet::new();
    let mut placed: Vec<Placed<M>> = Vec::new();
    let mut deepest = (0, String::new());
    // The candidate after which to look for the next one, at the present depth.
    let mut after: Option<((u64, u64), usize)> = None;
    for _ in 0..budget {
        if unanswered == 0 {
            return Found::Order;
        }
        match candidate(&order, &waiting, after) {
            Some(op) => {
                after = Some((order[op].hint, op));
                let Some(next) = state.after(&order[op].deed) else { continue };
                let next_set = set.wrapping_add(names[op]);
                if !tried.insert((next_set, next)) {
                    continue;
                }
                placed.push(Placed { op, before: state });
                waiting.remove(op);
                unanswered -= usize::from(order[op].end.is_some());
                (state, set, after) = (next, next_set, None);
            }
            None => {
                if placed.len() >= deepest.0 {
                    let first = order.get(waiting.next[order.len()]);
                    deepest = (placed.len(), format!("{} placed, {state:?}, then {first:?}", placed.len()));
                }
                let Some(Placed { op, before }) = placed.pop() else { return Found::None(deepest.1) };
                waiting.put_back(op);
                unanswered += usize::from(order[op].end.is_some());
                (state, set, after) = (before, set.wrapping_sub(names[op]), Some((order[op].hint, op)));
            }
        }
    }
    Found::Undecided
}

/// The operation that can come next and follows on `after` in the order of hints.
fn candidate<D>(order: &[&Op<D>], waiting: &Waiting, after: Option<((u64, u64), usize)>) -> Option<usize> {
    let mut first_answer = Duration::MAX;
    let mut best = None;
    let mut at = waiting.next[order.len()];
    while at != order.len() && order[at].start <= first_answer {
        let key = (order[at].hint, at);
        if after.is_none_or(|after| key > after) && best.is_none_or(|best| key < best) {
            best = Some(key);
        }
        first_answer = first_answer.min(order[at].end.unwrap_or(Duration::MAX));
        at = waiting.next[at];
    }
    best.map(|(_, at)| at)
}

#[cfg(test)]
mod tests;
