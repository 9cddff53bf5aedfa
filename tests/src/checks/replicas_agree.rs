//! At the end all replicas stand at one revision with one state: hash, stock and ledger; the front end shows the same
//! ledger.

use super::{Verdict, broken};
use crate::history::{Final, History};

/// See the file's head.
///
/// # Errors
/// When it is not so.
pub fn check(_: &History, end: &Final) -> Verdict {
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
