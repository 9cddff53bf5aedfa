//! Writes take effect between the moment they are sent and the moment they are answered: one that was sent after
//! another was answered has the greater revision.

use super::{Verdict, broken};
use crate::history::{Final, History};

/// See the file's head.
///
/// # Errors
/// When it is not so.
pub fn check(history: &History, _: &Final) -> Verdict {
    let decided = || history.writes.iter().filter_map(|write| Some((write, write.decided_at()?)));
    let mut by_end: Vec<_> = decided().collect();
    by_end.sort_by_key(|(write, _)| write.end);
    let mut by_start: Vec<_> = decided().collect();
    by_start.sort_by_key(|(write, _)| write.start);
    let mut answered = by_end.into_iter().peekable();
    let mut newest = None;
    for (write, revision) in by_start {
        while let Some(before) = answered.next_if(|(before, _)| before.end < write.start) {
            newest = newest.max(Some((before.1, before.0.key)));
        }
        if let Some((before, key)) = newest.filter(|(before, _)| *before >= revision) {
            return broken(
                "real_time",
                format_args!("{key} was answered at revision {before} before {write:?} was sent"),
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::testing::story, *};
    use crate::history::Outcome;

    #[test]
    fn rejects_a_write_that_went_back_in_time() {
        let (mut history, end) = story();
        assert_eq!(check(&history, &end), Ok(()));
        history.writes[3].outcome = Outcome::OutOfStock(6);
        assert!(check(&history, &end).is_err());
    }
}
