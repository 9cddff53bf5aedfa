//! The rules of each command, one by one; events; reads.

use catalog_client::{
    Action, Change, Command, Item, MAX_LINES, MAX_NUMBER, MAX_TITLE, MAX_TOPIC, NewItem, Outcome, Version,
};

use super::{Replica, add, change, command, order, withdraw};

#[test]
fn an_order_takes_stock_and_stands_in_the_ledger() {
    let mut replica = Replica::stocked(&[5, 5]);
    let Outcome::Placed(placed) = replica.act(order(&[(2, 1), (1, 2), (2, 3)])) else { panic!("not placed") };
    let lines: Vec<_> = placed.lines.iter().map(|l| (l.item_number, &*l.title, l.quantity, l.unit_cost)).collect();
    assert_eq!(lines, [(1, "Book 1", 2, 10), (2, "Book 2", 4, 10)]);
    assert_eq!((placed.time_ms, placed.total()), (1_002, 60));
    assert_eq!((replica.quantity(1), replica.quantity(2)), (3, 1));
    assert_eq!(replica.catalog.items().item(1).unwrap().version, placed.version);
    assert_eq!(replica.store.orders(), [(*placed).clone()]);
    assert_eq!(replica.catalog.orders(), 1);
}

#[test]
fn an_order_takes_all_lines_or_none() {
    let mut replica = Replica::stocked(&[5, 1, 0]);
    for (lines, refusal) in [
        (vec![(1, 1), (3, 1), (2, 2)], Outcome::OutOfStock { item_number: 2, wanted: 2, left: 1 }),
        (vec![(1, 3), (1, 3)], Outcome::OutOfStock { item_number: 1, wanted: 6, left: 5 }),
        (vec![(1, 9), (8, 1), (7, 1)], Outcome::NoSuchItem { item_number: 7 }),
        (vec![(1, 1), (2, 0)], Outcome::Invalid),
        (vec![], Outcome::Invalid),
        (vec![(1, 1); MAX_LINES + 1], Outcome::Invalid),
        (vec![(1, u64::MAX), (1, u64::MAX)], Outcome::TooLarge),
    ] {
        assert_eq!(replica.act(order(&lines)), refusal, "{lines:?}");
        assert_eq!([1, 2, 3].map(|n| replica.quantity(n)), [5, 1, 0]);
    }
    assert_eq!(replica.catalog.orders(), 0);
}

#[test]
fn an_order_whose_total_is_beyond_all_numbers_is_refused() {
    let mut replica = Replica::stocked(&[2]);
    let cost = Some(MAX_NUMBER);
    let dear =
        Action::ChangeItem { item_number: 1, title: None, topic: None, cost, add_quantity: None, if_match: None };
    assert!(replica.act(dear).took_effect());
    assert_eq!(replica.act(order(&[(1, 2)])), Outcome::TooLarge);
    assert!(replica.act(order(&[(1, 1)])).took_effect());
}

#[test]
fn a_number_is_never_given_again() {
    let mut replica = Replica::stocked(&[1, 1]);
    let Outcome::Added(item) = replica.act(add(None, "t")) else { panic!("not added") };
    assert_eq!(item.item_number, 3);
    assert_eq!(replica.act(withdraw(3)), Outcome::Withdrawn);
    assert_eq!(replica.act(add(Some(3), "t")), Outcome::NumberTaken { item_number: 3 });
    assert_eq!(replica.act(add(Some(1), "t")), Outcome::NumberTaken { item_number: 1 });
    let Outcome::Added(item) = replica.act(add(None, "t")) else { panic!("not added") };
    assert_eq!(item.item_number, 4);
    for gone in [withdraw(3), change(3, 1)] {
        assert_eq!(replica.act(gone), Outcome::NoSuchItem { item_number: 3 });
    }
    assert_eq!(replica.act(order(&[(3, 1)])), Outcome::NoSuchItem { item_number: 3 });
    assert_eq!(replica.catalog.items().len(), 3);
}

#[test]
fn numbers_end_at_the_greatest_one() {
    let mut replica = Replica::stocked(&[1]);
    assert_eq!(replica.act(add(Some(0), "t")), Outcome::Invalid);
    assert_eq!(replica.act(add(Some(MAX_NUMBER + 1), "t")), Outcome::TooLarge);
    assert!(replica.act(add(Some(MAX_NUMBER), "t")).took_effect());
    assert_eq!(replica.act(add(None, "t")), Outcome::TooLarge);
}

#[test]
fn texts_have_a_length() {
    let mut replica = Replica::stocked(&[1]);
    for (title, topic, fits) in [
        (1, 1, true),
        (MAX_TITLE, MAX_TOPIC, true),
        (0, 1, false),
        (1, 0, false),
        (MAX_TITLE + 1, 1, false),
        (1, MAX_TOPIC + 1, false),
    ] {
        let (title, topic) = ("x".repeat(title).into(), "y".repeat(topic).into());
        let added = replica.act(Action::AddItem { item_number: None, title, topic, cost: 1, quantity: 1 });
        assert_eq!(added.took_effect(), fits, "{added:?}");
        assert_eq!(added == Outcome::Invalid, !fits);
    }
}

#[test]
fn a_change_is_all_or_nothing() {
    let mut replica = Replica::stocked(&[5]);
    let before = replica.catalog.items().item(1).unwrap().clone();
    let refused = |cost, add_quantity, if_match| Action::ChangeItem {
        item_number: 1,
        title: Some("New".into()),
        topic: Some("u".into()),
        cost,
        add_quantity,
        if_match,
    };
    let other = Some(Version { revision: 1, n: 1 });
    for (action, refusal) in [
        (refused(None, Some(-6), None), Outcome::BelowZero { item_number: 1, left: 5 }),
        (refused(None, Some(i64::MIN), None), Outcome::BelowZero { item_number: 1, left: 5 }),
        (refused(None, Some(i64::MAX), None), Outcome::TooLarge),
        (refused(Some(MAX_NUMBER + 1), None, None), Outcome::TooLarge),
        (refused(None, None, other), Outcome::ChangedSince { version: before.version }),
        (
            Action::ChangeItem {
                item_number: 1,
                title: None,
                topic: None,
                cost: None,
                add_quantity: None,
                if_match: Some(before.version),
            },
            Outcome::Invalid,
        ),
    ] {
        assert_eq!(replica.act(action), refusal);
        assert_eq!(replica.catalog.items().item(1), Some(&before));
    }
    let Outcome::Changed(item) = replica.act(refused(Some(7), Some(-5), Some(before.version))) else {
        panic!("not changed")
    };
    assert_eq!((&*item.title, &*item.topic, item.cost, item.quantity), ("New", "u", 7, 0));
    assert_eq!(item.version, Version { revision: replica.catalog.applied(), n: 0 });
}

#[test]
fn the_first_items_are_loaded_once_part_by_part() {
    let row = |item_number| NewItem { item_number, title: "T".into(), topic: "t".into(), cost: 1, quantity: 1 };
    let mut replica = Replica::new(super::Limits::default());
    for bad in [vec![row(1), row(1)], vec![row(1), row(0)], vec![NewItem { quantity: MAX_NUMBER + 1, ..row(1) }]] {
        assert_eq!(replica.act(Action::LoadItems { items: bad }), Outcome::Invalid);
    }
    assert!(replica.catalog.items().is_empty());
    let parts = [vec![row(4), row(2)], vec![row(5), row(6)]];
    for (part, given) in parts.iter().zip([2, 4]) {
        // The second time it is one that was proposed twice, by two leaders.
        for loaded in [2, 0] {
            assert_eq!(replica.act(Action::LoadItems { items: part.clone() }), Outcome::Loaded(loaded));
            assert_eq!(replica.catalog.items().len(), given);
        }
    }
    for late in [parts[0].clone(), vec![row(3)], vec![row(6), row(7)], Vec::new()] {
        assert_eq!(replica.act(Action::LoadItems { items: late }), Outcome::Loaded(0));
    }
    replica.act(withdraw(6));
    assert_eq!(replica.act(Action::LoadItems { items: vec![row(6)] }), Outcome::Loaded(0));
    assert_eq!(replica.catalog.items().len(), 3);
}

#[test]
fn an_event_tells_one_change_an_item_by_number() {
    let mut replica = Replica::stocked(&[9, 9, 9]);
    let to = |topic: &str, item_number| Action::ChangeItem {
        item_number,
        title: None,
        topic: Some(topic.into()),
        cost: None,
        add_quantity: None,
        if_match: None,
    };
    let actions = [order(&[(3, 1)]), to("u", 1), order(&[(1, 1)]), to("v", 1), to("u", 2), to("t", 2), withdraw(2)];
    let actions = actions.into_iter().chain([add(Some(8), "w"), withdraw(8), change(3, -99)]);
    let commands: Vec<_> = (1..).zip(actions).map(|(id, action)| command(id, action)).collect();
    let applied = replica.entry(&commands);
    let at = |n| Version { revision: 2, n };
    let item = |n, topic: &str, quantity, version| Item {
        item_number: n,
        title: format!("Book {n}").into(),
        topic: topic.into(),
        cost: 10,
        quantity,
        version,
    };
    let event = applied.event.unwrap();
    assert_eq!(event.revision, 2);
    assert_eq!(
        event.changes,
        [
            Change::Put { item: item(1, "v", 8, at(3)), old_topic: Some("t".into()) },
            Change::Withdrawn { item_number: 2, topic: "t".into(), version: at(6) },
            Change::Put { item: item(3, "t", 8, at(0)), old_topic: None },
            Change::Withdrawn { item_number: 8, topic: "w".into(), version: at(8) },
        ]
    );
    assert_eq!(applied.placed.iter().map(|o| o.version.n).collect::<Vec<_>>(), [0, 2]);
    let refusals = replica.entry(&[Command { born: 2, ..command(99, order(&[(1, 99)])) }]);
    assert_eq!(refusals.event, None);
}

#[test]
fn items_are_read_by_topic_words_and_pages() {
    let mut replica = Replica::stocked(&[1; 5]);
    replica.act(add(Some(9), "tt"));
    replica.act(withdraw(3));
    let frozen = replica.catalog.view();
    replica.act(withdraw(1));
    let read = |topic, words, after, limit| {
        let (items, more) = frozen.items(topic, words, after, limit);
        (items.iter().map(|item| item.item_number).collect::<Vec<_>>(), more)
    };
    assert_eq!(read(None, None, None, 99), (vec![1, 2, 4, 5, 9], false));
    assert_eq!(read(Some("t"), None, None, 2), (vec![1, 2], true));
    assert_eq!(read(Some("t"), None, Some(2), 2), (vec![4, 5], false));
    assert_eq!(read(Some("T"), None, None, 2), (vec![], false));
    assert_eq!(read(None, Some("bOOk"), None, 3), (vec![1, 2, 4], true));
    assert_eq!(read(None, Some(" 4, book "), None, 3), (vec![4], false));
    assert_eq!(read(None, Some("boo"), Some(1), 2), (vec![2, 4], true));
    assert_eq!(read(None, Some("ook"), None, 3), (vec![], false));
    assert_eq!(read(Some("tt"), Some("tit a"), None, 3), (vec![9], false));
    assert_eq!(read(Some("t"), Some("tit"), None, 3), (vec![], false));
    assert_eq!(read(Some("t"), Some("b b bo 5"), None, 3), (vec![5], false));
    assert_eq!(read(None, Some("b"), Some(u64::MAX), 3), (vec![], false));
    assert_eq!(read(None, Some(" "), Some(5), 3), (vec![9], false));
    assert_eq!(read(None, None, None, 0), (vec![], true));
    assert_eq!(frozen.applied() + 1, replica.catalog.applied());
}

#[test]
#[should_panic(expected = "after entry 1 was applied")]
fn an_entry_is_never_applied_twice() {
    let mut replica = Replica::stocked(&[1]);
    let Replica { catalog, store, .. } = &mut replica;
    let _ = catalog.apply(1, 0, &[], store);
}
