//! Sets of item numbers read together: what is in any of some, what is in all of some.
//!
//! Owns the skipping. Must not know what the sets stand for.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, binary_heap::PeekMut},
};

use catalog_client::ItemNumber;

use super::postings::{Cursor, Page, Postings, WIDTH, numbers};

/// What is in any of some sets, page by page.
pub(super) enum Any<'a> {
    One(Cursor<'a>),
    Several(Several<'a>),
}

impl<'a> Any<'a> {
    /// What is in any of `sets`, from `page` on.
    pub fn of(sets: &[&'a Postings], page: u64) -> Self {
        if let [one] = sets {
            return Self::One(one.cursor());
        }
        let heads = sets.iter().filter_map(|set| Head::of(set.cursor(), page));
        Self::Several(Several { heads: heads.collect::<Vec<_>>().into(), read: None })
    }

    /// The first page from `page` on that has a number. `page` must not fall from one call to the next.
    fn seek(&mut self, page: u64) -> Option<Page> {
        match self {
            Self::One(cursor) => cursor.seek(page),
            Self::Several(several) => several.seek(page),
        }
    }
}

pub(super) struct Several<'a> {
    /// Each with its next page that is not yet read; the least is on top.
    heads: BinaryHeap<Head<'a>>,
    /// The page that was read last.
    read: Option<Page>,
}

impl Several<'_> {
    fn seek(&mut self, page: u64) -> Option<Page> {
        if self.read.is_some_and(|read| read.0 >= page) {
            return self.read;
        }
        while let Some(top) = self.heads.peek_mut()
            && top.page.0 < page
        {
            forward(top, page);
        }
        let (least, mut bits) = self.heads.peek()?.page;
        while let Some(top) = self.heads.peek_mut()
            && top.page.0 == least
        {
            bits |= top.page.1;
            forward(top, least + 1);
        }
        self.read = Some((least, bits));
        self.read
    }
}

struct Head<'a> {
    page: Page,
    cursor: Cursor<'a>,
}

impl<'a> Head<'a> {
    fn of(mut cursor: Cursor<'a>, page: u64) -> Option<Self> {
        cursor.seek(page).map(|page| Self { page, cursor })
    }
}

fn forward(mut top: PeekMut<'_, Head<'_>>, page: u64) {
    match top.cursor.seek(page) {
        Some(next) => top.page = next,
        None => drop(PeekMut::pop(top)),
    }
}

impl Ord for Head<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.page.0.cmp(&self.page.0)
    }
}

impl PartialOrd for Head<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head<'_> {}

/// The numbers above `after` that are in all of `sets`, of which there is one at least, in order. The first set leads: it
/// should be the smallest.
pub(super) fn in_all(mut sets: Vec<Any<'_>>, after: ItemNumber) -> impl Iterator<Item = ItemNumber> {
    let mut from = after / WIDTH;
    let pages = std::iter::from_fn(move || {
        let page = next_page(&mut sets, from)?;
        from = page.0 + 1;
        Some(page)
    });
    pages.flat_map(numbers).skip_while(move |number| *number <= after)
}

/// The first page from `page` on with a number that is in all sets.
fn next_page(sets: &mut [Any<'_>], mut page: u64) -> Option<Page> {
    loop {
        let (mut bits, mut asked) = (u64::MAX, page);
        for set in &mut *sets {
            let (at, here) = set.seek(page)?;
            (asked, bits) = (at, bits & here);
            if at > page {
                break;
            }
        }
        if asked > page {
            page = asked;
        } else if bits == 0 {
            page += 1;
        } else {
            return Some((page, bits));
        }
    }
}
