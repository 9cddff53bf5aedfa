//! `watch`: changes as they are committed, each once and in order, through cuts and restarts of front ends.

use std::time::Duration;

use cluster_config::table::{Align, Columns};
use futures::StreamExt;
use reqwest::header::ACCEPT;
use tokio::time::{Instant, sleep, timeout};

use super::Tools;
use crate::{
    failure::Failure,
    output::{note, shown},
    sse::{self, Parser},
    wire::{Change, Event, Problem},
};

/// A stream that says nothing for so long is cut: front ends say where they are every second.
const SILENCE: Duration = Duration::from_secs(5);
/// Between two tries to be connected.
const PAUSE: Duration = Duration::from_millis(200);

/// Why a stream has ended.
enum End {
    /// All that was asked for was seen.
    Enough,
    /// It was cut.
    Cut(String),
    /// The changes behind the position are no longer kept.
    Compacted,
    /// The command has failed.
    Failed(Failure),
}

/// What is shown, and how far.
struct Watching<'a> {
    tools: &'a mut Tools,
    columns: Columns<'static, 6>,
    /// Everything up to here was shown.
    position: Option<u64>,
    left: Option<u64>,
    /// When something was last heard.
    heard: Instant,
}

/// `watch`.
///
/// # Errors
/// When no front end can be reached for long, or what is asked for is no longer kept.
pub async fn watch(tools: &mut Tools, after: Option<u64>, count: Option<u64>) -> Result<(), Failure> {
    let columns = Columns::new([
        ("REVISION", Align::Right),
        ("CHANGE", Align::Left),
        ("ITEM", Align::Right),
        ("COST", Align::Right),
        ("QUANTITY", Align::Right),
        ("TITLE", Align::Left),
    ]);
    let patience = tools.store.timeout();
    let mut watching = Watching { tools, columns, position: after, left: count, heard: Instant::now() };
    let mut was_told = false;
    loop {
        let before = watching.heard;
        let why = match watching.follow().await {
            End::Enough => return Ok(()),
            End::Failed(failure) => return Err(failure),
            End::Compacted => return Err(watching.compacted()),
            End::Cut(why) => why,
        };
        was_told &= watching.heard == before;
        if watching.heard.elapsed() >= patience {
            return Err(Failure::unavailable(format_args!(
                "{why}; no change was heard of for {} s: {}",
                patience.as_secs(),
                watching.go_on()
            )));
        }
        if !was_told {
            note(format_args!("cut off ({why}): trying again"));
            was_told = true;
        }
        watching.tools.store.pass_on();
        sleep(PAUSE).await;
    }
}

impl Watching<'_> {
    /// Shows what one stream brings.
    async fn follow(&mut self) -> End {
        let front = self.tools.store.front().to_owned();
        let query = self.position.map(|position| format!("?after={position}")).unwrap_or_default();
        let request =
            self.tools.store.client().get(format!("{front}/v1/watch{query}")).header(ACCEPT, "text/event-stream");
        let answer = match timeout(SILENCE, request.send()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => return End::Cut(format!("{front} does not answer")),
            Err(_) => return End::Cut(format!("{front} says nothing")),
        };
        let status = answer.status().as_u16();
        if status != 200 {
            let body = timeout(SILENCE, answer.bytes()).await.ok().and_then(Result::ok).unwrap_or_default();
            return match Problem::parse(status, &body) {
                Some(problem) if problem.code == "compacted" => End::Compacted,
                Some(problem) if matches!(status, 429 | 503) => End::Cut(problem.detail),
                Some(problem) => End::Failed(Failure::refused(problem.detail)),
                None => End::Cut(format!("{front} answered {status}")),
            };
        }
        let mut stream = answer.bytes_stream();
        let mut parser = Parser::default();
        loop {
            let bytes = match timeout(SILENCE, stream.next()).await {
                Ok(Some(Ok(bytes))) => bytes,
                Ok(Some(Err(_)) | None) => return End::Cut(format!("{front} has ended the stream")),
                Err(_) => return End::Cut(format!("{front} says nothing")),
            };
            self.heard = Instant::now();
            let events = match parser.feed(&bytes) {
                Ok(events) => events,
                Err(why) => return End::Cut(format!("{front} sent {why}")),
            };
            for event in events {
                match self.take(&event) {
                    Ok(None) => {}
                    Ok(Some(end)) => return end,
                    Err(failure) => return End::Failed(failure),
                }
            }
        }
    }

    fn take(&mut self, event: &sse::Event) -> Result<Option<End>, Failure> {
        if event.kind == "compacted" {
            return Ok(Some(End::Compacted));
        }
        let revision = event.id.as_deref().and_then(|id| id.parse().ok());
        if event.kind == "change" {
            let told: Event = serde_json::from_str(&event.data).map_err(|error| {
                Failure::unavailable(format_args!(
                    "an event is not one ({error}): use the catalogctl that came with the store"
                ))
            })?;
            if self.position.is_none_or(|position| told.revision > position) && self.show(told)? {
                return Ok(Some(End::Enough));
            }
        }
        self.position = self.position.max(revision);
        Ok(None)
    }

    /// Returns whether that was all that is wanted.
    fn show(&mut self, event: Event) -> Result<bool, Failure> {
        let revision = event.revision;
        for change in event.changes {
            let change = change.at(revision);
            if self.tools.out.is_json() {
                self.tools.out.json(&change)?;
            } else {
                self.tools.out.line(self.columns.part(&[row(revision, &change)]))?;
            }
            self.left = self.left.map(|left| left - 1);
            if self.left == Some(0) {
                self.tools.out.flush()?;
                return Ok(true);
            }
        }
        self.tools.out.flush()?;
        Ok(false)
    }

    fn go_on(&self) -> String {
        let after = self.position.map(|position| format!(" --after {position}")).unwrap_or_default();
        format!("go on by catalogctl watch{after}")
    }

    fn compacted(&self) -> Failure {
        let position = self.position.unwrap_or_default();
        Failure::refused(format_args!(
            "changes behind revision {position} are no longer kept: read the items anew (catalogctl list), and watch without --after"
        ))
    }
}

fn row(revision: u64, change: &Change) -> [String; 6] {
    let at = revision.to_string();
    match change {
        Change::Put { item, .. } => [
            at,
            "put".to_owned(),
            item.item_number.to_string(),
            item.cost.to_string(),
            item.quantity.to_string(),
            shown(&item.title).into_owned(),
        ],
        Change::Withdrawn { item_number, .. } => {
            [at, "withdrawn".to_owned(), item_number.to_string(), "-".to_owned(), "-".to_owned(), String::new()]
        }
    }
}
