//! What one replica spends on an entry, part by part: `make microbench`. No network and no Raft; the disk only where a
//! name says so.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

mod apply;
mod codec;
mod log_store;
mod search;

use catalog_client::{Action, Command, CommandId, KeyOrigin, Line, Revision};
use criterion::{criterion_group, criterion_main};

/// Buys of one unit each, of any of `items` items, under new ids.
fn buys(count: usize, items: u64, born: Revision) -> Vec<Command> {
    let buy = |_| {
        let id = CommandId::new();
        // The low half of an id is chance.
        let lines = vec![Line { item_number: 1 + id.0 as u64 % items, quantity: 1 }];
        Command { id, origin: KeyOrigin::Made, born, action: Action::PlaceOrder { lines } }
    };
    (0..count).map(buy).collect()
}

criterion_group!(benches, apply::bench, codec::bench, log_store::bench, search::bench);
criterion_main!(benches);
