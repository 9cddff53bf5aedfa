//! The layer's journal, read back: which changes to files and to names a loss of power may undo.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// The name of the journal in the layer's folder.
pub(super) const FILE: &str = "journal";
/// The fixed part of a record.
const HEAD: usize = 48;

/// A change to what a file holds.
#[derive(Debug, Clone)]
pub(super) struct Change {
    at: u64,
    /// Where it was written, or the length that it was cut or lengthened to.
    pub offset: u64,
    /// How much was written; `None` when the length was changed.
    pub length: Option<u64>,
    /// The length of the file before.
    pub size: u64,
    /// What stood there.
    pub old: Vec<u8>,
    /// Its sync failed: it is never durable.
    lost: bool,
}

/// A change to a name.
#[derive(Debug, Clone)]
pub(super) enum Name {
    Created { path: PathBuf, inode: u64 },
    Folder { path: PathBuf },
    Renamed { from: PathBuf, to: PathBuf, inode: u64, replaced: Option<PathBuf> },
    Removed { path: PathBuf, aside: PathBuf },
}

impl Name {
    /// The names that it touches.
    pub(super) fn paths(&self) -> Vec<&Path> {
        match self {
            Self::Created { path, .. } | Self::Folder { path } | Self::Removed { path, .. } => vec![path],
            Self::Renamed { from, to, .. } => vec![from, to],
        }
    }
}

/// What is not durable, in the order in which it was done.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// By inode.
    pub files: BTreeMap<u64, Vec<Change>>,
    pub names: Vec<(u64, Name)>,
    /// Changes that were made durable.
    pub durable: usize,
}

impl Pending {
    /// Reads the journal of a process that has ended.
    pub(super) fn read(folder: &Path) -> io::Result<Self> {
        Self::read_since(folder, 0)
    }

    /// Reads the journal from one of its places on: what was not durable then is taken to be.
    pub(super) fn read_since(folder: &Path, since: u64) -> io::Result<Self> {
        let bytes = match fs::read(folder.join(FILE)) {
            Ok(bytes) => bytes,
            // Nothing below the root was ever touched.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut pending = Self::default();
        let mut at = usize::try_from(since).map_err(io::Error::other)?;
        // The last record may be cut short by the kill: what it announces was not done.
        while let Some(record) = Record::read(&bytes, at) {
            at = record.end;
            pending.take(&record)?;
        }
        Ok(pending)
    }

    fn take(&mut self, record: &Record<'_>) -> io::Result<()> {
        let (at, inode) = (record.at as u64, record.word(0));
        let path = || PathBuf::from(std::ffi::OsStr::from_bytes(record.name));
        let other = || PathBuf::from(std::ffi::OsStr::from_bytes(record.other));
        let change = |length| Change {
            at,
            offset: record.word(1),
            length,
            size: record.word(3),
            old: record.data.to_vec(),
            lost: false,
        };
        match record.kind {
            1 => {
                // The number may be that of a file that is gone.
                self.files.remove(&inode);
                self.names.push((at, Name::Created { path: path(), inode }));
            }
            2 => self.files.entry(inode).or_default().push(change(Some(record.word(2)))),
            3 => self.files.entry(inode).or_default().push(change(None)),
            4 => self.synced(inode, record.word(1)),
            5 => {
                let replaced = PathBuf::from(std::ffi::OsStr::from_bytes(record.data));
                let replaced = Some(replaced).filter(|path| !path.as_os_str().is_empty());
                self.names.push((at, Name::Renamed { from: path(), to: other(), inode, replaced }));
            }
            6 => self.names.push((at, Name::Removed { path: path(), aside: other() })),
            7 => self.names.push((at, Name::Created { path: path(), inode })),
            8 => self.names.push((at, Name::Folder { path: path() })),
            9 => {
                let (dir, upto, before) = (path(), record.word(1), self.names.len());
                let is_in = |path: &Path| path.parent() == Some(&dir);
                self.names.retain(|(at, name)| *at >= upto || !name.paths().into_iter().all(is_in));
                self.durable += before - self.names.len();
            }
            10 => {
                let upto = record.word(1);
                for change in self.files.entry(inode).or_default().iter_mut().filter(|change| change.at < upto) {
                    change.lost = true;
                }
            }
            kind => return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a record of kind {kind} at {at}"))),
        }
        Ok(())
    }

    /// A sync covers what was done before it began, unless an earlier one has failed: then the pages are gone, and with
    /// them goes what was written after them.
    fn synced(&mut self, inode: u64, upto: u64) {
        let Some(changes) = self.files.get_mut(&inode) else { return };
        let covered = changes.iter().take_while(|change| change.at < upto && !change.lost).count();
        changes.drain(..covered);
        self.durable += covered;
        if changes.is_empty() {
            self.files.remove(&inode);
        }
    }
}

struct Record<'a> {
    at: usize,
    end: usize,
    kind: u32,
    words: &'a [u8],
    name: &'a [u8],
    other: &'a [u8],
    data: &'a [u8],
}

impl<'a> Record<'a> {
    fn read(bytes: &'a [u8], at: usize) -> Option<Self> {
        let head = bytes.get(at..at + HEAD)?;
        let number = |n: usize| {
            let bytes = head[4 * n..4 * n + 4].try_into().expect("four bytes");
            u32::from_ne_bytes(bytes)
        };
        let length = |n| usize::try_from(number(n)).expect("u32 fits");
        let (name, other) = (at + HEAD + length(1), at + HEAD + length(1) + length(2));
        let end = other + length(3);
        let data = bytes.get(other..end)?;
        Some(Self {
            at,
            end,
            kind: number(0),
            words: &head[16..],
            name: &bytes[at + HEAD..name],
            other: &bytes[name..other],
            data,
        })
    }

    fn word(&self, n: usize) -> u64 {
        let bytes = self.words[8 * n..8 * n + 8].try_into().expect("eight bytes");
        u64::from_ne_bytes(bytes)
    }
}
