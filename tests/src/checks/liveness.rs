//! Once the faults have ended every server serves within the time that is promised, every write came to a known end, and
//! no client saw an answer that no client should see. The other checks rely on it: what may or may not have happened
//! cannot be counted.

use super::{Verdict, broken};
use crate::history::{Final, History, Outcome};

/// See the file's head.
///
/// # Errors
/// When it is not so.
pub fn check(history: &History, _: &Final) -> Verdict {
    if let Some(unserved) = history.unserved.first() {
        return broken("liveness", format_args!("{unserved} (and {} more)", history.unserved.len() - 1));
    }
    if let Some(surprise) = history.surprises.first() {
        return broken("liveness", format_args!("{surprise} (and {} more)", history.surprises.len() - 1));
    }
    let mut unknown = history.writes.iter().filter(|write| write.outcome == Outcome::Unknown);
    match unknown.next() {
        None => Ok(()),
        Some(write) => broken("liveness", format_args!("unknown after all: {write:?} (and {} more)", unknown.count())),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::story, *};

    #[test]
    fn rejects_unknown_outcomes_and_surprises() {
        let (mut history, end) = story();
        assert_eq!(check(&history, &end), Ok(()));
        history.writes[2].outcome = Outcome::Unknown;
        assert!(check(&history, &end).is_err());
        let (mut history, end) = story();
        history.unserved.push("order-1 did not serve".to_owned());
        assert!(check(&history, &end).is_err());
        let (mut history, end) = story();
        history.surprises.push("status 500".to_owned());
        assert!(check(&history, &end).is_err());
    }
}
