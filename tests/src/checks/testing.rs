//! A hand-made history without fault, for the checks' own tests to spoil.

use std::{collections::BTreeMap, time::Duration};

use uuid::Uuid;

use crate::history::{Ask, Final, History, LedgerOrder, Outcome, Read, Replica, Write};

/// A key.
pub(super) fn key(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

/// A write that began and ended at these milliseconds.
pub(super) fn write(n: u128, ask: Ask, start: u64, end: u64, outcome: Outcome) -> Write {
    let (start, end) = (Duration::from_millis(start), Duration::from_millis(end));
    Write { key: key(n), ask, start, end, tries: 1, outcome }
}

/// Item 1 begins with 3 units, item 2 with 10. Two buys and an order of both items succeed, a buy then finds item 1 sold
/// out, 5 units are added, one more is bought; one buy is turned away.
pub(super) fn story() -> (History, Final) {
    let read = |item, start, revision, quantity| Read {
        item,
        start: Duration::from_millis(start),
        end: Duration::from_millis(start + 2),
        revision,
        quantity,
    };
    let history = History {
        writes: vec![
            write(1, Ask::Buy(1), 0, 10, Outcome::Ok(5)),
            write(2, Ask::Buy(1), 0, 11, Outcome::Ok(5)),
            write(3, Ask::Order(vec![(2, 1), (1, 1), (2, 3)]), 20, 30, Outcome::Ok(6)),
            write(4, Ask::Buy(1), 40, 50, Outcome::OutOfStock(7)),
            write(5, Ask::AddStock(1, 5), 60, 70, Outcome::Ok(8)),
            write(6, Ask::Buy(1), 65, 80, Outcome::Ok(9)),
            write(7, Ask::Buy(2), 65, 66, Outcome::TurnedAway),
        ],
        reads: vec![read(1, 12, 5, 1), read(1, 35, 7, 0), read(2, 40, 6, 6), read(1, 90, 9, 4), read(2, 95, 6, 6)],
        surprises: Vec::new(),
        turned_away: 1,
        unknown: 0,
    };
    let order = |n, revision, lines: &[(u64, u64)]| LedgerOrder { key: key(n), revision, lines: lines.to_vec() };
    let ledger =
        vec![order(1, 5, &[(1, 1)]), order(2, 5, &[(1, 1)]), order(3, 6, &[(1, 1), (2, 4)]), order(6, 9, &[(1, 1)])];
    let replica = |name: &str| Replica {
        name: name.to_owned(),
        applied: 9,
        state_hash: "9f0c".to_owned(),
        stock: BTreeMap::from([(1, 4), (2, 6)]),
        ledger: ledger.clone(),
    };
    let replicas = ["catalog-1", "catalog-2", "catalog-3"].map(replica).to_vec();
    (history, Final { initial: BTreeMap::from([(1, 3), (2, 10)]), ledger, replicas })
}

/// Spoils every ledger in the same way.
pub(super) fn spoil_ledgers(end: &mut Final, spoil: impl Fn(&mut Vec<LedgerOrder>)) {
    spoil(&mut end.ledger);
    for replica in &mut end.replicas {
        spoil(&mut replica.ledger);
    }
}
