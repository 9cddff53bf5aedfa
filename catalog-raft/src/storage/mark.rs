//! The mark: the last log id and vote that were synced, in a small file beside the database.
//!
//! RocksDB recovers to the last consistent point of its WAL, so damage in the middle of it rolls synced entries and
//! votes back in silence. A replica that came back so could vote twice in a term, or help to elect a leader that
//! lacks committed entries. The mark finds it out: what was recovered must not be behind it. It knows nothing of
//! RocksDB.
//!
//! Two slots, each in a sector of its own, are written in turn with a growing number, so that a torn write leaves
//! the other slot. Writes follow a sync and are not synced themselves: a mark that a power cut loses is only older
//! than it could be. The one write that must not be lost is the one that lowers the mark.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    codec::{StoredLogId, StoredVote, from_bytes, to_bytes},
    db::{OpenError, sync_dir},
};
use crate::raft::Vote;

/// The file's name in the replica's folder.
const FILE: &str = "mark";
/// Distance of the slots: more than a sector of any disk.
const SLOT_DISTANCE: u64 = 4096;
/// Bytes of a slot: below a sector of any disk, so that one slot is rarely torn.
const SLOT_BYTES: usize = 128;
/// Checksum and length.
const HEADER: usize = 8;

/// What was synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Mark {
    /// The last log entry.
    pub log: Option<StoredLogId>,
    /// The vote.
    pub vote: Option<StoredVote>,
}

/// What came back from the disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct Recovered {
    /// The last entry, or the last one purged when there is none.
    pub last: Option<StoredLogId>,
    /// The last entry purged.
    pub purged: Option<StoredLogId>,
    /// The entry at the mark's index, if there is one.
    pub at_mark: Option<StoredLogId>,
    /// The vote.
    pub vote: Option<StoredVote>,
}

impl Mark {
    /// Compares what was recovered with the mark. As the mark is lowered before a truncation, the entry it names is
    /// in the log until it is purged.
    ///
    /// # Errors
    /// What is missing, as a sentence.
    pub fn verify(&self, recovered: &Recovered) -> Result<(), String> {
        if let Some(synced) = self.log {
            let purged = recovered.purged.is_some_and(|purged| purged.index >= synced.index);
            if !purged && recovered.at_mark != Some(synced) {
                return Err(format!(
                    "this disk has lost synced log entries: it had synced up to {}, and {}",
                    shown(&synced),
                    match (recovered.at_mark, recovered.last) {
                        (Some(other), _) => format!("holds {} in its place", shown(&other)),
                        (None, Some(last)) => format!("came back with entries up to {}", shown(&last)),
                        (None, None) => "came back without any".to_owned(),
                    }
                ));
            }
        }
        if let Some(synced) = self.vote {
            let synced = Vote::from(synced);
            let found = recovered.vote.map(Vote::from);
            if found.is_none_or(|found| !matches!(found.partial_cmp(&synced), Some(order) if order.is_ge())) {
                return Err(format!(
                    "this disk has lost a synced vote: it had synced {synced}, and came back with {}",
                    found.map_or_else(|| "none".to_owned(), |vote| vote.to_string())
                ));
            }
        }
        Ok(())
    }
}

fn shown(id: &StoredLogId) -> String {
    format!("{}.{}", id.term, id.index)
}

/// What a slot holds.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Slot {
    number: u64,
    mark: Mark,
}

/// The file of the mark.
#[derive(Debug)]
pub struct MarkFile {
    file: File,
    number: u64,
    mark: Mark,
}

impl MarkFile {
    /// Opens the mark in the replica's folder `dir`. Only when the log store is `fresh`, holding no vote and no
    /// entry yet, is a missing one made.
    ///
    /// # Errors
    /// When it is missing, damaged, or the file system refuses.
    pub fn open(dir: &Path, fresh: bool) -> Result<Self, OpenError> {
        let path = dir.join(FILE);
        if !path.exists() {
            if !fresh {
                return Err(OpenError::damaged(&path, "the mark of what was synced is missing"));
            }
            create(dir, &path).map_err(OpenError::io(&path))?;
        }
        let file = File::options().read(true).write(true).open(&path).map_err(OpenError::io(&path))?;
        let slots = [0, 1].map(|place| read_slot(&file, place));
        let newest = slots.into_iter().flatten().max_by_key(|slot| slot.number);
        match newest {
            Some(Slot { number, mark }) => Ok(Self { file, number, mark }),
            None => Err(OpenError::damaged(&path, "the mark of what was synced is damaged")),
        }
    }

    /// The newest mark.
    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// Notes what has been synced: one system call, not synced.
    ///
    /// # Errors
    /// What the file system says.
    pub fn note(&mut self, mark: Mark) -> io::Result<()> {
        if mark == self.mark {
            return Ok(());
        }
        self.mark = mark;
        self.write_next()
    }

    /// Lowers the mark to `after`, before entries behind it are truncated; synced when it returns. Without the sync
    /// a power cut could keep the truncation and lose the lowering, and a sound disk would be refused. Both slots are
    /// written, so that neither names a truncated entry any more.
    ///
    /// # Errors
    /// What the file system says.
    pub fn lower(&mut self, after: Option<StoredLogId>) -> io::Result<()> {
        if self.mark.log.map(|log| log.index) <= after.map(|after| after.index) {
            return Ok(());
        }
        self.mark.log = after;
        self.write_next()?;
        self.write_next()?;
        self.file.sync_data()
    }

    fn write_next(&mut self) -> io::Result<()> {
        self.number += 1;
        let slot = encode(&Slot { number: self.number, mark: self.mark });
        self.file.write_all_at(&slot, self.number % 2 * SLOT_DISTANCE)
    }
}

/// Makes the file whole under another name first: a crash leaves none, or one with two good slots.
fn create(dir: &Path, path: &Path) -> io::Result<()> {
    let draft: PathBuf = path.with_extension("new");
    let mut bytes = Vec::new();
    for number in [0, 1] {
        bytes.extend(encode(&Slot { number, mark: Mark::default() }));
        bytes.resize((number as usize + 1) * SLOT_DISTANCE as usize, 0);
    }
    let mut file = File::create(&draft)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    sync_dir(dir)
}

fn encode(slot: &Slot) -> [u8; SLOT_BYTES] {
    let record = to_bytes(slot);
    let mut bytes = [0; SLOT_BYTES];
    bytes[HEADER..HEADER + record.len()].copy_from_slice(&record);
    let length = u32::try_from(record.len()).expect("a record is smaller than a slot");
    bytes[4..HEADER].copy_from_slice(&length.to_be_bytes());
    let checksum = crc32fast::hash(&bytes[4..]);
    bytes[..4].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

/// The slot at `place`, unless it is damaged.
fn read_slot(file: &File, place: u64) -> Option<Slot> {
    let mut bytes = [0; SLOT_BYTES];
    file.read_exact_at(&mut bytes, place * SLOT_DISTANCE).ok()?;
    let (header, record) = bytes.split_at(HEADER);
    let checksum = u32::from_be_bytes(header[..4].try_into().expect("four bytes"));
    let length = u32::from_be_bytes(header[4..].try_into().expect("four bytes"));
    if crc32fast::hash(&bytes[4..]) != checksum {
        return None;
    }
    from_bytes(record.get(..usize::try_from(length).ok()?)?).ok()
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;

    fn log(term: u64, index: u64) -> Option<StoredLogId> {
        Some(StoredLogId { term, index })
    }

    fn vote(term: u64, node: u64, committed: bool) -> Option<StoredVote> {
        Some(StoredVote { term, node, committed })
    }

    fn damage(dir: &Path, place: u64) {
        let file = File::options().read(true).write(true).open(dir.join(FILE)).unwrap();
        let mut byte = [0];
        let offset = place * SLOT_DISTANCE + HEADER as u64 + 1;
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[byte[0] ^ 0x40], offset).unwrap();
    }

    #[test]
    fn the_largest_slot_fits() {
        let mark = Mark { log: log(u64::MAX, u64::MAX), vote: vote(u64::MAX, u64::MAX, true) };
        assert!(to_bytes(&Slot { number: u64::MAX, mark }).len() + HEADER <= SLOT_BYTES);
    }

    #[test]
    fn comes_back_as_it_was_noted() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = MarkFile::open(dir.path(), true).unwrap();
        assert_eq!(file.mark(), Mark::default());
        for index in 0..10 {
            let mark = Mark { log: log(3, index), vote: vote(3, 2, true) };
            file.note(mark).unwrap();
            assert_eq!(MarkFile::open(dir.path(), false).unwrap().mark(), mark);
        }
    }

    #[test]
    fn a_torn_slot_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = MarkFile::open(dir.path(), true).unwrap();
        file.note(Mark { log: log(1, 1), vote: None }).unwrap();
        file.note(Mark { log: log(1, 2), vote: None }).unwrap();
        damage(dir.path(), file.number % 2);
        assert_eq!(MarkFile::open(dir.path(), false).unwrap().mark().log, log(1, 1));
        damage(dir.path(), (file.number + 1) % 2);
        for fresh in [false, true] {
            assert!(matches!(MarkFile::open(dir.path(), fresh), Err(OpenError::Damaged { .. })));
        }
    }

    #[test]
    fn a_missing_or_cut_mark_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(MarkFile::open(dir.path(), false), Err(OpenError::Damaged { .. })));
        drop(MarkFile::open(dir.path(), true).unwrap());
        File::options().write(true).open(dir.path().join(FILE)).unwrap().set_len(10).unwrap();
        assert!(matches!(MarkFile::open(dir.path(), true), Err(OpenError::Damaged { .. })));
    }

    #[test]
    fn lowering_reaches_both_slots_and_never_raises() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = MarkFile::open(dir.path(), true).unwrap();
        file.note(Mark { log: log(1, 5), vote: vote(1, 1, false) }).unwrap();
        file.lower(log(1, 7)).unwrap();
        assert_eq!(file.mark().log, log(1, 5));
        file.lower(log(1, 3)).unwrap();
        damage(dir.path(), file.number % 2);
        let mark = MarkFile::open(dir.path(), false).unwrap().mark();
        assert_eq!(mark, Mark { log: log(1, 3), vote: vote(1, 1, false) });
        file.lower(None).unwrap();
        assert_eq!(file.mark().log, None);
    }

    #[test]
    fn refuses_a_log_behind_the_mark() {
        let mark = Mark { log: log(2, 5), vote: None };
        let recovered = |last, purged, at_mark| Recovered { last, purged, at_mark, vote: None };
        assert!(mark.verify(&recovered(log(2, 5), None, log(2, 5))).is_ok());
        assert!(mark.verify(&recovered(log(3, 9), None, log(2, 5))).is_ok());
        assert!(mark.verify(&recovered(log(3, 9), log(2, 5), None)).is_ok());
        assert!(mark.verify(&recovered(log(3, 9), log(3, 9), None)).is_ok());
        let behind = mark.verify(&recovered(log(2, 4), None, None)).unwrap_err();
        assert!(behind.contains("had synced up to 2.5") && behind.contains("up to 2.4"), "{behind}");
        assert!(mark.verify(&recovered(None, None, None)).is_err());
        assert!(mark.verify(&recovered(log(1, 9), None, log(1, 5))).is_err());
        assert!(mark.verify(&recovered(log(1, 4), log(1, 4), None)).is_err());
    }

    #[test]
    fn refuses_a_vote_behind_the_mark() {
        let verify = |synced, vote| {
            let mark = Mark { log: None, vote: synced };
            mark.verify(&Recovered { vote, ..Recovered::default() })
        };
        assert!(verify(None, None).is_ok());
        assert!(verify(vote(2, 1, false), vote(2, 1, false)).is_ok());
        assert!(verify(vote(2, 1, false), vote(2, 1, true)).is_ok());
        // Voted for 1, but 3 won the term: openraft holds a committed vote for the greater.
        assert!(verify(vote(2, 1, false), vote(2, 3, true)).is_ok());
        assert!(verify(vote(2, 1, false), vote(3, 2, false)).is_ok());
        assert!(verify(vote(2, 1, false), None).is_err());
        assert!(verify(vote(2, 1, true), vote(2, 1, false)).is_err());
        assert!(verify(vote(2, 1, false), vote(2, 3, false)).is_err());
        assert!(verify(vote(2, 1, false), vote(1, 1, true)).is_err());
    }
}
