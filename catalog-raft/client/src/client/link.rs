//! The way to one replica: its connection, made on first use and again when lost, and whether it is live.
//!
//! Must not know what is asked.

use std::{
    io,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::{Peer, connection::Connection};
use crate::{
    frame::{Hello, connect},
    protocol::Status,
};

/// How long connecting and the handshake may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The pause after the first failing attempt to connect; it doubles with each one more.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause between two attempts, without jitter.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The replica was not reached: it has seen nothing.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotReached(pub(super) Arc<str>);

#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: Peer,
    hello: Hello,
    state: watch::Sender<State>,
    liveness: AtomicU8,
    last_status: Mutex<Option<Status>>,
    client_address: OnceLock<String>,
}

#[derive(Debug)]
enum State {
    /// Not connected. Until the moment given, whoever asks is told why instead of waiting.
    Down {
        until: Instant,
        failures: u32,
        why: Arc<str>,
    },
    Connecting {
        failures: u32,
    },
    Up(Arc<Connection>),
}

const NEVER_TRIED: u8 = 0;
const LIVE: u8 = 1;
const DOWN: u8 = 2;

impl Link {
    pub(super) fn new(peer: Peer, hello: Hello) -> Self {
        let state = State::Down { until: Instant::now(), failures: 0, why: "never tried".into() };
        Self {
            peer,
            hello,
            state: watch::Sender::new(state),
            liveness: AtomicU8::new(NEVER_TRIED),
            last_status: Mutex::new(None),
            client_address: OnceLock::new(),
        }
    }

    /// The connection, made if need be. During the pause after a failing attempt this fails at once.
    pub(super) async fn open(self: &Arc<Self>) -> Result<Arc<Connection>, NotReached> {
        if let Some(decided) = self.state.borrow().decided() {
            return decided;
        }
        let mut state = self.state.subscribe();
        self.connect_unless_connecting();
        let ended = state.wait_for(|state| !matches!(state, State::Connecting { .. })).await;
        match ended.as_deref() {
            Ok(State::Up(connection)) => Ok(connection.clone()),
            Ok(State::Down { why, .. }) => Err(NotReached(why.clone())),
            // The sender is our own and cannot go away; the attempt is over.
            Ok(State::Connecting { .. }) | Err(_) => Err(NotReached("not connected".into())),
        }
    }

    /// The connection, if there is one.
    pub(super) fn opened(&self) -> Option<Arc<Connection>> {
        match &*self.state.borrow() {
            State::Up(connection) => Some(connection.clone()),
            _ => None,
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.liveness.load(Ordering::Relaxed) == LIVE
    }

    pub(super) fn set_live(&self) {
        if self.liveness.swap(LIVE, Ordering::Relaxed) != LIVE {
            tracing::info!("{} is up", self.peer.name);
        }
    }

    pub(super) fn set_down(&self, why: &str) {
        if self.liveness.swap(DOWN, Ordering::Relaxed) != DOWN {
            tracing::info!("{} is down: {why}", self.peer.name);
        }
    }

    pub(super) fn last_status(&self) -> Option<Status> {
        self.last_status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_last_status(&self, status: Status) {
        *self.last_status.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
    }

    /// Where it serves clients, if it has said so.
    pub(super) fn client_address(&self) -> Option<&str> {
        self.client_address.get().map(String::as_str)
    }

    pub(super) fn set_client_address(&self, address: &str) {
        // It never changes while the replica lives.
        let _known = self.client_address.set(address.to_owned());
    }

    /// The replica belongs to the group no longer: lets its connection go.
    pub(super) fn retire(&self) {
        self.failed("it belongs to the group no longer");
    }

    /// Connects in a task of its own, so that a hasty caller does not cut the attempt short.
    fn connect_unless_connecting(self: &Arc<Self>) {
        let begun = self.state.send_if_modified(|state| match state {
            State::Down { failures, .. } => {
                *state = State::Connecting { failures: *failures };
                true
            }
            _ => false,
        });
        if begun {
            let link = self.clone();
            tokio::spawn(
                async move { link.connected(connect(&link.peer.address, &link.hello, CONNECT_TIMEOUT).await) },
            );
        }
    }

    fn connected(self: &Arc<Self>, attempt: io::Result<crate::frame::Connected>) {
        match attempt {
            Ok(connected) => {
                let link = Arc::downgrade(self);
                let on_end = move |why: &str| {
                    if let Some(link) = link.upgrade() {
                        link.failed(why);
                    }
                };
                // Started under the lock, so that its end cannot be told before its beginning.
                self.state.send_modify(|state| *state = State::Up(Arc::new(Connection::start(connected, on_end))));
                self.set_live();
            }
            Err(error) => self.failed(&error.to_string()),
        }
    }

    fn failed(&self, why: &str) {
        self.set_down(why);
        self.state.send_modify(|state| {
            let failures = match state {
                State::Connecting { failures } | State::Down { failures, .. } => *failures + 1,
                State::Up(_) => 1,
            };
            *state = State::Down { until: Instant::now() + pause(failures), failures, why: why.into() };
        });
    }
}

impl State {
    /// What an asker is told at once, if anything.
    fn decided(&self) -> Option<Result<Arc<Connection>, NotReached>> {
        match self {
            Self::Up(connection) => Some(Ok(connection.clone())),
            Self::Down { until, why, .. } if Instant::now() < *until => Some(Err(NotReached(why.clone()))),
            Self::Down { .. } | Self::Connecting { .. } => None,
        }
    }
}

/// The pause after so many failures in a row: exponential, with a jitter of up to half of it.
pub(crate) fn pause(failures: u32) -> Duration {
    let pause = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_PAUSE);
    pause + pause.mul_f64(rand::random_range(0.0..0.5))
}
