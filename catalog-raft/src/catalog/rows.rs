//! The rows that the catalogue is stored as: tables, keys, values, hashes.
//!
//! Owns every encoding of state on disk and in snapshots. Must not know who writes them. Keys are big-endian, so
//! that their order is the order of numbers. A value is a format byte and bincode (standard configuration). Stored
//! types are **append-only**; [`FORMAT`] is raised when the meaning of bytes changes. Bytes that do not decode are an
//! error, never an absence: the caller ends the process.

use std::{io, sync::Arc};

use catalog_client::{CommandId, ItemNumber, Order, OrderId, Outcome, Revision, Version, frame};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::Row;

/// The first byte of every value.
pub const FORMAT: u8 = 2;

/// A row of orders is full once it has so many lines: what is looked up together stays small.
const ROW_LINES: usize = 256;

/// The tables of the state. The discriminants are hashed with each row, so they never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Table {
    /// Item number → [`Row`].
    Items = 1,
    /// Version of the first → [`Order`]s of one entry, in order. Most entries have one row, whatever they place: a
    /// database pays by the row.
    Orders = 2,
    /// Revision → the [`DedupRecord`]s of one entry, each with its `n`. Placed orders have none: the ledger remembers.
    Dedup = 3,
    /// Order id → version. An index over [`Table::Orders`], made from it, and so no part of the state hash.
    OrderIds = 4,
}

impl Table {
    const fn key_length(self) -> usize {
        match self {
            Self::Items | Self::Dedup => 8,
            Self::Orders => 12,
            Self::OrderIds => 16,
        }
    }
}

/// One row to put or to delete.
#[derive(Clone, PartialEq, Eq)]
pub struct RowWrite {
    table: Table,
    // Table, key and value in one piece: what is hashed, without another copy.
    bytes: Vec<u8>,
    delete: bool,
}

impl RowWrite {
    /// Where it goes.
    pub fn table(&self) -> Table {
        self.table
    }

    /// Its key.
    pub fn key(&self) -> &[u8] {
        &self.bytes[1..=self.table.key_length()]
    }

    /// The value to put; `None` deletes the row.
    pub fn value(&self) -> Option<&[u8]> {
        (!self.delete).then(|| &self.bytes[1 + self.table.key_length()..])
    }

    /// How many bytes table, key and value have.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The hash of the row that is put.
    pub(super) fn hash(&self) -> u128 {
        debug_assert!(!self.delete, "what is deleted was hashed when it was put");
        xxh3_128(&self.bytes)
    }

    /// `room`: what most such rows need, in bytes.
    fn put<T: Serialize>(table: Table, key: &[u8], value: &T, room: usize) -> Self {
        debug_assert_eq!(key.len(), table.key_length());
        let mut bytes = Vec::with_capacity(room);
        bytes.push(table as u8);
        bytes.extend_from_slice(key);
        encode_onto(&mut bytes, value);
        Self { table, bytes, delete: false }
    }

    fn delete(table: Table, key: &[u8]) -> Self {
        debug_assert_eq!(key.len(), table.key_length());
        Self { table, bytes: [&[table as u8], key].concat(), delete: true }
    }
}

impl std::fmt::Debug for RowWrite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:02x?} = {:02x?}", self.table, self.key(), self.value())
    }
}

/// What is remembered of a command, under the version at which it was executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DedupRecord {
    /// Whose outcome.
    pub id: CommandId,
    /// Of the command's body: the same id with another one is refused.
    pub fingerprint: u64,
    /// What became of it.
    pub outcome: Remembered,
}

/// The outcome of a remembered command. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Remembered {
    /// An order was placed: the ledger has it, so it is not kept twice, and the record is made from it at a start.
    Placed,
    /// Anything else.
    Other(Box<Outcome>),
}

/// What is stored once beside the tables, in the same write as the rows of an entry. Append-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Meta {
    /// Commands executed below this revision are forgotten.
    pub horizon: u64,
    /// Orders in the ledger.
    pub orders: u64,
    /// The hashes of the tables.
    pub hashes: Hashes,
    /// Commands remembered.
    pub remembered: u64,
}

/// A multiset hash of each table: the wrapping sum of its rows' hashes, so that order does not matter and a row
/// can be taken out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hashes {
    /// Of [`Table::Items`].
    pub items: u128,
    /// Of [`Table::Orders`].
    pub orders: u128,
    /// Of [`Table::Dedup`].
    pub dedup: u128,
}

impl Hashes {
    /// The state hash: 32 hexadecimal digits.
    pub fn state_hash(&self) -> String {
        let sum = self.items.wrapping_add(self.orders).wrapping_add(self.dedup);
        format!("{sum:032x}")
    }

    /// The tables' hashes with one more row, as it lies on disk. Rows of [`Table::OrderIds`] do not count.
    pub fn add(&mut self, table: Table, key: &[u8], value: &[u8]) {
        let sum = match table {
            Table::Items => &mut self.items,
            Table::Orders => &mut self.orders,
            Table::Dedup => &mut self.dedup,
            Table::OrderIds => return,
        };
        *sum = sum.wrapping_add(row_hash(table, key, value));
    }
}

/// The hash of one row as it lies on disk.
pub fn row_hash(table: Table, key: &[u8], value: &[u8]) -> u128 {
    let mut bytes = Vec::with_capacity(1 + key.len() + value.len());
    bytes.push(table as u8);
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(value);
    xxh3_128(&bytes)
}

/// The key of an item.
pub fn item_key(item_number: ItemNumber) -> [u8; 8] {
    item_number.to_be_bytes()
}

/// The key of the dedup records of an entry.
pub fn revision_key(revision: Revision) -> [u8; 8] {
    revision.to_be_bytes()
}

/// The key of a row of orders.
pub fn version_key(version: Version) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&version.revision.to_be_bytes());
    key[8..].copy_from_slice(&version.n.to_be_bytes());
    key
}

/// The key of an order's place in the ledger.
pub fn order_id_key(id: OrderId) -> [u8; 16] {
    id.0.to_be_bytes()
}

/// An item's row.
pub fn put_item(item_number: ItemNumber, row: &Row) -> RowWrite {
    RowWrite::put(Table::Items, &item_key(item_number), row, 128)
}

/// The rows of the orders that one entry placed.
pub(super) fn put_orders(orders: &[Arc<Order>]) -> impl Iterator<Item = RowWrite> {
    let mut lines = 0;
    let fits = move |order: &Arc<Order>, _: &Arc<Order>| {
        lines += order.lines.len();
        let fits = lines < ROW_LINES;
        lines = if fits { lines } else { 0 };
        fits
    };
    orders.chunk_by(fits).map(|row| RowWrite::put(Table::Orders, &version_key(row[0].version), &row, row.len() * 96))
}

/// The row of [`Table::OrderIds`] that belongs to an order.
pub fn put_order_id(order: &Order) -> RowWrite {
    RowWrite::put(Table::OrderIds, &order_id_key(order.id), &order.version, 32)
}

pub(super) fn put_dedup(revision: Revision, records: &[(u32, DedupRecord)]) -> RowWrite {
    RowWrite::put(Table::Dedup, &revision_key(revision), &records, records.len() * 64)
}

pub(super) fn delete_dedup(revision: Revision) -> RowWrite {
    RowWrite::delete(Table::Dedup, &revision_key(revision))
}

/// Reads the key of an item.
///
/// # Errors
/// `InvalidData`.
pub fn read_item_key(key: &[u8]) -> io::Result<ItemNumber> {
    Ok(ItemNumber::from_be_bytes(fixed(key)?))
}

/// Reads the key of dedup records.
///
/// # Errors
/// `InvalidData`.
pub fn read_revision_key(key: &[u8]) -> io::Result<Revision> {
    Ok(Revision::from_be_bytes(fixed(key)?))
}

/// Reads the key of a row of orders.
///
/// # Errors
/// `InvalidData`.
pub fn read_version_key(key: &[u8]) -> io::Result<Version> {
    let key: [u8; 12] = fixed(key)?;
    Ok(Version { revision: u64::from_be_bytes(fixed(&key[..8])?), n: u32::from_be_bytes(fixed(&key[8..])?) })
}

/// Reads an item's row.
///
/// # Errors
/// `InvalidData`.
pub fn read_item(value: &[u8]) -> io::Result<Row> {
    read(value)
}

/// Reads a row of orders.
///
/// # Errors
/// `InvalidData`, also when there is none in it.
pub fn read_orders(value: &[u8]) -> io::Result<Vec<Order>> {
    let orders: Vec<Order> = read(value)?;
    if orders.is_empty() { Err(invalid("a row without an order".to_owned())) } else { Ok(orders) }
}

/// Reads an order's place in the ledger.
///
/// # Errors
/// `InvalidData`.
pub fn read_order_id(value: &[u8]) -> io::Result<Version> {
    read(value)
}

/// Reads the dedup records of an entry, each with its `n`.
///
/// # Errors
/// `InvalidData`.
pub fn read_dedup(value: &[u8]) -> io::Result<Vec<(u32, DedupRecord)>> {
    read(value)
}

/// The bytes of a [`Meta`].
pub fn meta_value(meta: &Meta) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(80);
    encode_onto(&mut bytes, meta);
    bytes
}

/// Reads a [`Meta`].
///
/// # Errors
/// `InvalidData`.
pub fn read_meta(value: &[u8]) -> io::Result<Meta> {
    read(value)
}

/// A hash of a command's body.
pub(super) fn fingerprint<T: Serialize>(body: &T) -> u64 {
    let mut bytes = Vec::with_capacity(128);
    encode_onto(&mut bytes, body);
    xxh3_64(&bytes)
}

pub(super) fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn encode_onto<T: Serialize>(bytes: &mut Vec<u8>, value: &T) {
    bytes.push(FORMAT);
    bincode::serde::encode_into_std_write(value, bytes, bincode::config::standard())
        .expect("stored types always encode, and a Vec takes every byte");
}

fn read<T: DeserializeOwned>(value: &[u8]) -> io::Result<T> {
    match value.split_first() {
        Some((&FORMAT, rest)) => frame::decode(rest),
        Some((format, _)) => Err(invalid(format!("a row of format {format}, where {FORMAT} is known"))),
        None => Err(invalid("an empty row".to_owned())),
    }
}

fn fixed<const N: usize>(key: &[u8]) -> io::Result<[u8; N]> {
    key.try_into().map_err(|_| invalid(format!("a key of {} bytes instead of {N}", key.len())))
}

#[cfg(test)]
mod fuzz;
