//! Tests of the manifest's end: every cut of its last record, against RocksDB itself.

use rocksdb::WriteBatch;
use tempfile::TempDir;

use super::*;
use crate::storage::{
    db::Db,
    keys::{CF_LOG, CF_META, CF_ORDERS},
};

/// A closed database whose manifest has records of flushes, where the last one is on the end; with what was written.
fn database() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    {
        let db = Db::open(dir.path()).unwrap();
        for round in 0..3_u8 {
            for name in [CF_LOG, CF_ORDERS, CF_META] {
                let mut batch = WriteBatch::default();
                batch.put_cf(db.cf(name), [b'x', round], [round; 100]);
                db.write(batch);
            }
            db.sync();
            db.raw().flush_cf(db.cf(CF_LOG)).unwrap();
        }
    }
    let manifest = current(&dir.path().join("db")).unwrap().unwrap();
    (dir, manifest)
}

/// Opens it and looks that everything is there; gives why it is refused.
fn open(dir: &Path) -> Result<(), OpenError> {
    let db = Db::open(dir)?;
    for round in 0..3_u8 {
        for name in [CF_LOG, CF_ORDERS, CF_META] {
            let value = db.raw().get_cf(db.cf(name), [b'x', round]).unwrap();
            assert_eq!(value.as_deref(), Some(&[round; 100][..]), "{name} {round}");
        }
    }
    Ok(())
}

/// A copy of a closed database, with another manifest.
fn with_manifest(of: &Path, manifest: &Path, bytes: &[u8]) -> TempDir {
    let copy = TempDir::new().unwrap();
    fs::create_dir(copy.path().join("db")).unwrap();
    for file in fs::read_dir(of.join("db")).unwrap() {
        let file = file.unwrap().path();
        fs::copy(&file, copy.path().join("db").join(file.file_name().unwrap())).unwrap();
    }
    fs::write(copy.path().join("db").join(manifest.file_name().unwrap()), bytes).unwrap();
    copy
}

/// Where the last sound fragment starts, and where it ends.
fn walk(bytes: &[u8]) -> (usize, usize) {
    let (mut last, mut at) = (0, 0);
    while let Some(fragment) = Fragment::read(bytes, at) {
        (last, at) = (at, fragment.end);
    }
    (last, at)
}

fn last_record(bytes: &[u8]) -> usize {
    let (start, end) = walk(bytes);
    assert_eq!(end, bytes.len(), "the walk understands every record that RocksDB wrote");
    start
}

fn last_whole(bytes: &[u8]) -> usize {
    walk(bytes).1
}

#[test]
fn a_record_that_was_never_written_is_cut_off_and_nothing_is_lost() {
    let (dir, manifest) = database();
    let whole = fs::read(&manifest).unwrap();
    let start = last_record(&whole);
    assert_eq!(end(&whole), End::Sound, "a sound manifest is left alone");
    let mut refused_without = 0;
    for written in start..=whole.len() - HOLE {
        let mut bytes = whole.clone();
        bytes[written..].fill(0);
        let copy = with_manifest(dir.path(), &manifest, &bytes);
        // Some cuts RocksDB forgives itself: it must be the others that this is for.
        refused_without +=
            u32::from(rocksdb::DB::list_cf(&rocksdb::Options::default(), copy.path().join("db")).is_err());
        open(copy.path()).unwrap_or_else(|error| panic!("{written} of {start}..{}: {error}", whole.len()));
    }
    assert!(refused_without > 0, "RocksDB takes them all: cutting is not needed any more");
}

#[test]
fn pages_that_were_never_written_behind_the_last_record_are_cut_off_too() {
    let (dir, manifest) = database();
    let mut bytes = fs::read(&manifest).unwrap();
    let whole = bytes.len();
    bytes.resize(whole + 3 * 4096, 0);
    assert_eq!(end(&bytes), End::Hole(whole));
    open(with_manifest(dir.path(), &manifest, &bytes).path()).unwrap();
}

#[test]
fn a_flipped_bit_is_found_before_rocksdb_reads_it() {
    let (_dir, manifest) = database();
    let whole = fs::read(&manifest).unwrap();
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            let found = end(&bytes);
            // A record that claims more than there is cannot be told from one whose writing was cut short.
            let claims_more = matches!(found, End::Sound) && last_whole(&bytes) < whole.len();
            assert!(matches!(found, End::Damaged(_)) || claims_more, "bit {bit} of byte {at}: {found:?}");
        }
    }
}

#[test]
fn damage_in_front_of_a_hole_stays_a_reason_to_refuse() {
    let (dir, manifest) = database();
    let whole = fs::read(&manifest).unwrap();
    let start = last_record(&whole);
    let mut bytes = whole.clone();
    bytes[start - 1] ^= 1;
    bytes[whole.len() - HOLE..].fill(0);
    assert!(matches!(end(&bytes), End::Damaged(at) if at < start));
    let damaged = with_manifest(dir.path(), &manifest, &bytes);
    assert!(matches!(open(damaged.path()), Err(OpenError::Damaged { .. })));
}

#[test]
fn a_record_of_several_fragments_is_cut_off_as_a_whole() {
    let fragment = |kind: u8, payload: &[u8]| {
        let mut summed = vec![kind];
        summed.extend_from_slice(payload);
        let mut bytes = masked(crc32c::crc32c(&summed)).to_le_bytes().to_vec();
        bytes.extend_from_slice(&u16::try_from(payload.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(&summed);
        bytes
    };
    let mut bytes = fragment(FULL, b"what was synced");
    let synced = bytes.len();
    bytes.extend(fragment(FIRST, &vec![b'x'; BLOCK - synced - HEADER]));
    assert_eq!(bytes.len(), BLOCK);
    let last = fragment(LAST, &[b'y'; 500]);
    bytes.extend(&last);
    assert_eq!(end(&bytes), End::Sound);
    bytes[BLOCK + 100..].fill(0);
    assert_eq!(end(&bytes), End::Hole(synced));
}
