//! Snapshot files, spoiled: as a bad disk does it, and as a liar who knows about checksums.

use fuzzing::{Spoiling, claimed_by, frugal, fuzz, made, spoil, spoilings};
use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;
use crate::storage::codec::fuzz::memberships;

type Row = (Index, Vec<u8>, Vec<u8>);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    vec((any::<Index>(), vec(any::<u8>(), 0..20), vec(any::<u8>(), 0..200)), 0..6)
}

/// The frames of a good file.
fn frames(membership: StoredMembership, last: Option<StoredLogId>, rows: &[Row]) -> (Header, Vec<(u8, Vec<u8>)>) {
    let tables = [Table::Items, Table::Orders, Table::Dedup];
    let mut state = Meta::default();
    let mut frames = Vec::new();
    for (table, key, value) in rows {
        let table = *table.get(&tables);
        state.hashes.add(table, key, value);
        let mut payload = vec![table as u8];
        payload.extend(1_u32.to_le_bytes());
        for piece in [key, value] {
            payload.extend((piece.len() as u32).to_le_bytes());
            payload.extend(piece);
        }
        frames.push((ROWS, payload));
    }
    let header = Header { format: FORMAT, last_log_id: last, membership_log_id: last, membership, state };
    frames.insert(0, (HEADER, encode(&header)));
    frames.push((TRAILER, encode(&(rows.len() as u64, state.hashes.items))));
    (header, frames)
}

fn file(frames: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    for (kind, payload) in frames {
        put_frame(&mut bytes, *kind, payload);
    }
    bytes.to_vec()
}

/// The hashes of the rows of a file.
fn read(path: &Path) -> Hashes {
    let mut reader = SnapshotReader::open(path).unwrap();
    let mut hashes = Hashes::default();
    while let Some(rows) = reader.next_rows().unwrap() {
        let table = rows.table;
        rows.map(Result::unwrap).for_each(|(key, value)| hashes.add(table, &key, &value));
    }
    hashes
}

#[test]
fn fuzz_snapshots() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fuzzed");
    let verified = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        frugal(claimed_by(bytes.len()), || verify(&path))
    };
    let lies = (any::<Index>(), spoilings());
    let inputs = (memberships(), made::<Option<StoredLogId>>(), rows(), spoilings(), lies);
    fuzz("snapshots", inputs, |(membership, last, rows, spoilings, (at, lies)): (_, _, _, Vec<Spoiling>, _)| {
        let (header, mut frames) = frames(membership, last, &rows);
        let good = file(&frames);
        assert_eq!(verified(&good).unwrap(), header);
        let bad = spoil(good.clone(), &spoilings);
        assert_eq!(verified(&bad).is_ok(), bad == good, "what a checksum does not fit is refused");
        let at = at.index(frames.len());
        frames[at].1 = spoil(std::mem::take(&mut frames[at].1), &lies);
        let lied = verified(&file(&frames));
        // Rows may be cut differently, but none is added, lost or changed. What the items of them make with the orders is for
        // who installs them to see.
        assert!(lied.is_err() || read(&path) == header.state.hashes);
    });
}
