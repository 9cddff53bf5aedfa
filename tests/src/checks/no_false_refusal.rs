//! Nothing is refused for want of stock that there was: at the revision of the refusal some item asked for can have
//! been short.

use super::{Verdict, broken, replay::Replay};
use crate::history::{Ask, Final, History, Outcome};

/// See the file's head.
///
/// # Errors
/// When it is not so.
pub fn check(history: &History, end: &Final) -> Verdict {
    let replay = Replay::of(history, end);
    for write in &history.writes {
        let Outcome::OutOfStock(revision) = write.outcome else { continue };
        let short = |item, units: i64| units > replay.least_within(item, revision);
        let rightly = match &write.ask {
            Ask::AddStock(item, delta) => short(*item, -delta),
            Ask::SetCost(..) => false,
            _ => write.units().into_iter().any(|(item, units)| short(item, i64::try_from(units).unwrap_or(i64::MAX))),
        };
        if !rightly {
            return broken("no_false_refusal", format_args!("there was enough for {write:?}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::testing::story, *};

    #[test]
    fn rejects_a_refusal_with_enough_in_stock() {
        let (mut history, end) = story();
        assert_eq!(check(&history, &end), Ok(()));
        history.writes[3].outcome = Outcome::OutOfStock(9);
        assert!(check(&history, &end).is_err());
        history.writes[3].ask = Ask::AddStock(1, -6);
        assert_eq!(check(&history, &end), Ok(()));
        history.writes[3].ask = Ask::AddStock(1, -4);
        assert!(check(&history, &end).is_err());
    }
}
