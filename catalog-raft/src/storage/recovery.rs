//! What the log store finds on its disk when it opens: the bounds of the log, the vote, and whether the mark agrees.
//! Reads only.

use std::ops::Range;

use serde::de::DeserializeOwned;

use super::{
    codec::{StoredLogId, StoredVote, decode_entry, from_bytes},
    db::{Db, OpenError},
    keys::{CF_LOG, CF_META, META_COMMITTED, META_PURGED, META_VOTE, log_index, log_key},
    mark::{MarkFile, Recovered},
};
use crate::raft::{LogId, Vote};

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// The vote.
    pub vote: Option<Vote>,
    /// The last entry known to be committed.
    pub committed: Option<LogId>,
    /// The last entry purged.
    pub purged: Option<LogId>,
    /// The last entry, or the last one purged when there is none.
    pub last: Option<LogId>,
    /// The indexes of the entries.
    pub present: Range<u64>,
    /// The mark, which is not ahead of all that.
    pub mark: MarkFile,
}

/// Finds it, and refuses a disk that has lost what it had synced.
///
/// # Errors
/// When the disk is damaged or behind its mark.
pub fn recover(db: &Db) -> Result<Found, OpenError> {
    let vote: Option<StoredVote> = read_meta(db, META_VOTE)?;
    let purged: Option<StoredLogId> = read_meta(db, META_PURGED)?;
    let committed: Option<StoredLogId> = read_meta(db, META_COMMITTED)?;
    let (last, present) = find_log(db, purged)?;

    let mark = MarkFile::open(db.dir(), vote.is_none() && last.is_none())?;
    let at_mark = match mark.mark().log {
        Some(synced) if present.contains(&synced.index) => read_log_id(db, synced.index)?,
        _ => None,
    };
    mark.mark()
        .verify(&Recovered { last, purged, at_mark, vote })
        .map_err(|what| OpenError::damaged(db.dir(), what))?;
    Ok(Found {
        vote: vote.map(Into::into),
        committed: committed.map(Into::into),
        purged: purged.map(Into::into),
        last: last.map(Into::into),
        present,
        mark,
    })
}

/// The last log id, and the indexes present: without a hole at either end.
fn find_log(db: &Db, purged: Option<StoredLogId>) -> Result<(Option<StoredLogId>, Range<u64>), OpenError> {
    let start = purged.map_or(0, |purged| purged.index + 1);
    let mut entries = db.raw().raw_iterator_cf(db.cf(CF_LOG));
    let damaged = |what: String| OpenError::damaged(db.dir(), what);
    // Never from the first key: that would walk over all that was purged.
    entries.seek(log_key(start));
    entries.status().map_err(|error| damaged(error.to_string()))?;
    let Some(key) = entries.key() else {
        return Ok((purged, start..start));
    };
    let first = log_index(key).ok_or_else(|| damaged("a key of the log is not an index".to_owned()))?;
    if purged.is_some() && first != start {
        return Err(damaged(format!("the log starts at {first}, but was purged up to {}", start - 1)));
    }
    entries.seek_for_prev(log_key(u64::MAX));
    entries.status().map_err(|error| damaged(error.to_string()))?;
    let last =
        entries.key().and_then(log_index).ok_or_else(|| damaged("a key of the log is not an index".to_owned()))?;
    let last = read_log_id(db, last)?.ok_or_else(|| damaged(format!("log entry {last} cannot be read")))?;
    Ok((Some(last), first..last.index + 1))
}

/// The log id of the entry at `index`.
fn read_log_id(db: &Db, index: u64) -> Result<Option<StoredLogId>, OpenError> {
    let damaged = |what: String| OpenError::damaged(db.dir(), format!("log entry {index}: {what}"));
    let Some(bytes) =
        db.raw().get_pinned_cf(db.cf(CF_LOG), log_key(index)).map_err(|error| damaged(error.to_string()))?
    else {
        return Ok(None);
    };
    let entry = decode_entry(&bytes).map_err(|error| damaged(error.to_string()))?;
    if entry.log_id.index != index {
        return Err(damaged(format!("holds entry {}", entry.log_id.index)));
    }
    Ok(Some(entry.log_id.into()))
}

fn read_meta<T: DeserializeOwned>(db: &Db, key: &[u8]) -> Result<Option<T>, OpenError> {
    let name = String::from_utf8_lossy(key);
    let damaged = |what: String| OpenError::damaged(db.dir(), format!("its record of {name}: {what}"));
    let bytes = db.raw().get_pinned_cf(db.cf(CF_META), key).map_err(|error| damaged(error.to_string()))?;
    bytes.map(|bytes| from_bytes(&bytes)).transpose().map_err(|error| damaged(error.to_string()))
}
