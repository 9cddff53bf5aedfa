//! The search against one that tries every order, on small histories drawn at random, true ones and spoilt ones.

use super::*;

/// A counter that cannot fall below zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Counter(i64);

#[derive(Debug, Clone, Copy)]
enum Deed {
    Take(bool),
    Look(i64),
}

impl Model for Counter {
    type Deed = Deed;
    fn after(&self, deed: &Deed) -> Option<Self> {
        match deed {
            Deed::Take(granted) if *granted != (self.0 > 0) => None,
            Deed::Take(true) => Some(Self(self.0 - 1)),
            Deed::Take(false) => Some(*self),
            Deed::Look(seen) => (*seen == self.0).then_some(*self),
        }
    }
}

const MS: Duration = Duration::from_millis(1);

fn op(start: u32, end: Option<u32>, hint: u64, deed: Deed) -> Op<Deed> {
    Op { start: MS * start, end: end.map(|end| MS * end), hint: (hint, 0), deed }
}

/// Tries every order.
fn exists(state: Counter, left: &[Op<Deed>]) -> bool {
    if left.iter().all(|op| op.end.is_none()) {
        return true;
    }
    (0..left.len()).any(|at| {
        let first = left.iter().filter_map(|op| op.end).min().unwrap_or(Duration::MAX);
        let mut rest = left.to_vec();
        let op = rest.remove(at);
        op.start <= first && state.after(&op.deed).is_some_and(|next| exists(next, &rest))
    })
}

/// A history that a counter really had: each takes effect at a moment within its time.
fn real(rng: &mut StdRng, count: usize) -> Vec<Op<Deed>> {
    let mut moments: Vec<u32> = (0..count).map(|_| rng.random_range(10..60)).collect();
    moments.sort_unstable();
    let mut state = Counter(rng.random_range(0..4));
    let initial = state;
    let mut ops = Vec::new();
    for (at, moment) in moments.into_iter().enumerate() {
        let deed = if rng.random() { Deed::Take(state.0 > 0) } else { Deed::Look(state.0) };
        state = state.after(&deed).expect("it was answered by the state");
        let end = rng.random_bool(0.9).then(|| moment + rng.random_range(0..12));
        ops.push(op(moment - rng.random_range(0..10), end, at as u64, deed));
    }
    ops.push(op(0, Some(1), 0, Deed::Look(initial.0)));
    ops
}

#[test]
fn finds_an_order_exactly_when_there_is_one() {
    let (mut yes, mut no) = (0, 0);
    for seed in 0..4000 {
        let mut rng = StdRng::seed_from_u64(seed);
        let count = rng.random_range(1..7);
        let mut ops = real(&mut rng, count);
        let Deed::Look(initial) = ops[ops.len() - 1].deed else { unreachable!("the last one looks") };
        assert_eq!(search(Counter(initial), &ops, usize::MAX), Found::Order, "seed {seed}: {ops:?}");
        // A lie, and hints that mislead.
        let at = rng.random_range(0..ops.len());
        ops[at].deed = match ops[at].deed {
            Deed::Take(granted) => Deed::Take(!granted),
            Deed::Look(seen) => Deed::Look(seen + rng.random_range(-1..2)),
        };
        ops.iter_mut().for_each(|op| op.hint.0 = rng.random_range(0..5));
        let expected = exists(Counter(initial), &ops);
        assert_eq!(search(Counter(initial), &ops, usize::MAX) == Found::Order, expected, "seed {seed}: {ops:?}");
        *(if expected { &mut yes } else { &mut no }) += 1;
    }
    assert!(yes > 500 && no > 500, "{yes} with an order, {no} without: neither is tried enough");
}

#[test]
fn says_when_it_does_not_know() {
    // Forty at once, and one that saw a stock that never was.
    let mut ops: Vec<_> = (0..40).map(|at| op(0, Some(100), at, Deed::Take(true))).collect();
    ops.push(op(0, Some(100), 50, Deed::Look(-1)));
    assert_eq!(search(Counter(100), &ops, 1000), Found::Undecided);
}

#[test]
fn copes_with_a_long_history_of_one_object() {
    let clients = 64;
    let ops: Vec<_> = (0..100_000_u32)
        .map(|at| {
            let deed = if at % 5 == 4 { Deed::Look(i64::from(80_000 - at / 5 * 4 - 4)) } else { Deed::Take(true) };
            op(at, Some(at + clients), u64::from(at), deed)
        })
        .collect();
    assert_eq!(search(Counter(80_000), &ops, 1_000_000), Found::Order);
}
