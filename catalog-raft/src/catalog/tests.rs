//! Tests of the catalogue, and what they share: a store that rows are written to, and a replica made of both.

mod dedup;
mod golden;
mod import;
mod model;
mod random;
mod restore;
mod rules;
mod writeback;

use std::{collections::BTreeMap, io, sync::Arc};

use catalog_client::{
    Action, Answer, Command, CommandId, ItemNumber, KeyOrigin, Line, NewItem, Order, OrderId, Outcome, Revision,
    Version,
};

use super::{
    Applied, Catalog, Ledger, Limits, Restore, Row,
    rows::{self, Hashes, Meta, Table},
};

/// What a disk would hold.
#[derive(Debug, Clone, Default, PartialEq)]
struct Store {
    tables: BTreeMap<Table, BTreeMap<Vec<u8>, Vec<u8>>>,
    applied: Revision,
    meta: Meta,
}

impl Store {
    fn rows(&self, table: Table) -> impl Iterator<Item = (&Vec<u8>, &Vec<u8>)> {
        self.tables.get(&table).into_iter().flatten()
    }

    fn get(&self, table: Table, key: &[u8]) -> Option<&[u8]> {
        self.tables.get(&table)?.get(key).map(Vec::as_slice)
    }

    fn write(&mut self, catalog: &Catalog, applied: &Applied) {
        for row in &applied.rows {
            let table = self.tables.entry(row.table()).or_default();
            match row.value() {
                Some(value) => table.insert(row.key().to_vec(), value.to_vec()),
                None => Some(table.remove(row.key()).expect("only rows that are there are deleted")),
            };
        }
        self.applied = catalog.applied();
        self.meta = rows::read_meta(&rows::meta_value(&catalog.meta())).unwrap();
    }

    fn orders(&self) -> Vec<Order> {
        self.rows(Table::Orders).flat_map(|(_, value)| rows::read_orders(value).unwrap()).collect()
    }

    /// Of what the rows make.
    fn hashes(&self) -> Hashes {
        let mut hashes = Hashes::default();
        for (table, rows) in &self.tables {
            for (key, value) in rows {
                hashes.add(*table, key, value);
            }
        }
        Hashes { items: hash_of_items(self.rows(Table::Items), &self.orders(), self.meta.horizon), ..hashes }
    }

    fn restore(&self, limits: Limits) -> io::Result<Catalog> {
        let mut restore = self.fed(limits)?;
        let horizon = rows::version_key(Version { revision: self.meta.horizon, n: 0 });
        for (key, value) in self.rows(Table::Orders).filter(|(key, _)| key[..] >= horizon[..]) {
            restore.orders(key, value)?;
        }
        restore.trusting_orders(self.applied, &self.meta)
    }

    fn restore_verified(&self, limits: Limits) -> io::Result<Catalog> {
        let mut restore = self.fed(limits)?;
        for (key, value) in self.rows(Table::Orders) {
            restore.orders(key, value)?;
        }
        restore.verified(self.applied, &self.meta)
    }

    fn fed(&self, limits: Limits) -> io::Result<Restore> {
        let mut restore = Restore::with_limits(limits, self.meta.horizon);
        for (key, value) in self.rows(Table::Items) {
            restore.item(key, value)?;
        }
        for (key, value) in self.rows(Table::Dedup) {
            restore.dedup(key, value)?;
        }
        Ok(restore)
    }
}

/// The hash of the items of these rows, with what the orders from the horizon on took and the rows lack: the simple way.
pub(super) fn hash_of_items<'a>(
    rows: impl Iterator<Item = (&'a Vec<u8>, &'a Vec<u8>)>,
    orders: &[Order],
    horizon: Revision,
) -> u128 {
    let hash = |(key, value): (&Vec<u8>, &Vec<u8>)| {
        let mut row = rows::read_item(value).unwrap();
        let mut sold = false;
        for order in orders.iter().filter(|order| order.version.revision >= horizon) {
            for line in order.lines.iter().filter(|line| rows::item_key(line.item_number)[..] == key[..]) {
                if let Row::Live(item) = &mut row
                    && item.version < order.version
                {
                    (item.quantity, item.version) = (item.quantity.wrapping_sub(line.quantity), order.version);
                    sold = true;
                }
            }
        }
        let number = rows::read_item_key(key).unwrap();
        if sold { rows::put_item(number, &row).hash() } else { rows::row_hash(Table::Items, key, value) }
    };
    rows.map(hash).fold(0, u128::wrapping_add)
}

impl Ledger for Store {
    fn order(&self, id: OrderId) -> io::Result<Option<Arc<Order>>> {
        let Some(version) = self.get(Table::OrderIds, &rows::order_id_key(id)) else {
            return Ok(None);
        };
        let version = rows::read_order_id(version)?;
        let order = self.orders().into_iter().find(|order| order.version == version);
        Ok(Some(Arc::new(order.expect("each order id has its order"))))
    }
}

/// A catalogue and its store.
struct Replica {
    limits: Limits,
    catalog: Catalog,
    store: Store,
}

impl Replica {
    fn new(limits: Limits) -> Self {
        Self { limits, catalog: Catalog::with_limits(limits), store: Store::default() }
    }

    /// With items 1, 2, …, each of topic `t` and cost 10, and these quantities.
    fn stocked(quantities: &[u64]) -> Self {
        let mut replica = Self::new(Limits { revisions: 10, records: 1000 });
        let items = (1..)
            .zip(quantities)
            .map(|(item_number, &quantity)| NewItem {
                item_number,
                title: format!("Book {item_number}").into(),
                topic: "t".into(),
                cost: 10,
                quantity,
            })
            .collect();
        let loaded = replica.one(command(u128::MAX, Action::LoadItems { items }));
        assert_eq!(loaded.outcome, Outcome::Loaded(quantities.len() as u64));
        replica
    }

    fn next(&self) -> Revision {
        self.catalog.applied() + 1
    }

    /// Applies one entry and writes what it says.
    fn entry(&mut self, commands: &[Command]) -> Applied {
        let index = self.next();
        let applied = self.catalog.apply(index, 1_000 + index, commands, &self.store).unwrap();
        self.store.write(&self.catalog, &applied);
        assert_eq!(self.store.hashes(), self.catalog.meta().hashes, "incremental hashes after entry {index}");
        assert_eq!(applied.answers.len(), commands.len());
        applied
    }

    /// Applies one command in an entry of its own.
    fn one(&mut self, command: Command) -> Answer {
        self.entry(&[command]).answers.remove(0)
    }

    /// Applies an action under a new id.
    fn act(&mut self, action: Action) -> Outcome {
        let id = u128::from(self.next()) << 64;
        let born = self.catalog.applied();
        self.one(Command { born, ..command(id, action) }).outcome
    }

    fn idle(&mut self, entries: u64) {
        for _ in 0..entries {
            self.entry(&[]);
        }
    }

    fn quantity(&self, item_number: ItemNumber) -> u64 {
        self.catalog.items().item(item_number).unwrap().quantity
    }
}

/// A command with an id made at revision 0.
fn command(id: u128, action: Action) -> Command {
    Command { id: CommandId(id), origin: KeyOrigin::Made, born: 0, action }
}

fn order(lines: &[(ItemNumber, u64)]) -> Action {
    let lines = lines.iter().map(|&(item_number, quantity)| Line { item_number, quantity }).collect();
    Action::PlaceOrder { lines }
}

fn change(item_number: ItemNumber, add_quantity: i64) -> Action {
    let add_quantity = Some(add_quantity);
    Action::ChangeItem { item_number, title: None, topic: None, cost: None, add_quantity, if_match: None }
}

fn withdraw(item_number: ItemNumber) -> Action {
    Action::WithdrawItem { item_number, if_match: None }
}

fn add(item_number: Option<ItemNumber>, topic: &str) -> Action {
    Action::AddItem { item_number, title: "A Title".into(), topic: topic.into(), cost: 5, quantity: 5 }
}
