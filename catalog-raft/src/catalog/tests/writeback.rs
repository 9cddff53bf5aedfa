//! Items whose rows lack sales: when rows are written, and that nothing is lost by their waiting.

use catalog_client::ItemNumber;

use super::{Applied, Limits, Replica, change, order, rows, rows::Table, withdraw};

/// The items whose rows an entry writes, and their stock there; none of a withdrawn one.
fn written(applied: &Applied) -> Vec<(ItemNumber, Option<u64>)> {
    let items = applied.rows.iter().filter(|row| row.table() == Table::Items);
    items
        .map(|row| {
            let item = rows::read_item(row.value().unwrap()).unwrap();
            (rows::read_item_key(row.key()).unwrap(), item.live().map(|item| item.quantity))
        })
        .collect()
}

fn sell(replica: &mut Replica, item_number: ItemNumber) -> Vec<(ItemNumber, Option<u64>)> {
    step(replica, order(&[(item_number, 1)]))
}

fn step(replica: &mut Replica, action: catalog_client::Action) -> Vec<(ItemNumber, Option<u64>)> {
    let born = replica.catalog.applied();
    let id = u128::from(replica.next()) << 64;
    let applied = replica.entry(&[catalog_client::Command { born, ..super::command(id, action) }]);
    assert!(applied.answers[0].outcome.took_effect());
    // Whatever was written: it can be read back at any time.
    let restored = replica.store.restore(replica.limits).unwrap();
    assert_eq!(restored.state_hash(), replica.catalog.state_hash());
    written(&applied)
}

/// The window of a stocked replica is of 10 revisions.
#[test]
fn an_item_that_only_sells_is_written_when_its_first_sale_leaves_the_window() {
    let mut replica = Replica::stocked(&[100, 100, 100]);
    for _ in 0..11 {
        assert_eq!(sell(&mut replica, 1), [], "the ledger has it");
    }
    assert_eq!(sell(&mut replica, 2), [(1, Some(89))], "with all that was sold meanwhile");
    for _ in 0..10 {
        assert_eq!(sell(&mut replica, 3), [], "of item 1 nothing was sold since");
    }
    assert_eq!(sell(&mut replica, 1), [(2, Some(99))]);
    assert_eq!(sell(&mut replica, 1), [(3, Some(90))]);
}

#[test]
fn whatever_else_changes_an_item_writes_it_at_once_and_what_it_lacked_is_not_due_any_more() {
    let mut replica = Replica::stocked(&[100, 100]);
    assert_eq!(sell(&mut replica, 1), []);
    assert_eq!(sell(&mut replica, 2), []);
    assert_eq!(step(&mut replica, change(1, 50)), [(1, Some(149))]);
    assert_eq!(step(&mut replica, withdraw(2)), [(2, None)]);
    assert_eq!(sell(&mut replica, 1), []);
    for _ in 0..10 {
        assert_eq!(sell(&mut replica, 1), [], "it lacks nothing of before the change");
    }
    assert_eq!(sell(&mut replica, 1), [(1, Some(137))]);
}

/// Many orders of few revisions: the window ends by its records.
#[test]
fn a_window_that_is_full_writes_what_leaves_it() {
    let mut replica = Replica::new(Limits { revisions: 1000, records: 5 });
    step(&mut replica, super::add(Some(1), "t"));
    step(&mut replica, super::add(Some(2), "t"));
    for left in (1..5).rev() {
        assert_eq!(sell(&mut replica, 1), []);
        assert_eq!(replica.quantity(1), left);
    }
    let mut due = Vec::new();
    for _ in 0..4 {
        due.extend(sell(&mut replica, 2));
    }
    assert_eq!(due, [(1, Some(1))]);
}

/// Found in review: a started replica noted what rows lack by order, others by number, and wrote the same rows in another order.
#[test]
fn rows_that_are_due_come_in_one_order_after_a_restart_too() {
    let mut replica = Replica::stocked(&[5, 5]);
    replica.entry(&[super::command(1, order(&[(2, 1)])), super::command(2, order(&[(1, 1)]))]);
    let mut restarted = Replica {
        limits: replica.limits,
        catalog: replica.store.restore(replica.limits).unwrap(),
        store: replica.store.clone(),
    };
    for _ in 0..11 {
        let (rows, after) = (replica.entry(&[]).rows, restarted.entry(&[]).rows);
        assert_eq!(rows, after);
    }
    let (_, item) = replica.store.rows(Table::Items).next().unwrap();
    assert_eq!(rows::read_item(item).unwrap().live().unwrap().quantity, 4, "they were due");
}
