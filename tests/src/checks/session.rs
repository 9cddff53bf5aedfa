//! A read shows stock and cost as they were at the revision that it names, and nothing older than what the same front end
//! has acknowledged or answered about that item before the read began: never older than acknowledged, never backwards. A
//! list shows each of its items once, and all as of one revision.

use std::{collections::BTreeMap, time::Duration};

use super::{Verdict, broken, greatest_by_then, replay::Replay};
use crate::history::{Final, History, Item, Outcome, Read, Revision};

/// See the file's head.
///
/// # Errors
/// When it is not so.
pub fn check(history: &History, end: &Final) -> Verdict {
    for listing in &history.listings {
        let mut items: Vec<Item> = listing.books.iter().map(|(item, ..)| *item).collect();
        items.sort_unstable();
        if items != listing.of {
            return broken("session", format_args!("a list without an item, or with one too much: {listing:?}"));
        }
    }
    let replay = Replay::of(history, end);
    let known = Known::of(history);
    for read in history.looks() {
        let (item, revision) = (read.item, read.revision);
        let stock = replay.stock_at(item, revision);
        if stock != read.quantity {
            return broken("session", format_args!("there were {stock} in stock then: {read:?}"));
        }
        if !replay.may_cost(item, revision, read.cost) {
            return broken("session", format_args!("it had another cost then: {read:?}"));
        }
        // A fill of the cache may bear an earlier revision, as long as the item has not changed since.
        if let Some(floor) = known.before(&read)
            && replay.changed(item, revision, floor)
        {
            return broken("session", format_args!("revision {floor} was known before {read:?} began"));
        }
    }
    Ok(())
}

/// For each front end and item, the greatest revision acknowledged or answered about it by a moment, by moments.
#[derive(Debug)]
pub struct Known(BTreeMap<(usize, Item), Vec<(Duration, Revision)>>);

impl Known {
    /// What front ends told their clients.
    pub fn of(history: &History) -> Self {
        let mut known: BTreeMap<(usize, Item), Vec<(Duration, Revision)>> = BTreeMap::new();
        for write in &history.writes {
            let Some(revision) = write.decided_at() else { continue };
            let items = write.items();
            // Which of several items an order was refused for is not kept.
            if items.len() > 1 && !matches!(write.outcome, Outcome::Ok(_)) {
                continue;
            }
            for item in items {
                known.entry((write.front, item)).or_default().push((write.end, revision));
            }
        }
        for read in history.looks() {
            known.entry((read.front, read.item)).or_default().push((read.end, read.revision));
        }
        known.values_mut().for_each(|moments| greatest_by_then(moments));
        Self(known)
    }

    /// The revision that was known of the read's item, at its front end, when it began.
    pub fn before(&self, read: &Read) -> Option<Revision> {
        let known = self.0.get(&(read.front, read.item))?;
        let before = known.partition_point(|(answered, _)| *answered < read.start);
        before.checked_sub(1).map(|last| known[last].1)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::story, *};

    type Book = (Item, i64, u64);

    #[test]
    fn rejects_a_stock_that_never_was() {
        let (mut history, end) = story();
        assert_eq!(check(&history, &end), Ok(()));
        history.reads[3].quantity = 5;
        assert!(check(&history, &end).is_err());
    }

    #[test]
    fn rejects_a_list_that_lacks_an_item_or_is_of_several_moments() {
        let spoils: [fn(&mut Vec<Book>); 4] = [
            |books| books.truncate(1),
            |books| books.push((2, 6, 7)),
            |books| books[1] = (2, 10, 20),
            |books| books[0] = (1, 5, 10),
        ];
        for spoil in spoils {
            let (mut history, end) = story();
            spoil(&mut history.listings[0].books);
            assert!(check(&history, &end).is_err(), "{:?}", history.listings);
        }
    }

    #[test]
    fn rejects_a_list_older_than_an_acknowledged_write() {
        let (mut history, end) = story();
        (history.listings[0].revision, history.listings[0].books[0].1) = (8, 5);
        assert!(check(&history, &end).is_err());
        history.listings[0].front = 1;
        assert_eq!(check(&history, &end), Ok(()));
    }

    #[test]
    fn rejects_a_cost_that_never_was() {
        let (mut history, end) = story();
        history.reads[2].cost = 20;
        assert!(check(&history, &end).is_err());
    }

    #[test]
    fn binds_each_front_end_to_its_own_word_alone() {
        let (mut history, end) = story();
        (history.reads[3].revision, history.reads[3].quantity) = (8, 5);
        history.reads[3].front = 1;
        assert_eq!(check(&history, &end), Ok(()));
    }

    #[test]
    fn rejects_a_stock_older_than_an_acknowledged_write() {
        let (mut history, end) = story();
        (history.reads[3].revision, history.reads[3].quantity) = (8, 5);
        assert!(check(&history, &end).is_err());
    }

    #[test]
    fn rejects_a_stock_older_than_one_shown_before() {
        let (mut history, end) = story();
        history.writes[5].end = Duration::from_millis(500);
        assert_eq!(check(&history, &end), Ok(()));
        let mut older = history.reads[3];
        (older.start, older.revision, older.quantity) = (Duration::from_millis(100), 8, 5);
        history.reads.push(older);
        assert!(check(&history, &end).is_err());
    }
}
