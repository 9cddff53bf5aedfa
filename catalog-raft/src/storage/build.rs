//! Builds snapshots: from a view that is frozen at once, written to a file meanwhile, without taking from those who buy
//! what they need. Must not know when one is due.
//!
//! The file holds the whole ledger, so it is written by a thread that yields to every other, in pieces that are synced one
//! by one: a gigabyte that waits to be written makes each sync of the log wait for it too.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use catalog_client::mutant::Mutant;
use openraft::RaftSnapshotBuilder;
use rocksdb::ReadOptions;
use tokio::sync::oneshot;

use super::{
    db::Db,
    snapshot::{self, Header, SnapshotFile, SnapshotWriter},
    state::{State, family, read_applied, unreadable},
};
use crate::{
    blocking,
    catalog::rows::Table,
    raft::{Snapshot, TypeConfig},
};

/// Of the threads that build and verify snapshots: every other thread comes first when cores are few.
#[cfg(not(feature = "simulation"))]
const NICE: i32 = 10;
/// Bytes of tables that are read ahead: they are read from end to end.
const READ_AHEAD: usize = 1 << 20;

/// A whole snapshot, and what it stands for.
pub(super) type Written = (Header, SnapshotFile);

/// The newest snapshot of a replica, if there is one.
#[derive(Debug, Clone)]
pub(super) struct Current(Arc<Mutex<Option<Written>>>);

impl Current {
    pub fn new(newest: Option<Written>) -> Self {
        Self(Arc::new(Mutex::new(newest)))
    }

    pub fn get(&self) -> Option<Written> {
        self.lock().clone()
    }

    pub fn replace(&self, written: Written) {
        *self.lock() = Some(written);
    }

    /// Keeps the newer one of the two, and gives its file.
    fn advance(&self, (header, file): Written) -> SnapshotFile {
        let mut current = self.lock();
        // One that was received and installed meanwhile may be newer: the log is purged up to that one.
        match &*current {
            Some((newer, its_file)) if newer.last_log_id > header.last_log_id => its_file.clone(),
            _ => {
                *current = Some((header, file.clone()));
                file
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Written>> {
        self.0.lock().expect("no holder of this lock can panic")
    }
}

/// Gives a snapshot of the moment at which it was made.
#[derive(Debug)]
pub struct SnapshotBuilder {
    source: Option<Source>,
    state: Arc<State>,
    folder: PathBuf,
    current: Current,
}

/// Where the file comes from.
#[derive(Debug)]
pub(super) enum Source {
    /// It is there.
    Whole(Box<Written>),
    /// It is being written.
    Writing(oneshot::Receiver<io::Result<Written>>),
}

impl SnapshotBuilder {
    pub(super) fn new(source: Source, state: Arc<State>, folder: PathBuf, current: Current) -> Self {
        Self { source: Some(source), state, folder, current }
    }
}

/// Takes a frozen view before it returns: nothing that is applied later is in it, and nothing may be applied before. The file
/// is written by a thread of its own, because what it reads borrows the database.
#[cfg(not(feature = "simulation"))]
pub(super) async fn freeze(db: &Db, folder: &Path) -> oneshot::Receiver<io::Result<Written>> {
    let (frozen, is_frozen) = oneshot::channel();
    let (done, written) = oneshot::channel();
    let (db, target) = (db.clone(), folder.to_owned());
    let spawned = std::thread::Builder::new().name("snapshot".to_owned()).spawn(move || {
        // Nobody waits for either any more when Raft shuts down.
        let is_frozen = || {
            let _ = frozen.send(());
            give_way();
        };
        let _ = done.send(write_snapshot(&db, &target, is_frozen));
    });
    if let Err(error) = spawned {
        super::db::fatal("no thread for a snapshot", &error);
    }
    // It fails only when the thread panicked, which the one who waits for the file notices.
    let _ = is_frozen.await;
    written
}

/// In a simulation, without a thread: it is written at once, and known to be written later.
#[cfg(feature = "simulation")]
pub(super) async fn freeze(db: &Db, folder: &Path) -> oneshot::Receiver<io::Result<Written>> {
    let (done, written) = oneshot::channel();
    let result = write_snapshot(db, folder, || ());
    tokio::spawn(async move {
        crate::simulation::work_time().await;
        let _ = done.send(result);
    });
    written
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let (header, file) = match self.source.take() {
            Some(Source::Whole(written)) => *written,
            Some(Source::Writing(written)) => written.await.map_err(io::Error::other)??,
            None => return Err(io::Error::other("a builder builds one snapshot")),
        };
        tracing::info!("snapshot of {} bytes up to {:?}", file.len(), header.last_log_id);
        let newest = self.current.advance((header.clone(), file.clone()));
        self.state.set_snapshot_bytes(newest.len());
        // The older ones go only now that this one is durable under its name.
        let folder = self.folder.clone();
        blocking::apart(move || snapshot::remove_older(&folder, &newest)).await??;
        Ok(Snapshot { meta: header.meta(), snapshot: file })
    }
}

/// Everything that is read is opened before `frozen` is called: until then nobody applies, so all of it is of one moment,
/// which each iterator holds. A snapshot of RocksDB's own would hold it too; but when one goes, RocksDB writes all files of
/// the last level again that came there by a move alone, which is most of the ledger.
fn write_snapshot(db: &Db, folder: &Path, frozen: impl FnOnce()) -> io::Result<(Header, SnapshotFile)> {
    let open = |table| {
        let mut options = ReadOptions::default();
        // Everything is read once: it must not drive out of the cache what orders look up.
        options.fill_cache(false);
        options.set_readahead_size(READ_AHEAD);
        (table, db.raw().raw_iterator_cf_opt(db.cf(family(table)), options))
    };
    // While that of the items is made RocksDB holds the lock of their write buffer, to copy it, and whoever applies waits:
    // not for a thread that yields to every other.
    let tables = [Table::Items, Table::Orders, Table::Dedup].map(open);
    let applied = read_applied(db)?;
    frozen();
    let mut header = Header::new(&applied);
    if Mutant::SnapshotOlderMeta.is_on()
        && let Some(id) = &mut header.last_log_id
    {
        id.index = id.index.saturating_sub(1);
    }
    let mut writer = SnapshotWriter::begin(folder, header.clone())?;
    for (table, mut rows) in tables {
        rows.seek_to_first();
        while let Some((key, value)) = rows.item() {
            writer.row(table, key, value)?;
            rows.next();
        }
        rows.status().map_err(io::Error::other)?;
    }
    Ok((header, writer.finish()?))
}

/// Reads a snapshot from end to end, in the background: at a start, which must not take the longer the more orders there
/// are. Damage ends the process. Until it is found, a follower that were sent it would find it too.
#[cfg(not(feature = "simulation"))]
pub(super) fn verify_meanwhile(file: &SnapshotFile) {
    let path = file.path().to_owned();
    let verify = move || {
        give_way();
        match snapshot::verify(&path) {
            Ok(_) => tracing::info!("verified the snapshot {}", path.display()),
            // A newer one has taken its place meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => unreadable(&format!("the snapshot {}", path.display()), &error),
        }
    };
    if let Err(error) = std::thread::Builder::new().name("verify".to_owned()).spawn(verify) {
        super::db::fatal("no thread to verify a snapshot", &error);
    }
}

/// In a simulation, without a thread.
#[cfg(feature = "simulation")]
pub(super) fn verify_meanwhile(file: &SnapshotFile) {
    if let Err(error) = snapshot::verify(file.path()) {
        unreadable(&format!("the snapshot {}", file.path().display()), &error);
    }
}

/// Puts this thread behind all others.
#[cfg(not(feature = "simulation"))]
fn give_way() {
    // On Linux priorities are those of threads. It is no harm when the system refuses.
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::rows::version_key;

    /// Orders as far as this is concerned: keys and values.
    fn put(db: &Db, revisions: std::ops::Range<u64>) {
        for revision in revisions {
            let key = version_key(catalog_client::Version { revision, n: 0 });
            db.raw().put_cf(db.cf(family(Table::Orders)), key, [0]).unwrap();
        }
    }

    /// Has all orders lie in the last level.
    fn move_down(db: &Db) {
        let orders = db.cf(family(Table::Orders));
        db.raw().flush_cf(orders).unwrap();
        db.raw().compact_range_cf(orders, None::<&[u8]>, None::<&[u8]>);
    }

    /// Its files: what is written again has a new name.
    fn files(db: &Db) -> Vec<String> {
        db.raw().live_files().unwrap().into_iter().map(|file| file.name).collect()
    }

    /// Six million orders, 41 files, were written again after a snapshot, on each replica: buys fell from 22,000 to 7,000 a
    /// second for four seconds.
    #[test]
    fn a_snapshot_is_of_its_moment_and_makes_rocksdb_write_nothing_again() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        std::fs::create_dir(dir.path().join("snapshots")).unwrap();
        put(&db, 0..100);
        let mut before = Vec::new();
        let (_, file) = write_snapshot(&db, &dir.path().join("snapshots"), || {
            put(&db, 100..200);
            move_down(&db);
            before = files(&db);
            put(&db, 200..201);
        })
        .unwrap();
        let mut rows = 0;
        let mut reader = file.read().unwrap();
        while let Some(some) = reader.next_rows().unwrap() {
            rows += some.count();
        }
        assert_eq!(rows, 100, "nothing that was written later");

        db.raw().wait_for_compact(&rocksdb::WaitForCompactOptions::default()).unwrap();
        assert_eq!(files(&db), before);
    }
}
