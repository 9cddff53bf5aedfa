//! The index against a look at every title.

use std::collections::BTreeMap;

use catalog_client::{Item, ItemNumber, items::words};
use proptest::{collection::vec, option, prelude::*, sample::Index as Pick};

use super::{
    super::{Row, View, view::NewRow},
    Gathered, Sets,
};

type Model = BTreeMap<ItemNumber, Item>;

#[derive(Debug, Clone)]
enum Step {
    /// Items above all others, as far ahead as each says.
    Load(Vec<(u8, String, String)>),
    Add(ItemNumber, String, String),
    Change(Pick, Option<String>, Option<String>),
    Withdraw(Pick),
    /// A clone is kept, and must not change any more.
    Freeze,
}

#[derive(Debug, Clone)]
struct Query {
    topic: Option<String>,
    q: String,
    after: ItemNumber,
    limit: usize,
}

/// Words with much in common, so that beginnings are crowded, of letters that change their length in lower case.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[abAB]{1,4}",
        1 => "[1-3]{1,3}",
        1 => "[σΣςİıßéⒶ本]{1,3}",
    ]
}

fn text() -> impl Strategy<Value = String> {
    let between = prop_oneof![4 => Just(" "), 1 => Just("-"), 1 => Just("… "), 1 => Just("\u{307}")];
    vec((word(), between), 0..5).prop_map(|words| words.into_iter().map(|(word, end)| word + end).collect())
}

fn topic() -> impl Strategy<Value = String> {
    "[xy]{1,2}"
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let number = prop_oneof![4 => 1..400_u64, 1 => (1..60_u64).prop_map(|n| n * n * n * n * n), 1 => Just(1 << 53)];
    let load = vec((1..90_u8, text(), topic()), 1..60);
    let step = prop_oneof![
        1 => load.prop_map(Step::Load),
        6 => (number, text(), topic()).prop_map(|(number, title, topic)| Step::Add(number, title, topic)),
        6 => (any::<Pick>(), option::of(text()), option::of(topic())).prop_map(|(n, title, topic)| Step::Change(n, title, topic)),
        4 => any::<Pick>().prop_map(Step::Withdraw),
        1 => Just(Step::Freeze),
    ];
    vec(step, 1..60)
}

fn queries() -> impl Strategy<Value = Vec<Query>> {
    let after = prop_oneof![Just(0), 0..400_u64, any::<u64>()];
    let limit = prop_oneof![0..4_usize, Just(1000)];
    let query = (option::of(topic()), text(), after, limit);
    vec(query.prop_map(|(topic, q, after, limit)| Query { topic, q, after, limit }), 1..20)
}

fn matches(item: &Item, query: &Query) -> bool {
    query.topic.as_ref().is_none_or(|topic| **topic == *item.topic)
        && words(&query.q).all(|begins| words(&item.title).any(|word| word.starts_with(&*begins)))
}

fn scan(model: &Model, query: &Query) -> (Vec<Item>, bool) {
    let above = model.iter().filter(|(number, _)| **number > query.after).map(|(_, item)| item);
    let mut found = above.filter(|item| matches(item, query));
    let first = found.by_ref().take(query.limit).cloned().collect();
    (first, found.next().is_some())
}

fn item(item_number: ItemNumber, title: &str, topic: &str) -> Item {
    let version = catalog_client::Version { revision: 1, n: 0 };
    Item { item_number, title: title.into(), topic: topic.into(), cost: 1, quantity: 1, version }
}

/// One step, of both. An index is never gone back in, so a number that was there once is not given again.
fn take(step: &Step, view: &mut View, model: &mut Model) {
    let picked = |pick: &Pick, model: &Model| {
        (!model.is_empty()).then(|| model.values().nth(pick.index(model.len())).cloned()).flatten()
    };
    match step {
        Step::Freeze => {}
        Step::Load(items) => {
            let mut number = view.greatest_number().unwrap_or(0);
            let items = items.iter().map(|(ahead, title, topic)| {
                number += u64::from(*ahead);
                item(number, title, topic)
            });
            // Of equal numbers the last one counts.
            let items: Model = items.map(|item| (item.item_number, item)).collect();
            insert(view, &items);
            model.extend(items);
        }
        Step::Add(number, title, topic) => {
            if !view.was_given(*number) {
                let item = item(*number, title, topic);
                insert(view, &Model::from([(*number, item.clone())]));
                model.insert(*number, item);
            }
        }
        Step::Change(pick, title, topic) => {
            let Some(mut item) = picked(pick, model) else { return };
            item.title = title.as_deref().map_or(item.title.clone(), Into::into);
            item.topic = topic.as_deref().map_or(item.topic.clone(), Into::into);
            item.cost += 1;
            view.replace(item.clone());
            model.insert(item.item_number, item);
        }
        Step::Withdraw(pick) => {
            let Some(item) = picked(pick, model) else { return };
            view.withdraw(item.item_number);
            model.remove(&item.item_number);
        }
    }
}

/// As a command does: items whose numbers were never given.
fn insert(view: &mut View, items: &Model) {
    let row = |item: &Item| NewRow { item_number: item.item_number, row: Row::Live(item.clone()), hash: 0 };
    let mut gathered = Gathered::default();
    view.insert(items.values().map(row).collect(), &mut gathered);
    view.index(gathered);
}

/// As a start does: all rows in order, indexed once.
fn restored(model: &Model) -> View {
    let mut view = View::default();
    insert(&mut view, model);
    view
}

/// Each set by its text, as numbers.
fn sets(sets: &Sets) -> BTreeMap<String, Vec<ItemNumber>> {
    let numbers = |set: &super::Postings| {
        let mut pages = Vec::new();
        set.cursor().append_to(&mut pages);
        let numbers: Vec<_> = pages.into_iter().flat_map(super::postings::numbers).collect();
        assert!(set.len() == numbers.len() && !numbers.is_empty() && numbers.is_sorted_by(|a, b| a < b));
        numbers
    };
    sets.iter().map(|(text, set)| (text.to_string(), numbers(set))).collect()
}

/// Seen once, found by the property below: the last item of two crowds, one of which begins the other, was renamed. The
/// shorter one went, and the longer one kept the item.
#[test]
fn the_last_item_of_crowds_within_one_another_leaves_them_all() {
    let (mut view, mut model) = (View::default(), Model::new());
    let add = |number, title: &str| Step::Add(number, title.to_owned(), "x".to_owned());
    for step in [add(1, "baa bab"), add(2, "baaa"), add(3, "b ba")] {
        take(&step, &mut view, &mut model);
    }
    assert!(["b", "ba"].iter().all(|beginning| view.index.crowds.contains_key(*beginning)));
    view.withdraw(1);
    view.withdraw(2);
    view.replace(item(3, "another", "x"));
    assert!(view.index.crowds.is_empty());
    assert_eq!(view.items(None, Some("ba"), None, 10), (Vec::new(), false));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_found_is_what_a_look_at_every_title_finds(steps in steps(), queries in queries()) {
        let (mut view, mut model) = (View::default(), Model::new());
        let mut frozen = Vec::new();
        for step in &steps {
            take(step, &mut view, &mut model);
            if let Step::Freeze = step {
                frozen.push((view.clone(), model.clone()));
            }
        }
        let again = restored(&model);
        prop_assert_eq!(sets(&view.index.words), sets(&again.index.words), "a restart finds what was found before");
        prop_assert_eq!(sets(&view.index.topics), sets(&again.index.topics));
        let crowds = sets(&view.index.crowds);
        for (text, crowd) in sets(&again.index.crowds) {
            prop_assert_eq!(&crowds[&text], &crowd);
        }
        for (text, crowd) in crowds {
            let all: Vec<_> = model.values().filter(|item| words(&item.title).any(|word| word.starts_with(&text))).collect();
            prop_assert_eq!(crowd, all.iter().map(|item| item.item_number).collect::<Vec<_>>(), "{}", text);
        }
        frozen.extend([(view, model.clone()), (again, model)]);
        for (view, model) in &frozen {
            for query in &queries {
                let found = view.items(query.topic.as_deref(), Some(&query.q), Some(query.after), query.limit);
                prop_assert_eq!(found, scan(model, query), "{:?}", query);
            }
        }
    }

    /// Page by page, while the catalogue changes: what matches all the time comes once, in order, and nothing comes twice.
    #[test]
    fn a_cursor_survives_changes(before in steps(), between in vec(steps(), 0..6), query in queries(), limit in 1..5_usize) {
        let query = &query[0];
        let (mut view, mut model) = (View::default(), Model::new());
        before.iter().for_each(|step| take(step, &mut view, &mut model));
        let mut always: Vec<_> = scan(&model, &Query { after: 0, limit: usize::MAX, ..query.clone() }).0.into_iter().map(|item| item.item_number).collect();
        let mut between = between.into_iter();
        let (mut seen, mut after) = (Vec::new(), 0);
        loop {
            let (page, more) = view.items(query.topic.as_deref(), Some(&query.q), Some(after), limit);
            seen.extend(page.iter().map(|item| item.item_number));
            if !more {
                break;
            }
            after = page.last().expect("a page with more behind it has items").item_number;
            for step in between.next().into_iter().flatten() {
                take(&step, &mut view, &mut model);
                always.retain(|number| model.get(number).is_some_and(|item| matches(item, query)));
            }
        }
        prop_assert!(seen.is_sorted_by(|a, b| a < b), "{:?}", seen);
        prop_assert!(always.iter().all(|number| seen.contains(number)), "{:?} of {:?}", seen, always);
    }
}
