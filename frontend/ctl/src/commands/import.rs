//! `import`: a file checked whole, then sent batch by batch, several at a time, and gone on with after an interruption.

use std::{
    fs::File,
    io::{self, Read, Seek},
    path::{Path, PathBuf},
};

use futures::{StreamExt, stream::FuturesUnordered};
use indicatif::ProgressBar;
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

use super::Tools;
use crate::{
    cli::Import,
    failure::{Exit, Failure},
    import::{
        batches::{Batch, Batches},
        check::{self, Checked, TOLD},
        progress::{self, Journal, Unusable},
        rows::{Rows, Unreadable},
        send::{self, NotDone, Refused},
    },
    output::{self, Output, note},
    wire::Added,
};

/// The file that is imported.
#[derive(Debug)]
struct Source {
    file: File,
    /// What to call it.
    name: String,
    /// Where its progress is noted; nowhere for standard input.
    progress: Option<PathBuf>,
}

/// What an import comes to.
#[derive(Debug, Serialize)]
struct Summary {
    rows: u64,
    added: u64,
    updated: u64,
    kept: u64,
    revision: u64,
}

/// `import --dry-run`.
///
/// # Errors
/// What is wrong with the file.
pub fn check_only(args: &Import, mut out: Output) -> Result<(), Failure> {
    let mut source = Source::open(&args.file)?;
    let checked = source.check()?;
    if out.is_json() {
        out.json(&serde_json::json!({ "rows": checked.rows }))?;
    } else {
        out.line(format_args!(
            "{}: {} rows, and nothing is wrong with them; nothing was sent",
            source.name, checked.rows
        ))?;
    }
    out.flush()
}

/// `import`.
///
/// # Errors
/// What is wrong with the file, which rows the store refuses, or why it could not be asked.
pub async fn import(tools: &mut Tools, args: &Import) -> Result<(), Failure> {
    let mut source = Source::open(&args.file)?;
    let checked = source.check()?;
    let journal = source.journal(&checked, args)?;
    if journal.is_begun() {
        note(format_args!(
            "goes on behind line {}: {} of {} rows are in already",
            journal.line(),
            journal.rows(),
            checked.rows
        ));
    }
    let file = source.again()?;
    let rows = Rows::new(file).map_err(|at| source.changed(&at))?;
    let bar = output::bar(checked.rows, "importing");
    bar.set_position(journal.rows());
    bar.reset_eta();
    let mut run = Run { tools, source: &source, checked: &checked, journal, bar, stopped: None };
    let mut batches = Batches::new(rows, args.existing);
    let interrupted = tokio::select! {
        done = run.send_all(&mut batches, usize::from(args.in_flight)) => { done?; false }
        interrupted = tokio::signal::ctrl_c() => interrupted.is_ok(),
    };
    run.bar.finish_and_clear();
    if interrupted {
        return Err(Failure::Told(Exit::Interrupted, run.so_far("interrupted")));
    }
    let sum = run.journal.sum();
    run.journal.remove().map_err(|error| source.not_noted(&error))?;
    let Added { added, updated, kept, revision } = sum;
    let summary = Summary { rows: checked.rows, added, updated, kept, revision };
    if tools.out.is_json() {
        return tools.out.json(&summary);
    }
    tools.out.line(format_args!(
        "{}: {} rows are in: {added} added, {updated} updated, {kept} kept as they were (revision {revision})",
        source.name, summary.rows
    ))
}

/// The sending of one run.
struct Run<'a> {
    tools: &'a Tools,
    source: &'a Source,
    checked: &'a Checked,
    journal: Journal,
    bar: ProgressBar,
    /// Why no further batch is begun, and of which batch that is the reason.
    stopped: Option<(u64, NotDone)>,
}

impl Run<'_> {
    /// Has all batches done that are not, at most `most` at a time.
    async fn send_all<R: Read>(&mut self, batches: &mut Batches<R>, most: usize) -> Result<(), Failure> {
        let store = &self.tools.store;
        let mut under_way = FuturesUnordered::new();
        let mut all_begun = false;
        loop {
            let mut begun = Vec::new();
            while under_way.len() + begun.len() < most && !all_begun && self.stopped.is_none() {
                match batches.cut().map_err(|at| self.source.changed(&at))? {
                    None => all_begun = true,
                    Some(batch) if self.journal.is_done(batch.number) => {
                        self.journal.passed(batch.number, &batch.lines)
                    }
                    Some(batch) => {
                        self.journal.begin(batch.number);
                        begun.push(batch);
                    }
                }
            }
            if all_begun && batches.digest() != self.checked.digest {
                // Every row was checked, and each batch was whole; but they are not those that the note speaks of.
                let at = Unreadable { line: 1, why: "it is not what it was when it was checked".to_owned() };
                return Err(self.source.changed(&at));
            }
            // What is about to be sent, and what has been acknowledged before, in one.
            self.journal.save().map_err(|error| self.source.not_noted(&error))?;
            for batch in begun {
                let (key, may_be_done) = (self.journal.key(batch.number), self.journal.may_be_done(batch.number));
                under_way.push(async move {
                    let done = send::send(store, &batch, &key, may_be_done).await;
                    (batch, done)
                });
            }
            let Some((batch, done)) = under_way.next().await else { break };
            self.take(&batch, done);
        }
        match self.stopped.take() {
            None => Ok(()),
            Some((_, why)) => Err(self.failed(why)),
        }
    }

    fn take(&mut self, batch: &Batch, done: Result<Added, NotDone>) {
        match done {
            Ok(added) => {
                self.journal.finish(batch.number, &batch.lines, added);
                self.bar.set_position(self.journal.rows());
            }
            Err(why) => {
                // What an earlier run has left in doubt stays so.
                if !matches!(why, NotDone::Unknown(_)) && !self.journal.may_be_done(batch.number) {
                    self.journal.give_back(batch.number);
                }
                // A refusal is what somebody has to do something about, and the first in the file is where they begin.
                let rank = |number: u64, why: &NotDone| (!matches!(why, NotDone::Refused(_)), number);
                let is_first = self
                    .stopped
                    .as_ref()
                    .is_none_or(|(other, stopped)| rank(batch.number, &why) < rank(*other, stopped));
                if is_first {
                    self.stopped = Some((batch.number, why));
                }
            }
        }
    }

    fn failed(&self, why: NotDone) -> Failure {
        match why {
            NotDone::Refused(refused) => Failure::refused(self.refused(&refused)),
            NotDone::Unavailable(why) => Failure::unavailable(self.so_far(&why)),
            NotDone::Unknown(why) => Failure::unknown(self.so_far(&why)),
        }
    }

    fn so_far(&self, why: &str) -> String {
        let (done, all) = (self.journal.rows(), self.checked.rows);
        let next = if self.source.progress.is_some() {
            "run the same command again, and it goes on from here; no row takes effect twice"
        } else {
            "standard input cannot be gone on with: give it again with --existing keep"
        };
        format!("{why}; {done} of {all} rows are in: {next}")
    }

    fn refused(&self, refused: &Refused) -> String {
        let mut text = refused.why.clone();
        for (line, why) in refused.lines.iter().take(TOLD) {
            text += &format!("\n{}:{line}: {why}", self.source.name);
        }
        let others = refused.count.saturating_sub(refused.lines.len().min(TOLD) as u64);
        if others > 0 {
            text += &format!("\n... and {others} more");
        }
        let (done, all) = (self.journal.rows(), self.checked.rows);
        text += &format!("\n{done} of {all} rows are in; ");
        text + if self.journal.is_begun() {
            "correct the file, and run this again with --restart --existing keep, which passes over those that are in, or with \
             --existing update"
        } else {
            "correct the file, or say what becomes of items that are there: --existing keep or --existing update"
        }
    }
}

impl Source {
    /// Opens it, for this import alone.
    fn open(path: &Path) -> Result<Self, Failure> {
        if path.as_os_str() == "-" {
            note("reading standard input: if this is interrupted, it cannot be gone on with; a file can");
            // It is read twice, and may be larger than memory.
            let spooled = tempfile::tempfile().and_then(|mut file| {
                io::copy(&mut io::stdin().lock(), &mut file)?;
                file.rewind()?;
                Ok(file)
            });
            let file = spooled.map_err(|error| {
                Failure::refused(format_args!(
                    "standard input cannot be kept in a temporary file: {error}; give a file instead"
                ))
            })?;
            return Ok(Self { file, name: "-".to_owned(), progress: None });
        }
        let name = path.display().to_string();
        let file = File::open(path);
        let file =
            file.map_err(|error| Failure::refused(format_args!("{name} cannot be read: {error}; give a CSV file")))?;
        if file.metadata().is_ok_and(|data| data.is_dir()) {
            return Err(Failure::refused(format_args!("{name} is a folder; give a CSV file")));
        }
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(Failure::refused(format_args!("another import of {name} is under way: let it end, or end it")));
        }
        Ok(Self { file, name, progress: Some(progress::path_of(path)) })
    }

    /// The file from its beginning.
    fn again(&self) -> Result<&File, Failure> {
        let mut file = &self.file;
        let rewound = file.rewind();
        rewound.map_err(|error| {
            Failure::refused(format_args!("{} cannot be read twice: {error}; give a file", self.name))
        })?;
        Ok(file)
    }

    fn check(&mut self) -> Result<Checked, Failure> {
        let bar = output::bar(self.file.metadata().map_or(0, |data| data.len()), "checking (bytes)");
        let checked = check::check(self.again()?, |bytes| bar.set_position(bytes));
        bar.finish_and_clear();
        checked.map_err(|faults| {
            let count = faults.count;
            let lines = faults.lines(&self.name);
            Failure::refused(format_args!(
                "{count} of the rows are wrong, and nothing was sent; correct them:\n{lines}"
            ))
        })
    }

    fn journal(&self, checked: &Checked, args: &Import) -> Result<Journal, Failure> {
        if let (true, Some(path)) = (args.restart, &self.progress) {
            progress::remove(path).map_err(|error| self.not_noted(&error))?;
        }
        let name = &self.name;
        Journal::open(self.progress.clone(), checked, args.existing).map_err(|unusable| match unusable {
            Unusable::Other { what, rows } => Failure::refused(format_args!(
                "an import of {name} was interrupted with {rows} rows done, and {what}: put that back and it goes on, or \
                 begin anew with --restart"
            )),
            Unusable::Damaged(why) => Failure::refused(format_args!(
                "{}: what is noted there cannot be used: {why}; begin anew with --restart",
                progress::path_of(Path::new(name)).display()
            )),
        })
    }

    fn changed(&self, at: &Unreadable) -> Failure {
        let Unreadable { line, why } = at;
        let name = &self.name;
        Failure::refused(format_args!(
            "{name}:{line}: {why}; {name} was changed while it was imported: put back what it was and run this again, or begin \
             anew with --restart"
        ))
    }

    fn not_noted(&self, error: &io::Error) -> Failure {
        Failure::refused(format_args!(
            "how far the import is cannot be noted beside {}: {error}; make room there, or import a copy elsewhere",
            self.name
        ))
    }
}
