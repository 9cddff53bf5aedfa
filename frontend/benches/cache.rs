//! The front end's cache alone: what a hit, a fill and a change cost. `make microbench`.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::sync::Arc;

use catalog_client::{Change, Event, Item, Version};
use criterion::{Criterion, criterion_group, criterion_main};
use frontend::cache::{Bounds, Cache, Key};

/// Items that are cached.
const ITEMS: u64 = 10_000;
const WEIGHT: usize = 600;

type Pages = Cache<Arc<str>>;

fn full(entries: usize) -> Pages {
    let bounds = Bounds { entries, weight: usize::MAX, tombstones: 16_384 };
    let mut cache = Cache::new(bounds, 1);
    let page: Arc<str> = "a page".into();
    for n in 1..=ITEMS {
        cache.fill(Key::Lookup(n), 1, WEIGHT, page.clone());
    }
    cache
}

/// Numbers of items in an order that no cache of the processor foresees.
fn items() -> impl FnMut() -> u64 {
    let mut state = 1_u64;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        1 + (state >> 33) % ITEMS
    }
}

fn bought(item_number: u64, revision: u64) -> [Event; 1] {
    let (title, topic) = ("A book of the shop".into(), "a topic".into());
    let version = Version { revision, n: 0 };
    let item = Item { item_number, title, topic, cost: 5, quantity: 9, version };
    [Event { revision, changes: vec![Change::Put { item, old_topic: None }] }]
}

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("cache");
    group.bench_function("hit/hot", |b| {
        let mut cache = full(ITEMS as usize);
        b.iter(|| cache.get(&Key::Lookup(7)).expect("it is cached"));
    });
    group.bench_function("hit/uniform", |b| {
        let (mut cache, mut next) = (full(ITEMS as usize), items());
        b.iter(|| cache.get(&Key::Lookup(next())).expect("it is cached"));
    });
    group.bench_function("fill in place of another", |b| {
        let (mut cache, mut next) = (full(ITEMS as usize / 2), items());
        let page: Arc<str> = "a page".into();
        b.iter(|| cache.fill(Key::Lookup(next()), 1, WEIGHT, page.clone()));
    });
    group.bench_function("change and fill", |b| {
        let (mut cache, mut next) = (full(ITEMS as usize), items());
        let (page, mut revision): (Arc<str>, u64) = ("a page".into(), 1);
        b.iter(|| {
            let item = next();
            revision += 1;
            cache.apply(&bought(item, revision), revision);
            assert!(cache.fill(Key::Lookup(item), revision, WEIGHT, page.clone()));
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
