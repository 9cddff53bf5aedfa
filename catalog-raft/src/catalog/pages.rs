//! A map from item numbers to values, in order of the numbers, cloned in constant time.
//!
//! Owns where a value lies: with 63 numbers beside it on a page that is one block of memory. A tree of single values takes
//! a miss of the processor's cache for each step of the search among them, and a shop of 100,000 items is out of every
//! cache; here the tree is of pages, small enough to stay in it, and a page is not searched. Must not know what is kept.

use std::sync::Arc;

use catalog_client::ItemNumber;
use imbl::OrdMap;

/// Numbers a page.
const WIDTH: u64 = 64;

/// The map. No number is ever taken out of it.
#[derive(Debug, Clone)]
pub(super) struct Pages<V> {
    pages: OrdMap<u64, Page<V>>,
    len: usize,
}

#[derive(Debug)]
struct Page<V> {
    /// Which of its numbers have a value: bit n for the n-th.
    there: u64,
    /// Their values, in order of the numbers.
    values: Arc<[V]>,
}

impl<V> Clone for Page<V> {
    fn clone(&self) -> Self {
        Self { there: self.there, values: self.values.clone() }
    }
}

impl<V> Page<V> {
    /// How many values lie before that of the bit, and whether it has one.
    fn place(&self, bit: u64) -> (usize, bool) {
        ((self.there & (bit - 1)).count_ones() as usize, self.there & bit != 0)
    }

    fn numbers(&self, page: u64) -> impl DoubleEndedIterator<Item = ItemNumber> + use<V> {
        let there = self.there;
        (0..WIDTH).filter(move |n| there & (1 << n) != 0).map(move |n| page * WIDTH + n)
    }
}

impl<V> Default for Pages<V> {
    fn default() -> Self {
        Self { pages: OrdMap::new(), len: 0 }
    }
}

impl<V: Clone> Pages<V> {
    /// How many values there are.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn get(&self, number: ItemNumber) -> Option<&V> {
        let page = self.pages.get(&(number / WIDTH))?;
        let (place, there) = page.place(1 << (number % WIDTH));
        there.then(|| &page.values[place])
    }

    /// A value, to change. A page that a clone of the map has too is copied first.
    pub fn get_mut(&mut self, number: ItemNumber) -> Option<&mut V> {
        let page = self.pages.get_mut(&(number / WIDTH))?;
        let (place, there) = page.place(1 << (number % WIDTH));
        there.then(|| &mut Arc::make_mut(&mut page.values)[place])
    }

    /// Puts values under numbers that have none, in ascending order. Each page is laid down once, however many come to it.
    pub fn insert(&mut self, values: impl IntoIterator<Item = (ItemNumber, V)>) {
        let mut values = values.into_iter().peekable();
        while let Some((number, _)) = values.peek() {
            let of_page = number / WIDTH;
            let page = self.pages.entry(of_page).or_insert_with(|| Page { there: 0, values: Arc::from([]) });
            let mut all: Vec<_> = page.numbers(of_page).zip(page.values.iter().cloned()).collect();
            let kept = all.len();
            while let Some(new) = values.next_if(|(number, _)| number / WIDTH == of_page) {
                page.there |= 1 << (new.0 % WIDTH);
                all.push(new);
            }
            self.len += all.len() - kept;
            debug_assert_eq!(page.there.count_ones() as usize, all.len(), "a number is given once");
            all.sort_by_key(|(number, _)| *number);
            page.values = all.into_iter().map(|(_, value)| value).collect();
        }
    }

    /// The values of the numbers above `after`, in their order.
    pub fn above(&self, after: ItemNumber) -> impl Iterator<Item = (ItemNumber, &V)> {
        let pages = self.pages.range(after / WIDTH..);
        let all = pages.flat_map(|(page, kept)| kept.numbers(*page).zip(kept.values.iter()));
        all.skip_while(move |(number, _)| *number <= after)
    }

    /// The greatest number.
    pub fn greatest(&self) -> Option<ItemNumber> {
        let (page, kept) = self.pages.get_max()?;
        kept.numbers(*page).next_back()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn number() -> impl Strategy<Value = ItemNumber> {
        prop_oneof![0..300_u64, (0..40_u64).prop_map(|n| n * n * n * n * n), Just(1 << 53), Just((1 << 53) - 1)]
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
                let above: Vec<_> = pages.above(after).collect();
                let expected: Vec<_> = map.range(after + 1..).map(|(number, value)| (*number, value)).collect();
                prop_assert_eq!(above, expected);
                prop_assert_eq!(pages.greatest(), map.keys().next_back().copied());
                prop_assert_eq!(pages.len(), map.len());
            }
        }
    }
}
