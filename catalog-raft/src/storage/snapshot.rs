//! Snapshot files: written from one frozen view, received in chunks, read back row by row, all in bounded memory.
//!
//! A file is a sequence of frames (length, checksum, kind, payload: the framing of the peer ports): one [`HEADER`],
//! any number of [`ROWS`], one [`TRAILER`]. It appears under its name only when it is whole, synced and verified.
//! Must not know what rows mean.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use catalog_client::{
    frame::{Frame, decode, encode, put_frame, take_frame},
    mutant::Mutant,
};
use serde::{Deserialize, Serialize};

use super::codec::{StoredLogId, StoredMembership};
use crate::{
    blocking,
    catalog::rows::{Meta, Table},
    raft,
};

/// The version of snapshot files.
const FORMAT: u32 = 1;
const HEADER: u8 = 1;
const ROWS: u8 = 2;
const TRAILER: u8 = 3;
/// Rows are gathered into frames of about so many bytes.
const FRAME_BYTES: usize = 256 << 10;
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
        let file = File::open(&path)?;
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

/// Reads a snapshot row by row.
#[derive(Debug)]
pub struct SnapshotReader {
    /// The first frame.
    pub header: Header,
    file: BufReader<File>,
    buffer: BytesMut,
    rows: u64,
    done: bool,
}

/// Rows of one table, in the order of their keys.
#[derive(Debug)]
pub struct Rows {
    /// Their table.
    pub table: Table,
    bytes: Bytes,
}

impl SnapshotReader {
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = BufReader::new(File::open(path)?);
        let mut buffer = BytesMut::new();
        let first = next_frame(&mut file, &mut buffer)?;
        let header: Header = match first {
            Some(frame) if frame.kind == HEADER => decode(&frame.payload)?,
            _ => return Err(invalid(path, "does not begin with a header")),
        };
        if header.format != FORMAT {
            return Err(invalid(path, &format!("is of format {}, not {FORMAT}", header.format)));
        }
        Ok(Self { header, file, buffer, rows: 0, done: false })
    }

    /// The next rows; `None` after the last, once the trailer has been checked.
    ///
    /// # Errors
    /// `InvalidData` when the file is damaged or cut short.
    pub fn next_rows(&mut self) -> io::Result<Option<Rows>> {
        if self.done {
            return Ok(None);
        }
        let broken = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("a snapshot {what}"));
        match next_frame(&mut self.file, &mut self.buffer)? {
            Some(frame) if frame.kind == ROWS => {
                let mut bytes = frame.payload;
                if bytes.len() < 5 {
                    return Err(broken("with an empty frame of rows"));
                }
                let table = table(bytes.get_u8()).ok_or_else(|| broken("with rows of an unknown table"))?;
                self.rows += u64::from(bytes.get_u32_le());
                Ok(Some(Rows { table, bytes }))
            }
            Some(frame) if frame.kind == TRAILER => {
                let rows: u64 = decode(&frame.payload)?;
                if rows != self.rows || !self.buffer.is_empty() || self.file.read(&mut [0])? != 0 {
                    return Err(broken("whose trailer does not fit its rows"));
                }
                self.done = true;
                Ok(None)
            }
            Some(frame) => Err(broken(&format!("with a frame of kind {}", frame.kind))),
            None => Err(broken("cut short")),
        }
    }
}

impl Iterator for Rows {
    type Item = io::Result<(Bytes, Bytes)>;

    /// The next key and value.
    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let mut piece = || {
            (self.bytes.len() >= 4)
                .then(|| self.bytes.get_u32_le() as usize)
                .filter(|length| *length <= self.bytes.len())
                .map(|length| self.bytes.split_to(length))
        };
        let row = piece().zip(piece());
        Some(row.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a row of a snapshot cut short")))
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
    rows: u64,
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
            rows: 0,
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
        Ok(())
    }

    /// Ends the file: synced, and only then under its name.
    ///
    /// # Errors
    /// As the file's.
    pub fn finish(mut self) -> io::Result<SnapshotFile> {
        self.flush_rows()?;
        let trailer = encode(&self.rows);
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
        self.file.write_all(&bytes)
    }
}

/// Takes a snapshot from a leader, chunk by chunk.
#[derive(Debug)]
pub struct SnapshotReceiver {
    folder: PathBuf,
    unfinished: Unfinished,
    file: Arc<File>,
    expected: u64,
    taken: u64,
}

impl SnapshotReceiver {
    /// Begins to receive a file of `length` bytes into `folder`.
    ///
    /// # Errors
    /// As the file's.
    pub async fn begin(folder: &Path, length: u64) -> io::Result<Self> {
        let folder = folder.to_owned();
        blocking::apart(move || {
            let (unfinished, file) = Unfinished::create(&folder)?;
            Ok(Self { folder, unfinished, file: Arc::new(file), expected: length, taken: 0 })
        })
        .await?
    }

    /// Writes the next bytes.
    ///
    /// # Errors
    /// As the file's; `InvalidData` when there are more than announced.
    pub async fn take(&mut self, bytes: Bytes) -> io::Result<()> {
        let offset = self.taken;
        self.taken += bytes.len() as u64;
        if self.taken > self.expected {
            return Err(invalid(&self.unfinished.0, "is longer than announced"));
        }
        let file = self.file.clone();
        blocking::apart(move || file.write_all_at(&bytes, offset)).await?
    }

    /// Syncs, reads the whole file back to verify it, and puts it under its name.
    ///
    /// # Errors
    /// As the file's; `InvalidData` when it is damaged or stands for something else than `meta`.
    pub async fn finish(mut self, meta: &raft::SnapshotMeta) -> io::Result<SnapshotFile> {
        let meta = meta.clone();
        blocking::apart(move || {
            if self.taken != self.expected {
                return Err(invalid(&self.unfinished.0, "is shorter than announced"));
            }
            self.file.sync_all()?;
            let header = verify(&self.unfinished.0)?;
            if header.meta() != meta {
                return Err(invalid(&self.unfinished.0, "stands for another state than announced"));
            }
            self.unfinished.publish(&self.folder, &header)
        })
        .await?
    }
}

/// Reads a whole file and checks it.
///
/// # Errors
/// `InvalidData` when it is damaged.
pub fn verify(path: &Path) -> io::Result<Header> {
    let mut reader = SnapshotReader::open(path)?;
    let mut hashes = crate::catalog::rows::Hashes::default();
    while let Some(rows) = reader.next_rows()? {
        let table = rows.table;
        for row in rows {
            let (key, value) = row?;
            hashes.add(table, &key, &value);
        }
    }
    if hashes != reader.header.state.hashes {
        return Err(invalid(path, "does not have the state hash that it claims"));
    }
    Ok(reader.header)
}

/// The newest whole snapshot of a folder, which is made if it is missing; unfinished and older files are removed.
///
/// # Errors
/// As the files'; `InvalidData` when the newest is damaged.
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
    let header = verify(&path)?;
    Ok(Some((header, SnapshotFile::open(path)?)))
}

/// Removes all snapshots but `kept`.
///
/// # Errors
/// As the files'.
pub fn remove_older(folder: &Path, kept: &SnapshotFile) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_snapshot = path.extension().is_some_and(|extension| extension == SUFFIX);
        if is_snapshot && path < kept.path {
            fs::remove_file(path)?;
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

fn next_frame(file: &mut impl Read, buffer: &mut BytesMut) -> io::Result<Option<Frame>> {
    loop {
        if let Some(frame) = take_frame(buffer)? {
            return Ok(Some(frame));
        }
        let mut bytes = [0; 64 << 10];
        match file.read(&mut bytes)? {
            0 if buffer.is_empty() => return Ok(None),
            0 => return Err(io::Error::new(io::ErrorKind::InvalidData, "a snapshot cut short")),
            read => buffer.extend_from_slice(&bytes[..read]),
        }
    }
}

fn table(tag: u8) -> Option<Table> {
    [Table::Items, Table::Orders, Table::Dedup].into_iter().find(|table| *table as u8 == tag)
}

fn invalid(path: &Path, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the snapshot {} {what}", path.display()))
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
