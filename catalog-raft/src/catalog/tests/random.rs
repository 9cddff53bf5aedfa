//! Random logs: against the model, and against what must hold whatever the model says.

use std::collections::{BTreeMap, BTreeSet};

use catalog_client::{
    Action, Change, Command, CommandId, Existing, Item, KeyOrigin, Line, MAX_NUMBER, NewItem, Outcome, Revision,
    Version,
};
use proptest::{collection::vec, option, prelude::*};

use super::{Limits, Replica, Store, model::Model};

const LIMITS: Limits = Limits { revisions: 8, records: 12 };

/// What a command of a random log is.
#[derive(Debug, Clone)]
enum Spec {
    /// A new id, made so many revisions before it is applied.
    New { origin: KeyOrigin, age: Revision, action: Action },
    /// A command of before, as it was, or under the same key anew.
    Repeat { which: prop::sample::Index, anew: bool },
    /// An id of before with another body.
    Reuse { which: prop::sample::Index, anew: bool, action: Action },
}

#[derive(Debug, Clone)]
enum Step {
    Entry(Vec<Spec>),
    /// Entries without commands.
    Idle(u64),
}

fn actions() -> impl Strategy<Value = Action> {
    let number = || 1..6_u64;
    let text = || prop::sample::select(vec!["a", "b", "c d"]).prop_map(|text| text.into());
    let amount = || prop_oneof![8 => 0..9_u64, 1 => MAX_NUMBER - 3..MAX_NUMBER + 2];
    let delta = prop_oneof![8 => -6..9_i64, 1 => Just(i64::MIN), 1 => Just(i64::MAX), 1 => Just(1 << 53)];
    let if_match = || option::weighted(0.1, (0..30_u64, 0..3_u32).prop_map(|(revision, n)| Version { revision, n }));
    let line = (number(), amount()).prop_map(|(item_number, quantity)| Line { item_number, quantity });
    let new_item = (number(), text(), text(), 0..9_u64, 0..30_u64)
        .prop_map(|(item_number, title, topic, cost, quantity)| NewItem { item_number, title, topic, cost, quantity });
    let row = (0..9_u64, text(), text(), amount(), amount())
        .prop_map(|(item_number, title, topic, cost, quantity)| NewItem { item_number, title, topic, cost, quantity });
    let existing = prop::sample::select(vec![Existing::Refuse, Existing::Keep, Existing::Update]);
    prop_oneof![
        3 => (option::of(0..7_u64), text(), text(), amount(), amount()).prop_map(
            |(item_number, title, topic, cost, quantity)| Action::AddItem { item_number, title, topic, cost, quantity }
        ),
        4 => (number(), option::of(text()), option::of(text()), option::of(amount()), option::of(delta), if_match())
            .prop_map(|(item_number, title, topic, cost, add_quantity, if_match)| Action::ChangeItem {
                item_number, title, topic, cost, add_quantity, if_match
            }),
        1 => (number(), if_match()).prop_map(|(item_number, if_match)| Action::WithdrawItem { item_number, if_match }),
        8 => vec(line, 0..4).prop_map(|lines| Action::PlaceOrder { lines }),
        1 => vec(new_item, 0..5).prop_map(|mut items| {
            items.sort_by_key(|item| item.item_number);
            items.dedup_by_key(|item| item.item_number);
            Action::LoadItems { items }
        }),
        3 => (vec(row, 0..5), existing).prop_map(|(items, existing)| Action::ImportItems { items, existing }),
    ]
}

fn specs() -> impl Strategy<Value = Spec> {
    let origin = || prop_oneof![Just(KeyOrigin::Made), Just(KeyOrigin::Client)];
    prop_oneof![
        6 => (origin(), prop_oneof![8 => 1..4_u64, 1 => 0..15_u64], actions())
            .prop_map(|(origin, age, action)| Spec::New { origin, age, action }),
        3 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(which, anew)| Spec::Repeat { which, anew }),
        1 => (any::<prop::sample::Index>(), any::<bool>(), actions())
            .prop_map(|(which, anew, action)| Spec::Reuse { which, anew, action }),
    ]
}

/// A log: the commands of each entry, from index 1.
fn logs() -> impl Strategy<Value = Vec<Vec<Command>>> {
    let steps =
        vec(prop_oneof![8 => vec(specs(), 1..6).prop_map(Step::Entry), 1 => (1..12_u64).prop_map(Step::Idle)], 1..40);
    steps.prop_map(|steps| {
        let mut log: Vec<Vec<Command>> = Vec::new();
        let mut sent: Vec<Command> = Vec::new();
        for step in steps {
            match step {
                Step::Idle(entries) => log.extend((0..entries).map(|_| Vec::new())),
                Step::Entry(specs) => {
                    let index = log.len() as Revision + 1;
                    log.push(specs.into_iter().map(|spec| resolve(spec, index, &mut sent)).collect());
                }
            }
        }
        log
    })
}

fn resolve(spec: Spec, index: Revision, sent: &mut Vec<Command>) -> Command {
    let fresh = |sent: &mut Vec<Command>, origin, age, action| {
        let id = CommandId(sent.len() as u128 + 1);
        let command = Command { id, origin, born: index.saturating_sub(age), action };
        sent.push(command.clone());
        command
    };
    match spec {
        Spec::New { origin, age, action } => fresh(sent, origin, age, action),
        Spec::Repeat { .. } | Spec::Reuse { .. } if sent.is_empty() => {
            fresh(sent, KeyOrigin::Made, 1, Action::PlaceOrder { lines: vec![] })
        }
        Spec::Repeat { which, anew } => again(which.get(sent), anew, index),
        Spec::Reuse { which, anew, action } => Command { action, ..again(which.get(sent), anew, index) },
    }
}

/// The same command once more. Anew, it is a client that sends its key again, through whichever edge.
fn again(first: &Command, anew: bool, index: Revision) -> Command {
    match anew {
        true => Command { origin: KeyOrigin::Client, born: index - 1, ..first.clone() },
        false => first.clone(),
    }
}

/// Stock by item, from nothing but first answers and orders.
fn booked(effects: &BTreeMap<Version, (Command, Outcome)>, store: &Store) -> BTreeMap<u64, i128> {
    let mut stock = BTreeMap::new();
    for (command, outcome) in effects.values() {
        match (&command.action, outcome) {
            (_, Outcome::Added(item)) => *stock.entry(item.item_number).or_default() += i128::from(item.quantity),
            (Action::ChangeItem { add_quantity: Some(delta), .. }, Outcome::Changed(item)) => {
                *stock.entry(item.item_number).or_default() += i128::from(*delta);
            }
            (Action::LoadItems { items }, Outcome::Loaded(1..)) => {
                stock.extend(items.iter().map(|item| (item.item_number, i128::from(item.quantity))));
            }
            (Action::ImportItems { items, .. }, Outcome::Imported { .. }) => {
                // An import gives stock to the items that there were not; a number is given once.
                for item in items {
                    stock.entry(item.item_number).or_insert(i128::from(item.quantity));
                }
            }
            _ => {}
        }
    }
    for line in store.orders().iter().flat_map(|order| &order.lines) {
        *stock.entry(line.item_number).or_default() -= i128::from(line.quantity);
    }
    stock
}

/// What a watcher knows: items by number.
fn watch(mirror: &mut BTreeMap<u64, Item>, changes: &[Change]) {
    assert!(changes.is_sorted_by_key(Change::item_number));
    for change in changes {
        match change {
            Change::Put { item, old_topic } => {
                let before = mirror.insert(item.item_number, item.clone());
                let moved = before.map(|before| before.topic).filter(|topic| *topic != item.topic);
                assert_eq!(&moved, old_topic);
            }
            Change::Withdrawn { item_number, topic, .. } => {
                if let Some(before) = mirror.remove(item_number) {
                    assert_eq!(before.topic, *topic);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_catalogue_does_what_the_model_does(log in logs()) {
        let mut replica = Replica::new(LIMITS);
        let mut model = Model::new(LIMITS);
        let mut mirror = BTreeMap::new();
        for commands in &log {
            let index = replica.next();
            let applied = replica.entry(commands);
            prop_assert_eq!(applied.answers, model.apply(index, 1_000 + index, commands), "entry {}", index);
            watch(&mut mirror, applied.event.as_ref().map_or(&[], |event| &event.changes));
            let (items, more) = replica.catalog.items().items(None, None, None, 99);
            prop_assert!(!more && items.len() as u64 == replica.catalog.items().len());
            prop_assert_eq!(&items, &model.items.values().flatten().cloned().collect::<Vec<_>>());
            prop_assert_eq!(&items, &mirror.values().cloned().collect::<Vec<_>>());
            for topic in ["a", "b", "c d"] {
                let of_topic: Vec<_> = items.iter().filter(|item| &*item.topic == topic).cloned().collect();
                prop_assert_eq!(replica.catalog.items().items(Some(topic), None, None, 99).0, of_topic);
            }
            prop_assert_eq!(replica.store.orders(), model.orders.clone());
        }
    }

    /// Promises 3 and 4, without the model.
    #[test]
    fn stock_is_conserved_and_nothing_takes_effect_twice(log in logs()) {
        let mut replica = Replica::new(LIMITS);
        let mut effects = BTreeMap::new();
        let mut made = BTreeMap::new();
        // A key that a client sends anew after the window makes a new command.
        let clients: BTreeSet<_> =
            log.iter().flatten().filter(|command| command.origin == KeyOrigin::Client).map(|command| command.id).collect();
        for commands in &log {
            for (command, answer) in commands.iter().zip(replica.entry(commands).answers) {
                if !answer.outcome.took_effect() {
                    continue;
                }
                if !clients.contains(&command.id) {
                    let first = *made.entry(command.id).or_insert(answer.version);
                    prop_assert_eq!(first, answer.version, "{:?} took effect twice", command.id);
                }
                effects.insert(answer.version, (command.clone(), answer.outcome));
            }
            let booked = booked(&effects, &replica.store);
            for item in replica.catalog.items().items(None, None, None, 99).0 {
                prop_assert_eq!(booked[&item.item_number], i128::from(item.quantity));
                prop_assert!(item.quantity <= MAX_NUMBER && item.cost <= MAX_NUMBER);
            }
            let mut ids: Vec<_> = replica.store.orders().iter().map(|order| order.id).collect();
            ids.sort();
            prop_assert!(ids.is_sorted_by(|a, b| a < b), "one order an id");
        }
    }

    /// A replica that restarts, and one that installs a snapshot, go on like one that does not.
    #[test]
    fn a_restart_changes_nothing(log in logs(), at in any::<prop::sample::Index>(), verified: bool) {
        let (mut whole, mut restarted) = (Replica::new(LIMITS), Replica::new(LIMITS));
        let at = at.index(log.len());
        for (place, commands) in log.iter().enumerate() {
            if place == at {
                let store = &restarted.store;
                restarted.catalog = if verified { store.restore_verified(LIMITS) } else { store.restore(LIMITS) }.unwrap();
            }
            let (a, b) = (whole.entry(commands), restarted.entry(commands));
            prop_assert_eq!(a.answers, b.answers);
            prop_assert_eq!(a.event, b.event);
            prop_assert_eq!(a.rows, b.rows);
            prop_assert_eq!(whole.catalog.state_hash(), restarted.catalog.state_hash());
            prop_assert_eq!(whole.catalog.meta(), restarted.catalog.meta());
        }
        prop_assert_eq!(whole.store, restarted.store);
    }
}
