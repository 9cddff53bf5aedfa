//! The RocksDB of a replica: its format version, its disk's incarnation, and the end of the process when a write fails.
//! Knows column families by name only, and nothing of what they hold.

use std::{
    collections::BTreeSet,
    fmt::Display,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use rocksdb::{ColumnFamily, ColumnFamilyDescriptor, DB, Options, WriteBatch};

use super::{
    keys::{self, CF_META, FORMAT, META_FORMAT, META_INCARNATION, OLDEST_FORMAT},
    manifest, options,
    space::Space,
};
use crate::figures::Figures;

/// The folder of the database inside the replica's folder; the mark and the snapshots lie beside it.
const DB_FOLDER: &str = "db";

/// What a batch takes for each row beside its value, at most, and for what is written with the rows, in bytes.
const ROW_BYTES: usize = 48;
const BATCH_BYTES: usize = 512;

/// How RocksDB says that the disk is full.
const NO_SPACE: &str = "No space left on device";

/// Why a replica's folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds it.
    #[error("{0} is in use by another process: stop that one first, or name another data folder")]
    Locked(PathBuf),
    /// It was written by another version of this program.
    #[error(
        "{path} holds format {found}, this program reads formats {OLDEST_FORMAT} to {FORMAT}: start it with the version that wrote it, or \
         add the replica again under a new id with an empty folder"
    )]
    Format {
        /// The database.
        path: PathBuf,
        /// What it says.
        found: u32,
    },
    /// What is on disk is damaged, or has lost something that was synced.
    #[error("{path}: {what}; do not start it again under this id: replace the replica by one with a new id")]
    Damaged {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// RocksDB refuses.
    #[error("cannot open the database {path}: {source}")]
    Database {
        /// The database.
        path: PathBuf,
        /// What it said.
        source: rocksdb::Error,
    },
    /// The file system refuses.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl OpenError {
    /// An error of the file system about `path`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Io { path: path.to_owned(), source }
    }

    /// Damage found in `path`.
    pub(crate) fn damaged(path: &Path, what: impl Display) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.to_string() }
    }
}

/// The database of a replica. Cheap to clone; closed when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    db: DB,
    dir: PathBuf,
    incarnation: u128,
    space: Arc<Space>,
    figures: Arc<Figures>,
}

impl Db {
    /// Opens the database in the replica's folder `dir`; makes both if they do not exist, synced before this returns.
    ///
    /// # Errors
    /// [`OpenError`], when the replica must not start.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(DB_FOLDER);
        fs::create_dir_all(dir).map_err(OpenError::io(dir))?;
        manifest::cut_hole(&path)?;
        let db = open_database(&path)?;
        let incarnation = check_identity(&db, &path)?;
        // RocksDB syncs its own folder; that it exists is recorded in ours, and ours in its parent.
        sync_dir(dir).map_err(OpenError::io(dir))?;
        if let Some(parent) = dir.canonicalize().map_err(OpenError::io(dir))?.parent() {
            sync_dir(parent).map_err(OpenError::io(parent))?;
        }
        let (dir, space, figures) = (dir.to_owned(), Space::new(dir), Arc::default());
        Ok(Self { inner: Arc::new(Inner { db, dir, incarnation, space, figures }) })
    }

    /// The column family of that name, one of [`keys::ALL`].
    pub fn cf(&self, name: &str) -> &ColumnFamily {
        self.inner.db.cf_handle(name).expect("all column families are made at open")
    }

    /// RocksDB itself, for reads and snapshots.
    pub fn raw(&self) -> &DB {
        &self.inner.db
    }

    /// The random number that this disk was given when it was first opened.
    pub fn incarnation(&self) -> u128 {
        self.inner.incarnation
    }

    /// The replica's folder.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// The space on its disk.
    pub fn space(&self) -> &Arc<Space> {
        &self.inner.space
    }

    /// What the replica counts: whoever writes here says how far it is.
    pub fn figures(&self) -> &Arc<Figures> {
        &self.inner.figures
    }

    /// Bytes of all table files; what is in memory and in the WAL is not in it.
    pub fn table_bytes(&self) -> u64 {
        let bytes_of = |name: &&str| {
            let bytes = self.inner.db.property_int_value_cf(self.cf(name), "rocksdb.total-sst-files-size");
            bytes.ok().flatten().unwrap_or(0)
        };
        keys::ALL.iter().map(bytes_of).sum()
    }

    /// Writes a batch, atomically and in order with all others, into memory and the WAL: readable at once, durable
    /// after the next [`Db::sync`]. Waits while the disk is full; when it fails for another reason the process ends.
    ///
    /// A write that RocksDB refuses for want of space has no effect: it stands in no write buffer, and the WAL goes on
    /// in a new file once RocksDB has flushed them all. So it may be tried again, unlike a sync.
    pub fn write(&self, mut batch: WriteBatch) {
        let space = &self.inner.space;
        space.wait_for_some();
        loop {
            // RocksDB takes the batch whatever becomes of it; a copy is only made when it may be needed.
            let again = space.is_tight().then(|| WriteBatch::from_data(batch.data()));
            match (self.inner.db.write(batch), again) {
                (Ok(()), _) => return,
                (Err(error), Some(again)) if error.as_ref().contains(NO_SPACE) => {
                    tracing::warn!("a write is tried again: {error}");
                    space.pause();
                    batch = again;
                }
                (Err(error), _) => fatal("a write to the database failed", &error),
            }
        }
    }

    /// Makes durable all that was written before: one fdatasync. When that fails the process ends: what a failed
    /// sync left behind is unknown, and a second one may report success about pages that were dropped.
    pub fn sync(&self) {
        if let Err(error) = self.inner.db.flush_wal(true) {
            fatal("a sync of the write-ahead log failed", &error);
        }
    }
}

/// A batch with room for so many rows, of so many bytes each: one that grows copies what it has again and again.
pub fn batch_of(rows: impl Iterator<Item = usize>) -> WriteBatch {
    WriteBatch::with_capacity_bytes(BATCH_BYTES + rows.map(|row| row + ROW_BYTES).sum::<usize>())
}

/// Whether something failed because the disk is full: then it may be tried again.
pub fn is_for_want_of_space(error: &anyhow::Error) -> bool {
    // RocksDB gives no more than a text, and the system's own errors have the same.
    format!("{error:#}").contains(NO_SPACE)
}

/// Ends the process because the disk failed it: nothing that was promised can be kept from here.
///
/// Aborts rather than exits: `exit` runs the destructors of RocksDB's thread pools, which wait for background work
/// that may hang on the very disk that failed, while this process still holds its ports and its leadership.
pub fn fatal(what: &str, error: &dyn Display) -> ! {
    tracing::error!(%error, "{what}: this replica ends");
    // The log may be buffered; standard error is not. Nothing can be done when it is closed.
    let _ = writeln!(io::stderr(), "catalog-raft: {what}: {error}: this replica ends");
    std::process::abort()
}

/// Makes the names in a folder durable.
///
/// # Errors
/// What the file system says.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn open_database(path: &Path) -> Result<DB, OpenError> {
    let cache = options::block_cache();
    // A column family of a later format must be opened to be read by its version check: unknown ones are opened too.
    let mut names: BTreeSet<String> = keys::ALL.iter().map(|name| (*name).to_owned()).collect();
    names.insert("default".to_owned());
    if path.join("CURRENT").exists() {
        names.extend(DB::list_cf(&Options::default(), path).map_err(|source| refused(path, source))?);
    }
    let families = names.into_iter().map(|name| {
        let options = options::of_family(&name, &cache);
        ColumnFamilyDescriptor::new(name, options)
    });
    let options = options::of_database().map_err(|source| refused(path, source))?;
    DB::open_cf_descriptors(&options, path, families).map_err(|source| refused(path, source))
}

fn refused(path: &Path, source: rocksdb::Error) -> OpenError {
    let message = source.as_ref();
    if message.contains("/LOCK:") || message.contains("lock hold by current process") {
        return OpenError::Locked(path.to_owned());
    }
    match source.kind() {
        rocksdb::ErrorKind::Corruption => OpenError::damaged(path, message),
        _ => OpenError::Database { path: path.to_owned(), source },
    }
}

/// Checks the format version and gives the incarnation; writes and syncs both into a fresh database.
fn check_identity(db: &DB, path: &Path) -> Result<u128, OpenError> {
    let meta = db.cf_handle(CF_META).expect("all column families are made at open");
    let get = |key| db.get_cf(meta, key).map_err(|source| refused(path, source));
    let integer = |what| OpenError::damaged(path, format!("its {what} is not an integer"));
    match (get(META_FORMAT)?, get(META_INCARNATION)?) {
        (Some(format), incarnation) => {
            let found = u32::from_be_bytes(format.try_into().map_err(|_| integer("format version"))?);
            if !(OLDEST_FORMAT..=FORMAT).contains(&found) {
                return Err(OpenError::Format { path: path.to_owned(), found });
            }
            if found < FORMAT {
                tracing::info!("{} is of format {found}, and of {FORMAT} from now on", path.display());
                let raised = db.put_cf(meta, META_FORMAT, FORMAT.to_be_bytes()).and_then(|()| db.flush_wal(true));
                raised.map_err(|source| refused(path, source))?;
            }
            let incarnation = incarnation.ok_or_else(|| OpenError::damaged(path, "its incarnation is missing"))?;
            Ok(u128::from_be_bytes(incarnation.try_into().map_err(|_| integer("incarnation"))?))
        }
        // Both are written in the first batch of all, so a database without them holds nothing.
        (None, _) if is_empty(db, path)? => {
            let incarnation = rand::random::<u128>();
            let mut batch = WriteBatch::default();
            batch.put_cf(meta, META_FORMAT, FORMAT.to_be_bytes());
            batch.put_cf(meta, META_INCARNATION, incarnation.to_be_bytes());
            db.write(batch).and_then(|()| db.flush_wal(true)).map_err(|source| refused(path, source))?;
            Ok(incarnation)
        }
        (None, _) => Err(OpenError::damaged(path, "its format version is missing")),
    }
}

fn is_empty(db: &DB, path: &Path) -> Result<bool, OpenError> {
    for name in keys::ALL {
        let mut keys = db.raw_iterator_cf(db.cf_handle(name).expect("all column families are made at open"));
        keys.seek_to_first();
        keys.status().map_err(|source| refused(path, source))?;
        if keys.valid() {
            return Ok(false);
        }
    }
    Ok(true)
}
