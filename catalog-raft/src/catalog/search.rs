//! The index of items: which numbers have a topic, and which have a word that begins with what is searched for.
//!
//! Owns which sets of numbers are kept, and that they are those of the items. Must not know items beyond their topic and
//! title, nor how a set lies in memory. Like the items it is cloned in constant time.
//!
//! # What a search costs
//!
//! The words that begin with what is searched for stand beside one another; what is found is in any of their sets. Where
//! more than [`CROWD`] words begin alike, their beginning has a set of its own, so no search reads more sets than that for
//! a word, however short. All words and the topic are then read together, page by page of 64 numbers, each skipping to
//! where the others are, until enough is found: usually that is soon. What never meets is read to its end, which
//! costs as many steps as the smallest set has pages, and with many words that begin alike as many as all theirs have.

mod gathered;
mod meeting;
mod postings;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    ops::Bound::{Included, Unbounded},
    sync::Arc,
};

use catalog_client::{
    Item, ItemNumber,
    items::{MAX_QUERY, words},
};
use imbl::OrdMap;

pub(super) use gathered::Gathered;

use gathered::Entry;
use meeting::{Any, in_all};
use postings::{Page, Postings, WIDTH, filled, joined};

/// A beginning of more words than this has a set of its own. Tests have few words, and want crowds.
const CROWD: usize = if cfg!(test) { 3 } else { 512 };

type Sets = OrdMap<Arc<str>, Postings>;

/// The index. Every live item is in the set of its topic, of each word of its title, and of each crowded beginning of these;
/// no set has another number, and none is empty.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    topics: Sets,
    words: Sets,
    /// By beginnings. Once crowded, a beginning stays until it has no item: the shorter ones of any here are here too.
    crowds: Sets,
}

impl Index {
    /// The text of a topic as the items that have it share it.
    pub fn topic(&self, topic: &str) -> Option<&Arc<str>> {
        self.topics.get_key_value(topic).map(|(topic, _)| topic)
    }

    /// The numbers above `after` in their order, of items of `topic` whose titles have, for each of `beginnings`, a word that
    /// begins with it; `None` when nothing is asked for, which is every item.
    pub fn find<'a>(
        &'a self,
        topic: Option<&str>,
        beginnings: &'a BTreeSet<String>,
        after: ItemNumber,
    ) -> Option<impl Iterator<Item = ItemNumber>> {
        let of_topic = topic.map(|topic| self.topics.get(topic).into_iter().collect::<Vec<_>>());
        // What begins another is searched for with it.
        let follows = |a: &String| beginnings.range::<String, _>((Included(a), Unbounded)).nth(1);
        let each = beginnings.iter().filter(|a| follows(a).is_none_or(|b| !b.starts_with(a.as_str())));
        let mut sets: Vec<Vec<&Postings>> = of_topic.into_iter().chain(each.map(|a| self.beginning_with(a))).collect();
        if sets.is_empty() {
            return None;
        }
        sets.sort_by_key(|sets| sets.iter().map(|set| set.len()).sum::<usize>());
        let from = after / WIDTH;
        Some(in_all(sets.iter().map(|sets| Any::of(sets, from)).collect(), after))
    }

    /// The sets of which any has the items with a word that begins so.
    fn beginning_with<'a>(&'a self, beginning: &'a str) -> Vec<&'a Postings> {
        match self.crowds.get(beginning) {
            Some(crowd) => vec![crowd],
            None => self.words_from(beginning).collect(),
        }
    }

    fn words_from<'a>(&'a self, beginning: &'a str) -> impl Iterator<Item = &'a Postings> {
        let from = self.words.range::<_, str>((Included(beginning), Unbounded));
        from.take_while(move |(word, _)| word.starts_with(beginning)).map(|(_, set)| set)
    }

    /// Adds items that are not there.
    pub fn add(&mut self, gathered: Gathered) {
        let [topics, words] = gathered.into_entries();
        add(&mut self.topics, &topics);
        self.add_words(&words);
    }

    fn add_words(&mut self, words: &[Entry]) {
        add(&mut self.words, words);
        self.crowd(words, 0);
    }

    /// Adds the items of `words`, which are in order and alike in their first `length` bytes, to the crowds of longer
    /// beginnings.
    fn crowd(&mut self, words: &[Entry], length: usize) {
        let mut rest = words;
        while let [Entry { text, .. }, others @ ..] = rest {
            let Some(beginning) = text[length..].chars().next().map(|next| &text[..length + next.len_utf8()]) else {
                rest = others;
                continue;
            };
            let alike;
            (alike, rest) = rest.split_at(rest.partition_point(|word| word.text.starts_with(beginning)));
            if let Some(crowd) = self.crowds.get_mut(beginning) {
                crowd.add(&joined(alike.iter().flat_map(|word| &word.pages).copied().collect()));
            } else if beginning.len() <= MAX_QUERY && self.words_from(beginning).nth(CROWD).is_some() {
                let mut pages: Vec<Page> = Vec::new();
                self.words_from(beginning).for_each(|set| set.cursor().append_to(&mut pages));
                self.crowds.insert(beginning.into(), Postings::of(&joined(pages)));
            } else {
                continue;
            }
            self.crowd(alike, beginning.len());
        }
    }

    /// Takes out an item that is withdrawn.
    pub fn remove(&mut self, item: &Item) {
        remove(&mut self.topics, &item.topic, item.item_number);
        self.remove_words(item.item_number, &set_of(&item.title), &BTreeSet::new());
    }

    /// Has an item be found as it is now. Where neither topic nor title has changed, there is nothing to do.
    pub fn change(&mut self, before: &Item, now: &Item) {
        let (number, page) = (now.item_number, postings::page_of(now.item_number));
        if before.topic != now.topic {
            remove(&mut self.topics, &before.topic, number);
            add(&mut self.topics, &[Entry { text: now.topic.clone(), pages: vec![page] }]);
        }
        if before.title != now.title {
            let (old, new) = (set_of(&before.title), set_of(&now.title));
            self.remove_words(number, &old, &new);
            let added = new.difference(&old).map(|word| Entry { text: word.as_str().into(), pages: vec![page] });
            self.add_words(&added.collect::<Vec<_>>());
        }
    }

    /// Takes an item out of the words of `old` that are not in `new`, and out of the crowds that it is in no longer.
    fn remove_words(&mut self, number: ItemNumber, old: &BTreeSet<String>, new: &BTreeSet<String>) {
        // All are found before the first is touched: one that this leaves empty goes, and longer ones would not be looked for.
        let mut left = BTreeSet::new();
        for word in old.difference(new) {
            remove(&mut self.words, word, number);
            for (end, _) in word.char_indices().skip(1).chain([(word.len(), ' ')]) {
                let beginning = &word[..end];
                if !self.crowds.contains_key(beginning) {
                    break;
                }
                let after = new.range::<str, _>((Included(beginning), Unbounded)).next();
                if after.is_none_or(|word| !word.starts_with(beginning)) {
                    left.insert(beginning);
                }
            }
        }
        for beginning in left {
            remove(&mut self.crowds, beginning, number);
        }
    }
}

/// The words of a title or a search, each once.
pub(super) fn set_of(text: &str) -> BTreeSet<String> {
    words(text).map(Into::into).collect()
}

fn add(sets: &mut Sets, entries: &[Entry]) {
    if sets.is_empty() {
        *sets = filled(entries.iter().map(|entry| (entry.text.clone(), Postings::of(&entry.pages))));
        return;
    }
    for entry in entries {
        match sets.get_mut(&entry.text) {
            Some(set) => set.add(&entry.pages),
            None => drop(sets.insert(entry.text.clone(), Postings::of(&entry.pages))),
        }
    }
}

fn remove(sets: &mut Sets, text: &str, number: ItemNumber) {
    let Some(set) = sets.get_mut(text) else { return };
    set.remove(number);
    if set.is_empty() {
        sets.remove(text);
    }
}
