//! Exactly once: repeated, reused, delayed ids.

use catalog_client::{Command, KeyOrigin, Outcome, Version};

use super::{Limits, Replica, add, change, command, order, withdraw};

fn client(command: Command) -> Command {
    Command { origin: KeyOrigin::Client, ..command }
}

#[test]
fn a_repeated_command_gets_its_first_answer_and_changes_nothing() {
    let mut replica = Replica::stocked(&[5]);
    let commands = [
        command(1, order(&[(1, 2)])),
        command(2, order(&[(1, 9)])),
        command(3, change(1, 3)),
        command(4, add(None, "t")),
        command(5, withdraw(2)),
        command(6, order(&[])),
    ];
    let first = replica.entry(&commands).answers;
    assert!(first[0].outcome.took_effect() && !first[1].outcome.took_effect());
    let view = replica.catalog.view();
    replica.idle(3);
    let hash = replica.catalog.state_hash();
    let again = replica.entry(&commands);
    assert_eq!(again.answers, first);
    assert!(again.event.is_none() && again.rows.is_empty());
    assert_eq!(replica.catalog.state_hash(), hash);
    assert_eq!(replica.catalog.view().items(None, None, None, 9), view.items(None, None, None, 9));
}

#[test]
fn a_command_may_come_twice_in_one_entry() {
    let mut replica = Replica::stocked(&[5, 5]);
    let (a, b) = (command(1, order(&[(1, 2)])), command(2, order(&[(2, 1)])));
    let answers = replica.entry(&[a.clone(), b.clone(), b, a]).answers;
    assert_eq!((&answers[0], &answers[1]), (&answers[3], &answers[2]));
    assert_eq!((replica.quantity(1), replica.quantity(2)), (3, 4));
}

#[test]
fn an_id_with_another_body_is_refused() {
    let mut replica = Replica::stocked(&[5, 5]);
    let first = replica.one(command(1, order(&[(1, 1), (2, 2)])));
    let respelled = replica.one(command(1, order(&[(2, 1), (1, 1), (2, 1)])));
    assert_eq!(respelled, first);
    for other in [order(&[(1, 1)]), order(&[(1, 1), (2, 3)]), withdraw(1)] {
        let revision = replica.next();
        let refused = replica.one(command(1, other.clone()));
        assert_eq!((refused.version, refused.outcome), (Version { revision, n: 0 }, Outcome::KeyReused));
        replica.idle(30);
        // By now only the ledger knows the id.
        let born = replica.catalog.applied();
        assert_eq!(replica.one(client(Command { born, ..command(1, other) })).outcome, Outcome::KeyReused);
        assert_eq!(replica.one(client(Command { born, ..command(1, order(&[(1, 1), (2, 2)])) })), first);
    }
}

#[test]
fn a_delayed_duplicate_never_takes_effect() {
    for delay in 0..30 {
        let mut replica = Replica::stocked(&[5, 5]);
        let (sold, refused) = (command(1, order(&[(1, 2)])), command(2, order(&[(2, 6)])));
        let (changed, born) = (command(3, change(1, 1)), replica.catalog.applied());
        let commands = [sold, refused, changed].map(|command| Command { born, ..command });
        let first = replica.entry(&commands).answers;
        replica.act(change(2, 5));
        replica.idle(delay);
        let again = replica.entry(&commands).answers;
        assert_eq!(again[0], first[0], "the ledger remembers for ever");
        for (again, first) in again.iter().zip(&first).skip(1) {
            assert!(again == first || again.outcome == Outcome::Expired, "{again:?}");
        }
        // Entry 2 executed them, made at revision 1; the window is 10 revisions.
        assert_eq!(again[1] == first[1], replica.catalog.applied() <= 13, "delay {delay}");
        assert_eq!((replica.quantity(1), replica.quantity(2)), (4, 10));
    }
}

#[test]
fn an_old_command_that_never_was_is_expired() {
    let mut replica = Replica::stocked(&[5]);
    replica.idle(20);
    for (origin, ids) in [(KeyOrigin::Made, 1000), (KeyOrigin::Client, 2000)] {
        let horizon = replica.catalog.meta().horizon;
        assert_eq!(horizon, replica.catalog.applied() - 10);
        let command = |born| Command { origin, born, ..command(ids + u128::from(born), order(&[(1, 1)])) };
        assert_eq!(replica.one(command(horizon - 1)).outcome, Outcome::Expired);
        let horizon = replica.catalog.meta().horizon;
        assert!(replica.one(command(horizon)).outcome.took_effect());
    }
    assert_eq!(replica.quantity(1), 3);
}

#[test]
fn a_refusal_for_age_or_reuse_is_not_remembered() {
    let mut replica = Replica::stocked(&[5]);
    replica.idle(20);
    let remembered = replica.catalog.remembered();
    replica.one(command(1, order(&[(1, 1)])));
    assert_eq!(replica.catalog.remembered(), remembered);
    let born = replica.catalog.applied();
    replica.one(Command { born, ..command(2, order(&[(1, 1)])) });
    replica.one(Command { born, ..command(2, order(&[(1, 2)])) });
    assert_eq!(replica.catalog.remembered(), remembered + 1);
}

/// Executed at once, it could be executed again after its record is forgotten and before it expires.
#[test]
fn a_command_from_a_revision_that_is_not_yet_is_refused() {
    let mut replica = Replica::stocked(&[5]);
    let born = replica.next() + 1;
    assert_eq!(replica.one(Command { born, ..command(1, order(&[(1, 1)])) }).outcome, Outcome::Invalid);
    assert_eq!(replica.quantity(1), 5);
}

#[test]
fn the_window_is_bounded_in_records_too() {
    let mut replica = Replica::new(Limits { revisions: 1000, records: 4 });
    let born = |revision, id| Command { born: revision, ..command(id, order(&[])) };
    replica.entry(&[born(0, 1), born(0, 2), born(0, 3)]);
    replica.entry(&[born(1, 4)]);
    assert_eq!((replica.catalog.remembered(), replica.catalog.meta().horizon), (4, 0));
    // A fifth record: the whole oldest revision goes, never a part of it.
    replica.entry(&[born(2, 5)]);
    assert_eq!((replica.catalog.remembered(), replica.catalog.meta().horizon), (2, 2));
    assert_eq!(replica.one(born(0, 1)).outcome, Outcome::Expired);
    assert_eq!(replica.one(born(1, 4)).outcome, Outcome::Invalid, "still remembered");
    // An entry larger than the bound stays whole until the next one.
    let large: Vec<_> = (10..20).map(|id| born(5, id)).collect();
    let first = replica.entry(&large).answers;
    assert_eq!((replica.catalog.remembered(), replica.catalog.meta().horizon), (10, 4));
    assert_eq!(replica.entry(&large).answers, first);
    assert_eq!(replica.catalog.remembered(), 0);
}
