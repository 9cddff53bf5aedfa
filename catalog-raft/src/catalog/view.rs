//! The items as they stand, and how they are read.
//!
//! Owns the maps of items and their invariants: each live item is in the index of topics exactly once, a withdrawn
//! number keeps its row. Must not know commands. A [`View`] is cheap to clone and never changes under its reader.

use std::{ops::Bound, sync::Arc};

use catalog_client::{Item, ItemNumber, Revision};
use imbl::OrdSet;

use super::{Row, pages::Pages};

/// The items at one revision, frozen: cloned in constant time, read without a lock.
#[derive(Debug, Clone, Default)]
pub struct View {
    pub(super) applied: Revision,
    rows: Pages<Kept>,
    by_topic: OrdSet<(Arc<str>, ItemNumber)>,
    live: u64,
}

#[derive(Debug, Clone)]
struct Kept {
    row: Row,
    // Of the row as it was last stored, so that it can be taken out of the state hash; 0 before the first time.
    hash: u128,
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
        match &self.rows.get(item_number)?.row {
            Row::Live(item) => Some(item),
            Row::Withdrawn => None,
        }
    }

    /// At most `limit` items by number, above `after`, of `topic`, whose title has all of `words` (in any case), and
    /// whether there are more. To read a long list in parts, ask again after the last number of each.
    pub fn items(
        &self,
        topic: Option<&str>,
        words: Option<&str>,
        after: Option<ItemNumber>,
        limit: usize,
    ) -> (Vec<Item>, bool) {
        let words: Vec<String> = split(words.unwrap_or_default()).map(|word| lower(word).collect()).collect();
        let mut matching = self.above(topic, after.unwrap_or(0)).filter(|item| has_words(&item.title, &words));
        let items = matching.by_ref().take(limit).cloned().collect();
        (items, matching.next().is_some())
    }

    fn above<'a>(&'a self, topic: Option<&str>, after: ItemNumber) -> Box<dyn Iterator<Item = &'a Item> + 'a> {
        let Some(topic) = topic else {
            return Box::new(self.rows.above(after).filter_map(|(_, kept)| match &kept.row {
                Row::Live(item) => Some(item),
                Row::Withdrawn => None,
            }));
        };
        let topic: Arc<str> = topic.into();
        let from = Bound::Excluded((topic.clone(), after));
        let upto = Bound::Included((topic, ItemNumber::MAX));
        Box::new(self.by_topic.range((from, upto)).filter_map(|(_, number)| self.item(*number)))
    }

    /// The greatest number ever given.
    pub(super) fn greatest_number(&self) -> Option<ItemNumber> {
        self.rows.greatest()
    }

    pub(super) fn was_given(&self, item_number: ItemNumber) -> bool {
        self.rows.get(item_number).is_some()
    }

    /// Puts a row under a number that was never given.
    pub(super) fn insert(&mut self, item_number: ItemNumber, mut row: Row, hash: u128) {
        if let Row::Live(item) = &mut row {
            // There are far fewer topics than items: those of one topic share its text.
            let from = (item.topic.clone(), 0);
            let other = self.by_topic.range(from..).next().filter(|(topic, _)| *topic == item.topic);
            if let Some((topic, _)) = other {
                item.topic = topic.clone();
            }
            self.by_topic.insert((item.topic.clone(), item_number));
            self.live += 1;
        }
        let before = self.rows.insert(item_number, Kept { row, hash });
        debug_assert!(before.is_none(), "a number is given once");
    }

    /// A live item, to change anything but its number and topic.
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
        let topic = item.topic.clone();
        let before = std::mem::replace(place, item).topic;
        if before != topic {
            self.by_topic.remove(&(before, number));
            self.by_topic.insert((topic, number));
        }
    }

    /// Withdraws a live item; its row stays.
    pub(super) fn withdraw(&mut self, item_number: ItemNumber) {
        let Some(kept) = self.rows.get_mut(item_number) else {
            debug_assert!(false, "only live items are withdrawn");
            return;
        };
        if let Row::Live(item) = std::mem::replace(&mut kept.row, Row::Withdrawn) {
            self.by_topic.remove(&(item.topic, item_number));
            self.live -= 1;
        }
    }

    /// A row, and its hash as it was last stored.
    pub(super) fn row_and_hash(&mut self, item_number: ItemNumber) -> Option<(&Row, &mut u128)> {
        self.rows.get_mut(item_number).map(|kept| (&kept.row, &mut kept.hash))
    }
}

fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// Whether each of `words`, in lower case, is a word of `title`.
fn has_words(title: &str, words: &[String]) -> bool {
    words.iter().all(|word| split(title).any(|has| lower(has).eq(word.chars())))
}

fn lower(word: &str) -> impl Iterator<Item = char> {
    word.chars().flat_map(char::to_lowercase)
}
