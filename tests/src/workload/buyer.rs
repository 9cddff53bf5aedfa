//! One client: sends a write or a look, reads the answer, and notes it. What an answer means for a write stands here.

use std::{io, time::Duration};

use serde::Deserialize;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::{
    history::{Ask, History, Item, Listing, MAX_SURPRISES, Outcome, Read, Repeat, Write},
    load::connection::{self, Connection},
};

/// How long an answer may take: the deadline of the servers and a generous second for a busy machine. Nothing hangs.
const ANSWER_PATIENCE: Duration = Duration::from_secs(8);

/// How long a connection may take to be made.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
/// What the body of a 503 says when the write may yet have taken effect.
const UNKNOWN: &[u8] = b"outcome-unknown";

/// A client and what it did so far.
#[derive(Debug)]
pub struct Buyer {
    fronts: Vec<String>,
    /// The front end that it talks to.
    front: usize,
    /// Whether servers that clients talk to may be gone.
    servers_may_go: bool,
    began: Instant,
    connection: Option<Connection>,
    /// What it did; writes are added by its owner once they are over.
    pub history: History,
}

/// An answer, on its own.
struct Answer {
    status: u16,
    revision: Option<u64>,
    retry_after: Option<u64>,
    key: Option<String>,
    body: Vec<u8>,
}

#[derive(Deserialize)]
struct Book {
    quantity: i64,
    cost: u64,
}

#[derive(Deserialize)]
struct Listed {
    item_number: Item,
    #[serde(flatten)]
    book: Book,
}

/// The body of a list: that of the compatible surface, or a page of `/v1`.
#[derive(Deserialize)]
#[serde(untagged)]
enum List {
    Whole(Vec<Listed>),
    Page { items: Vec<Listed> },
}

impl Buyer {
    /// A client of one of the front ends at `host:port`, whose clock began at `began`.
    pub fn new(fronts: Vec<String>, front: usize, began: Instant) -> Self {
        let front = front % fronts.len().max(1);
        Self { fronts, front, servers_may_go: false, began, connection: None, history: History::default() }
    }

    /// Takes a broken connection for what it is when a server is killed: no answer, and no surprise.
    #[must_use]
    pub fn where_servers_may_go(mut self, may_go: bool) -> Self {
        self.servers_may_go = may_go;
        self
    }

    /// Goes to another front end, if there is one.
    pub fn turn(&mut self) {
        if self.fronts.len() > 1 {
            self.front = (self.front + 1) % self.fronts.len();
            self.connection = None;
        }
    }

    /// A write that is about to be sent first.
    pub fn begin(&self, key: Uuid, ask: Ask) -> Write {
        let now = self.began.elapsed();
        Write { key, ask, start: now, end: now, tries: 0, front: self.front, outcome: Outcome::TurnedAway }
    }

    /// Sends a write once more. Returns whether its outcome is known for good: the catalogue decided it.
    pub async fn send(&mut self, write: &mut Write) -> bool {
        let request = request(&self.fronts[self.front], write);
        write.front = self.front;
        // Once a try may have reached a leader, a later refusal speaks only for itself.
        let uncertain = write.outcome == Outcome::Unknown;
        write.tries += 1;
        let answer = self.ask(&request).await;
        write.end = self.began.elapsed();
        let outcome = match answer {
            Ok(answer) => self.read_write(write, &answer),
            Err(error) => {
                self.unanswered(&error, format!("no answer to {write:?}: {error}"));
                Outcome::Unknown
            }
        };
        write.outcome = if uncertain && outcome == Outcome::TurnedAway { Outcome::Unknown } else { outcome };
        write.decided_at().is_some()
    }

    /// Sends a write whose outcome is known once more, to `server` at `host:port`, and notes what is answered. Returns
    /// whether that was a decision.
    pub async fn repeat(&mut self, write: &Write, server: &str) -> bool {
        let Ok(mut connection) = connect(server).await else { return false };
        let request = request(server, write);
        let Ok(Ok(answer)) = timeout(ANSWER_PATIENCE, connection.ask(&request)).await else { return false };
        let answer = Answer::of(&answer);
        if is_rightly_turned_away(&answer) {
            return false;
        }
        let outcome = self.read_write(write, &answer);
        self.history.repeats.push(Repeat { key: write.key, server: server.to_owned(), outcome });
        true
    }

    /// Looks an item up.
    pub async fn look(&mut self, item: Item, linearizable: bool) {
        let start = self.began.elapsed();
        let how = if linearizable { "?read=linearizable" } else { "" };
        let Some(answer) = self.read(&format!("/lookup/{item}{how}")).await else { return };
        let end = self.began.elapsed();
        let book: Option<Book> = serde_json::from_slice(&answer.body).ok();
        match (answer.status, book, answer.revision) {
            (200, Some(Book { quantity, cost }), Some(revision)) => {
                let front = self.front;
                self.history.reads.push(Read { item, start, end, revision, quantity, cost, front, linearizable });
            }
            _ => self.surprise(format!("a lookup of {item} was answered {answer}")),
        }
    }

    /// Looks at all items at once, or at those of a topic; `of` are their numbers.
    pub async fn list(&mut self, topic: Option<&str>, of: &[Item], linearizable: bool) {
        let start = self.began.elapsed();
        let how = if linearizable { "read=linearizable" } else { "" };
        let path = topic.map_or_else(|| format!("/list?{how}"), |topic| format!("/v1/items?topic={topic}&{how}"));
        let Some(answer) = self.read(path.trim_end_matches(['?', '&'])).await else { return };
        let end = self.began.elapsed();
        let list: Option<List> = serde_json::from_slice(&answer.body).ok();
        match (answer.status, list, answer.revision) {
            (200, Some(List::Whole(items) | List::Page { items }), Some(revision)) => {
                let book = |listed: &Listed| (listed.item_number, listed.book.quantity, listed.book.cost);
                let (of, books, front) = (of.to_vec(), items.iter().map(book).collect(), self.front);
                self.history.listings.push(Listing { of, start, end, revision, books, front, linearizable });
            }
            _ => self.surprise(format!("{path} was answered {answer}")),
        }
    }

    /// The answer to a read, unless it was turned away or there was none.
    async fn read(&mut self, path: &str) -> Option<Answer> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.fronts[self.front]);
        match self.ask(request.as_bytes()).await {
            Ok(answer) if is_rightly_turned_away(&answer) => {
                self.history.turned_away += 1;
                None
            }
            Ok(answer) => Some(answer),
            Err(error) => {
                self.unanswered(&error, format!("no answer to {path}: {error}"));
                None
            }
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
            (Ask::SetCost(..), 200, body) if body.starts_with(b"\"Cost of item :") => Some(true),
            (Ask::SetCost(_, cost), 200, body)
                if serde_json::from_slice(body).is_ok_and(|book: Book| book.cost == *cost) =>
            {
                Some(true)
            }
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
            None => connect(&self.fronts[self.front]).await?,
        };
        let answer = timeout(ANSWER_PATIENCE, connection.ask(request)).await.map_err(|_| io::ErrorKind::TimedOut)??;
        let keeps = answer.keeps;
        let answer = Answer::of(&answer);
        self.connection = keeps.then_some(connection);
        Ok(answer)
    }

    /// No answer: a surprise, unless it is how a server that was killed says nothing. To hang is always one.
    fn unanswered(&mut self, error: &io::Error, what: String) {
        if self.servers_may_go && error.kind() != io::ErrorKind::TimedOut {
            self.history.unknown += 1;
            self.turn();
        } else {
            self.surprise(what);
        }
    }

    fn surprise(&mut self, what: String) {
        if self.history.surprises.len() < MAX_SURPRISES {
            self.history.surprises.push(what);
        }
    }
}

async fn connect(server: &str) -> io::Result<Connection> {
    // Not as a time-out: nobody has hung who was never reached.
    timeout(CONNECT_PATIENCE, Connection::open(server)).await.map_err(|_| io::ErrorKind::ConnectionRefused)?
}

impl Answer {
    fn of(answer: &connection::Answer<'_>) -> Self {
        Self {
            status: answer.status,
            revision: answer.revision,
            retry_after: answer.retry_after,
            key: answer.key.map(str::to_owned),
            body: answer.body.to_vec(),
        }
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { status, revision, retry_after, key, body } = self;
        let body = String::from_utf8_lossy(body);
        write!(f, "{status}, revision {revision:?}, retry after {retry_after:?}, key {key:?}: {body}")
    }
}

/// Whether it is a 429 or 503 as these should be.
fn is_rightly_turned_away(answer: &Answer) -> bool {
    matches!(answer.status, 429 | 503) && answer.retry_after.is_some()
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
        Ask::SetCost(item, cost) if post => (format!("/v1/items/{item}"), format!("{{\"cost\": {cost}}}")),
        Ask::SetCost(item, cost) => (format!("/update_c/{item}/{cost}"), String::new()),
        Ask::Order(lines) => {
            let line = |(item, units): &(Item, u64)| format!("{{\"item_number\": {item}, \"quantity\": {units}}}");
            let lines: Vec<String> = lines.iter().map(line).collect();
            ("/v1/orders".to_owned(), format!("{{\"lines\": [{}]}}", lines.join(", ")))
        }
    };
    let (method, length) = if body.is_empty() {
        ("GET", String::new())
    } else {
        let method = if matches!(write.ask, Ask::SetCost(..)) { "PATCH" } else { "POST" };
        (method, format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()))
    };
    let key = write.key;
    format!("{method} {path} HTTP/1.1\r\nhost: {front}\r\nidempotency-key: {key}\r\n{length}\r\n{body}").into_bytes()
}
