//! Stock is never negative: not on any replica at the end, and at no revision on the way there.

use super::{Verdict, broken, replay::Replay};
use crate::history::{Final, History};

/// See the file's head.
///
/// # Errors
/// When it is not so.
pub fn check(history: &History, end: &Final) -> Verdict {
    for replica in &end.replicas {
        if let Some((item, stock)) = replica.stock.iter().find(|(_, stock)| **stock < 0) {
            return broken("no_oversell", format_args!("{} has {stock} of item {item}", replica.name));
        }
    }
    if let Some(read) = history.reads.iter().find(|read| read.quantity < 0) {
        return broken("no_oversell", format_args!("a client saw {read:?}"));
    }
    match Replay::of(history, end).first_negative() {
        None => Ok(()),
        Some((item, revision, stock)) => {
            broken("no_oversell", format_args!("item {item} stood at {stock} at revision {revision}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{key, spoil_ledgers, story},
        *,
    };
    use crate::history::LedgerOrder;

    #[test]
    fn rejects_a_negative_stock() {
        let (history, mut end) = story();
        assert_eq!(check(&history, &end), Ok(()));
        end.replicas[1].stock.insert(1, -1);
        assert!(check(&history, &end).is_err());
    }

    #[test]
    fn rejects_more_sold_than_there_was_though_more_came_later() {
        let (history, mut end) = story();
        let order = LedgerOrder { key: key(4), revision: 7, lines: vec![(1, 1)] };
        spoil_ledgers(&mut end, |ledger| ledger.insert(3, order.clone()));
        assert!(check(&history, &end).is_err());
    }
}
