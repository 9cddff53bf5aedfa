//! Damaged or misplaced rows are never taken for a state.

use catalog_client::Item;

use super::{Catalog, Replica, add, change, command, order, rows::Table, withdraw};

fn replica() -> Replica {
    let mut replica = Replica::stocked(&[5, 5]);
    replica.entry(&[command(1, order(&[(1, 1), (2, 2)])), command(2, order(&[(1, 9)])), command(3, withdraw(1))]);
    replica.act(add(None, "u"));
    replica.act(change(2, 3));
    // Its row on disk lacks this one.
    replica.act(order(&[(2, 1)]));
    replica
}

fn items(catalog: &Catalog) -> Vec<Item> {
    catalog.items().items(None, None, None, 9).0
}

#[test]
fn a_flipped_bit_in_any_row_is_found() {
    let replica = replica();
    assert!(replica.store.restore_verified(replica.limits).is_ok());
    for table in [Table::Items, Table::Orders, Table::Dedup] {
        for (key, value) in replica.store.rows(table) {
            for bit in 0..value.len() * 8 {
                let mut store = replica.store.clone();
                let mut bad = value.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                store.tables.get_mut(&table).unwrap().insert(key.clone(), bad);
                let is_found = |restored: std::io::Result<Catalog>| match restored {
                    Err(error) => error.kind() == std::io::ErrorKind::InvalidData,
                    // Of an item that has sold since, the version may be another one before that sale: it becomes the same.
                    Ok(catalog) => table == Table::Items && items(&catalog) == items(&replica.catalog),
                };
                assert!(is_found(store.restore_verified(replica.limits)), "{table:?} {key:?} bit {bit}");
                if table != Table::Orders {
                    assert!(is_found(store.restore(replica.limits)), "{table:?} {key:?} bit {bit}");
                }
            }
        }
    }
}

#[test]
fn a_lost_or_misplaced_row_is_found() {
    let replica = replica();
    for table in [Table::Items, Table::Orders, Table::Dedup] {
        for (key, value) in replica.store.rows(table) {
            let mut store = replica.store.clone();
            store.tables.get_mut(&table).unwrap().remove(key);
            assert!(store.restore_verified(replica.limits).is_err());
            let mut elsewhere = key.clone();
            *elsewhere.last_mut().unwrap() ^= 0x40;
            store.tables.get_mut(&table).unwrap().insert(elsewhere, value.clone());
            assert!(
                store.fed(replica.limits).and_then(|restore| restore.verified(store.applied, &store.meta)).is_err()
            );
        }
    }
    let mut store = replica.store.clone();
    store.applied = 2;
    assert!(store.restore(replica.limits).is_err(), "a state older than its rows");
    store.applied = replica.store.applied;
    store.meta.orders += 1;
    assert!(store.restore_verified(replica.limits).is_err());
}

#[test]
fn a_lost_order_of_a_remembered_command_is_an_error() {
    let mut replica = replica();
    replica.store.tables.remove(&Table::OrderIds);
    let again = [command(1, order(&[(1, 1), (2, 2)]))];
    let index = replica.next();
    let error = replica.catalog.apply(index, 0, &again, &replica.store).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
}
