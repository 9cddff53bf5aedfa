//! Which items have something in common: a set of item numbers, cloned in constant time, read in order by skipping.
//!
//! Owns how such a set lies in memory. Most words are of few titles and some are of most, so there are three ways; all are
//! read as pages of 64 numbers, a bit for each. Must not know what the items have in common.

use std::{slice, sync::Arc};

use catalog_client::ItemNumber;
use imbl::{OrdMap, ordmap::RangedIter, shared_ptr::DefaultSharedPtr};

/// Numbers a page.
pub(super) const WIDTH: u64 = 64;

/// The most numbers kept as a list, which is copied for each change. A page costs twice as much as a number or more, and is
/// worth it when it has several. Tests have few numbers, and want many.
const FEW: usize = if cfg!(test) { 8 } else { 256 };

/// A page, and which of its numbers are there: bit n for the n-th.
pub(super) type Page = (u64, u64);

/// The page of one number.
pub(super) fn page_of(number: ItemNumber) -> Page {
    (number / WIDTH, 1 << (number % WIDTH))
}

/// The numbers of a page.
pub(super) fn numbers((page, bits): Page) -> impl Iterator<Item = ItemNumber> {
    (0..WIDTH).filter(move |n| bits & (1 << n) != 0).map(move |n| page * WIDTH + n)
}

/// A set of item numbers.
#[derive(Debug, Clone)]
pub(super) enum Postings {
    One(ItemNumber),
    /// At most [`FEW`], in order; none only while the last one is taken out.
    Few(Arc<[ItemNumber]>),
    Many(Arc<Many>),
}

#[derive(Debug, Clone)]
pub(super) struct Many {
    pages: OrdMap<u64, u64>,
    len: usize,
}

impl Postings {
    /// The numbers of pages in ascending order, each once.
    pub fn of(pages: &[Page]) -> Self {
        let len = pages.iter().map(|(_, bits)| bits.count_ones() as usize).sum();
        match (len, pages) {
            (1, [page]) => Self::One(page.0 * WIDTH + u64::from(page.1.trailing_zeros())),
            (..=FEW, _) => Self::Few(pages.iter().copied().flat_map(numbers).collect()),
            _ => Self::Many(Arc::new(Many { pages: filled(pages.iter().copied()), len })),
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Few(numbers) => numbers.len(),
            Self::Many(many) => many.len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds the numbers of pages in ascending order, each once.
    pub fn add(&mut self, pages: &[Page]) {
        let Self::Many(many) = self else {
            let mut all = Vec::new();
            self.cursor().append_to(&mut all);
            all.extend_from_slice(pages);
            *self = Self::of(&joined(all));
            return;
        };
        let Many { pages: kept, len } = Arc::make_mut(many);
        for (page, bits) in pages {
            let before = match kept.get_mut(page) {
                Some(there) => std::mem::replace(there, *there | bits),
                None => {
                    kept.insert(*page, *bits);
                    0
                }
            };
            *len += (bits & !before).count_ones() as usize;
        }
    }

    /// Takes a number out, if it is there.
    pub fn remove(&mut self, number: ItemNumber) {
        match self {
            Self::One(one) if *one != number => {}
            Self::One(_) => *self = Self::Few(Arc::from([])),
            Self::Few(few) => {
                if few.binary_search(&number).is_ok() {
                    *few = few.iter().copied().filter(|other| *other != number).collect();
                }
            }
            Self::Many(many) => {
                let (page, bit) = page_of(number);
                if many.pages.get(&page).is_none_or(|there| there & bit == 0) {
                    return;
                }
                let many = Arc::make_mut(many);
                many.len -= 1;
                match many.pages.get_mut(&page) {
                    Some(there) if *there != bit => *there &= !bit,
                    _ => drop(many.pages.remove(&page)),
                }
                // Well below where it became many, so that a set at the edge does not change its form with each step.
                if many.len <= FEW / 2 {
                    *self = Self::Few(many.pages.iter().map(|(page, bits)| (*page, *bits)).flat_map(numbers).collect());
                }
            }
        }
    }

    /// A reader at the first page.
    pub fn cursor(&self) -> Cursor<'_> {
        let rest = match self {
            Self::One(one) => Rest::Few(slice::from_ref(one)),
            Self::Few(few) => Rest::Few(few),
            Self::Many(many) => Rest::Many(&many.pages, None),
        };
        Cursor { head: None, rest }
    }
}

/// Reads a set page by page, forwards.
pub(super) struct Cursor<'a> {
    head: Option<Page>,
    rest: Rest<'a>,
}

enum Rest<'a> {
    Few(&'a [ItemNumber]),
    Many(&'a OrdMap<u64, u64>, Option<RangedIter<'a, u64, u64, DefaultSharedPtr>>),
}

/// Pages that are passed one by one before the next is searched for: about what a search costs.
const STEPS: usize = 8;

impl Cursor<'_> {
    /// The first page from `page` on that has a number. `page` must not fall from one call to the next.
    pub fn seek(&mut self, page: u64) -> Option<Page> {
        if self.head.is_none_or(|head| head.0 < page) {
            self.head = self.rest.next(page);
        }
        self.head
    }

    /// The pages that are left, in order.
    pub fn append_to(mut self, pages: &mut Vec<Page>) {
        let mut from = 0;
        while let Some(page) = self.seek(from) {
            pages.push(page);
            from = page.0 + 1;
        }
    }
}

impl Rest<'_> {
    fn next(&mut self, page: u64) -> Option<Page> {
        match self {
            Self::Few(rest) => {
                let numbers = &rest[rest.partition_point(|number| number / WIDTH < page)..];
                let page = numbers.first()? / WIDTH;
                let (here, after) = numbers.split_at(numbers.partition_point(|number| number / WIDTH == page));
                *rest = after;
                Some((page, here.iter().fold(0, |bits, number| bits | page_of(*number).1)))
            }
            Self::Many(pages, iter) => {
                let near = iter.as_mut().and_then(|iter| iter.by_ref().take(STEPS).find(|(at, _)| **at >= page));
                let found = near.or_else(|| iter.insert(pages.range(page..)).next());
                found.map(|(page, bits)| (*page, *bits))
            }
        }
    }
}

/// Pages in any order, some of them several times, as pages in ascending order, each once.
pub(super) fn joined(mut pages: Vec<Page>) -> Vec<Page> {
    pages.sort_unstable_by_key(|(page, _)| *page);
    pages.dedup_by(|(page, bits), (kept, all)| {
        let is_same = page == kept;
        *all |= if is_same { *bits } else { 0 };
        is_same
    });
    pages
}

/// A map of what comes in order. One that is filled in order has nodes that are half full, since a full one is cut in the
/// middle and only the upper half goes on. So the even ones come first, and the odd ones then fill the nodes.
pub(super) fn filled<K: Ord + Clone, V: Clone>(sorted: impl Iterator<Item = (K, V)>) -> OrdMap<K, V> {
    let mut map = OrdMap::new();
    let mut odd = Vec::new();
    for (n, (key, value)) in sorted.enumerate() {
        if n % 2 == 0 {
            map.insert(key, value);
        } else {
            odd.push((key, value));
        }
    }
    odd.into_iter().for_each(|(key, value)| drop(map.insert(key, value)));
    map
}
