//! A map from item numbers to values, in order of the numbers, cloned in constant time.
//!
//! Owns where a value lies: with 63 numbers beside it on a page that is one block of memory, and the page with 63 beside it
//! in a book. A tree of single values takes a miss of the processor's cache for each step of the search among them, and a
//! shop of 100,000 is out of every cache; here the tree is of books, a few dozen, and neither they nor pages are searched.
//! Numbers far apart cost a book each, of no more than they need. Must not know what is kept.

use std::sync::Arc;

use catalog_client::ItemNumber;
use imbl::OrdMap;

/// Numbers a page, and pages a book.
const WIDTH: u64 = 64;

/// The map. No number is ever taken out of it.
#[derive(Debug, Clone)]
pub(super) struct Pages<V> {
    books: OrdMap<u64, Leaf<Leaf<V>>>,
    len: usize,
}

/// A page of values, or a book of pages.
#[derive(Debug)]
struct Leaf<V> {
    /// Which of its places have a value: bit n for the n-th.
    there: u64,
    /// Their values, in order.
    values: Arc<[V]>,
}

impl<V> Clone for Leaf<V> {
    fn clone(&self) -> Self {
        Self { there: self.there, values: self.values.clone() }
    }
}

impl<V> Default for Leaf<V> {
    fn default() -> Self {
        Self { there: 0, values: Arc::from([]) }
    }
}

impl<V> Leaf<V> {
    /// How many values lie before that of the bit, if it has one.
    fn place(&self, bit: u64) -> Option<usize> {
        (self.there & bit != 0).then(|| self.before(bit))
    }

    fn before(&self, bit: u64) -> usize {
        (self.there & (bit - 1)).count_ones() as usize
    }

    fn get(&self, bit: u64) -> Option<&V> {
        Some(&self.values[self.place(bit)?])
    }

    /// The values with their numbers, if this is the leaf of that number.
    fn numbered(&self, leaf: u64) -> impl DoubleEndedIterator<Item = (u64, &V)> {
        let there = self.there;
        let places = (0..WIDTH).filter(move |n| there & (1 << n) != 0);
        places.map(move |n| (leaf * WIDTH + n, &self.values[self.before(1 << n)]))
    }
}

impl<V: Clone> Leaf<V> {
    fn get_mut(&mut self, bit: u64) -> Option<&mut V> {
        let place = self.place(bit)?;
        Some(&mut Arc::make_mut(&mut self.values)[place])
    }

    /// The value of the bit, which it gets if it has none.
    fn or_default(&mut self, bit: u64) -> &mut V
    where
        V: Default,
    {
        let place = self.before(bit);
        if self.there & bit == 0 {
            let mut values = self.values.to_vec();
            values.insert(place, V::default());
            *self = Self { there: self.there | bit, values: values.into() };
        }
        &mut Arc::make_mut(&mut self.values)[place]
    }
}

/// A value that was found, and not yet looked at.
#[derive(Debug)]
pub(super) struct Place<'a, V> {
    page: &'a Arc<[V]>,
    value: &'a V,
}

impl<'a, V> Place<'a, V> {
    /// The value.
    pub fn value(&self) -> &'a V {
        self.value
    }

    /// Whether another book has its page too, one that was copied for a clone of the map.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(self.page) > 1
    }
}

/// Where a number is: its book, the bit of its page there, and its own on that.
fn address(number: ItemNumber) -> (u64, u64, u64) {
    (number / (WIDTH * WIDTH), 1 << (number / WIDTH % WIDTH), 1 << (number % WIDTH))
}

impl<V> Default for Pages<V> {
    fn default() -> Self {
        Self { books: OrdMap::new(), len: 0 }
    }
}

impl<V: Clone> Pages<V> {
    /// How many values there are.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn get(&self, number: ItemNumber) -> Option<&V> {
        let (book, page, place) = address(number);
        self.books.get(&book)?.get(page)?.get(place)
    }

    /// The same, without a look at the page.
    pub fn place(&self, number: ItemNumber) -> Option<Place<'_, V>> {
        let (book, page, place) = address(number);
        let page = self.books.get(&book)?.get(page)?;
        Some(Place { page: &page.values, value: page.get(place)? })
    }

    /// A value, to change. A page that a clone of the map has too is copied first.
    pub fn get_mut(&mut self, number: ItemNumber) -> Option<&mut V> {
        let (book, page, place) = address(number);
        self.books.get_mut(&book)?.get_mut(page)?.get_mut(place)
    }

    /// Puts values under numbers that have none, in ascending order. Each page is laid down once, however many come to it.
    pub fn insert(&mut self, values: impl IntoIterator<Item = (ItemNumber, V)>) {
        let mut values = values.into_iter().peekable();
        while let Some((number, _)) = values.peek() {
            let (of_page, (book, page, _)) = (number / WIDTH, address(*number));
            let page = self.books.entry(book).or_default().or_default(page);
            let mut all: Vec<_> = page.numbered(of_page).map(|(number, value)| (number, value.clone())).collect();
            let (kept, mut there) = (all.len(), page.there);
            while let Some(new) = values.next_if(|(number, _)| number / WIDTH == of_page) {
                there |= address(new.0).2;
                all.push(new);
            }
            self.len += all.len() - kept;
            debug_assert_eq!(there.count_ones() as usize, all.len(), "a number is given once");
            all.sort_by_key(|(number, _)| *number);
            *page = Leaf { there, values: all.into_iter().map(|(_, value)| value).collect() };
        }
    }

    /// The values of the numbers above `after`, in their order.
    pub fn above(&self, after: ItemNumber) -> impl Iterator<Item = (ItemNumber, &V)> {
        let books = self.books.range(address(after).0..);
        let pages =
            books.flat_map(|(book, kept)| kept.numbered(*book)).skip_while(move |(page, _)| *page < after / WIDTH);
        pages.flat_map(|(page, kept)| kept.numbered(page)).skip_while(move |(number, _)| *number <= after)
    }

    /// The greatest number.
    pub fn greatest(&self) -> Option<ItemNumber> {
        let (book, kept) = self.books.get_max()?;
        let (page, kept) = kept.numbered(*book).next_back()?;
        kept.numbered(page).next_back().map(|(number, _)| number)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn number() -> impl Strategy<Value = ItemNumber> {
        prop_oneof![
            0..300_u64,
            4_000..4_200_u64,
            (0..40_u64).prop_map(|n| n * n * n * n * n),
            Just(1 << 53),
            Just((1 << 53) - 1)
        ]
    }

    #[test]
    fn a_page_is_shared_while_a_clone_has_it_too() {
        let mut pages = Pages::default();
        pages.insert([(1, 'a'), (2, 'b'), (64, 'c')]);
        let shared = |pages: &Pages<char>| [1, 2, 64].map(|n| pages.place(n).expect("it was put there").is_shared());
        assert_eq!(shared(&pages), [false; 3]);
        let frozen = pages.clone();
        *pages.get_mut(1).expect("it was put there") = 'd';
        // The book was copied, and one page of it.
        assert_eq!((shared(&pages), shared(&frozen)), ([false, false, true], [false, false, true]));
        drop(frozen);
        assert_eq!(shared(&pages), [false; 3]);
    }

    proptest! {
        #[test]
        fn as_a_map_does_and_clones_keep_what_they_had(steps in prop::collection::vec((number(), prop::collection::vec(number(), 0..9), any::<u16>(), any::<bool>()), 0..200), after in number()) {
            let (mut pages, mut map) = (Pages::default(), BTreeMap::new());
            let mut frozen = (pages.clone(), map.clone());
            for (n, (number, others, value, insert)) in steps.into_iter().enumerate() {
                if n == 100 {
                    frozen = (pages.clone(), map.clone());
                }
                if insert && !map.contains_key(&number) {
                    let new: BTreeMap<_, _> = others.into_iter().chain([number]).map(|number| (number, value)).collect();
                    let new: Vec<_> = new.into_iter().filter(|(number, _)| !map.contains_key(number)).collect();
                    map.extend(new.iter().copied());
                    pages.insert(new);
                } else {
                    let (mut kept, mut expected) = (pages.get_mut(number), map.get_mut(&number));
                    prop_assert_eq!(&mut kept, &mut expected);
                    if let (Some(kept), Some(expected)) = (kept, expected) {
                        (*kept, *expected) = (value, value);
                    }
                }
            }
            for (pages, map) in [(pages, map), frozen] {
                prop_assert!(map.iter().all(|(number, value)| pages.get(*number) == Some(value)));
                prop_assert_eq!(pages.get(after), map.get(&after));
                prop_assert_eq!(pages.place(after).map(|place| place.value()), map.get(&after));
                let above: Vec<_> = pages.above(after).collect();
                let expected: Vec<_> = map.range(after + 1..).map(|(number, value)| (*number, value)).collect();
                prop_assert_eq!(above, expected);
                prop_assert_eq!(pages.greatest(), map.keys().next_back().copied());
                prop_assert_eq!(pages.len(), map.len());
            }
        }
    }
}
