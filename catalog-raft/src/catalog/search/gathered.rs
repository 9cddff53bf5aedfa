//! Items that are about to be found: the numbers of each word and topic, gathered before they are put into the index, so
//! that what many items have in common is touched once.
//!
//! Must not know the index.

use std::{collections::HashMap, sync::Arc};

use catalog_client::{Item, items::words};
use foldhash::fast::RandomState;

use super::postings::{Page, joined, page_of};

/// Words and topics of some items, which come in any order.
#[derive(Debug, Default)]
pub(in crate::catalog) struct Gathered {
    words: HashMap<Arc<str>, Vec<Page>, RandomState>,
    topics: HashMap<Arc<str>, Vec<Page>, RandomState>,
}

/// A word, or a topic, and the pages of its items in ascending order.
#[derive(Debug)]
pub(super) struct Entry {
    pub text: Arc<str>,
    pub pages: Vec<Page>,
}

impl Gathered {
    /// One more item.
    pub fn item(&mut self, item: &Item) {
        let page = page_of(item.item_number);
        put(&mut self.topics, &item.topic, || item.topic.clone(), page);
        for word in words(&item.title) {
            put(&mut self.words, &word, || Arc::from(&*word), page);
        }
    }

    /// The text of a topic as an item before had it.
    pub fn topic(&self, topic: &str) -> Option<&Arc<str>> {
        self.topics.get_key_value(topic).map(|(topic, _)| topic)
    }

    /// The topics and the words, each in order.
    pub(super) fn into_entries(self) -> [Vec<Entry>; 2] {
        [self.topics, self.words].map(|map| {
            let entries = map.into_iter().map(|(text, pages)| (beginning(&text), Entry { text, pages: joined(pages) }));
            let mut entries: Vec<_> = entries.collect();
            entries.sort_unstable_by(|(a, one), (b, other)| a.cmp(b).then_with(|| one.text.cmp(&other.text)));
            entries.into_iter().map(|(_, entry)| entry).collect()
        })
    }
}

fn put(
    map: &mut HashMap<Arc<str>, Vec<Page>, RandomState>,
    text: &str,
    shared: impl FnOnce() -> Arc<str>,
    (page, bit): Page,
) {
    let Some(pages) = map.get_mut(text) else {
        map.insert(shared(), vec![(page, bit)]);
        return;
    };
    match pages.last_mut() {
        Some((last, bits)) if *last == page => *bits |= bit,
        _ => pages.push((page, bit)),
    }
}

/// The first eight bytes of a text, as a number: texts are in the order of these as far as they differ, and a million of
/// them are sorted without a look at each.
fn beginning(text: &str) -> u64 {
    let mut bytes = [0; 8];
    let length = text.len().min(8);
    bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
    u64::from_be_bytes(bytes)
}
