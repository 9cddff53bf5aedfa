//! A snapshot taken from a leader, chunk by chunk, and verified before it has its name.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path, path::PathBuf, sync::Arc};

use bytes::Bytes;

use super::{SnapshotFile, Unfinished, invalid, verify};
use crate::{blocking, raft};

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
