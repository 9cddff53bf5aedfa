//! Clients who buy an item and look it up while servers crash, on a thread of their own, so that nothing but the servers can
//! make them wait. Must not know what goes on meanwhile.
//!
//! Every buy has a key and is repeated under it until it is acknowledged. So what is missing from the stock at the end is
//! what was acknowledged: more is a doubled buy, less a lost one.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use ::tests::load::connection::Connection;
use anyhow::anyhow;
use serde::{Deserialize, Serialize};
use tokio::{
    task::LocalSet,
    time::{sleep, timeout},
};
use uuid::Uuid;

/// Clients that buy; as many look up.
pub const CLIENTS: usize = 8;
/// Between two requests of one client: a crash shows best where the servers have time to spare.
const THINK: Duration = Duration::from_millis(2);
/// Between a refusal and the next try.
const RETRY: Duration = Duration::from_millis(5);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// The time that one look at the throughput is about.
pub const BIN: Duration = Duration::from_millis(100);

/// What was answered in the time of one [`BIN`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bin {
    /// Buys.
    pub bought: u64,
    /// Lookups.
    pub looked_up: u64,
    /// Other answers, and broken connections.
    pub refused: u64,
}

/// What clients met in a stretch of time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Met {
    /// Buys acknowledged, each once.
    pub bought: u64,
    /// Lookups answered.
    pub looked_up: u64,
    /// Other answers, and broken connections.
    pub refused: u64,
    /// The longest time that a buy took.
    pub slowest_buy: Duration,
    /// The longest time that a lookup took.
    pub slowest_lookup: Duration,
    /// The longest time without an acknowledged buy.
    pub pause: Duration,
    /// From the beginning until the first buy was acknowledged that was sent since.
    pub first_buy: Option<Duration>,
    /// The same of lookups.
    pub first_lookup: Option<Duration>,
}

#[derive(Debug)]
struct Seen {
    began: Instant,
    bins: Vec<Bin>,
    since: Instant,
    last_buy: Instant,
    met: Met,
}

/// The clients. They end when this is dropped.
#[derive(Debug)]
pub struct Crowd {
    seen: Arc<Mutex<Seen>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    /// Starts them at the front end at `address`, with this item.
    pub fn start(address: String, item: u64) -> Self {
        let now = Instant::now();
        let seen = Seen { began: now, bins: Vec::new(), since: now, last_buy: now, met: Met::default() };
        let (seen, over) = (Arc::new(Mutex::new(seen)), Arc::new(AtomicBool::new(false)));
        let (shared, until) = (seen.clone(), over.clone());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let set = LocalSet::new();
            for _ in 0..CLIENTS {
                for buys in [true, false] {
                    set.spawn_local(client(address.clone(), item, buys, shared.clone(), until.clone()));
                }
            }
            runtime.expect("a runtime of one thread can be made").block_on(set);
        });
        Self { seen, over, thread: Some(thread) }
    }

    /// Begins a stretch of time at `now`, and tells of the one before.
    pub fn turn(&self, now: Instant) -> Met {
        self.with(|seen| {
            seen.met.pause = seen.met.pause.max(now.saturating_duration_since(seen.last_buy));
            (seen.since, seen.last_buy) = (now, now);
            std::mem::take(&mut seen.met)
        })
    }

    /// When they began.
    pub fn began(&self) -> Instant {
        self.with(|seen| seen.began)
    }

    /// What was answered since, bin by bin.
    pub fn bins(&self) -> Vec<Bin> {
        self.with(|seen| seen.bins.clone())
    }

    /// Has each end what it has begun, and tells of the last stretch.
    ///
    /// # Errors
    /// When one panicked.
    pub async fn end(mut self) -> anyhow::Result<Met> {
        self.over.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = tokio::task::spawn_blocking(move || thread.join()).await?;
            ended.map_err(|_| anyhow!("a client panicked"))?;
        }
        Ok(self.turn(Instant::now()))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Seen) -> T) -> T {
        act(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
    }
}

impl Seen {
    fn answered(&mut self, buys: bool, ok: bool, began: Instant, now: Instant) {
        let place = (now - self.began).as_millis() / BIN.as_millis();
        // A run of minutes has thousands of them.
        let place = usize::try_from(place).unwrap_or_default();
        if self.bins.len() <= place {
            self.bins.resize(place + 1, Bin::default());
        }
        let (bin, met) = (&mut self.bins[place], &mut self.met);
        if !ok {
            bin.refused += 1;
            met.refused += 1;
            return;
        }
        let (took, after) = (now - began, now.saturating_duration_since(self.since));
        if buys {
            bin.bought += 1;
            met.bought += 1;
            met.slowest_buy = met.slowest_buy.max(took);
            met.pause = met.pause.max(now.saturating_duration_since(self.last_buy));
            self.last_buy = now;
        } else {
            bin.looked_up += 1;
            met.looked_up += 1;
            met.slowest_lookup = met.slowest_lookup.max(took);
        }
        if began >= self.since {
            (if buys { &mut met.first_buy } else { &mut met.first_lookup }).get_or_insert(after);
        }
    }
}

async fn client(address: String, item: u64, buys: bool, seen: Arc<Mutex<Seen>>, over: Arc<AtomicBool>) {
    let mut open = None;
    while !over.load(Relaxed) {
        let request = if buys {
            format!("GET /buy/{item} HTTP/1.1\r\nhost: {address}\r\nidempotency-key: {}\r\n\r\n", Uuid::new_v4())
        } else {
            format!("GET /lookup/{item} HTTP/1.1\r\nhost: {address}\r\n\r\n")
        };
        let began = Instant::now();
        loop {
            let ok = ask(&address, &mut open, request.as_bytes()).await;
            let now = Instant::now();
            seen.lock().unwrap_or_else(PoisonError::into_inner).answered(buys, ok, began, now);
            if ok {
                break;
            }
            sleep(RETRY).await;
        }
        sleep(THINK).await;
    }
}

/// Whether the answer was one.
async fn ask(address: &str, open: &mut Option<Connection>, request: &[u8]) -> bool {
    if open.is_none() {
        *open = Connection::open(address).await.ok();
    }
    let Some(mut connection) = open.take() else { return false };
    let Ok(Ok(answer)) = timeout(PATIENCE, connection.ask(request)).await else { return false };
    let (ok, keeps) = (answer.status == 200, answer.keeps);
    if keeps {
        *open = Some(connection);
    }
    ok
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_before_does_not_count_as_the_first_answer_since() {
        let (began, ms) = (Instant::now(), Duration::from_millis);
        let mut seen = Seen { began, bins: Vec::new(), since: began, last_buy: began, met: Met::default() };
        seen.since = began + ms(250);
        seen.answered(true, true, began + ms(200), began + ms(260));
        assert_eq!(seen.met.first_buy, None);
        seen.answered(true, true, began + ms(255), began + ms(700));
        seen.answered(false, false, began + ms(255), began + ms(710));
        seen.answered(false, true, began + ms(255), began + ms(720));
        assert_eq!((seen.met.first_buy, seen.met.first_lookup), (Some(ms(450)), Some(ms(470))));
        assert_eq!((seen.met.pause, seen.met.slowest_buy, seen.met.refused), (ms(440), ms(445), 1));
        assert_eq!(seen.bins.len(), 8);
        assert_eq!(seen.bins[2], Bin { bought: 1, ..Bin::default() });
        assert_eq!(seen.bins[7], Bin { bought: 1, looked_up: 1, refused: 1 });
    }
}
