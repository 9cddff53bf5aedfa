//! Snapshot files: written from one frozen view, received in chunks, read back row by row, all in bounded memory.
//!
//! A file is a sequence of frames (length, checksum, kind, payload: the framing of the peer ports): one [`HEADER`],
//! any number of [`ROWS`], one [`TRAILER`] (how many rows, and the hash of the items' rows as they lie here, which may lack
//! what the orders say). It appears under its name only when it is whole, synced and verified.
//! Must not know what rows mean.

mod reader;
mod receiver;
mod removal;

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::{BufMut, BytesMut};
use catalog_client::{
    frame::{encode, put_frame},
    mutant::Mutant,
};
use serde::{Deserialize, Serialize};

pub use self::{reader::SnapshotReader, receiver::SnapshotReceiver};
use super::codec::{StoredLogId, StoredMembership};
use crate::{
    blocking,
    catalog::rows::{Hashes, Meta, Table, row_hash},
    raft,
};

/// The version of snapshot files.
const FORMAT: u32 = 3;
/// The oldest version that is read: in 2 every row of an item is as the item is, and the trailer has no hash.
const OLDEST_FORMAT: u32 = 2;
const HEADER: u8 = 1;
const ROWS: u8 = 2;
const TRAILER: u8 = 3;
/// Rows are gathered into frames of about so many bytes.
const FRAME_BYTES: usize = 256 << 10;
/// Bytes that are synced together while a file is written.
const SYNC_BYTES: u64 = 4 << 20;
/// The end of the names of whole files.
const SUFFIX: &str = "snap";
/// The end of the names of files that are being written; left over after a crash, they are removed.
const UNFINISHED: &str = "tmp";

/// What a snapshot stands for: the first frame of its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    format: u32,
    /// The last entry in it.
    pub last_log_id: Option<StoredLogId>,
    /// Where its membership stands in the log.
    pub membership_log_id: Option<StoredLogId>,
    /// Its membership.
    pub membership: StoredMembership,
    /// Hashes and counts of its rows.
    pub state: Meta,
}

impl Header {
    /// A header of today's format.
    pub fn new(applied: &super::Applied) -> Self {
        Self {
            format: FORMAT,
            last_log_id: applied.last_log_id,
            membership_log_id: applied.membership_log_id,
            membership: applied.membership.clone(),
            state: applied.state,
        }
    }

    /// As openraft knows it.
    pub fn meta(&self) -> raft::SnapshotMeta {
        raft::SnapshotMeta {
            last_log_id: self.last_log_id.map(Into::into),
            last_membership: raft::StoredMembership::new(
                self.membership_log_id.map(Into::into),
                self.membership.clone().into(),
            ),
        }
    }
}

/// A whole snapshot file. Cheap to clone; stays readable when a newer snapshot has taken its place.
#[derive(Debug, Clone)]
pub struct SnapshotFile {
    file: Arc<File>,
    path: PathBuf,
    length: u64,
}

impl SnapshotFile {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = removal::open(&path)?;
        let length = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), path, length })
    }

    /// Its length in bytes, never 0.
    #[allow(clippy::len_without_is_empty, reason = "a snapshot is never empty")]
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Up to `length` bytes from `offset` on.
    ///
    /// # Errors
    /// As the file's.
    pub async fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let file = self.file.clone();
        let length = length.min(usize::try_from(self.length - offset).unwrap_or(usize::MAX));
        blocking::apart(move || {
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, offset)?;
            Ok(bytes)
        })
        .await?
    }

    /// Reads it from the start.
    ///
    /// # Errors
    /// `InvalidData` when it is damaged.
    pub fn read(&self) -> io::Result<SnapshotReader> {
        SnapshotReader::open(&self.path)
    }
}

/// Writes a snapshot.
#[derive(Debug)]
pub struct SnapshotWriter {
    folder: PathBuf,
    unfinished: Unfinished,
    file: BufWriter<File>,
    header: Header,
    table: Table,
    pending: BytesMut,
    pending_rows: u32,
    items: u128,
    rows: u64,
    unsynced: u64,
}

impl SnapshotWriter {
    /// Begins a file in `folder`.
    ///
    /// # Errors
    /// As the file's.
    pub fn begin(folder: &Path, header: Header) -> io::Result<Self> {
        let (unfinished, file) = Unfinished::create(folder)?;
        let mut writer = Self {
            folder: folder.to_owned(),
            unfinished,
            file: BufWriter::new(file),
            header,
            table: Table::Items,
            pending: BytesMut::new(),
            pending_rows: 0,
            items: 0,
            rows: 0,
            unsynced: 0,
        };
        let header = encode(&writer.header);
        writer.write(HEADER, &header)?;
        Ok(writer)
    }

    /// Adds a row.
    ///
    /// # Errors
    /// As the file's.
    pub fn row(&mut self, table: Table, key: &[u8], value: &[u8]) -> io::Result<()> {
        if table != self.table || self.pending.len() >= FRAME_BYTES {
            self.flush_rows()?;
            self.table = table;
        }
        for piece in [key, value] {
            self.pending.put_u32_le(u32::try_from(piece.len()).expect("rows are bounded by the largest frame"));
            self.pending.put_slice(piece);
        }
        self.pending_rows += 1;
        if table == Table::Items {
            self.items = self.items.wrapping_add(row_hash(table, key, value));
        }
        Ok(())
    }

    /// Ends the file: synced, and only then under its name.
    ///
    /// # Errors
    /// As the file's.
    pub fn finish(mut self) -> io::Result<SnapshotFile> {
        self.flush_rows()?;
        let trailer = encode(&(self.rows, self.items));
        self.write(TRAILER, &trailer)?;
        self.file.flush()?;
        if !Mutant::PurgeBeforeSnapshot.is_on() {
            self.file.get_ref().sync_all()?;
        }
        self.unfinished.publish(&self.folder, &self.header)
    }

    fn flush_rows(&mut self) -> io::Result<()> {
        if self.pending_rows == 0 {
            return Ok(());
        }
        let mut payload = BytesMut::with_capacity(5 + self.pending.len());
        payload.put_u8(self.table as u8);
        payload.put_u32_le(self.pending_rows);
        payload.put_slice(&self.pending);
        self.rows += u64::from(self.pending_rows);
        self.pending.clear();
        self.pending_rows = 0;
        self.write(ROWS, &payload)
    }

    fn write(&mut self, kind: u8, payload: &[u8]) -> io::Result<()> {
        let mut bytes = BytesMut::new();
        put_frame(&mut bytes, kind, payload);
        self.file.write_all(&bytes)?;
        self.unsynced += bytes.len() as u64;
        if self.unsynced >= SYNC_BYTES {
            self.unsynced = 0;
            self.file.get_ref().sync_data()?;
        }
        Ok(())
    }
}

/// Reads a whole file and checks it, in little memory: what its items make with its orders is for who installs it to see.
///
/// # Errors
/// `InvalidData` when it is damaged.
pub fn verify(path: &Path) -> io::Result<Header> {
    let mut reader = SnapshotReader::open(path)?;
    let mut hashes = Hashes::default();
    while let Some(rows) = reader.next_rows()? {
        let table = rows.table;
        for row in rows {
            let (key, value) = row?;
            hashes.add(table, &key, &value);
        }
    }
    let claimed = Hashes { items: reader.items, ..reader.header.state.hashes };
    if hashes != claimed {
        return Err(invalid(path, "does not have the hashes that it claims"));
    }
    Ok(reader.header)
}

/// The newest whole snapshot of a folder, which is made if it is missing; unfinished and older files are removed.
///
/// # Errors
/// As the files'; `InvalidData` when the newest does not begin as one does. The rest of it is not read: see [`verify`].
pub fn newest(folder: &Path) -> io::Result<Option<(Header, SnapshotFile)>> {
    fs::create_dir_all(folder)?;
    let mut whole = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some(UNFINISHED) => fs::remove_file(&path)?,
            Some(SUFFIX) => whole.push(path),
            _ => {}
        }
    }
    // Names are built so that their order is the order of indexes.
    whole.sort();
    let Some(path) = whole.pop() else { return Ok(None) };
    for older in whole {
        fs::remove_file(older)?;
    }
    let header = SnapshotReader::open(&path)?.header;
    Ok(Some((header, SnapshotFile::open(path)?)))
}

/// Removes all snapshots but `kept`, in a time that grows with them.
///
/// # Errors
/// As the files'.
pub fn remove_older(folder: &Path, kept: &SnapshotFile) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_snapshot = path.extension().is_some_and(|extension| extension == SUFFIX);
        if is_snapshot && path < kept.path {
            removal::remove(&path)?;
        }
    }
    Ok(())
}

/// A file under a passing name, removed when it is dropped before it is whole.
#[derive(Debug)]
struct Unfinished(PathBuf);

impl Unfinished {
    fn create(folder: &Path) -> io::Result<(Self, File)> {
        let path = folder.join(format!("{:032x}.{UNFINISHED}", rand::random::<u128>()));
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        Ok((Self(path), file))
    }

    fn publish(&mut self, folder: &Path, header: &Header) -> io::Result<SnapshotFile> {
        let id = header.last_log_id.unwrap_or(StoredLogId { term: 0, index: 0 });
        let path = folder.join(format!("{:020}-{:020}.{SUFFIX}", id.index, id.term));
        fs::rename(&self.0, &path)?;
        self.0 = PathBuf::new();
        File::open(folder)?.sync_all()?;
        SnapshotFile::open(path)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            // What cannot be removed now is removed at the next start.
            let _ = fs::remove_file(&self.0);
        }
    }
}

fn invalid(path: &Path, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the snapshot {} {what}", path.display()))
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
