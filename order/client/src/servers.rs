//! The order servers: which of them are live, whose turn it is, and one HTTP exchange with one of them.
//!
//! Must not know what is done when an exchange fails.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use catalog_client::{deliveries::Deliveries, frame};
use hyper::StatusCode;
use tokio::time::Instant;

use crate::{BATCH_PATH, BatchAnswer, Server, http::Http};

/// Between two looks at a server's health.
const HEALTH_EVERY: Duration = Duration::from_millis(250);
/// How long a server may take to say that it is ready.
const HEALTH_TIMEOUT: Duration = Duration::from_millis(500);

/// Why an exchange brought no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// The server did nothing, and will do nothing.
    #[error("{0}")]
    NoEffect(String),
    /// It may have got the request.
    #[error("{0}")]
    Lost(String),
}

#[derive(Debug)]
struct Entry {
    server: Server,
    /// `None` until it was first seen or missed.
    live: Mutex<Option<bool>>,
}

/// All order servers of the layout.
#[derive(Debug)]
pub(crate) struct Servers {
    entries: Vec<Entry>,
    http: Http,
    turn: AtomicUsize,
    pub(crate) deliveries: Deliveries,
}

impl Servers {
    pub(crate) fn new(sender: &str, servers: Vec<Server>) -> Self {
        let entry = |server: Server| Entry { live: Mutex::new(None), server };
        let entries = servers.into_iter().map(entry).collect();
        let (turn, deliveries) = (AtomicUsize::new(0), Deliveries::default());
        Self { entries, http: Http::new(sender), turn, deliveries }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// All servers but the `excluded`, live ones first, each half beginning with the one whose turn is `turn`.
    pub(crate) fn choose(&self, turn: usize, excluded: &[bool]) -> Option<usize> {
        let by_turn = || (0..self.len()).map(|i| (turn + i) % self.len()).filter(|&i| !excluded[i]);
        by_turn().find(|&i| self.is_live(i)).or_else(|| by_turn().next())
    }

    /// The next turn.
    pub(crate) fn next_turn(&self) -> usize {
        // Wraps around before it is as great as usize: turns are taken modulo the number of servers.
        self.turn.fetch_add(1, Ordering::Relaxed) % self.len().max(1)
    }

    pub(crate) fn is_live(&self, index: usize) -> bool {
        *self.entries[index].live.lock().unwrap_or_else(PoisonError::into_inner) == Some(true)
    }

    pub(crate) fn view(&self) -> Vec<(Server, bool)> {
        self.entries.iter().enumerate().map(|(i, entry)| (entry.server.clone(), self.is_live(i))).collect()
    }

    /// Notes what was seen of a server, and logs it if that is a change.
    pub(crate) fn mark(&self, index: usize, seen: Result<(), &str>) {
        let Entry { server: Server { name, address }, live, .. } = &self.entries[index];
        let before = live.lock().unwrap_or_else(PoisonError::into_inner).replace(seen.is_ok());
        match seen {
            Ok(()) if before != Some(true) => tracing::info!(%address, "{name} is up"),
            Err(why) if before != Some(false) => tracing::info!(%address, "{name} is down: {why}"),
            _ => {}
        }
    }

    /// Looks at one server's health for ever.
    pub(crate) async fn watch(&self, index: usize) {
        loop {
            let seen = self.check(index).await;
            self.mark(index, seen.as_ref().map(|_| ()).map_err(String::as_str));
            tokio::time::sleep(HEALTH_EVERY).await;
        }
    }

    async fn check(&self, index: usize) -> Result<(), String> {
        match self.http.get(&self.entries[index].server.address, "/readyz", HEALTH_TIMEOUT).await? {
            StatusCode::OK => Ok(()),
            status => Err(format!("not ready ({status})")),
        }
    }

    /// Sends one batch to one server.
    pub(crate) async fn post(&self, index: usize, body: Bytes, patience: Duration) -> Result<BatchAnswer, Failure> {
        let begun = Instant::now();
        let exchanged = self.http.post(&self.entries[index].server.address, BATCH_PATH, body, patience).await;
        let answered = matches!(exchanged, Ok((StatusCode::OK, _)));
        self.deliveries.tried(begun.elapsed(), answered);
        let (status, body) = exchanged?;
        if status != StatusCode::OK {
            let why = format!("answered {status}");
            let no_effect = status.is_client_error() || status == StatusCode::SERVICE_UNAVAILABLE;
            return Err(if no_effect { Failure::NoEffect(why) } else { Failure::Lost(why) });
        }
        frame::decode(&body).map_err(|e| Failure::Lost(format!("answered what is not an answer: {e}")))
    }
}
