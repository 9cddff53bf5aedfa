//! Searches of a large catalogue, with the index and by a look at each title, as they were before there was one.

use catalog_client::{Action, Command, CommandId, Item, KeyOrigin, NewItem, items::words};
use catalog_raft::catalog::Catalog;
use criterion::Criterion;
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::apply::Nothing;

/// Items in the catalogue.
const ITEMS: u64 = 200_000;
/// How many different words titles are made of; the n-th is n times as rare as the first.
const WORDS: u64 = 50_000;
/// What is asked for.
const PAGE: usize = 100;

/// The n-th word: a few syllables.
fn word(mut n: u64) -> String {
    const SYLLABLES: [&str; 16] =
        ["ka", "lo", "mi", "ten", "gra", "du", "pro", "con", "ser", "ve", "ra", "ti", "on", "er", "in", "de"];
    let mut word = String::new();
    loop {
        word += SYLLABLES[(n % 16) as usize];
        n /= 16;
        if n == 0 {
            return word;
        }
    }
}

fn stocked() -> Catalog {
    let mut chance = StdRng::seed_from_u64(1);
    let mut title = |n: u64| {
        let words = (0..6).map(|_| word((WORDS as f64).powf(chance.random::<f64>()) as u64 - 1));
        words.chain([n.to_string()]).collect::<Vec<_>>().join(" ")
    };
    let item = |n: u64| NewItem {
        item_number: n,
        title: title(n).into(),
        topic: format!("topic_{}", n % 100).into(),
        cost: 5,
        quantity: 5,
    };
    let action = Action::LoadItems { items: (1..=ITEMS).map(item).collect() };
    let load = Command { id: CommandId::new(), origin: KeyOrigin::Made, born: 0, action };
    let mut catalog = Catalog::new();
    catalog.apply(1, 1, &[load], &Nothing).expect("nothing is read from a disk");
    catalog
}

fn scan<'a>(items: &'a [Item], topic: Option<&str>, q: &str) -> Vec<&'a Item> {
    let begins: Vec<_> = words(q).collect();
    let matches = |item: &&Item| {
        topic.is_none_or(|topic| topic == &*item.topic)
            && begins.iter().all(|begins| words(&item.title).any(|word| word.starts_with(&**begins)))
    };
    items.iter().filter(matches).take(PAGE).collect()
}

pub fn bench(c: &mut Criterion) {
    let view = stocked().view();
    let (all, _) = view.items(None, None, None, usize::MAX);
    let mut group = c.benchmark_group("search");
    for (kind, topic, q) in [
        ("one letter", None, "k"),
        ("a frequent and a rare word", None, "ka grapromi"),
        ("three beginnings", None, "mi pro con"),
        ("a number", None, "19999"),
        ("words and a topic", Some("topic_7"), "pro ten"),
        ("what is nowhere", None, "zz"),
    ] {
        let found = view.items(topic, Some(q), None, PAGE).0;
        assert!(found.iter().eq(scan(&all, topic, q)), "{q}");
        group.bench_function(format!("{kind}/index"), |b| b.iter(|| view.items(topic, Some(q), None, PAGE)));
        group.bench_function(format!("{kind}/scan"), |b| b.iter(|| scan(&all, topic, q).len()));
    }
    group.finish();
}
