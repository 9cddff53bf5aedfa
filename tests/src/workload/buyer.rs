//! One client: sends a write or a look, reads the answer, and notes it. What an answer means for a write stands here.

use std::{
    io,
    time::{Duration, Instant},
};

use serde::Deserialize;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    history::{Ask, History, Item, MAX_SURPRISES, Outcome, Read, Write},
    load::connection::Connection,
};

/// How long an answer may take: the deadline of the servers and a generous second for a busy machine. Nothing hangs.
const ANSWER_PATIENCE: Duration = Duration::from_secs(8);

/// What the body of a 503 says when the write may yet have taken effect.
const UNKNOWN: &[u8] = b"outcome-unknown";

/// A client and what it did so far.
#[derive(Debug)]
pub struct Buyer {
    front: String,
    began: Instant,
    connection: Option<Connection>,
    /// What it did; writes are added by its owner once they are over.
    pub history: History,
}

/// An answer, on its own.
struct Answer {
    status: u16,
    revision: Option<u64>,
    retry_after: bool,
    key: Option<String>,
    body: Vec<u8>,
}

#[derive(Deserialize)]
struct Book {
    quantity: i64,
}

impl Buyer {
    /// A client of the front end at `host:port`, whose clock began at `began`.
    pub fn new(front: String, began: Instant) -> Self {
        Self { front, began, connection: None, history: History::default() }
    }

    /// A write that is about to be sent first.
    pub fn begin(&self, key: Uuid, ask: Ask) -> Write {
        let now = self.began.elapsed();
        Write { key, ask, start: now, end: now, tries: 0, outcome: Outcome::TurnedAway }
    }

    /// Sends a write once more. Returns whether its outcome is known for good: the catalogue decided it.
    pub async fn send(&mut self, write: &mut Write) -> bool {
        let request = request(&self.front, write);
        // Once a try may have reached a leader, a later refusal speaks only for itself.
        let uncertain = write.outcome == Outcome::Unknown;
        write.tries += 1;
        let answer = self.ask(&request).await;
        write.end = self.began.elapsed();
        let outcome = match answer {
            Ok(answer) => self.read_write(write, &answer),
            Err(error) => {
                self.surprise(format!("no answer to {write:?}: {error}"));
                Outcome::Unknown
            }
        };
        write.outcome = if uncertain && outcome == Outcome::TurnedAway { Outcome::Unknown } else { outcome };
        write.decided_at().is_some()
    }

    /// Looks an item up.
    pub async fn look(&mut self, item: Item) {
        let start = self.began.elapsed();
        let request = format!("GET /lookup/{item} HTTP/1.1\r\nhost: {}\r\n\r\n", self.front);
        let answer = match self.ask(request.as_bytes()).await {
            Ok(answer) => answer,
            Err(error) => return self.surprise(format!("no answer to a lookup of {item}: {error}")),
        };
        let end = self.began.elapsed();
        if is_rightly_turned_away(&answer) {
            self.history.turned_away += 1;
            return;
        }
        let book: Option<Book> = serde_json::from_slice(&answer.body).ok();
        match (answer.status, book, answer.revision) {
            (200, Some(Book { quantity }), Some(revision)) => {
                self.history.reads.push(Read { item, start, end, revision, quantity });
            }
            _ => self.surprise(format!("a lookup of {item} was answered {answer}")),
        }
    }

    /// What an answer to a write says.
    fn read_write(&mut self, write: &Write, answer: &Answer) -> Outcome {
        if answer.key.as_deref() != Some(write.key.to_string().as_str()) {
            self.surprise(format!("another Idempotency-Key than {}: {answer}", write.key));
        }
        if is_rightly_turned_away(answer) {
            let unknown = answer.body.windows(UNKNOWN.len()).any(|part| part == UNKNOWN);
            let (count, outcome) = match unknown {
                true => (&mut self.history.unknown, Outcome::Unknown),
                false => (&mut self.history.turned_away, Outcome::TurnedAway),
            };
            *count += 1;
            return outcome;
        }
        let decided = match (&write.ask, answer.status, answer.body.as_slice()) {
            (Ask::Buy(_), 200, b"\"Record successfully bought\"") => Some(true),
            (Ask::Buy(_), 200, b"\"Item is unavailable.\"") => Some(false),
            (Ask::AddStock(..), 200, b"\"error in update operation\"") => Some(false),
            (Ask::AddStock(..), 200, body) if body.starts_with(b"\"Quantity of record ") => Some(true),
            (Ask::Order(_), 201, _) => Some(true),
            (Ask::Order(_), 409, _) => Some(false),
            _ => None,
        };
        match (decided, answer.revision) {
            (Some(true), Some(revision)) => Outcome::Ok(revision),
            (Some(false), Some(revision)) => Outcome::OutOfStock(revision),
            _ => {
                self.surprise(format!("{write:?} was answered {answer}"));
                Outcome::Unknown
            }
        }
    }

    async fn ask(&mut self, request: &[u8]) -> io::Result<Answer> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.front).await?,
        };
        let answer = timeout(ANSWER_PATIENCE, connection.ask(request)).await.map_err(|_| io::ErrorKind::TimedOut)??;
        let keeps = answer.keeps;
        let answer = Answer {
            status: answer.status,
            revision: answer.revision,
            retry_after: answer.retry_after,
            key: answer.key.map(str::to_owned),
            body: answer.body.to_vec(),
        };
        self.connection = keeps.then_some(connection);
        Ok(answer)
    }

    fn surprise(&mut self, what: String) {
        if self.history.surprises.len() < MAX_SURPRISES {
            self.history.surprises.push(what);
        }
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { status, revision, retry_after, key, body } = self;
        let body = String::from_utf8_lossy(body);
        write!(f, "{status}, revision {revision:?}, retry after {retry_after}, key {key:?}: {body}")
    }
}

/// Whether it is a 429 or 503 as these should be.
fn is_rightly_turned_away(answer: &Answer) -> bool {
    matches!(answer.status, 429 | 503) && answer.retry_after
}

/// A write as it goes on the wire: the same bytes at each try.
fn request(front: &str, write: &Write) -> Vec<u8> {
    // Both forms of each operation are used, chosen by the key so that a retry takes the same one.
    let post = write.key.as_u128() & 1 == 1;
    let (path, body) = match &write.ask {
        Ask::Buy(item) if post => ("/buy/".to_owned(), format!("{{\"item_number\": {item}}}")),
        Ask::Buy(item) => (format!("/buy/{item}"), String::new()),
        Ask::AddStock(item, delta) if post => {
            ("/update_q/".to_owned(), format!("{{\"item_number\": {item}, \"quantity\": {delta}}}"))
        }
        Ask::AddStock(item, delta) => (format!("/update_q/{item}/{delta}"), String::new()),
        Ask::Order(lines) => {
            let line = |(item, units): &(Item, u64)| format!("{{\"item_number\": {item}, \"quantity\": {units}}}");
            let lines: Vec<String> = lines.iter().map(line).collect();
            ("/v1/orders".to_owned(), format!("{{\"lines\": [{}]}}", lines.join(", ")))
        }
    };
    let (method, length) = if body.is_empty() {
        ("GET", String::new())
    } else {
        ("POST", format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()))
    };
    let key = write.key;
    format!("{method} {path} HTTP/1.1\r\nhost: {front}\r\nidempotency-key: {key}\r\n{length}\r\n{body}").into_bytes()
}
