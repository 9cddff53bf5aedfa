//! Every order that was acknowledged stands in every ledger, at the revision that was acknowledged; and every item costs
//! what it was last set to.

use std::collections::HashMap;

use super::{Verdict, broken, ledgers, replay::Replay};
use crate::history::{Final, History, Outcome};

/// See the file's head.
///
/// # Errors
/// When it is not so.
pub fn check(history: &History, end: &Final) -> Verdict {
    for (whose, ledger) in ledgers(end) {
        let placed: HashMap<_, _> = ledger.iter().map(|order| (order.key, order.revision)).collect();
        for write in history.writes.iter().filter(|write| write.is_order()) {
            let Outcome::Ok(acknowledged) = write.outcome else { continue };
            match placed.get(&write.key) {
                None => return broken("no_lost_ack", format_args!("missing from the ledger of {whose}: {write:?}")),
                Some(revision) if *revision != acknowledged => {
                    return broken("no_lost_ack", format_args!("at revision {revision} at {whose}: {write:?}"));
                }
                Some(_) => {}
            }
        }
    }
    let replay = Replay::of(history, end);
    for replica in &end.replicas {
        for (item, cost) in &replica.costs {
            if !replay.may_cost(*item, replica.applied, *cost) {
                let name = &replica.name;
                return broken(
                    "no_lost_ack",
                    format_args!("item {item} costs {cost} at {name}, which was not set last"),
                );
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{spoil_ledgers, story},
        *,
    };

    #[test]
    fn rejects_a_cost_that_was_set_in_vain() {
        let (history, mut end) = story();
        end.replicas[2].costs.insert(2, 20);
        assert!(check(&history, &end).is_err());
    }

    #[test]
    fn rejects_an_acknowledged_order_that_is_nowhere() {
        let (history, mut end) = story();
        assert_eq!(check(&history, &end), Ok(()));
        spoil_ledgers(&mut end, |ledger| drop(ledger.pop()));
        assert!(check(&history, &end).is_err());
    }

    #[test]
    fn rejects_an_acknowledged_order_that_one_replica_lacks() {
        let (history, mut end) = story();
        end.replicas[1].ledger.remove(0);
        assert!(check(&history, &end).is_err());
    }

    #[test]
    fn rejects_an_order_at_another_revision_than_was_said() {
        let (history, mut end) = story();
        spoil_ledgers(&mut end, |ledger| ledger[3].revision = 8);
        assert!(check(&history, &end).is_err());
    }
}
