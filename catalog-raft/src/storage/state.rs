//! The state as it stands: the catalogue in memory, its rows on disk, the history of its changes; and how they are
//! read. Memory and disk change together under one lock, so a reader that holds it sees one revision of both.

use std::{
    collections::HashMap,
    io,
    path::Path,
    sync::{
        Arc, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use catalog_client::{Item, ItemNumber, Order, OrderId, Revision, Version};
use rocksdb::{Direction, IteratorMode, WriteBatch};
use serde::{Deserialize, Serialize};

use super::{
    codec::{StoredLogId, StoredMembership, from_bytes},
    db::Db,
    keys::{CF_DEDUP, CF_ITEMS, CF_ORDER_IDS, CF_ORDERS, CF_STATE, STATE_APPLIED},
};
use crate::{
    catalog::{
        Catalog, Ledger, Restore, View,
        rows::{Meta, RowWrite, Table, order_id_key, read_order_id, read_orders, version_key},
    },
    raft,
    watch::History,
};

/// What is written beside the rows of each entry, in the same batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The last entry applied.
    pub last_log_id: Option<StoredLogId>,
    /// Where the membership stands in the log.
    pub membership_log_id: Option<StoredLogId>,
    /// The membership.
    pub membership: StoredMembership,
    /// The catalogue's own.
    pub state: Meta,
}

impl Default for Applied {
    fn default() -> Self {
        let membership = (&raft::Membership::default()).into();
        Self { last_log_id: None, membership_log_id: None, membership, state: Meta::default() }
    }
}

impl Applied {
    /// The revision: 0 before the first entry.
    pub fn revision(&self) -> Revision {
        self.last_log_id.map_or(0, |id| id.index)
    }
}

/// The state, shared by the one who applies and all who read.
#[derive(Debug)]
pub struct State {
    db: Db,
    catalog: RwLock<Catalog>,
    history: History,
    installing: AtomicBool,
    snapshot_bytes: AtomicU64,
}

/// A snapshot is being installed: there is no state to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a snapshot is being installed")]
pub struct Installing;

impl State {
    /// Reads the state back from disk.
    ///
    /// # Errors
    /// `InvalidData` when a row is damaged, or the rows are not those that were written with the hash beside them.
    pub fn open(db: Db) -> io::Result<(Self, Applied)> {
        let applied = read_applied(&db)?;
        let horizon = applied.state.horizon;
        let mut restore = Restore::new(horizon);
        for row in rows(&db, CF_ITEMS, &[]) {
            let (key, value) = row?;
            restore.item(&key, &value)?;
        }
        for row in rows(&db, CF_DEDUP, &[]) {
            let (key, value) = row?;
            restore.dedup(&key, &value)?;
        }
        for row in rows(&db, CF_ORDERS, &version_key(Version { revision: horizon, n: 0 })) {
            let (key, value) = row?;
            restore.orders(&key, &value)?;
        }
        let catalog = restore.trusting_orders(applied.revision(), &applied.state)?;
        let history = History::new(applied.revision());
        Ok((
            Self {
                db,
                catalog: RwLock::new(catalog),
                history,
                installing: AtomicBool::new(false),
                snapshot_bytes: AtomicU64::new(0),
            },
            applied,
        ))
    }

    /// The database.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// The folder of this replica.
    pub fn dir(&self) -> &Path {
        self.db.dir()
    }

    /// The changes of the last revisions.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The revision.
    pub fn applied(&self) -> Revision {
        self.read_lock().applied()
    }

    /// The revision with its state hash, items and orders.
    pub fn summary(&self) -> (Revision, String, u64, u64) {
        let catalog = self.read_lock();
        (catalog.applied(), catalog.state_hash(), catalog.items().len(), catalog.orders())
    }

    /// Items, orders, and commands that are remembered.
    pub fn sizes(&self) -> (u64, u64, usize) {
        let catalog = self.read_lock();
        (catalog.items().len(), catalog.orders(), catalog.remembered())
    }

    /// Orders in the ledger.
    pub fn orders_placed(&self) -> u64 {
        self.read_lock().orders()
    }

    /// One item, and the revision at which it was read.
    ///
    /// # Errors
    /// [`Installing`].
    pub fn item(&self, item_number: ItemNumber) -> Result<(Revision, Option<Item>), Installing> {
        let catalog = self.readable()?;
        Ok((catalog.applied(), catalog.items().item(item_number).cloned()))
    }

    /// All items, frozen.
    ///
    /// # Errors
    /// [`Installing`].
    pub fn view(&self) -> Result<View, Installing> {
        Ok(self.readable()?.view())
    }

    /// One order, and the revision at which it was read. A disk that cannot give them ends the process.
    ///
    /// # Errors
    /// [`Installing`].
    pub fn order(&self, id: OrderId) -> Result<(Revision, Option<Arc<Order>>), Installing> {
        let catalog = self.readable()?;
        let order = read_order_by_id(&self.db, id).unwrap_or_else(|error| unreadable("the order ledger", &error));
        Ok((catalog.applied(), order))
    }

    /// At most `limit` orders after `after` (fewer when they are long), whether there are more, and the revision. A disk that cannot give them ends the process.
    ///
    /// # Errors
    /// [`Installing`].
    pub fn orders(&self, after: Option<Version>, limit: usize) -> Result<(Revision, Vec<Order>, bool), Installing> {
        let catalog = self.readable()?;
        let (orders, more) =
            page_of_orders(&self.db, after, limit).unwrap_or_else(|error| unreadable("the order ledger", &error));
        Ok((catalog.applied(), orders, more))
    }

    /// The length of the last snapshot, 0 before the first.
    pub fn snapshot_bytes(&self) -> u64 {
        self.snapshot_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn set_snapshot_bytes(&self, bytes: u64) {
        self.snapshot_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn write_lock(&self) -> RwLockWriteGuard<'_, Catalog> {
        self.catalog.write().expect("who panics while applying ends the process")
    }

    /// Keeps readers away while the state is replaced.
    pub(super) fn set_installing(&self, installing: bool) {
        self.installing.store(installing, Ordering::SeqCst);
    }

    fn read_lock(&self) -> RwLockReadGuard<'_, Catalog> {
        self.catalog.read().expect("who panics while applying ends the process")
    }

    fn readable(&self) -> Result<RwLockReadGuard<'_, Catalog>, Installing> {
        // Looked at under the lock: the installer takes the lock once after setting it.
        let catalog = self.read_lock();
        if self.installing.load(Ordering::SeqCst) { Err(Installing) } else { Ok(catalog) }
    }
}

/// The ledger on disk, and the orders of the batch that is not yet written.
pub(super) struct DiskLedger<'a> {
    pub db: &'a Db,
    pub pending: &'a HashMap<OrderId, Arc<Order>>,
}

impl Ledger for DiskLedger<'_> {
    fn order(&self, id: OrderId) -> io::Result<Option<Arc<Order>>> {
        match self.pending.get(&id) {
            Some(order) => Ok(Some(order.clone())),
            None => read_order_by_id(self.db, id),
        }
    }
}

/// The column family of a table.
pub(super) fn family(table: Table) -> &'static str {
    match table {
        Table::Items => CF_ITEMS,
        Table::Orders => CF_ORDERS,
        Table::Dedup => CF_DEDUP,
        Table::OrderIds => CF_ORDER_IDS,
    }
}

/// Adds a row's write to a batch.
pub(super) fn put_row(db: &Db, batch: &mut WriteBatch, row: &RowWrite) {
    let cf = db.cf(family(row.table()));
    match row.value() {
        Some(value) => batch.put_cf(cf, row.key(), value),
        None => batch.delete_cf(cf, row.key()),
    }
}

/// What was applied last, as the disk says.
pub(super) fn read_applied(db: &Db) -> io::Result<Applied> {
    match db.raw().get_cf(db.cf(CF_STATE), STATE_APPLIED).map_err(io::Error::other)? {
        Some(bytes) => from_bytes(&bytes),
        None => Ok(Applied::default()),
    }
}

/// Ends the process: the disk does not give back what was stored. Whether it is damaged or only refuses is said.
pub(super) fn unreadable(what: &str, error: &io::Error) -> ! {
    let is_damage = error.kind() == io::ErrorKind::InvalidData || error.to_string().starts_with("Corruption");
    let advice = if is_damage {
        "the data on this disk is damaged; replace this replica by one with a new id"
    } else {
        "see to what the disk or the system refuses, then start this replica again"
    };
    super::db::fatal(&format!("{what} cannot be read ({advice})"), error)
}

type KeyValue = (Box<[u8]>, Box<[u8]>);

fn rows<'a>(db: &'a Db, family: &str, from: &[u8]) -> impl Iterator<Item = io::Result<KeyValue>> + use<'a> {
    let mode = IteratorMode::From(from, Direction::Forward);
    db.raw().iterator_cf(db.cf(family), mode).map(|row| row.map_err(io::Error::other))
}

fn read_order_by_id(db: &Db, id: OrderId) -> io::Result<Option<Arc<Order>>> {
    let place = db.raw().get_pinned_cf(db.cf(CF_ORDER_IDS), order_id_key(id)).map_err(io::Error::other)?;
    let Some(place) = place else { return Ok(None) };
    let version = read_order_id(&place)?;
    let lost = || io::Error::new(io::ErrorKind::InvalidData, format!("order {id} is missing at {version}"));
    let mut rows = db.raw().raw_iterator_cf(db.cf(CF_ORDERS));
    rows.seek_for_prev(version_key(version));
    rows.status().map_err(io::Error::other)?;
    let orders = rows.value().map(read_orders).transpose()?.unwrap_or_default();
    let order = orders.into_iter().find(|order| order.version == version && order.id == id).ok_or_else(lost)?;
    Ok(Some(Arc::new(order)))
}

/// Bytes of orders in one page, at most about so many: a page must fit a frame, and is read under the lock.
const PAGE_BYTES: usize = 4 << 20;

fn page_of_orders(db: &Db, after: Option<Version>, limit: usize) -> io::Result<(Vec<Order>, bool)> {
    let mut rows = db.raw().raw_iterator_cf(db.cf(CF_ORDERS));
    match after {
        // The row that begins there or before may have more behind it.
        Some(after) => {
            rows.seek_for_prev(version_key(after));
            if !rows.valid() {
                rows.status().map_err(io::Error::other)?;
                rows.seek_to_first();
            }
        }
        None => rows.seek_to_first(),
    }
    let mut orders = Vec::new();
    let mut bytes = 0;
    while let Some(value) = rows.value() {
        let row = read_orders(value)?;
        let each = value.len() / row.len();
        for order in row {
            if after.is_some_and(|after| order.version <= after) {
                continue;
            }
            if orders.len() == limit || bytes >= PAGE_BYTES {
                return Ok((orders, true));
            }
            bytes += each;
            orders.push(order);
        }
        rows.next();
    }
    rows.status().map_err(io::Error::other)?;
    Ok((orders, false))
}
