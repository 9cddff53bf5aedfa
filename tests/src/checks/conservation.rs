//! On every replica, for every item: initial stock + all deltas that took effect − all units in its ledger = its stock.

use std::collections::BTreeMap;

use super::{Verdict, broken};
use crate::history::{Ask, Final, History, Outcome};

/// See the file's head.
///
/// # Errors
/// When it is not so.
pub fn check(history: &History, end: &Final) -> Verdict {
    let mut supplied = end.initial.clone();
    for write in &history.writes {
        if let (Ask::AddStock(item, delta), Outcome::Ok(_)) = (&write.ask, write.outcome) {
            *supplied.entry(*item).or_default() += delta;
        }
    }
    for replica in &end.replicas {
        let mut sold: BTreeMap<u64, i64> = BTreeMap::new();
        for (item, units) in replica.ledger.iter().flat_map(|order| &order.lines) {
            *sold.entry(*item).or_default() += i64::try_from(*units).unwrap_or(i64::MAX);
        }
        let items = supplied.keys().chain(sold.keys()).chain(replica.stock.keys());
        for item in items {
            let of = |map: &BTreeMap<u64, i64>| map.get(item).copied().unwrap_or_default();
            let (supplied, sold, stock) = (of(&supplied), of(&sold), of(&replica.stock));
            if supplied - sold != stock {
                let name = &replica.name;
                let what = format!("item {item} at {name}: {supplied} supplied, {sold} sold, {stock} in stock");
                return broken("conservation", what);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::testing::story, *};

    #[test]
    fn rejects_units_that_vanish_or_appear() {
        let (history, mut end) = story();
        assert_eq!(check(&history, &end), Ok(()));
        *end.replicas[2].stock.get_mut(&2).unwrap() += 1;
        assert!(check(&history, &end).is_err());
    }

    #[test]
    fn rejects_a_delta_that_took_effect_twice() {
        let (history, mut end) = story();
        for replica in &mut end.replicas {
            *replica.stock.get_mut(&1).unwrap() += 5;
        }
        assert!(check(&history, &end).is_err());
    }

    #[test]
    fn rejects_a_sale_that_left_the_stock_as_it_was() {
        let (history, mut end) = story();
        end.replicas[0].ledger.pop();
        assert!(check(&history, &end).is_err());
    }

    #[test]
    fn rejects_a_lost_delta_and_an_item_of_which_nobody_knows() {
        let (mut history, end) = story();
        history.writes[4].outcome = Outcome::Unknown;
        assert!(check(&history, &end).is_err());
        let (history, mut end) = story();
        end.replicas[0].stock.insert(77, 1);
        assert!(check(&history, &end).is_err());
    }
}
