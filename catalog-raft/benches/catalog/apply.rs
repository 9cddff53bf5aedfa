//! `Catalog::apply`: entries of buys, of one hot item and spread over many.

use std::{io, sync::Arc};

use catalog_client::{Action, Command, CommandId, KeyOrigin, NewItem, Order, OrderId};
use catalog_raft::catalog::{Catalog, Ledger};
use criterion::{BatchSize, Criterion, Throughput};

use crate::buys;

/// Items in the catalogue, and of a large one: out of the processor's cache.
const ITEMS: u64 = 10_000;
const MANY: u64 = 1_000_000;
/// Units of each: more than are ever bought here.
const STOCK: u64 = 1 << 50;

/// Ids made here are within the window, so the ledger is never asked.
pub struct Nothing;

impl Ledger for Nothing {
    fn order(&self, _: OrderId) -> io::Result<Option<Arc<Order>>> {
        Ok(None)
    }
}

fn stocked(items: u64) -> Catalog {
    let item = |n: u64| NewItem {
        item_number: n,
        title: format!("Book {n} of a shop").into(),
        topic: format!("topic_{}", n % 100).into(),
        cost: 5,
        quantity: STOCK,
    };
    let action = Action::LoadItems { items: (1..=items).map(item).collect() };
    let load = Command { id: CommandId::new(), origin: KeyOrigin::Made, born: 0, action };
    let mut catalog = Catalog::new();
    catalog.apply(1, 1, &[load], &Nothing).expect("nothing is read from a disk");
    catalog
}

pub fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("apply");
    for (kind, items) in [("hot", 1), ("uniform", ITEMS), ("uniform of many", MANY)] {
        for count in [1, 64, 256] {
            let mut catalog = stocked(items.max(ITEMS));
            group.throughput(Throughput::Elements(count as u64));
            group.bench_function(format!("{kind}/{count} buys"), |b| {
                b.iter_batched(
                    || buys(count, items, 1),
                    |mut commands| {
                        let index = catalog.applied() + 1;
                        // As a proposer that has just read the leader's revision.
                        commands.iter_mut().for_each(|command| command.born = index - 1);
                        let applied = catalog.apply(index, index, &commands, &Nothing);
                        applied.expect("nothing is read from a disk")
                    },
                    BatchSize::SmallInput,
                );
            });
        }
    }
    group.finish();
}
