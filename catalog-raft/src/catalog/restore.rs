//! The way back from stored rows to a catalogue: at start, and when a snapshot is installed.
//!
//! Owns the checks that rows belong together. Must not know where they come from.

use std::io;

use catalog_client::{OrderId, Revision, Version};

use super::{
    Catalog, Limits, Row,
    rows::{self, Hashes, Meta, Table},
};

/// A catalogue that is being read back. The rows of each table come in ascending order of keys.
#[derive(Debug)]
pub struct Restore {
    catalog: Catalog,
    last_order: Option<Version>,
    // Of the rows as they lie on disk: the hash of what was meant is in `Meta`.
    hashes: Hashes,
}

impl Default for Restore {
    fn default() -> Self {
        Self::new()
    }
}

impl Restore {
    /// Begins.
    pub fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    pub(super) fn with_limits(limits: Limits) -> Self {
        Self { catalog: Catalog::with_limits(limits), last_order: None, hashes: Hashes::default() }
    }

    /// One row of [`Table::Items`].
    ///
    /// # Errors
    /// `InvalidData` when its bytes are damaged or the row is out of place.
    pub fn item(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let item_number = rows::read_item_key(key)?;
        let row = rows::read_item(value)?;
        if matches!(&row, Row::Live(item) if item.item_number != item_number)
            || self.catalog.view.greatest_number().is_some_and(|last| last >= item_number)
        {
            return Err(misplaced("item", item_number));
        }
        let hash = rows::row_hash(Table::Items, key, value);
        self.hashes.items = self.hashes.items.wrapping_add(hash);
        self.catalog.view.insert(item_number, row, hash);
        Ok(())
    }

    /// One row of [`Table::Dedup`].
    ///
    /// # Errors
    /// As [`Restore::item`].
    pub fn dedup(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let version = rows::read_version_key(key)?;
        let record = rows::read_dedup(value)?;
        let window = &mut self.catalog.window;
        if window.newest().is_some_and(|last| last >= version) || !window.remember(version, record) {
            return Err(misplaced("dedup record", version));
        }
        self.hashes.add(Table::Dedup, key, value);
        Ok(())
    }

    /// One row of [`Table::Orders`], for [`Restore::verified`]. Gives the order's id, so that the caller can check or
    /// rebuild [`Table::OrderIds`].
    ///
    /// # Errors
    /// As [`Restore::item`].
    pub fn order(&mut self, key: &[u8], value: &[u8]) -> io::Result<(OrderId, Version)> {
        let version = rows::read_version_key(key)?;
        let order = rows::read_order(value)?;
        if order.version != version || self.last_order.is_some_and(|last| last >= version) {
            return Err(misplaced("order", version));
        }
        self.last_order = Some(version);
        self.catalog.orders += 1;
        self.hashes.add(Table::Orders, key, value);
        Ok((order.id, version))
    }

    /// The catalogue at `applied`, after all items and dedup records were given: a start from a disk that is ours. The
    /// orders' count and hash are taken from `meta`, so that a start does not read every order ever placed.
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
    pub fn verified(self, applied: Revision, meta: &Meta) -> io::Result<Catalog> {
        let Self { mut catalog, last_order, hashes } = self;
        if hashes != meta.hashes || catalog.orders != meta.orders {
            let (found, meant) = (hashes.state_hash(), meta.hashes.state_hash());
            return Err(rows::invalid(format!("the rows hash to {found} instead of {meant} at revision {applied}")));
        }
        let newest = catalog.window.newest().max(last_order);
        let oldest = catalog.window.oldest();
        if newest.is_some_and(|version| version.revision > applied)
            || oldest.is_some_and(|version| version.revision < meta.horizon)
        {
            return Err(rows::invalid(format!("rows from beyond revision {applied} or horizon {}", meta.horizon)));
        }
        catalog.view.applied = applied;
        catalog.window.restore_horizon(meta.horizon);
        catalog.hashes = hashes;
        Ok(catalog)
    }
}

fn misplaced(what: &str, place: impl std::fmt::Display) -> io::Error {
    rows::invalid(format!("the {what} at {place} is out of place"))
}
