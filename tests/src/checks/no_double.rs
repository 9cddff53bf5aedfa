//! No ledger holds an order twice, nor one that nobody asked for, nor one that was refused; and whoever repeats a write
//! under its key is told what was told the first time, by whichever server.

use std::collections::{HashMap, HashSet};

use super::{Verdict, broken, ledgers};
use crate::history::{Final, History, Outcome};

/// See the file's head.
///
/// # Errors
/// When it is not so.
pub fn check(history: &History, end: &Final) -> Verdict {
    let asked: HashMap<_, _> = history.writes.iter().map(|write| (write.key, write)).collect();
    if asked.len() != history.writes.len() {
        return broken("no_double", "the history itself has a key twice");
    }
    for repeat in &history.repeats {
        match asked.get(&repeat.key) {
            Some(write) if write.outcome == repeat.outcome => {}
            first => return broken("no_double", format_args!("{repeat:?} differs from the first answer: {first:?}")),
        }
    }
    for (whose, ledger) in ledgers(end) {
        let mut seen = HashSet::new();
        for order in ledger {
            if !seen.insert(order.key) {
                return broken("no_double", format_args!("twice in the ledger of {whose}: {order:?}"));
            }
            let Some(write) = asked.get(&order.key).filter(|write| write.is_order()) else {
                return broken("no_double", format_args!("in the ledger of {whose}, asked for by nobody: {order:?}"));
            };
            if matches!(write.outcome, Outcome::OutOfStock(_) | Outcome::TurnedAway) {
                return broken("no_double", format_args!("refused, and yet in the ledger of {whose}: {write:?}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{key, spoil_ledgers, story},
        *,
    };

    #[test]
    fn rejects_another_answer_to_a_repetition() {
        let (mut history, end) = story();
        history.repeats[0].outcome = Outcome::Ok(9);
        assert!(check(&history, &end).is_err());
    }

    #[test]
    fn rejects_an_order_placed_twice() {
        let (history, mut end) = story();
        assert_eq!(check(&history, &end), Ok(()));
        spoil_ledgers(&mut end, |ledger| ledger.push(ledger[0].clone()));
        assert!(check(&history, &end).is_err());
    }

    #[test]
    fn rejects_an_order_that_nobody_asked_for() {
        let (history, mut end) = story();
        spoil_ledgers(&mut end, |ledger| ledger[0].key = key(99));
        assert!(check(&history, &end).is_err());
    }

    #[test]
    fn rejects_an_order_that_was_refused() {
        // Keys 4 and 7: out of stock, and turned away by a server.
        for refused in [4, 7] {
            let (history, mut end) = story();
            let mut order = end.ledger[0].clone();
            order.key = key(refused);
            end.replicas[2].ledger.push(order);
            assert!(check(&history, &end).is_err(), "{refused}");
        }
    }
}
