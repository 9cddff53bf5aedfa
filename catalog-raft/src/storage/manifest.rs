//! The end of RocksDB's manifest after a loss of power. Knows the framing of its records, and nothing of what they say.
//!
//! RocksDB appends a record to its manifest, syncs it, and only then acts on it. When power is lost before the sync,
//! the file may have its new length while the new bytes were never written, and read as zeros. RocksDB takes a record
//! that ends in such a hole for damage and refuses to open; but nothing had come of the record yet, so without it the
//! database is what it was before. A record that is spoiled in any other way stays, and stays a reason to refuse: it
//! may have been synced and acted upon.
//!
//! Framing: RocksDB, `db/log_format.h` and the wiki page "Write Ahead Log File Format".

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::db::OpenError;

/// Records are cut into fragments that do not cross the borders of blocks, bytes.
const BLOCK: usize = 32 << 10;
/// Before each fragment: CRC of 4 bytes, length of 2, kind of 1; the integers are little-endian.
const HEADER: usize = 7;
/// Kinds of fragments: a whole record, and its first, middle and last part.
const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;
/// Zeros that a hole has at least, bytes. No record ends in so many: its fields are short and each has a tag.
const HOLE: usize = 8;

/// How a manifest ends.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// With a whole record; or within one that is shorter than it says, which RocksDB knows how to leave out.
    Sound,
    /// After so many bytes comes a record that runs into a hole.
    Hole(usize),
    /// At this byte is a record that was written and is not what it was.
    Damaged(usize),
}

/// Cuts off a last record that was never written, of the manifest that is in use in the folder of a database.
///
/// # Errors
/// When the manifest is damaged, before RocksDB sees it: it was once seen to read such a one for ever. When the file
/// system refuses.
pub fn cut_hole(folder: &Path) -> Result<(), OpenError> {
    let Some(path) = current(folder)? else { return Ok(()) };
    let bytes = fs::read(&path).map_err(OpenError::io(&path))?;
    let end = match end(&bytes) {
        End::Sound => return Ok(()),
        End::Damaged(at) => return Err(OpenError::damaged(&path, format!("its record at byte {at} is damaged"))),
        End::Hole(end) => end,
    };
    let cut = || -> io::Result<()> {
        let file = File::options().write(true).open(&path)?;
        file.set_len(end as u64)?;
        file.sync_all()
    };
    cut().map_err(OpenError::io(&path))?;
    tracing::warn!(
        file = %path.display(),
        bytes = bytes.len() - end,
        "power was lost before the end of the manifest was written: cut off, nothing depends on it"
    );
    Ok(())
}

/// The manifest in use, if the database has one.
fn current(folder: &Path) -> Result<Option<PathBuf>, OpenError> {
    let pointer = folder.join("CURRENT");
    let name = match fs::read_to_string(&pointer) {
        Ok(name) => name,
        // Not UTF-8 is RocksDB's to complain about.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => return Ok(None),
        Err(error) => return Err(OpenError::io(&pointer)(error)),
    };
    let path = folder.join(name.trim_end());
    Ok((name.starts_with("MANIFEST-") && path.is_file()).then_some(path))
}

fn end(bytes: &[u8]) -> End {
    // Of whole records, and of whole fragments.
    let (mut end, mut at) = (0, 0);
    loop {
        // What is left of a block is too short for a header: it is filled with zeros.
        let left = BLOCK - at % BLOCK;
        if left < HEADER {
            at += left;
        }
        let Some(fragment) = Fragment::read(bytes, at) else { break };
        at = fragment.end;
        if matches!(fragment.kind, FULL | LAST) {
            end = at;
        }
    }
    let Some(header) = bytes.get(at..at + HEADER) else { return End::Sound };
    let said = at + HEADER + length(header);
    // The spoiled fragment itself must run into the hole: other damage in front of it is no loss of power.
    let hole = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    if bytes.len() - hole >= HOLE && hole < said {
        End::Hole(end)
    } else if said > bytes.len() {
        End::Sound
    } else {
        End::Damaged(at)
    }
}

/// A fragment whose checksum fits.
struct Fragment {
    kind: u8,
    end: usize,
}

impl Fragment {
    fn read(bytes: &[u8], at: usize) -> Option<Self> {
        let header = bytes.get(at..at + HEADER)?;
        let kind = header[6];
        let end = at + HEADER + length(header);
        let summed = bytes.get(at + 6..end)?;
        let stored = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        (matches!(kind, FULL | FIRST | MIDDLE | LAST) && stored == masked(crc32c::crc32c(summed)))
            .then_some(Self { kind, end })
    }
}

/// The bytes that a header says will follow.
fn length(header: &[u8]) -> usize {
    usize::from(u16::from_le_bytes([header[4], header[5]]))
}

/// How RocksDB stores a CRC (`util/crc32c.h`), so that a CRC over bytes that hold CRCs is not degenerate.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
