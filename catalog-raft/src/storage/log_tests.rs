//! The log store over restarts and damage: what was synced comes back, or the replica refuses to start.

use std::{
    fs::{self, File},
    io::ErrorKind,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use futures::TryStreamExt;
use openraft::{
    RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
};
use rocksdb::WriteBatch;
use tempfile::TempDir;

use super::{
    db::{Db, OpenError},
    keys::{CF_LOG, CF_META, FORMAT, META_FORMAT, META_VOTE, OLDEST_FORMAT, log_key},
    log_reader::CHUNK_BYTES,
    log_store::LogStore,
    testing::{PAYLOAD, append, entry, id, ids, start_append},
};
use crate::raft::{Entry, LogId, Vote};

const TAIL_BYTES: usize = 1 << 20;

fn open(dir: &Path) -> Result<LogStore, OpenError> {
    LogStore::open(Db::open(dir)?, TAIL_BYTES)
}

async fn bounds(store: &mut LogStore) -> (Option<LogId>, Option<LogId>) {
    let state = store.get_log_state().await.unwrap();
    (state.last_purged_log_id, state.last_log_id)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_dir() {
            copy(&file.path(), &to.join(file.file_name()));
        } else {
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
}

/// The largest WAL file.
fn wal(dir: &Path) -> PathBuf {
    let files = fs::read_dir(dir.join("db")).unwrap().map(|file| file.unwrap().path());
    let logs = files.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

#[tokio::test]
async fn everything_comes_back_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let vote = Vote::new_committed(2, 3);
    let mut store = open(dir.path()).unwrap();
    assert!(store.is_empty());
    let incarnation = store.inner.db.incarnation();
    append(&mut store, 1, 0..50).await;
    store.truncate_after(Some(id(1, 39))).await.unwrap();
    store.save_vote(&vote).await.unwrap();
    store.save_committed(Some(id(1, 30))).await.unwrap();
    append(&mut store, 2, 40..60).await;
    store.purge(id(1, 9)).await.unwrap();
    assert_eq!(store.bytes_appended(), 70 * PAYLOAD as u64);
    drop(store);

    let mut store = open(dir.path()).unwrap();
    assert!(!store.is_empty());
    assert_eq!(store.inner.db.incarnation(), incarnation);
    assert_eq!(store.read_vote().await.unwrap(), Some(vote));
    assert_eq!(store.read_committed().await.unwrap(), Some(id(1, 30)));
    assert_eq!(bounds(&mut store).await, (Some(id(1, 9)), Some(id(2, 59))));
    let expected: Vec<LogId> = (10..40).map(|index| id(1, index)).chain((40..60).map(|index| id(2, index))).collect();
    assert_eq!(ids(&mut store, 0..u64::MAX).await, expected);
    append(&mut store, 2, 60..61).await;
}

#[tokio::test]
async fn a_log_purged_whole_goes_on_behind_the_purge() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path()).unwrap();
    append(&mut store, 1, 0..10).await;
    store.purge(id(3, 99)).await.unwrap();
    assert_eq!(bounds(&mut store).await, (Some(id(3, 99)), Some(id(3, 99))));
    drop(store);
    let mut store = open(dir.path()).unwrap();
    assert_eq!(bounds(&mut store).await, (Some(id(3, 99)), Some(id(3, 99))));
    append(&mut store, 3, 100..105).await;
    store.truncate_after(Some(id(3, 99))).await.unwrap();
    drop(store);
    let mut store = open(dir.path()).unwrap();
    assert_eq!(bounds(&mut store).await, (Some(id(3, 99)), Some(id(3, 99))));
    assert_eq!(ids(&mut store, 0..200).await, []);
}

#[tokio::test]
async fn memory_and_disk_read_the_same() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path()).unwrap();
    let large = CHUNK_BYTES / 3;
    for index in 0..10 {
        start_append(&mut store, vec![entry(1, index, large)]).await.await;
    }
    store.purge(id(1, 1)).await.unwrap();
    drop(store);
    for tail_bytes in [0, usize::MAX] {
        let mut store = LogStore::open(Db::open(dir.path()).unwrap(), tail_bytes).unwrap();
        // Into the tail, if there is one.
        store.truncate_after(Some(id(1, 1))).await.unwrap();
        start_append(&mut store, (2..10).map(|index| entry(1, index, large)).collect()).await.await;
        let all: Vec<Entry> = (2..10).map(|index| entry(1, index, large)).collect();
        assert_eq!(store.try_get_log_entries(..).await.unwrap(), all);
        assert_eq!(store.try_get_log_entries(4..=6).await.unwrap(), all[2..5]);
        assert_eq!(store.try_get_log_entries(8..100).await.unwrap(), all[6..]);
        assert_eq!(store.try_get_log_entries(5..5).await.unwrap(), []);
        assert_eq!(store.limited_get_log_entries(3, 9).await.unwrap(), all[1..3]);
        let streamed: Vec<Entry> = store.entries_stream(2..10).await.try_collect().await.unwrap();
        assert_eq!(streamed, all);
        // Replication and apply must never skip what was purged.
        assert!(store.limited_get_log_entries(1, 5).await.is_err());
        assert!(store.entries_stream(0..5).await.try_collect::<Vec<_>>().await.is_err());
    }
}

#[tokio::test]
async fn a_hole_is_never_written() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path()).unwrap();
    append(&mut store, 1, 0..5).await;
    for indexes in [vec![6], vec![4], vec![5, 7]] {
        let entries: Vec<Entry> = indexes.into_iter().map(|index| entry(1, index, 0)).collect();
        let error = store.append(entries, IOFlushed::noop()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    append(&mut store, 1, 5..6).await;
}

#[tokio::test]
async fn damage_found_by_a_read_is_an_error() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path()).unwrap();
    append(&mut store, 1, 0..10).await;
    let db = store.inner.db.clone();
    let mut batch = WriteBatch::default();
    batch.delete_cf(db.cf(CF_LOG), log_key(3));
    batch.put_cf(db.cf(CF_LOG), log_key(7), [9, 9, 9]);
    db.write(batch);
    drop((store, db));
    let mut store = open(dir.path()).unwrap();
    for range in [0..5, 3..4, 5..10] {
        assert_eq!(store.try_get_log_entries(range).await.unwrap_err().kind(), ErrorKind::InvalidData);
    }
    assert_eq!(ids(&mut store, 4..7).await.len(), 3);
}

#[tokio::test]
async fn a_disk_put_back_to_an_earlier_state_is_refused() {
    let (dir, earlier) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    for votes in [false, true] {
        let mut store = open(dir.path()).unwrap();
        let next = bounds(&mut store).await.1.map_or(0, |last| last.index + 1);
        append(&mut store, 1, next..next + 5).await;
        drop(store);
        copy(&dir.path().join("db"), &earlier.path().join("db"));

        let mut store = open(dir.path()).unwrap();
        if votes {
            store.save_vote(&Vote::new(2, 1)).await.unwrap();
        } else {
            append(&mut store, 1, next + 5..next + 9).await;
        }
        drop(store);
        let now = TempDir::new().unwrap();
        copy(dir.path(), now.path());
        fs::remove_dir_all(now.path().join("db")).unwrap();
        copy(&earlier.path().join("db"), &now.path().join("db"));
        let sentence = open(now.path()).unwrap_err().to_string();
        let lost = if votes { "lost a synced vote" } else { "had synced up to 1.8" };
        assert!(sentence.contains(lost) && sentence.contains("replace the replica"), "{sentence}");
        fs::remove_dir_all(earlier.path().join("db")).unwrap();
        // The undamaged one still opens.
        drop(open(dir.path()).unwrap());
    }
}

/// RocksDB's point-in-time recovery drops synced entries behind a damaged record in silence: seen in its sources, and
/// what the mark is for.
#[tokio::test]
async fn a_damaged_wal_is_refused_unless_nothing_is_lost() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path()).unwrap();
    for index in 0..40 {
        append(&mut store, 1, index..index + 1).await;
    }
    drop(store);
    let length = fs::metadata(wal(dir.path())).unwrap().len();
    let mut refused = 0;
    let positions = (0..length).step_by(usize::try_from(length / 40).unwrap());
    let harms = positions.flat_map(|position| [(position, true), (position, false)]);
    for (position, cut) in harms {
        let damaged = TempDir::new().unwrap();
        copy(dir.path(), damaged.path());
        let file = File::options().read(true).write(true).open(wal(damaged.path())).unwrap();
        if cut {
            file.set_len(position).unwrap();
        } else {
            let mut byte = [0];
            file.read_exact_at(&mut byte, position).unwrap();
            file.write_all_at(&[byte[0] ^ 1], position).unwrap();
        }
        match open(damaged.path()) {
            Err(OpenError::Damaged { .. } | OpenError::Database { .. }) => {
                refused += 1;
                // Recovery has rewritten the disk by now: what it lost must stay known.
                assert!(open(damaged.path()).is_err(), "cut {cut} at {position}: opened at the second try");
            }
            Err(other) => panic!("cut {cut} at {position}: {other}"),
            Ok(mut store) => assert_eq!(ids(&mut store, 0..40).await.len(), 40, "cut {cut} at {position}"),
        }
    }
    assert!(refused >= 70, "only {refused} refusals");
}

#[tokio::test]
async fn a_lost_database_or_mark_is_refused() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path()).unwrap();
    append(&mut store, 1, 0..3).await;
    drop(store);
    let (no_db, no_mark) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    copy(dir.path(), no_db.path());
    copy(dir.path(), no_mark.path());
    fs::remove_dir_all(no_db.path().join("db")).unwrap();
    fs::remove_file(no_mark.path().join("mark")).unwrap();
    assert!(matches!(open(no_db.path()), Err(OpenError::Damaged { .. })));
    assert!(matches!(open(no_mark.path()), Err(OpenError::Damaged { .. })));
}

#[tokio::test]
async fn a_vote_that_does_not_decode_is_not_no_vote() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path()).unwrap();
    store.save_vote(&Vote::new(7, 2)).await.unwrap();
    let db = store.inner.db.clone();
    let mut batch = WriteBatch::default();
    batch.put_cf(db.cf(CF_META), META_VOTE, [1, 255]);
    db.write(batch);
    drop((store, db));
    assert!(matches!(open(dir.path()), Err(OpenError::Damaged { .. })));
}

/// A read must not see half of a truncation or of a purge: openraft takes a hole for damage, and ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_see_no_hole_while_entries_come_and_go() {
    const ROUNDS: u64 = 200;
    for tail_bytes in [0, 10 * PAYLOAD, usize::MAX] {
        let dir = TempDir::new().unwrap();
        let mut store = LogStore::open(Db::open(dir.path()).unwrap(), tail_bytes).unwrap();
        append(&mut store, 1, 0..20).await;
        let stop = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let (mut store, stop) = (store.clone(), stop.clone());
                tokio::spawn(async move {
                    while !stop.load(Relaxed) {
                        let found = ids(&mut store, 0..u64::MAX).await;
                        assert!(found.windows(2).all(|pair| pair[0].index + 1 == pair[1].index), "{found:?}");
                        assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "{found:?}");
                    }
                })
            })
            .collect();
        for round in 0..ROUNDS {
            let (purged, last) = bounds(&mut store).await;
            let last = last.unwrap();
            store.truncate_after(Some(id(last.leader_id.term, last.index - 5))).await.unwrap();
            append(&mut store, 2 + round, last.index - 4..last.index + 7).await;
            let upto = purged.map_or(0, |purged| purged.index + 6);
            let there = store.try_get_log_entries(upto..=upto).await.unwrap();
            store.purge(there[0].log_id).await.unwrap();
        }
        stop.store(true, Relaxed);
        for reader in readers {
            reader.await.unwrap();
        }
        drop(store);
        drop(open(dir.path()).unwrap());
    }
}

#[test]
fn a_folder_has_one_owner() {
    let dir = TempDir::new().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let error = Db::open(dir.path()).unwrap_err();
    assert!(matches!(&error, OpenError::Locked(_)), "{error}");
    drop(db);
    Db::open(dir.path()).unwrap();
}

fn set_format(dir: &Path, format: u32) {
    // As RocksDB alone opens it: this program refuses some.
    let (path, options) = (dir.join("db"), rocksdb::Options::default());
    let db = rocksdb::DB::open_cf(&options, &path, rocksdb::DB::list_cf(&options, &path).unwrap()).unwrap();
    db.put_cf(db.cf_handle(CF_META).unwrap(), META_FORMAT, format.to_be_bytes()).unwrap();
}

#[test]
fn another_format_is_refused() {
    let dir = TempDir::new().unwrap();
    let db = Db::open(dir.path()).unwrap();
    drop(db);
    for other in [OLDEST_FORMAT - 1, FORMAT + 1] {
        set_format(dir.path(), other);
        let sentence = Db::open(dir.path()).unwrap_err().to_string();
        assert!(sentence.contains(&format!("holds format {other}")), "{sentence}");
    }
}

/// An older program must not take rows of items, which lack sales now, for the items.
#[test]
fn data_of_the_format_before_becomes_data_of_this_one() {
    let dir = TempDir::new().unwrap();
    drop(Db::open(dir.path()).unwrap());
    set_format(dir.path(), OLDEST_FORMAT);
    let db = Db::open(dir.path()).unwrap();
    let format = db.raw().get_cf(db.cf(CF_META), META_FORMAT).unwrap().unwrap();
    assert_eq!(format, FORMAT.to_be_bytes());
}
