//! What replicas say to each other, spoiled: the way through openraft's own types included.

use fuzzing::{fuzz_encoded, fuzz_values, made};
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::storage::codec::fuzz::entries;

type Parts = (StoredVote, Option<StoredLogId>, Option<StoredLogId>);

#[test]
fn fuzz_appends() {
    let appends = (made::<Parts>(), vec(entries(), 0..5)).prop_map(|((vote, prev, commit), entries)| Append {
        vote,
        prev,
        commit,
        entries,
    });
    fuzz_values("appends", appends, encode::<Append>, |bytes| {
        let request = Append::decode(bytes).ok()?;
        Some(decode(&Append::encode(&request)).expect("what was understood can be sent on"))
    });
}

#[test]
fn fuzz_ballots() {
    fuzz_values("ballots", made(), encode::<Ballot>, |bytes| {
        let ballot: Ballot = decode(bytes).ok()?;
        Some(Ballot::from(VoteRequest::from(ballot)))
    });
}

#[test]
fn fuzz_votes_cast() {
    fuzz_values("votes cast", made(), encode::<Cast>, |bytes| {
        let cast: Cast = decode(bytes).ok()?;
        Some(Cast::from(VoteResponse::from(cast)))
    });
}

#[test]
fn fuzz_answers_to_appends() {
    fuzz_values("answers to appends", made(), encode::<Appended>, |bytes| {
        let appended: Appended = decode(bytes).ok()?;
        Some(Appended::from(StreamAppendResult::from(appended)))
    });
}

#[test]
fn fuzz_transfers() {
    fuzz_values("transfers", made(), encode::<Transfer>, |bytes| {
        let transfer: Transfer = decode(bytes).ok()?;
        Some(Transfer::from(TransferLeaderRequest::from(transfer)))
    });
    fuzz_encoded::<Transferred>("answers to transfers");
}

#[test]
fn fuzz_transfers_of_snapshots() {
    fuzz_encoded::<SnapshotBegin>("beginnings of snapshots");
    fuzz_encoded::<Installed>("answers to snapshots");
}
