//! Item by item there is one order of all writes and linearizable reads that explains every answer, in which each takes
//! effect between the moment it was sent and the moment it was answered. What an answer says of revisions only tells
//! the search where to look first; it is no evidence.
//!
//! An order of several lines takes part at each of its items as a purchase of its own: that it takes all or none is for
//! another check to say, and which item a refused one was short of is not known, so it takes no part.

use std::collections::BTreeMap;

use super::{Verdict, broken, replay};
use crate::history::{Ask, Final, History, Item, Outcome};

mod search;

use search::{Found, Model, Op, search};

/// Steps of the search for one item at most, a few seconds. Beyond it nothing is known, and that is a failure too.
const BUDGET: usize = 20_000_000;

/// Where looks stand among the operations of a revision: a look sees it whole.
const LOOKS: u64 = 5;

/// What an item is, as far as its clients can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Book {
    stock: i64,
    cost: u64,
}

/// What was done to it, with its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    /// Units taken (or, below zero, added), and whether that was granted.
    Take(i64, bool),
    SetCost(u64),
    Look(Book),
}

impl Model for Book {
    type Deed = Deed;

    fn after(&self, deed: &Deed) -> Option<Self> {
        match *deed {
            Deed::Take(units, true) if units <= self.stock => Some(Self { stock: self.stock - units, ..*self }),
            Deed::Take(units, false) if units > self.stock => Some(*self),
            Deed::Take(..) => None,
            Deed::SetCost(cost) => Some(Self { cost, ..*self }),
            Deed::Look(book) => (book == *self).then_some(*self),
        }
    }
}

/// See the file's head.
///
/// # Errors
/// When it is not so.
pub fn check(history: &History, end: &Final) -> Verdict {
    for (item, ops) in by_item(history, end) {
        let Some(stock) = end.initial.get(&item).copied() else { continue };
        let initial = Book { stock, cost: end.costs.get(&item).copied().unwrap_or_default() };
        match search(initial, &ops, BUDGET) {
            Found::Order => {}
            Found::None(deepest) => {
                let ops = ops.len();
                return broken(
                    "linearizable",
                    format_args!(
                        "no order of the {ops} operations on item {item} explains their answers; as far as could be: {deepest}"
                    ),
                );
            }
            Found::Undecided => {
                let ops = ops.len();
                return broken(
                    "linearizable",
                    format_args!("undecided for the {ops} operations on item {item} after {BUDGET} steps"),
                );
            }
        }
    }
    Ok(())
}

fn by_item(history: &History, end: &Final) -> BTreeMap<Item, Vec<Op<Deed>>> {
    let mut ops: BTreeMap<Item, Vec<Op<Deed>>> = BTreeMap::new();
    let replay = replay::Replay::of(history, end);
    let placed: BTreeMap<_, _> = end.ledger.iter().map(|order| (order.key, order.revision)).collect();
    let last = history.writes.iter().map(|write| write.end).chain(history.looks().map(|read| read.end)).max();
    for write in &history.writes {
        // What was never learnt may have taken effect at any time, or not at all; but the ledger knows of orders.
        let (revision, granted, end) = match write.outcome {
            Outcome::Ok(revision) => (revision, true, Some(write.end)),
            Outcome::OutOfStock(revision) => (revision, false, Some(write.end)),
            Outcome::TurnedAway => continue,
            Outcome::Unknown => match placed.get(&write.key) {
                Some(revision) => (*revision, true, last),
                None if write.is_order() => continue,
                None => (u64::MAX, true, None),
            },
        };
        let items = write.items();
        if !granted && items.len() > 1 {
            continue;
        }
        for item in items {
            let deed = match &write.ask {
                Ask::SetCost(_, cost) => Deed::SetCost(*cost),
                Ask::AddStock(_, delta) => Deed::Take(-delta, granted),
                _ => Deed::Take(i64::try_from(write.units()[&item]).unwrap_or(i64::MAX), granted),
            };
            // Within a revision: what adds, what takes, what was refused, new costs; last the cost that was seen afterwards.
            let place = match deed {
                Deed::Take(units, true) => u64::from(units > 0),
                Deed::Take(..) => 2,
                Deed::SetCost(cost) => 3 + u64::from(replay.seen_cost(item, revision) == Some(cost)),
                Deed::Look(_) => LOOKS,
            };
            ops.entry(item).or_default().push(Op { start: write.start, end, hint: (revision, place), deed });
        }
    }
    for read in history.looks().filter(|read| read.linearizable) {
        let deed = Deed::Look(Book { stock: read.quantity, cost: read.cost });
        let hint = (replay.changed_last(read.item, read.revision), LOOKS);
        ops.entry(read.item).or_default().push(Op { start: read.start, end: Some(read.end), hint, deed });
    }
    ops
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        super::testing::{key, story, write},
        *,
    };
    use crate::history::LedgerOrder;

    #[test]
    fn rejects_a_linearizable_read_of_the_past() {
        let (mut history, end) = story();
        assert_eq!(check(&history, &end), Ok(()));
        // All that a replica that lags would say; the write of revision 9 was answered at 80 ms.
        (history.reads[3].revision, history.reads[3].quantity) = (8, 5);
        assert!(check(&history, &end).is_err());
        history.reads[3].linearizable = false;
        assert_eq!(check(&history, &end), Ok(()));
    }

    #[test]
    fn rejects_a_purchase_of_what_was_sold_out() {
        let (mut history, end) = story();
        history.writes[3].outcome = Outcome::Ok(7);
        assert!(check(&history, &end).is_err());
    }

    #[test]
    fn rejects_a_refusal_when_there_was_enough() {
        let (mut history, end) = story();
        // Sent while the five were being added it might have come before them; sent later it cannot.
        history.writes[5].outcome = Outcome::OutOfStock(9);
        history.writes[5].start = Duration::from_millis(75);
        history.reads.clear();
        assert!(check(&history, &end).is_err());
    }

    #[test]
    fn an_unknown_write_may_have_taken_effect_late_or_never() {
        let (mut history, end) = story();
        history.writes.push(write(20, Ask::AddStock(1, 2), 100, 110, Outcome::Unknown));
        assert_eq!(check(&history, &end), Ok(()));
        let mut late = history.reads[3];
        (late.start, late.end, late.quantity) = (Duration::from_millis(900), Duration::from_millis(910), 6);
        history.reads.push(late);
        assert_eq!(check(&history, &end), Ok(()));
        // Once seen it stays.
        (late.start, late.end, late.quantity) = (Duration::from_millis(920), Duration::from_millis(930), 4);
        history.reads.push(late);
        assert!(check(&history, &end).is_err());
    }
    #[test]
    fn an_unknown_order_took_effect_if_it_was_placed_and_not_otherwise() {
        let (mut history, mut end) = story();
        history.writes.push(write(21, Ask::Buy(1), 100, 110, Outcome::Unknown));
        assert_eq!(check(&history, &end), Ok(()));
        let mut seen = history.reads[3];
        (seen.start, seen.end, seen.quantity) = (Duration::from_millis(120), Duration::from_millis(130), 3);
        history.reads.push(seen);
        assert!(check(&history, &end).is_err(), "it was not placed, and yet seen");
        end.ledger.push(LedgerOrder { key: key(21), revision: 10, lines: vec![(1, 1)] });
        assert_eq!(check(&history, &end), Ok(()));
        // Placed it was, by the end at the latest; there is nothing left to take it from.
        history.writes.push(write(22, Ask::Buy(1), 100, 140, Outcome::OutOfStock(11)));
        assert!(check(&history, &end).is_err());
    }
}
