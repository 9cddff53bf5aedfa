//! A read shows stock and cost as they were at the revision that it names, and nothing older than what the same front end
//! has acknowledged or answered about that item before the read began: never older than acknowledged, never backwards.

use std::{collections::BTreeMap, time::Duration};

use super::{Verdict, broken, replay::Replay};
use crate::history::{Final, History, Item, Outcome, Revision};

/// See the file's head.
///
/// # Errors
/// When it is not so.
pub fn check(history: &History, end: &Final) -> Verdict {
    let replay = Replay::of(history, end);
    let known = known(history);
    let nothing = Vec::new();
    for read in &history.reads {
        let (item, revision) = (read.item, read.revision);
        let stock = replay.stock_at(item, revision);
        if stock != read.quantity {
            return broken("session", format_args!("there were {stock} in stock then: {read:?}"));
        }
        if !replay.may_cost(item, revision, read.cost) {
            return broken("session", format_args!("it had another cost then: {read:?}"));
        }
        let known = known.get(&(read.front, item)).unwrap_or(&nothing);
        let before = known.partition_point(|(answered, _)| *answered < read.start);
        // A fill of the cache may bear an earlier revision, as long as the item has not changed since.
        if let Some((_, floor)) = before.checked_sub(1).map(|last| known[last])
            && replay.changed(item, revision, floor)
        {
            return broken("session", format_args!("revision {floor} was known before {read:?} began"));
        }
    }
    Ok(())
}

/// For each front end and item, the greatest revision acknowledged or answered about it by a moment, by moments.
fn known(history: &History) -> BTreeMap<(usize, Item), Vec<(Duration, Revision)>> {
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
    for read in &history.reads {
        known.entry((read.front, read.item)).or_default().push((read.end, read.revision));
    }
    for moments in known.values_mut() {
        moments.sort_unstable();
        let mut greatest = 0;
        for (_, revision) in moments {
            greatest = greatest.max(*revision);
            *revision = greatest;
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::{super::testing::story, *};

    #[test]
    fn rejects_a_stock_that_never_was() {
        let (mut history, end) = story();
        assert_eq!(check(&history, &end), Ok(()));
        history.reads[3].quantity = 5;
        assert!(check(&history, &end).is_err());
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
        let mut older = history.reads[3].clone();
        (older.start, older.revision, older.quantity) = (Duration::from_millis(100), 8, 5);
        history.reads.push(older);
        assert!(check(&history, &end).is_err());
    }
}
