//! Raft's records and log entries, spoiled.

use fuzzing::{fuzz_values, made};
use proptest::{collection::btree_set, collection::vec, prelude::*};

use super::*;
use crate::{raft::Commands, storage::Applied};

/// Memberships: one configuration, or two that are joint, and learners.
pub(crate) fn memberships() -> impl Strategy<Value = StoredMembership> {
    let configs = vec(btree_set(1..6_u64, 1..4), 1..3);
    (configs, btree_set(1..9_u64, 0..3), made::<Peer>()).prop_map(|(configs, learners, peer)| {
        let ids = configs.iter().flatten().chain(&learners);
        let nodes = ids.map(|id| (*id, Peer { incarnation: u128::from(*id), ..peer.clone() })).collect();
        StoredMembership { configs, nodes }
    })
}

/// Log entries of every kind; those of commands hold good ones.
pub(crate) fn entries() -> impl Strategy<Value = StoredEntry> {
    let payload = prop_oneof![
        Just(StoredPayload::Blank),
        made::<Commands>().prop_map(|commands| StoredPayload::Batch(Batch::encode(&commands).0)),
        memberships().prop_map(StoredPayload::Membership),
    ];
    (made::<StoredLogId>(), payload).prop_map(|(log_id, payload)| StoredEntry { log_id, payload })
}

fn fuzz_record<T>(target: &str, records: impl Strategy<Value = T>)
where
    T: Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    fuzz_values(target, records, to_bytes::<T>, |bytes| from_bytes::<T>(bytes).ok());
}

#[test]
fn fuzz_log_entries() {
    let write = |stored: &StoredEntry| encode_entry(&Entry::from(stored.clone()));
    fuzz_values("log entries", entries(), write, |bytes| decode_entry(bytes).ok().map(|entry| (&entry).into()));
}

#[test]
fn fuzz_batches_of_commands() {
    let write = |commands: &Commands| Batch::encode(commands).0.to_vec();
    let read = |bytes: &[u8]| Batch(Bytes::copy_from_slice(bytes)).decode().ok();
    fuzz_values("batches of commands", made(), write, read);
}

#[test]
fn fuzz_records() {
    fuzz_record::<StoredVote>("stored votes", made());
    fuzz_record::<StoredLogId>("stored log ids", made());
    fuzz_record("stored memberships", memberships());
    let applied = (memberships(), made::<Applied>());
    fuzz_record("stored states", applied.prop_map(|(membership, applied)| Applied { membership, ..applied }));
}
