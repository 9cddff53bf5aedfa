//! What is noted of an import beside its file, so that it can be gone on with after an interruption of any kind.
//!
//! A batch is noted as in doubt before it is sent, until it is known what became of it. So whoever goes on knows of each batch
//! that it is done, that it is not, or that it may be.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use cluster_config::layout::edit;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::check::Checked;
use crate::{cli::Existing, key, wire::Added};

/// The form of the note. Another one is not understood.
const VERSION: u32 = 1;

/// The note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    version: u32,
    /// Names the import: the keys of its batches are made of it.
    import: Uuid,
    /// Of the whole file.
    digest: String,
    existing: Existing,
    /// Batches that were sent, and may be done.
    in_doubt: BTreeSet<u64>,
    /// Batches below this one are done.
    done: u64,
    /// Others that are.
    done_beyond: BTreeSet<u64>,
    /// The line that the last row of the batches below `done` begins on; 1, the header's, before there are any.
    line: u64,
    /// What became of the rows that are done.
    sum: Added,
    /// How many rows are done.
    rows: u64,
}

/// The note, and the file that it stands in; without one of an import that cannot be gone on with.
#[derive(Debug)]
pub struct Journal {
    path: Option<PathBuf>,
    progress: Progress,
    /// The lines of batches that are done and have one before them that is not.
    last_lines: Vec<(u64, u64)>,
    /// Batches that an earlier run has left in doubt.
    doubt_before: BTreeSet<u64>,
}

/// Why there is no note to go on with.
#[derive(Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It is of another file or of other options than these.
    Other {
        /// What is another.
        what: &'static str,
        /// Rows that are done.
        rows: u64,
    },
    /// It cannot be read.
    Damaged(String),
}

/// Where the note of an import of `file` stands.
pub fn path_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".import-progress");
    name.into()
}

impl Journal {
    /// The note at `path` to go on with, or a new one, which is not written yet.
    ///
    /// # Errors
    /// When there is one that is not of this import.
    pub fn open(path: Option<PathBuf>, checked: &Checked, existing: Existing) -> Result<Self, Unusable> {
        let known = path.as_deref().map(read).transpose()?.flatten();
        if let Some(known) = &known {
            let other = |what| Unusable::Other { what, rows: known.rows };
            if known.digest != checked.digest {
                return Err(other("the file has changed since"));
            }
            if known.existing != existing {
                return Err(other("it was begun with another --existing"));
            }
        }
        let progress = known.unwrap_or_else(|| Progress {
            version: VERSION,
            import: Uuid::now_v7(),
            digest: checked.digest.clone(),
            existing,
            in_doubt: BTreeSet::new(),
            done: 0,
            done_beyond: BTreeSet::new(),
            line: 1,
            sum: Added::default(),
            rows: 0,
        });
        let doubt_before = progress.in_doubt.clone();
        Ok(Self { path, progress, last_lines: Vec::new(), doubt_before })
    }

    /// Whether some of it is done, or may be.
    pub fn is_begun(&self) -> bool {
        self.progress.rows > 0 || !self.progress.in_doubt.is_empty()
    }

    /// Whether an earlier run may have sent this batch, and did not learn what became of it.
    pub fn may_be_done(&self, batch: u64) -> bool {
        self.doubt_before.contains(&batch)
    }

    /// Whether it is done.
    pub fn is_done(&self, batch: u64) -> bool {
        batch < self.progress.done || self.progress.done_beyond.contains(&batch)
    }

    /// The key of a batch.
    pub fn key(&self, batch: u64) -> String {
        key::of_part(self.progress.import, batch)
    }

    /// The line behind which the first row is that is not known to be done.
    pub fn line(&self) -> u64 {
        self.progress.line
    }

    /// How many rows are done.
    pub fn rows(&self) -> u64 {
        self.progress.rows
    }

    /// What became of them.
    pub fn sum(&self) -> Added {
        self.progress.sum
    }

    /// Notes that `batch` is about to be sent. [`Journal::save`] must come before it is.
    pub fn begin(&mut self, batch: u64) {
        self.progress.in_doubt.insert(batch);
    }

    /// Notes that nothing of `batch` is done.
    pub fn give_back(&mut self, batch: u64) {
        self.progress.in_doubt.remove(&batch);
    }

    /// Notes that `batch`, whose rows begin on `lines`, is done.
    pub fn finish(&mut self, batch: u64, lines: &[u64], added: Added) {
        let progress = &mut self.progress;
        progress.sum.added += added.added;
        progress.sum.updated += added.updated;
        progress.sum.kept += added.kept;
        progress.sum.revision = progress.sum.revision.max(added.revision);
        progress.rows += lines.len() as u64;
        progress.done_beyond.insert(batch);
        progress.in_doubt.remove(&batch);
        self.passed(batch, lines);
    }

    /// Tells the lines of a batch that is done, so that it is known how far all are.
    pub fn passed(&mut self, batch: u64, lines: &[u64]) {
        let progress = &mut self.progress;
        self.last_lines.push((batch, lines.last().copied().unwrap_or(1)));
        while progress.done_beyond.remove(&progress.done) {
            progress.done += 1;
        }
        let done = progress.done;
        let below = self.last_lines.iter().filter(|(batch, _)| *batch < done).map(|(_, line)| *line).max();
        progress.line = progress.line.max(below.unwrap_or(1));
        self.last_lines.retain(|(batch, _)| *batch >= done);
    }

    /// Writes the note: whoever reads it, after whatever happens, finds this one or the one before. Of an import of which
    /// nothing is done, nor may be, there is none.
    ///
    /// # Errors
    /// What the file system says.
    pub fn save(&self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        if !self.is_begun() {
            return remove(path);
        }
        let text = serde_json::to_string(&self.progress).expect("a struct of text and numbers is always JSON");
        edit::save(path, &text)
    }

    /// Removes the note: all is done.
    ///
    /// # Errors
    /// What the file system says.
    pub fn remove(self) -> io::Result<()> {
        self.path.as_deref().map_or(Ok(()), remove)
    }
}

/// Forgets an import.
///
/// # Errors
/// What the file system says.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Result<Option<Progress>, Unusable> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Unusable::Damaged(error.to_string())),
    };
    let progress: Progress = serde_json::from_str(&text).map_err(|error| Unusable::Damaged(error.to_string()))?;
    if progress.version != VERSION {
        return Err(Unusable::Damaged(format!("its version is {}, not {VERSION}", progress.version)));
    }
    Ok(Some(progress))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(digest: &str) -> Checked {
        Checked { digest: digest.to_owned(), rows: 5 }
    }

    #[test]
    fn what_is_done_begun_and_unknown_is_told_apart_by_the_next_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = path_of(&folder.path().join("items.csv"));
        assert!(path.ends_with("items.csv.import-progress"));
        let open = || Journal::open(Some(path.clone()), &checked("d"), Existing::Refuse).expect("a note");
        let mut journal = open();
        assert!(!journal.is_begun());
        for batch in 0..5 {
            journal.begin(batch);
        }
        journal.give_back(4);
        assert!(!journal.may_be_done(2), "this run knows what it sends");
        let one = |revision| Added { added: 2, updated: 0, kept: 1, revision };
        journal.finish(2, &[8, 9], one(70));
        assert_eq!((journal.line(), journal.rows()), (1, 2));
        journal.finish(0, &[2, 3], one(60));
        assert_eq!(journal.line(), 3);
        journal.save().expect("a file");

        let mut next = open();
        assert!(next.is_begun());
        let is = |batch| (next.is_done(batch), next.may_be_done(batch));
        assert_eq!(
            [0, 1, 2, 3, 4].map(is),
            [(true, false), (false, true), (true, false), (false, true), (false, false)]
        );
        assert_eq!([0, 1, 2].map(|batch| next.key(batch)), [0, 1, 2].map(|batch| journal.key(batch)));
        assert_eq!((next.rows(), next.sum()), (4, Added { added: 4, updated: 0, kept: 2, revision: 70 }));
        next.finish(1, &[4, 7], one(80));
        // As it comes past one that was done before.
        next.passed(2, &[8, 9]);
        assert_eq!(next.line(), 9);
        next.save().expect("a file");
        next.remove().expect("a file");
        assert!(!path.exists() && !open().is_begun());
    }

    #[test]
    fn an_import_of_which_nothing_is_done_leaves_no_note() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("note");
        let mut journal = Journal::open(Some(path.clone()), &checked("d"), Existing::Refuse).expect("a note");
        journal.begin(0);
        journal.save().expect("a file");
        assert!(path.exists());
        journal.give_back(0);
        journal.save().expect("a file");
        assert!(!path.exists());
    }

    #[test]
    fn a_note_of_another_file_or_of_other_options_is_not_gone_on_with() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("note");
        let open = |digest: &str, existing| Journal::open(Some(path.clone()), &checked(digest), existing);
        let mut journal = open("d", Existing::Keep).expect("a note");
        journal.begin(0);
        journal.finish(0, &[2], Added::default());
        journal.save().expect("a file");
        let error = open("other", Existing::Keep).expect_err("another file");
        assert_eq!(error, Unusable::Other { what: "the file has changed since", rows: 1 });
        assert!(matches!(open("d", Existing::Update), Err(Unusable::Other { .. })));
        assert!(open("d", Existing::Keep).expect("the same").is_begun());
        for text in ["", "{}", "{\"version\": 1"] {
            std::fs::write(&path, text).expect("a file");
            assert!(matches!(open("d", Existing::Keep), Err(Unusable::Damaged(_))), "{text}");
        }
    }
}
