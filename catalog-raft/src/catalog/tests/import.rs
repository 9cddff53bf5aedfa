//! Imports: all rows or none, and what becomes of the items that there are.

use catalog_client::{
    Action, Change, Command, CommandId, Existing, KeyOrigin, MAX_IMPORT, MAX_NAMED_ROWS, MAX_NUMBER, MAX_TITLE,
    MAX_TOPIC, NewItem, Outcome, TakenRow,
};

use super::{Replica, command, order, withdraw};

fn row(item_number: u64) -> NewItem {
    let title = format!("Import {item_number}").into();
    NewItem { item_number, title, topic: "new".into(), cost: 7, quantity: 30 }
}

fn import(rows: &[NewItem], existing: Existing) -> Action {
    Action::ImportItems { items: rows.to_vec(), existing }
}

fn imported(added: u64, updated: u64, kept: u64) -> Outcome {
    Outcome::Imported { added, updated, kept }
}

/// Number, title, topic, cost and stock of all items.
fn items(replica: &Replica) -> Vec<(u64, String, String, u64, u64)> {
    let (items, _) = replica.catalog.items().items(None, None, None, usize::MAX);
    let told = |item: catalog_client::Item| {
        (item.item_number, item.title.to_string(), item.topic.to_string(), item.cost, item.quantity)
    };
    items.into_iter().map(told).collect()
}

#[test]
fn a_number_that_is_taken_refuses_the_whole_import() {
    let mut replica = Replica::stocked(&[5, 5, 5]);
    replica.act(withdraw(3));
    let before = items(&replica);
    let rows = [row(9), row(3), row(8), row(1)];
    let withdrawn = TakenRow { index: 1, withdrawn: true, item_number: 3 };
    let taken = TakenRow { index: 3, withdrawn: false, item_number: 1 };
    for (existing, expected) in [
        (Existing::Refuse, vec![withdrawn, taken]),
        (Existing::Keep, vec![withdrawn]),
        (Existing::Update, vec![withdrawn]),
    ] {
        let count = expected.len() as u64;
        assert_eq!(replica.act(import(&rows, existing)), Outcome::RowsTaken { count, rows: expected });
        assert_eq!(items(&replica), before);
    }
    // The numbers of rows that were not at fault are free.
    assert_eq!(replica.act(import(&[row(8), row(9)], Existing::Refuse)), imported(2, 0, 0));
}

#[test]
fn no_more_rows_are_named_than_a_record_should_keep() {
    let mut replica = Replica::stocked(&[1; 150]);
    let rows: Vec<_> = (1..=200).map(row).collect();
    let Outcome::RowsTaken { count, rows } = replica.act(import(&rows, Existing::Refuse)) else {
        panic!("not refused")
    };
    assert_eq!((count, rows.len(), rows[99].index), (150, MAX_NAMED_ROWS, 99));
}

#[test]
fn what_no_item_can_be_refuses_the_whole_import() {
    let mut replica = Replica::stocked(&[5]);
    let before = items(&replica);
    for bad in [
        row(0),
        row(MAX_NUMBER + 1),
        row(8),
        NewItem { title: "".into(), ..row(9) },
        NewItem { title: "x".repeat(MAX_TITLE + 1).into(), ..row(9) },
        NewItem { topic: "".into(), ..row(9) },
        NewItem { topic: "x".repeat(MAX_TOPIC + 1).into(), ..row(9) },
        NewItem { cost: MAX_NUMBER + 1, ..row(9) },
        NewItem { quantity: MAX_NUMBER + 1, ..row(9) },
    ] {
        for existing in [Existing::Refuse, Existing::Keep, Existing::Update] {
            assert_eq!(replica.act(import(&[row(8), bad.clone()], existing)), Outcome::Invalid, "{bad:?}");
        }
    }
    let many: Vec<_> = (1_000..).take(MAX_IMPORT + 1).map(row).collect();
    assert_eq!(replica.act(import(&many, Existing::Refuse)), Outcome::Invalid);
    assert_eq!(replica.act(import(&[], Existing::Refuse)), Outcome::Invalid);
    assert_eq!(items(&replica), before);
    assert_eq!(replica.act(import(&many[1..], Existing::Refuse)), imported(MAX_IMPORT as u64, 0, 0));
}

#[test]
fn an_item_that_there_is_stays_or_changes_but_for_its_stock() {
    let mut replica = Replica::stocked(&[5, 5]);
    assert!(replica.act(order(&[(1, 2)])).took_effect());
    let version = replica.catalog.items().item(1).unwrap().version;
    assert_eq!(replica.act(import(&[row(1), row(2), row(8)], Existing::Keep)), imported(1, 0, 2));
    let kept = replica.catalog.items().item(1).unwrap();
    assert_eq!((&*kept.title, kept.cost, kept.quantity, kept.version), ("Book 1", 10, 3, version));

    let changed = NewItem { topic: "other".into(), ..row(8) };
    let entry =
        replica.entry(&[Command { born: 1, ..command(77, import(&[row(1), changed, row(9)], Existing::Update)) }]);
    assert_eq!(entry.answers[0].outcome, imported(1, 2, 0));
    let told: Vec<_> = entry.event.unwrap().changes;
    let told: Vec<_> = told
        .iter()
        .map(|change| match change {
            Change::Put { item, old_topic } => (item.item_number, item.quantity, old_topic.as_deref()),
            Change::Withdrawn { .. } => panic!("{change:?}"),
        })
        .collect();
    assert_eq!(told, [(1, 3, Some("t")), (8, 30, Some("new")), (9, 30, None)], "one event, the stock as it was");
    let item = replica.catalog.items().item(1).unwrap();
    assert_eq!((&*item.title, &*item.topic, item.cost, item.quantity), ("Import 1", "new", 7, 3));
    assert_eq!(item.version, entry.answers[0].version);
    let (of_topic, _) = replica.catalog.items().items(Some("other"), None, None, 9);
    assert_eq!(of_topic.iter().map(|item| item.item_number).collect::<Vec<_>>(), [8]);

    // A row that says what is so already changes nothing, whatever its stock.
    let same = NewItem { quantity: 1_000, ..row(1) };
    let entry = replica.entry(&[Command { born: 1, ..command(78, import(&[same], Existing::Update)) }]);
    assert_eq!((entry.answers[0].outcome.clone(), entry.event), (imported(0, 0, 1), None));
    assert_eq!(replica.quantity(1), 3);
}

#[test]
fn an_import_takes_effect_once_under_its_key() {
    let mut replica = Replica::stocked(&[5]);
    let first = command(99, import(&[row(1), row(8)], Existing::Update));
    let answer = replica.one(first.clone());
    assert_eq!(answer.outcome, imported(1, 1, 0));
    assert!(replica.act(order(&[(8, 30)])).took_effect());
    replica.act(withdraw(8));
    let before = items(&replica);
    // In its entry, in a later one, and through another edge.
    let again = Command { origin: KeyOrigin::Client, born: replica.catalog.applied(), ..first.clone() };
    for repeated in replica.entry(&[first.clone(), again, first]).answers {
        assert_eq!(repeated, answer);
    }
    for other in [import(&[row(1), row(8)], Existing::Keep), import(&[row(8), row(1)], Existing::Update)] {
        let other = Command { born: 1, id: CommandId(99), ..command(99, other) };
        assert_eq!(replica.one(other).outcome, Outcome::KeyReused);
    }
    assert_eq!(items(&replica), before);
}
