//! The way back from stored rows to a catalogue: at start, and when a snapshot is installed.
//!
//! Owns the checks that rows belong together. Must not know where they come from.

use std::io;

use catalog_client::{ItemNumber, Order, Revision, Version, mutant::Mutant};

use super::{
    Catalog, Limits, Row,
    dedup::Window,
    orders::Body,
    rows::{self, DedupRecord, Hashes, Meta, Remembered, Table},
    search::Gathered,
    view::NewRow,
};

/// Items that are put in their places together: pages are laid down once, except where two lots meet. Tests have few items,
/// and want such places.
const TOGETHER: usize = if cfg!(test) { 3 } else { 1024 };

/// A catalogue that is being read back. The rows of each table come in ascending order of keys.
#[derive(Debug)]
pub struct Restore {
    catalog: Catalog,
    gathered: Gathered,
    /// Rows that are not in it yet.
    rows: Vec<NewRow>,
    last_item: Option<ItemNumber>,
    last_order: Option<Version>,
    // Of what the rows make, once the items have what was sold since: the hash of what was meant is in `Meta`.
    hashes: Hashes,
    horizon: Revision,
    // What the window remembers, by version: of placed orders, and of other commands.
    placed: Vec<Remembers>,
    others: Vec<Remembers>,
}

type Remembers = (Version, DedupRecord);

impl Restore {
    /// Begins. Commands executed from `horizon` on are remembered, see [`Meta::horizon`].
    pub fn new(horizon: Revision) -> Self {
        Self::with_limits(Limits::default(), horizon)
    }

    pub(super) fn with_limits(limits: Limits, horizon: Revision) -> Self {
        let catalog = Catalog::with_limits(limits);
        let (placed, others) = (Vec::new(), Vec::new());
        let (gathered, hashes) = (Gathered::default(), Hashes::default());
        let (rows, last_item, last_order) = (Vec::new(), None, None);
        Self { catalog, gathered, rows, last_item, last_order, hashes, horizon, placed, others }
    }

    /// One row of [`Table::Items`].
    ///
    /// # Errors
    /// `InvalidData` when its bytes are damaged or the row is out of place.
    pub fn item(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let item_number = rows::read_item_key(key)?;
        let row = rows::read_item(value)?;
        if matches!(&row, Row::Live(item) if item.item_number != item_number)
            || self.last_item.is_some_and(|last| last >= item_number)
        {
            return Err(misplaced("item", item_number));
        }
        let hash = rows::row_hash(Table::Items, key, value);
        self.hashes.items = self.hashes.items.wrapping_add(hash);
        self.last_item = Some(item_number);
        self.rows.push(NewRow { item_number, row, hash });
        if self.rows.len() >= TOGETHER {
            self.lay_down();
        }
        Ok(())
    }

    fn lay_down(&mut self) {
        self.catalog.view.insert(std::mem::take(&mut self.rows), &mut self.gathered);
    }

    /// One row of [`Table::Dedup`].
    ///
    /// # Errors
    /// As [`Restore::item`].
    pub fn dedup(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let revision = rows::read_revision_key(key)?;
        if self.catalog.window.newest_row().is_some_and(|last| last >= revision) {
            return Err(misplaced("row of dedup records", revision));
        }
        for (n, record) in rows::read_dedup(value)? {
            let version = Version { revision, n };
            let follows = self.others.last().is_none_or(|(last, _)| *last < version);
            if !follows || matches!(record.outcome, Remembered::Placed) {
                return Err(misplaced("dedup record", version));
            }
            self.others.push((version, record));
        }
        let hash = rows::row_hash(Table::Dedup, key, value);
        self.hashes.dedup = self.hashes.dedup.wrapping_add(hash);
        self.catalog.window.stored(revision, hash);
        Ok(())
    }

    /// One row of [`Table::Orders`], after all items: all of them for [`Restore::verified`], those from the horizon on for
    /// [`Restore::trusting_orders`]. Gives the orders.
    ///
    /// # Errors
    /// As [`Restore::item`].
    pub fn orders(&mut self, key: &[u8], value: &[u8]) -> io::Result<Vec<Order>> {
        self.lay_down();
        let first = rows::read_version_key(key)?;
        let orders = rows::read_orders(value)?;
        if orders[0].version != first {
            return Err(misplaced("row of orders", first));
        }
        for order in &orders {
            let version = order.version;
            if version.revision != first.revision || self.last_order.is_some_and(|last| last >= version) {
                return Err(misplaced("order", version));
            }
            self.last_order = Some(version);
            if version.revision >= self.horizon {
                self.catalog.sell_again(order)?;
            }
            if version.revision >= self.horizon && !Mutant::DedupSkipped.is_on() {
                let fingerprint = Body::of_order(order).fingerprint();
                self.placed.push((version, DedupRecord { id: order.id, fingerprint, outcome: Remembered::Placed }));
            }
        }
        self.catalog.orders += orders.len() as u64;
        self.hashes.add(Table::Orders, key, value);
        Ok(orders)
    }

    /// The catalogue at `applied`, after all items, dedup records and the orders from the horizon on were given: a start
    /// from a disk that is ours. The orders' count and hash are taken from `meta`, so that a start does not read every
    /// order ever placed.
    ///
    /// # Errors
    /// `InvalidData` when the rows are not those that `meta` was stored with.
    pub fn trusting_orders(mut self, applied: Revision, meta: &Meta) -> io::Result<Catalog> {
        self.catalog.orders = meta.orders;
        self.hashes.orders = meta.hashes.orders;
        self.verified(applied, meta)
    }

    /// The catalogue at `applied`, after all items, dedup records and orders were given: a state that came from
    /// elsewhere.
    ///
    /// # Errors
    /// As [`Restore::trusting_orders`].
    pub fn verified(mut self, applied: Revision, meta: &Meta) -> io::Result<Catalog> {
        self.lay_down();
        let Self { mut catalog, gathered, last_order, mut hashes, horizon, placed, others, .. } = self;
        catalog.hash_what_was_sold(&mut hashes);
        if hashes != meta.hashes || catalog.orders != meta.orders {
            let (found, meant) = (hashes.state_hash(), meta.hashes.state_hash());
            return Err(rows::invalid(format!("the rows hash to {found} instead of {meant} at revision {applied}")));
        }
        remember(&mut catalog.window, placed, others)?;
        if catalog.window.len() as u64 != meta.remembered {
            let found = catalog.window.len();
            return Err(rows::invalid(format!("{found} commands are remembered instead of {}", meta.remembered)));
        }
        let newest = catalog.window.newest().max(last_order);
        let oldest = catalog.window.oldest();
        if newest.is_some_and(|version| version.revision > applied)
            || oldest.is_some_and(|version| version.revision < meta.horizon)
            || horizon != meta.horizon
        {
            return Err(rows::invalid(format!("rows from beyond revision {applied} or horizon {}", meta.horizon)));
        }
        catalog.view.applied = applied;
        catalog.view.index(gathered);
        catalog.window.restore_horizon(meta.horizon);
        catalog.hashes = hashes;
        Ok(catalog)
    }
}

impl Catalog {
    /// Takes from the items what an order took, as far as their rows lack it.
    fn sell_again(&mut self, order: &Order) -> io::Result<()> {
        for line in &order.lines {
            let lost = || rows::invalid(format!("order {} took item {}, which cannot be", order.id, line.item_number));
            let kept = self.view.kept_mut(line.item_number).ok_or_else(lost)?;
            // Of a withdrawn item only the number is left.
            let Row::Live(item) = &mut kept.row else { continue };
            if item.version < order.version {
                item.quantity = item.quantity.checked_sub(line.quantity).ok_or_else(lost)?;
                item.version = order.version;
                if kept.dirty_since == 0 {
                    kept.dirty_since = order.version.revision;
                    self.write_back.lacks(order.version.revision, line.item_number);
                }
            }
        }
        Ok(())
    }

    /// Puts the items into `hashes` as they are, where their rows on disk are now.
    fn hash_what_was_sold(&mut self, hashes: &mut Hashes) {
        for (_, item_number) in self.write_back.sorted() {
            let Some(kept) = self.view.kept_mut(*item_number) else { continue };
            let hash = rows::put_item(*item_number, &kept.row).hash();
            let before = std::mem::replace(&mut kept.hash, hash);
            hashes.items = hashes.items.wrapping_add(hash).wrapping_sub(before);
        }
    }
}

/// Fills the window, in the order of versions.
fn remember(window: &mut Window, placed: Vec<Remembers>, others: Vec<Remembers>) -> io::Result<()> {
    let (mut placed, mut others) = (placed.into_iter().peekable(), others.into_iter().peekable());
    loop {
        let next = match (placed.peek(), others.peek()) {
            (Some((a, _)), Some((b, _))) if a < b => placed.next(),
            (Some(_), None) => placed.next(),
            _ => others.next(),
        };
        let Some((version, record)) = next else { return Ok(()) };
        if window.newest().is_some_and(|last| last >= version) || !window.remember(version, record) {
            return Err(misplaced("remembered command", version));
        }
    }
}

fn misplaced(what: &str, place: impl std::fmt::Display) -> io::Error {
    rows::invalid(format!("the {what} at {place} is out of place"))
}
