//! A hand-made history without fault, for the checks' own tests to spoil.

use std::{collections::BTreeMap, time::Duration};

use uuid::Uuid;

use crate::history::{Ask, Final, History, LedgerOrder, Listing, Outcome, Read, Repeat, Replica, Sample, Told, Write};

/// A key.
pub(super) fn key(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

/// A write that began and ended at these milliseconds.
pub(super) fn write(n: u128, ask: Ask, start: u64, end: u64, outcome: Outcome) -> Write {
    let (start, end) = (Duration::from_millis(start), Duration::from_millis(end));
    Write { key: key(n), ask, start, end, tries: 1, front: 0, outcome }
}

/// Item 1 begins with 3 units, item 2 with 10. Two buys and an order of both items succeed, a buy then finds item 1 sold
/// out, 5 units are added, one more is bought; one buy is turned away. Item 2 gets a new cost with the order.
pub(super) fn story() -> (History, Final) {
    let read = |item, start, revision, quantity| Read {
        item,
        start: Duration::from_millis(start),
        end: Duration::from_millis(start + 2),
        revision,
        quantity,
        cost: if item == 2 && revision >= 6 { 7 } else { item * 10 },
        front: 0,
        linearizable: true,
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
            write(8, Ask::SetCost(2, 7), 20, 30, Outcome::Ok(6)),
        ],
        reads: vec![read(1, 12, 5, 1), read(1, 35, 7, 0), read(2, 40, 6, 6), read(1, 90, 9, 4), read(2, 95, 6, 6)],
        listings: vec![Listing {
            of: vec![1, 2],
            start: Duration::from_millis(91),
            end: Duration::from_millis(94),
            revision: 9,
            books: vec![(1, 4, 10), (2, 6, 7)],
            front: 0,
            linearizable: true,
        }],
        repeats: vec![Repeat { key: key(1), server: "frontend-2".to_owned(), outcome: Outcome::Ok(5) }],
        told: vec![vec![
            Told::From(4),
            Told::Changes(5, vec![(1, 1, 10)]),
            Told::Changes(6, vec![(1, 0, 10), (2, 6, 7)]),
            Told::Resumed(6),
            Told::Bookmark(7),
            Told::Changes(8, vec![(1, 5, 10)]),
            Told::Changes(9, vec![(1, 4, 10)]),
        ]],
        samples: ["catalog-1", "catalog-2"]
            .map(|name| Sample { name: name.to_owned(), applied: 7, state_hash: "77aa".to_owned() })
            .to_vec(),
        surprises: Vec::new(),
        unserved: Vec::new(),
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
        costs: BTreeMap::from([(1, 10), (2, 7)]),
        ledger: ledger.clone(),
    };
    let replicas = ["catalog-1", "catalog-2", "catalog-3"].map(replica).to_vec();
    let (initial, costs) = (BTreeMap::from([(1, 3), (2, 10)]), BTreeMap::from([(1, 10), (2, 20)]));
    (history, Final { initial, costs, ledger, replicas })
}

/// Spoils every ledger in the same way.
pub(super) fn spoil_ledgers(end: &mut Final, spoil: impl Fn(&mut Vec<LedgerOrder>)) {
    spoil(&mut end.ledger);
    for replica in &mut end.replicas {
        spoil(&mut replica.ledger);
    }
}
