//! The mark, spoiled: as a bad disk does it, and under a checksum that fits.

use fuzzing::{claimed_by, frugal, fuzz, made, spoil, spoilings};
use proptest::prelude::*;

use super::*;

/// A slot's bytes around a record, with the length and the checksum that belong to it.
fn slot(record: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; SLOT_BYTES];
    let record = &record[..record.len().min(SLOT_BYTES - HEADER)];
    bytes[HEADER..HEADER + record.len()].copy_from_slice(record);
    bytes[4..HEADER].copy_from_slice(&(record.len() as u32).to_be_bytes());
    let checksum = crc32fast::hash(&bytes[4..]);
    bytes[..4].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

#[test]
fn fuzz_marks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let opened = |first: &[u8], second: &[u8]| {
        let mut bytes = first.to_vec();
        bytes.resize(SLOT_DISTANCE as usize, 0);
        bytes.extend(second);
        fs::write(&path, &bytes).unwrap();
        frugal(claimed_by(bytes.len()), || MarkFile::open(dir.path(), false))
    };
    let inputs = (made::<Slot>(), made::<Slot>(), spoilings(), any::<bool>());
    fuzz("marks", inputs, |(first, second, spoilings, fits)| {
        let newest = if first.number > second.number { first.mark } else { second.mark };
        let (one, two) = (encode(&first), encode(&second));
        assert_eq!(opened(&one, &two).unwrap().mark(), newest);
        let bad = if fits { slot(&spoil(to_bytes(&second), &spoilings)) } else { spoil(two.to_vec(), &spoilings) };
        // A slot that is damaged leaves the other one. Under a checksum that fits it may say anything.
        let mark = opened(&one, &bad).unwrap().mark();
        assert!(fits || mark == first.mark || mark == second.mark);
    });
}
