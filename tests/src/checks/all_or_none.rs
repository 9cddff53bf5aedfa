//! An order in a ledger has exactly the units that were asked for: all lines, none else.

use std::collections::HashMap;

use super::{Verdict, broken, ledgers};
use crate::history::{Final, History, added_up};

/// See the file's head.
///
/// # Errors
/// When it is not so.
pub fn check(history: &History, end: &Final) -> Verdict {
    let asked: HashMap<_, _> = history.writes.iter().map(|write| (write.key, write)).collect();
    for (whose, ledger) in ledgers(end) {
        for order in ledger {
            let Some(write) = asked.get(&order.key) else { continue };
            if added_up(&order.lines) != write.units() {
                return broken("all_or_none", format_args!("the ledger of {whose} has {order:?} of {write:?}"));
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
    fn rejects_a_line_that_is_missing_or_short() {
        let (history, mut end) = story();
        assert_eq!(check(&history, &end), Ok(()));
        spoil_ledgers(&mut end, |ledger| ledger[2].lines.truncate(1));
        assert!(check(&history, &end).is_err());
        let (history, mut end) = story();
        end.replicas[0].ledger[2].lines[1].1 = 3;
        assert!(check(&history, &end).is_err());
    }
}
