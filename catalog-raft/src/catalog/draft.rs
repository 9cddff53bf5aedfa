//! What the entry that is being applied has done so far.
//!
//! Owns the gathering of one change an item, however many commands touched it. Must not know how commands decide.

use std::sync::Arc;

use catalog_client::{Change, Item, ItemNumber, Order, Revision, Version};

use super::{
    Row,
    rows::{DedupRecord, RowWrite},
};

pub(super) struct Draft {
    /// The place of the command that is being executed.
    pub version: Version,
    pub time_ms: u64,
    touched: Vec<(ItemNumber, Touched)>,
    /// Items that were touched by more than orders.
    rewritten: Vec<ItemNumber>,
    pub placed: Vec<Arc<Order>>,
    /// What is to be remembered of commands that placed no order, each with its `n`.
    pub others: Vec<(u32, DedupRecord)>,
    pub rows: Vec<RowWrite>,
}

/// What an item was before the entry, and how it ended if it did.
pub(super) struct Touched {
    /// `None` if there was no such item.
    topic_before: Option<Arc<str>>,
    withdrawn: Option<(Version, Arc<str>)>,
}

impl Draft {
    pub fn new(index: Revision, time_ms: u64) -> Self {
        let version = Version { revision: index, n: 0 };
        let (touched, rewritten, placed, others, rows) = Default::default();
        Self { version, time_ms, touched, rewritten, placed, others, rows }
    }

    /// Notes that an item was added.
    pub fn added(&mut self, item_number: ItemNumber) {
        self.rewritten.push(item_number);
        self.touched.push((item_number, Touched { topic_before: None, withdrawn: None }));
    }

    /// Notes that an item, here as it was until now, is about to change, and not by an order.
    pub fn changes(&mut self, item: &Item) {
        self.rewritten.push(item.item_number);
        self.sells(item);
    }

    /// Notes that of an item, here as it was until now, an order is about to take something.
    pub fn sells(&mut self, item: &Item) {
        // One that this entry has changed already, or added, is noted already.
        if item.version.revision != self.version.revision {
            self.touched.push((item.item_number, Touched::before(item)));
        }
    }

    /// Notes that an item, here as it was until now, is about to be withdrawn.
    pub fn withdraws(&mut self, item: &Item) {
        self.rewritten.push(item.item_number);
        let withdrawn = Some((self.version, item.topic.clone()));
        self.touched.push((item.item_number, Touched { withdrawn, ..Touched::before(item) }));
    }

    /// The items that were touched by more than orders, by number.
    pub fn take_rewritten(&mut self) -> Vec<ItemNumber> {
        let mut rewritten = std::mem::take(&mut self.rewritten);
        rewritten.sort_unstable();
        rewritten
    }

    /// What was touched, each item once, by number.
    pub fn take_touched(&mut self) -> Vec<(ItemNumber, Touched)> {
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_by_key(|(item_number, _)| *item_number);
        // How it was is what was noted first, and nothing comes after a withdrawal.
        touched.dedup_by(|(item_number, later), (same, first)| {
            let is_same = item_number == same;
            if is_same {
                first.withdrawn = later.withdrawn.take();
            }
            is_same
        });
        touched
    }
}

impl Touched {
    fn before(item: &Item) -> Self {
        Self { topic_before: Some(item.topic.clone()), withdrawn: None }
    }

    /// The change from before the entry to `row`.
    pub fn change(self, item_number: ItemNumber, row: &Row) -> Change {
        match (row, self.withdrawn) {
            (Row::Live(item), _) => {
                let old_topic = self.topic_before.filter(|topic| *topic != item.topic);
                Change::Put { item: item.clone(), old_topic }
            }
            (Row::Withdrawn, Some((version, topic))) => {
                // Watchers know the item under the topic that it had before the entry, if they know it at all.
                Change::Withdrawn { item_number, topic: self.topic_before.unwrap_or(topic), version }
            }
            (Row::Withdrawn, None) => unreachable!("an item is withdrawn through Draft::withdraws"),
        }
    }
}
