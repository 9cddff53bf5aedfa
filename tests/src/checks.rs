//! The promises of the store as properties of a history and of what the store held at its end: one property a file,
//! each a pure function. Must not know how the facts were collected.

use std::fmt::Display;

use crate::history::{Final, History};

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
    use super::{testing::story, violations};

    #[test]
    fn a_history_without_fault_breaks_nothing() {
        let (history, end) = story();
        assert_eq!(violations(&history, &end), []);
    }
}
