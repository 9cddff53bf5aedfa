//! The items as they stand, and how they are read.
//!
//! Owns the map of items and its invariants: each live item is in the index as it is, a withdrawn number keeps its row.
//! Must not know commands. A [`View`] is cheap to clone and never changes under its reader.

use catalog_client::{Item, ItemNumber, Revision};

use super::{
    Row,
    pages::Pages,
    search::{Gathered, Index, set_of},
};

/// The items at one revision, frozen: cloned in constant time, read without a lock.
#[derive(Debug, Clone, Default)]
pub struct View {
    pub(super) applied: Revision,
    rows: Pages<Kept>,
    pub(super) index: Index,
    live: u64,
}

/// A row, and what is known of it.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub row: Row,
    /// Of the row as it is in the state hash, so that it can be taken out of that; 0 before the first time.
    pub hash: u128,
    /// The first revision of which the row on disk lacks what was sold, see [`super::writeback`]; 0 if it lacks nothing.
    pub dirty_since: Revision,
}

/// A row that is to stand under a number that was never given.
#[derive(Debug)]
pub(super) struct NewRow {
    pub item_number: ItemNumber,
    pub row: Row,
    /// As it is in the state hash, 0 if it is not yet.
    pub hash: u128,
}

impl View {
    /// The revision.
    pub fn applied(&self) -> Revision {
        self.applied
    }

    /// How many items there are, without the withdrawn ones.
    pub fn len(&self) -> u64 {
        self.live
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Whether a number was ever given.
    pub fn was_ever_filled(&self) -> bool {
        self.rows.len() > 0
    }

    /// How many numbers were ever given.
    pub fn given(&self) -> usize {
        self.rows.len()
    }

    /// One item.
    pub fn item(&self, item_number: ItemNumber) -> Option<&Item> {
        self.rows.get(item_number)?.row.live()
    }

    /// At most `limit` items by number, above `after`, of `topic`, with words in their titles that begin with each of
    /// `words` (see [`catalog_client::items::words()`]), and whether there are more. To read a long list in parts, ask again
    /// after the last number of each: whatever happened between, no item that matched all the time is left out or comes twice.
    pub fn items(
        &self,
        topic: Option<&str>,
        words: Option<&str>,
        after: Option<ItemNumber>,
        limit: usize,
    ) -> (Vec<Item>, bool) {
        let (beginnings, after) = (set_of(words.unwrap_or_default()), after.unwrap_or(0));
        match self.index.find(topic, &beginnings, after) {
            Some(found) => first(limit, found.filter_map(|number| self.item(number))),
            None => first(limit, self.rows.above(after).filter_map(|(_, kept)| kept.row.live())),
        }
    }

    /// The greatest number ever given.
    pub(super) fn greatest_number(&self) -> Option<ItemNumber> {
        self.rows.greatest()
    }

    pub(super) fn was_given(&self, item_number: ItemNumber) -> bool {
        self.rows.get(item_number).is_some()
    }

    /// Puts rows under numbers that were never given, in ascending order, and gathers them: they are found by topic and words
    /// once that is [indexed](Self::index).
    pub(super) fn insert(&mut self, mut rows: Vec<NewRow>, gathered: &mut Gathered) {
        for new in &mut rows {
            if let Row::Live(item) = &mut new.row {
                // There are far fewer topics than items: those of one topic share its text.
                if let Some(topic) = gathered.topic(&item.topic).or_else(|| self.index.topic(&item.topic)) {
                    item.topic = topic.clone();
                }
                gathered.item(item);
                self.live += 1;
            }
        }
        let kept = |NewRow { item_number, row, hash }| (item_number, Kept { row, hash, dirty_since: 0 });
        self.rows.insert(rows.into_iter().map(kept));
    }

    /// Has what was gathered be found.
    pub(super) fn index(&mut self, gathered: Gathered) {
        self.index.add(gathered);
    }

    /// A live item, to change its cost, quantity and version alone.
    pub(super) fn item_mut(&mut self, item_number: ItemNumber) -> Option<&mut Item> {
        match &mut self.rows.get_mut(item_number)?.row {
            Row::Live(item) => Some(item),
            Row::Withdrawn => None,
        }
    }

    /// Replaces a live item.
    pub(super) fn replace(&mut self, item: Item) {
        let number = item.item_number;
        let Some(place) = self.item_mut(number) else {
            debug_assert!(false, "only live items are replaced");
            return;
        };
        let before = std::mem::replace(place, item.clone());
        self.index.change(&before, &item);
    }

    /// Withdraws a live item; its row stays.
    pub(super) fn withdraw(&mut self, item_number: ItemNumber) {
        let Some(kept) = self.rows.get_mut(item_number) else {
            debug_assert!(false, "only live items are withdrawn");
            return;
        };
        if let Row::Live(item) = std::mem::replace(&mut kept.row, Row::Withdrawn) {
            self.index.remove(&item);
            self.live -= 1;
        }
    }

    /// Reads all of the rows that an order of these items will need, step by step: whatever a step waits for in memory comes
    /// for all of them at once, since none waits for another. What it gives means nothing, and keeps the reads from being left out.
    pub(super) fn look_ahead(&self, numbers: impl Iterator<Item = ItemNumber>) -> usize {
        let places: Vec<_> = numbers.filter_map(|number| self.rows.place(number)).collect();
        let kept = places.iter().map(|place| place.value());
        let known = kept.clone().filter(|kept| kept.hash != 0 && kept.dirty_since != 0).count();
        let shared = places.iter().filter(|place| place.is_shared()).count();
        let titles = kept.filter_map(|kept| kept.row.live()).map(|item| item.title.as_bytes());
        known + shared + titles.filter(|title| title.first() == title.last()).count()
    }

    /// A row, and what is known of it.
    pub(super) fn kept(&self, item_number: ItemNumber) -> Option<&Kept> {
        self.rows.get(item_number)
    }

    /// The same, to change.
    pub(super) fn kept_mut(&mut self, item_number: ItemNumber) -> Option<&mut Kept> {
        self.rows.get_mut(item_number)
    }
}

/// The first of many, and whether there are more.
fn first<'a>(limit: usize, mut items: impl Iterator<Item = &'a Item>) -> (Vec<Item>, bool) {
    let page = items.by_ref().take(limit).cloned().collect();
    (page, items.next().is_some())
}
