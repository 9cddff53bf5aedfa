//! Whenever two replicas stand at one revision, on the way or at the end, their states have one hash. At the end all stand
//! at one revision with one stock and ledger; the front end shows the same ledger.

use std::collections::HashMap;

use super::{Verdict, broken};
use crate::history::{Final, History, Sample};

/// See the file's head.
///
/// # Errors
/// When it is not so.
pub fn check(history: &History, end: &Final) -> Verdict {
    let mut seen: HashMap<u64, &Sample> = HashMap::new();
    for sample in &history.samples {
        let first = seen.entry(sample.applied).or_insert(sample);
        if first.state_hash != sample.state_hash {
            return broken("replicas_agree", format_args!("{first:?} and {sample:?}"));
        }
    }
    let Some((first, others)) = end.replicas.split_first() else {
        return broken("replicas_agree", "no replica was looked at");
    };
    for other in others {
        let pair = format!("{} and {}", first.name, other.name);
        if first.applied != other.applied {
            let (one, another) = (first.applied, other.applied);
            return broken("replicas_agree", format_args!("{pair} stand at revisions {one} and {another}"));
        }
        if first.state_hash != other.state_hash {
            return broken("replicas_agree", format_args!("{pair} differ in hash at revision {}", first.applied));
        }
        if first.stock != other.stock {
            return broken("replicas_agree", format_args!("{pair} differ: {:?}, {:?}", first.stock, other.stock));
        }
        if first.ledger != other.ledger {
            return broken("replicas_agree", format_args!("the ledgers of {pair} differ"));
        }
    }
    if end.ledger != first.ledger {
        return broken("replicas_agree", format_args!("the ledgers of {} and the front end differ", first.name));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::testing::story, *};

    #[test]
    fn rejects_another_hash_at_one_revision_on_the_way() {
        let (mut history, end) = story();
        history.samples[1].state_hash = "0".to_owned();
        assert!(check(&history, &end).is_err());
    }

    #[test]
    fn rejects_any_difference() {
        let (history, end) = story();
        assert_eq!(check(&history, &end), Ok(()));
        let spoils: [fn(&mut Final); 6] = [
            |end| end.replicas[1].applied = 8,
            |end| end.replicas[2].state_hash = "0".to_owned(),
            |end| *end.replicas[1].stock.get_mut(&1).unwrap() = 3,
            |end| end.replicas[2].ledger.swap(0, 1),
            |end| drop(end.ledger.pop()),
            |end| end.replicas.clear(),
        ];
        for (at, spoil) in spoils.iter().enumerate() {
            let mut end = end.clone();
            spoil(&mut end);
            assert!(check(&history, &end).is_err(), "{at}");
        }
    }
}
