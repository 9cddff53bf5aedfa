//! The promises of the store as properties of a history and of what the store held at its end: one property a file,
//! each a pure function. Must not know how the facts were collected.

use std::{fmt::Display, time::Duration};

use crate::history::{Final, History, Read, Revision};

pub mod all_or_none;
pub mod conservation;
pub mod freshness;
pub mod linearizable;
pub mod liveness;
pub mod no_double;
pub mod no_false_refusal;
pub mod no_lost_ack;
pub mod no_oversell;
pub mod real_time;
pub mod replay;
pub mod replicas_agree;
pub mod session;
#[cfg(test)]
mod testing;
pub mod watch;

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize)]
#[error("{property}: {what}")]
pub struct Violation {
    /// Which property.
    pub property: &'static str,
    /// What shows it, in one sentence.
    pub what: String,
}

/// What a check says.
pub type Verdict = Result<(), Violation>;

/// A property.
type Check = fn(&History, &Final) -> Verdict;

/// All properties.
const ALL: [Check; 13] = [
    liveness::check,
    no_lost_ack::check,
    no_double::check,
    all_or_none::check,
    replicas_agree::check,
    conservation::check,
    no_oversell::check,
    no_false_refusal::check,
    real_time::check,
    session::check,
    freshness::check,
    watch::check,
    linearizable::check,
];

/// Judges a history by all properties. Returns those that are broken.
pub fn violations(history: &History, end: &Final) -> Vec<Violation> {
    ALL.iter().filter_map(|check| check(history, end).err()).collect()
}

/// Reads that a check had something to hold against: `linearizable` those that were to be so, `session` those of an item of
/// which their front end had told something before, `freshness` those that began longer than its bound after a write of the
/// item was acknowledged. A list is one read, and is among them if one of its items is.
pub fn reads_judged(history: &History) -> u64 {
    let (known, acknowledged) = (session::Known::of(history), freshness::Acknowledged::of(history));
    let is_judged = |read: &Read| read.linearizable || known.before(read).is_some() || acknowledged.due(read).is_some();
    let reads = history.reads.iter().filter(|read| is_judged(read)).count();
    let listings = history.listings.iter().filter(|listing| listing.looks().any(|read| is_judged(&read))).count();
    (reads + listings) as u64
}

/// Sorts moments, and makes each tell the greatest revision that was known by then.
fn greatest_by_then(moments: &mut [(Duration, Revision)]) {
    moments.sort_unstable();
    let mut greatest = 0;
    for (_, revision) in moments {
        greatest = greatest.max(*revision);
        *revision = greatest;
    }
}

fn broken<T>(property: &'static str, what: impl Display) -> Result<T, Violation> {
    Err(Violation { property, what: what.to_string() })
}

/// Every ledger that there is, with whose it is.
fn ledgers(end: &Final) -> impl Iterator<Item = (&str, &[crate::history::LedgerOrder])> {
    let of_replicas = end.replicas.iter().map(|replica| (replica.name.as_str(), replica.ledger.as_slice()));
    std::iter::once(("the front end", end.ledger.as_slice())).chain(of_replicas)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{reads_judged, testing::story, violations};

    #[test]
    fn a_history_without_fault_breaks_nothing() {
        let (history, end) = story();
        assert_eq!(violations(&history, &end), []);
    }

    #[test]
    fn counts_only_reads_that_there_was_something_to_hold_against() {
        let (mut history, _) = story();
        // Five reads and a list, all linearizable.
        assert_eq!(reads_judged(&history), 6);
        history.reads.iter_mut().for_each(|read| read.linearizable = false);
        history.listings[0].linearizable = false;
        assert_eq!(reads_judged(&history), 6, "all after a write through the same front end");
        history.reads[3].front = 1;
        assert_eq!(reads_judged(&history), 5, "of another front end nothing is known, and a second has not gone by");
        history.reads[3].start = Duration::from_millis(1100);
        assert_eq!(reads_judged(&history), 6);
    }
}
