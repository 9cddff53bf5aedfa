//! Requests to front ends, repeated until one is answered: reads freely, writes under the key that they were made with.
//!
//! Must not know what is asked for. Why a repeated write takes effect once is the store's to see to: it remembers the
//! outcome of every key for a while, and of orders for ever.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use reqwest::{
    Client, Method, RequestBuilder, Response,
    header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER},
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use crate::{failure::Failure, find::Place, wire::Problem};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);
/// The first pause after every front end has been tried, and the longest, in milliseconds.
const PAUSES_MS: (u64, u64) = (50, 1_000);
/// A request is repeated only if it has this much time to be answered: one that has less only turns "nothing was done" into
/// "the outcome is unknown".
const TO_ANSWER: Duration = Duration::from_millis(200);
/// How long a write that may have been done is repeated if doing it twice would do it twice. The store remembers a key for
/// 50,000 changes, 14 s at the greatest rate it was seen to take.
const REMEMBERED: Duration = Duration::from_secs(10);

/// What is asked.
#[derive(Debug, Clone)]
pub struct Ask {
    method: Method,
    path: String,
    body: Option<Bytes>,
    key: Option<String>,
    min_revision: Option<u64>,
    repeats: Repeats,
}

/// For how long a write may be repeated that may have been done already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeats {
    /// The store knows it for ever, or doing it twice does no more than doing it once.
    Freely,
    /// As long as the store remembers its key.
    WhileRemembered,
}

impl Ask {
    fn new(method: Method, path: impl Into<String>, key: Option<&str>) -> Self {
        let (path, key) = (path.into(), key.map(str::to_owned));
        Self { method, path, body: None, key, min_revision: None, repeats: Repeats::Freely }
    }

    /// A read.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path, None)
    }

    /// A write of a JSON document.
    pub fn post(path: impl Into<String>, json: impl Into<Bytes>, key: &str) -> Self {
        Self { body: Some(json.into()), ..Self::new(Method::POST, path, Some(key)) }
    }

    /// A change by a JSON document.
    pub fn patch(path: impl Into<String>, json: impl Into<Bytes>, key: &str) -> Self {
        Self { body: Some(json.into()), ..Self::new(Method::PATCH, path, Some(key)) }
    }

    /// A removal.
    pub fn delete(path: impl Into<String>, key: &str) -> Self {
        Self::new(Method::DELETE, path, Some(key))
    }

    /// Only from a state at least as new.
    #[must_use]
    pub fn not_before(self, revision: u64) -> Self {
        Self { min_revision: Some(revision), ..self }
    }

    /// Done twice it would be done twice: it is not repeated for longer than its key is remembered.
    #[must_use]
    pub fn once(self) -> Self {
        Self { repeats: Repeats::WhileRemembered, ..self }
    }
}

/// A path with a query.
pub fn path_with<'a>(path: &str, query: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut text = form_urlencoded::Serializer::new(String::new());
    text.extend_pairs(query);
    let query = text.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// An answer of success.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The state that it was made from, or the revision that it committed at.
    pub revision: Option<u64>,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The document in the body.
    ///
    /// # Errors
    /// When it is another one: something else than a front end has answered.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Failure::unavailable(format_args!(
                "what was answered is not what a front end says ({error}): check the address, or use the catalogctl that \
                 came with the store"
            ))
        })
    }
}

/// Why there is no such answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Trouble {
    /// The store said no. `doubt`: a try before may have been done, and its answer was lost.
    Refused {
        /// Why.
        problem: Problem,
        /// Whether a try before may have been done.
        doubt: bool,
    },
    /// Nothing was done, and why.
    Unavailable(String),
    /// A try may have been done; the last that is known.
    Unknown(String),
}

/// What came of one try.
enum Try {
    Answered(Answer),
    Refused(Problem),
    /// Nothing was done; it may be tried again, not before.
    NotDone(String, Duration),
    /// It may have been done.
    Doubtful(String, Duration),
    /// This is no front end.
    Strange(String),
}

/// The way to the store. Connections are kept.
#[derive(Debug)]
pub struct Store {
    /// Where it is.
    pub place: Place,
    http: Client,
    /// Which front end is asked: the one that answered last.
    at: AtomicUsize,
    timeout: Duration,
}

/// An HTTP client that asks whom it is told to, once.
///
/// # Errors
/// When there can be none.
pub fn client() -> Result<Client, Failure> {
    Client::builder()
        .no_proxy()
        .tcp_nodelay(true)
        .connect_timeout(CONNECT)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .build()
        .map_err(|error| Failure::unavailable(format_args!("no HTTP client can be made: {error}; run it again")))
}

impl Store {
    /// A way to it. `timeout`: how long one request may take, repetitions among it.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(place: Place, timeout: Duration) -> Result<Self, Failure> {
        Ok(Self { place, http: client()?, at: AtomicUsize::new(0), timeout })
    }

    /// How long one request may take, repetitions among it.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The HTTP client.
    pub fn client(&self) -> &Client {
        &self.http
    }

    /// The front end whose turn it is.
    pub fn front(&self) -> &str {
        &self.place.fronts[self.at.load(Relaxed) % self.place.fronts.len()]
    }

    /// The next front end's turn.
    pub fn pass_on(&self) {
        self.at.fetch_add(1, Relaxed);
    }

    /// Reads a document.
    ///
    /// # Errors
    /// What the store says, or that nobody answered.
    pub async fn read<T: DeserializeOwned>(&self, ask: Ask) -> Result<T, Failure> {
        self.send(&ask).await.map_err(|trouble| self.failed(trouble, None))?.json()
    }

    /// Asks until there is an answer, or it is too late.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn send(&self, ask: &Ask) -> Result<Answer, Trouble> {
        let began = Instant::now();
        let deadline = began + self.timeout;
        let (mut doubt, mut tries, mut pause) = (None, 0, PAUSES_MS.0);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let (why, mut wait) = match self.once(ask, left.min(self.place.patience)).await {
                Try::Answered(answer) => return Ok(answer),
                // Of this try nothing was done, and of the one before it is no longer known.
                Try::Refused(problem) if problem.code == "expired" && doubt.is_some() => {
                    return Err(Trouble::Unknown(doubt.unwrap_or_default()));
                }
                Try::Refused(problem) => return Err(Trouble::Refused { problem, doubt: doubt.is_some() }),
                Try::Strange(why) => return Err(doubt.map_or(Trouble::Unavailable(why), Trouble::Unknown)),
                Try::NotDone(why, wait) => (why, wait),
                Try::Doubtful(why, wait) => {
                    if ask.key.is_some() {
                        doubt = Some(why.clone());
                    }
                    (why, wait)
                }
            };
            tries += 1;
            self.pass_on();
            if tries % self.place.fronts.len() == 0 {
                // Each has been asked in vain. Clients that fail together should not come back together.
                wait = wait.max(Duration::from_millis(rand::random_range(pause / 2..=pause)));
                pause = (pause * 2).min(PAUSES_MS.1);
            } else {
                wait = Duration::ZERO;
            }
            let forgotten = doubt.is_some()
                && ask.repeats == Repeats::WhileRemembered
                && Instant::now() + wait >= began + REMEMBERED;
            if forgotten || Instant::now() + wait + TO_ANSWER >= deadline {
                return Err(doubt.map_or(Trouble::Unavailable(why), Trouble::Unknown));
            }
            sleep(wait).await;
        }
    }

    async fn once(&self, ask: &Ask, patience: Duration) -> Try {
        let front = self.front();
        let request = self.request(ask, front).timeout(patience);
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if error.is_connect() => {
                return Try::NotDone(format!("{front} does not answer ({})", cause(&error)), Duration::ZERO);
            }
            Err(error) => {
                return Try::Doubtful(format!("{front}: the answer was lost ({})", cause(&error)), Duration::ZERO);
            }
        };
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        match body(answer).await {
            Ok(body) => judge(front, status, &headers, body),
            Err(error) => Try::Doubtful(format!("{front}: the answer was cut off ({})", cause(&error)), Duration::ZERO),
        }
    }

    fn request(&self, ask: &Ask, front: &str) -> RequestBuilder {
        let mut request = self.http.request(ask.method.clone(), format!("{front}{}", ask.path));
        if let Some(body) = &ask.body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        if let Some(key) = &ask.key {
            request = request.header("idempotency-key", key);
        }
        if let Some(revision) = ask.min_revision {
            request = request.header("x-min-revision", revision);
        }
        request
    }

    /// What a command that met this trouble ends with. `again`: how to ask again, for what may have been done.
    pub fn failed(&self, trouble: Trouble, again: Option<&str>) -> Failure {
        match trouble {
            Trouble::Refused { problem, .. } => Failure::refused(problem.detail),
            Trouble::Unavailable(why) => Failure::unavailable(format_args!(
                "{why}; nothing was done in {:.0} s: see whether {} serves (catalogctl status), or wait longer by --timeout",
                self.timeout.as_secs_f64(),
                self.place.name
            )),
            Trouble::Unknown(why) => Failure::unknown(format_args!(
                "the outcome is unknown: {why}{}",
                again.map(|again| format!("; {again}")).unwrap_or_default()
            )),
        }
    }
}

async fn body(answer: Response) -> reqwest::Result<Bytes> {
    answer.bytes().await
}

fn judge(front: &str, status: u16, headers: &HeaderMap, body: Bytes) -> Try {
    let header = |name: &str| headers.get(name)?.to_str().ok();
    if (200..300).contains(&status) {
        let revision = header("x-revision").and_then(|text| text.parse().ok());
        return Try::Answered(Answer { revision, body });
    }
    let wait =
        header(RETRY_AFTER.as_str()).and_then(|text| text.parse().ok()).map_or(Duration::ZERO, Duration::from_secs);
    match Problem::parse(status, &body) {
        Some(problem) if problem.code == "outcome-unknown" => {
            Try::Doubtful(format!("{front}: no answer came in time"), wait)
        }
        Some(problem) if matches!(status, 408 | 429 | 503) => {
            Try::NotDone(format!("{front}: {}", problem.detail), wait)
        }
        // Only what a front end says of itself says that nothing was done.
        None if status == 429 => Try::NotDone(format!("{front}: too many requests"), wait),
        _ if status >= 500 => Try::Doubtful(format!("{front} answered {status}"), wait),
        Some(problem) if status >= 400 => Try::Refused(problem),
        _ => Try::Strange(format!("{front} answered {status}, and not as a front end does: check the address")),
    }
}

/// The innermost reason: those around it say only that a request failed.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it took too long".to_owned();
    }
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}
