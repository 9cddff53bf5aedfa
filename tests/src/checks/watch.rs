//! What a follower of the changes is told is ordered, unique, atomic (all changes of a revision at once), reliable (nothing
//! is missing between two positions), resumable (a stream that broke goes on where it was) and bookmarked honestly (a
//! bookmark never overtakes a change).

use std::collections::BTreeMap;

use super::{Verdict, broken, replay::Replay};
use crate::history::{Final, History, Item, Revision, Told};

/// See the file's head.
///
/// # Errors
/// When it is not so.
pub fn check(history: &History, end: &Final) -> Verdict {
    let replay = Replay::of(history, end);
    for (follower, told) in history.told.iter().enumerate() {
        let mut position = None;
        for told in told {
            position = step(&replay, position, told).or_else(|what| {
                broken("watch", format_args!("follower {follower} at {position:?} was told {told:?}: {what}"))
            })?;
        }
    }
    Ok(())
}

/// The position after what was told at `position`; `None` as long as nothing is promised.
fn step(replay: &Replay, position: Option<Revision>, told: &Told) -> Result<Option<Revision>, String> {
    match (told, position) {
        (Told::From(revision), _) => Ok(Some(*revision)),
        (Told::Compacted, _) => Ok(None),
        (_, None) => Ok(None),
        (Told::Resumed(after), Some(position)) if *after != position => Err("it had asked for another".to_owned()),
        (Told::Resumed(_), position) => Ok(position),
        (Told::Changes(revision, _) | Told::Bookmark(revision), Some(position)) if *revision < position => {
            Err("that is behind it".to_owned())
        }
        (Told::Bookmark(revision), Some(position)) => {
            nothing_within(replay, position, *revision)?;
            Ok(Some(*revision))
        }
        (Told::Changes(revision, _), Some(position)) if *revision == position => Err("for a second time".to_owned()),
        (Told::Changes(revision, changes), Some(position)) => {
            nothing_within(replay, position, *revision - 1)?;
            all_of(replay, *revision, changes)?;
            Ok(Some(*revision))
        }
    }
}

fn nothing_within(replay: &Replay, from: Revision, upto: Revision) -> Result<(), String> {
    match replay.changes(from, upto).first_key_value() {
        None => Ok(()),
        Some((revision, items)) => Err(format!("revision {revision} changed {items:?} and was not told")),
    }
}

fn all_of(replay: &Replay, revision: Revision, changes: &[(Item, i64, u64)]) -> Result<(), String> {
    let told: BTreeMap<Item, (i64, u64)> = changes.iter().map(|(item, stock, cost)| (*item, (*stock, *cost))).collect();
    if told.len() != changes.len() {
        return Err("an item twice".to_owned());
    }
    let changed = replay.changes(revision - 1, revision).remove(&revision).unwrap_or_default();
    if !changed.iter().eq(told.keys()) {
        return Err(format!("{changed:?} changed"));
    }
    for (item, (stock, cost)) in told {
        if replay.stock_at(item, revision) != stock || !replay.may_cost(item, revision, cost) {
            return Err(format!(
                "the stock of {item} was {} then, or its cost another",
                replay.stock_at(item, revision)
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::testing::story, *};

    #[test]
    fn rejects_what_is_missing_doubled_torn_late_or_wrong() {
        let (history, end) = story();
        assert_eq!(check(&history, &end), Ok(()));
        let spoils: [fn(&mut Vec<Told>); 9] = [
            |told| drop(told.remove(1)),
            |told| drop(told.remove(5)),
            |told| told.insert(2, told[1].clone()),
            |told| told.swap(1, 2),
            |told| told[2] = Told::Changes(6, vec![(1, 0, 10)]),
            |told| told[1] = Told::Changes(5, vec![(1, 2, 10)]),
            |told| told[4] = Told::Bookmark(8),
            |told| told[3] = Told::Resumed(5),
            |told| told[2] = Told::Changes(6, vec![(1, 0, 10), (2, 6, 20)]),
        ];
        for (at, spoil) in spoils.iter().enumerate() {
            let mut history = history.clone();
            spoil(&mut history.told[0]);
            assert!(check(&history, &end).is_err(), "{at}");
        }
    }

    #[test]
    fn forgives_what_was_compacted() {
        let (mut history, end) = story();
        history.told[0].splice(1..4, [Told::From(6)]);
        assert_eq!(check(&history, &end), Ok(()));
    }
}
