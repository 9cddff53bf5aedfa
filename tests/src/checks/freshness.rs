//! A default read is older than what was acknowledged elsewhere by at most the freshness bound, whatever the stream of
//! changes does meanwhile.

use std::{collections::BTreeMap, time::Duration};

use super::{Verdict, broken, greatest_by_then, replay::Replay};
use crate::history::{Final, History, Item, Outcome, Read, Revision};

/// The freshness bound of layouts that do not set one (`freshness_ms`).
pub const BOUND: Duration = Duration::from_millis(1000);

/// See the file's head.
///
/// # Errors
/// When it is not so.
pub fn check(history: &History, end: &Final) -> Verdict {
    let replay = Replay::of(history, end);
    let acknowledged = Acknowledged::of(history);
    for read in history.looks() {
        let Some((at, revision)) = acknowledged.due(&read) else { continue };
        if replay.changed(read.item, read.revision, revision) {
            let age = read.start.saturating_sub(at).as_millis();
            return broken(
                "freshness",
                format_args!("a write acknowledged at revision {revision}, {age} ms before, is not in {read:?}"),
            );
        }
    }
    Ok(())
}

/// For each item, the greatest revision acknowledged by a moment, by moments.
#[derive(Debug)]
pub struct Acknowledged(BTreeMap<Item, Vec<(Duration, Revision)>>);

impl Acknowledged {
    /// What was acknowledged anywhere.
    pub fn of(history: &History) -> Self {
        let mut acknowledged: BTreeMap<Item, Vec<(Duration, Revision)>> = BTreeMap::new();
        for write in &history.writes {
            if let Outcome::Ok(revision) = write.outcome {
                for item in write.items() {
                    acknowledged.entry(item).or_default().push((write.end, revision));
                }
            }
        }
        acknowledged.values_mut().for_each(|moments| greatest_by_then(moments));
        Self(acknowledged)
    }

    /// What must be in a read: acknowledged longer ago than the bound when it began, and when that was. A linearizable read
    /// has no such leave; that is for another check to say.
    pub fn due(&self, read: &Read) -> Option<(Duration, Revision)> {
        let since = read.start.checked_sub(BOUND)?;
        let moments = self.0.get(&read.item)?;
        let before = moments.partition_point(|(end, _)| *end < since);
        before.checked_sub(1).map(|last| moments[last])
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::story, *};

    #[test]
    fn rejects_a_read_older_than_the_bound_and_only_that() {
        let (mut history, end) = story();
        assert_eq!(check(&history, &end), Ok(()));
        // Acknowledged at 80 ms; by then the stock of revision 8 may be shown for a second.
        (history.reads[3].revision, history.reads[3].quantity) = (8, 5);
        history.reads[3].start = Duration::from_millis(1079);
        assert_eq!(check(&history, &end), Ok(()));
        history.reads[3].start = Duration::from_millis(1090);
        assert!(check(&history, &end).is_err());
    }
}
