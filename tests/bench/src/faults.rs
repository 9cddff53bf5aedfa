//! Leaders killed and stopped under load: how long buys pause, whether one is refused, lost or doubled. Must not know how
//! a leader is found.
//!
//! Clients run on a thread of their own, so that nothing but the servers can make them pause. Every buy has a key and is
//! repeated under it until it is acknowledged. So what is missing from the stock at the end is what was acknowledged: more
//! is a doubled buy, less a lost one. What was under way during a pause is asked again: it must have its first answer.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, ensure};
use serde::Serialize;
use serde_json::Value;
use tests::{Client, Request, TestCluster, cluster::STOP_PATIENCE, load::connection::Connection};
use tokio::{
    task::LocalSet,
    time::{sleep, timeout},
};
use uuid::Uuid;

use crate::system::ours::CONTESTED;

/// Clients that buy meanwhile.
pub const CLIENTS: usize = 64;
/// An answer that took longer is one that a pause held up.
const HELD_UP: Duration = Duration::from_millis(50);
/// The most of them that are asked again: on a busy machine many take long.
const MOST_HELD_UP: usize = 10_000;
/// Between a refusal and the next try.
const RETRY: Duration = Duration::from_millis(5);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// Before each trial, and after the last, under load.
const STEADY: Duration = Duration::from_millis(700);

/// How a leader goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// SIGKILL.
    Killed,
    /// SIGTERM.
    Stopped,
}

/// What was seen.
#[derive(Debug, Clone, Serialize)]
pub struct Outages {
    /// Of each trial, in milliseconds: from the signal to the first acknowledged buy after the longest pause, if the leader
    /// was killed; the longest pause itself, if it was stopped.
    pub ms: Vec<f64>,
    /// Buys that were acknowledged, each once.
    pub acknowledged: u64,
    /// Answers other than that, and broken connections. The buys were repeated.
    pub refused: u64,
    /// Units that left the stock, less those that were acknowledged.
    pub surplus: i64,
    /// Buys that were under way during a pause and were asked again.
    pub asked_again: usize,
    /// Of them, those that had another answer than the first time: their first effect was lost.
    pub lost: usize,
}

/// What the clients do, seen from outside.
#[derive(Debug, Default)]
struct Seen {
    last: Option<Instant>,
    /// The longest time between two acknowledgements since it was last looked at, and when it ended.
    pause: Option<(Duration, Instant)>,
    acknowledged: u64,
    refused: u64,
    /// Keys and revisions of buys that a pause held up.
    held_up: Vec<(Uuid, u64)>,
}

#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<Seen>,
    over: AtomicBool,
}

impl Shared {
    fn with<T>(&self, act: impl FnOnce(&mut Seen) -> T) -> T {
        act(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Has the leader go so many times, and brings it back each time. `tell` is told of each.
///
/// # Errors
/// When the store cannot be asked how it ended.
pub async fn run(cluster: &TestCluster, way: Way, times: u32, tell: impl Fn(u32, f64)) -> anyhow::Result<Outages> {
    let http = Client::new();
    let before = stock(&http, cluster).await?;
    let (shared, clients) = start(cluster.front().trim_start_matches("http://").to_owned());
    // Ends them, too, when this is dropped half way.
    let over = Over(shared.clone());
    let mut ms = Vec::new();
    for trial in 1..=times {
        sleep(STEADY).await;
        let leader = cluster.leader().await;
        shared.with(|seen| seen.pause = None);
        let (gone, processes) = (leader.clone(), cluster.cluster.clone());
        let began = tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            match way {
                Way::Killed => processes.kill(&gone),
                Way::Stopped => processes.stop(&gone, STOP_PATIENCE),
            }
            .map(|()| began)
        });
        let began = began.await??;
        // The others go on alone for as long as an election may take.
        sleep(STEADY * 2).await;
        let (pause, end) =
            shared.with(|seen| seen.pause).context("no buy was acknowledged after the leader had gone")?;
        let took = if way == Way::Killed { end.saturating_duration_since(began) } else { pause };
        ms.push(took.as_secs_f64() * 1_000.0);
        tell(trial, took.as_secs_f64() * 1_000.0);
        cluster.restart(&leader).await;
    }
    sleep(STEADY).await;
    drop(over);
    let ended = tokio::task::spawn_blocking(move || clients.join());
    ended.await?.map_err(|_| anyhow!("the clients panicked"))?;

    let (acknowledged, refused, held_up) =
        shared.with(|seen| (seen.acknowledged, seen.refused, std::mem::take(&mut seen.held_up)));
    let after = stock(&http, cluster).await?;
    let surplus = before - after - i64::try_from(acknowledged)?;
    let mut lost = 0;
    for (key, revision) in &held_up {
        let again = Request::get(format!("{}/buy/{CONTESTED}", cluster.front())).header("idempotency-key", key);
        let answer = http.try_send(again).await?;
        lost += usize::from(answer.status != 200 || answer.revision() != *revision);
    }
    cluster.try_equal_hashes().await?;
    Ok(Outages { ms, acknowledged, refused, surplus, asked_again: held_up.len(), lost })
}

/// Ends the clients.
struct Over(Arc<Shared>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.over.store(true, Relaxed);
    }
}

/// What is left of the item, linearizable.
async fn stock(http: &Client, cluster: &TestCluster) -> anyhow::Result<i64> {
    let answer =
        http.try_send(Request::get(format!("{}/lookup/{CONTESTED}?read=linearizable", cluster.front()))).await?;
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
    let item: Value = serde_json::from_slice(&answer.body)?;
    item["quantity"].as_i64().context("an item without a quantity")
}

fn start(front: String) -> (Arc<Shared>, JoinHandle<()>) {
    let shared = Arc::new(Shared::default());
    let clients = shared.clone();
    let thread = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime of one thread can be made");
        let set = LocalSet::new();
        for _ in 0..CLIENTS {
            set.spawn_local(buy(front.clone(), clients.clone()));
        }
        runtime.block_on(set);
    });
    (shared, thread)
}

/// One client: buys until it is over, and ends what it has begun.
async fn buy(front: String, shared: Arc<Shared>) {
    let mut open = None;
    while !shared.over.load(Relaxed) {
        let (key, began) = (Uuid::new_v4(), Instant::now());
        let request = format!("GET /buy/{CONTESTED} HTTP/1.1\r\nhost: {front}\r\nidempotency-key: {key}\r\n\r\n");
        loop {
            let answer = ask(&front, &mut open, request.as_bytes()).await;
            let now = Instant::now();
            let done = shared.with(|seen| match answer {
                Some((200, revision)) => {
                    if let Some(last) = seen.last.replace(now)
                        && seen.pause.is_none_or(|(longest, _)| now - last > longest)
                    {
                        seen.pause = Some((now - last, now));
                    }
                    seen.acknowledged += 1;
                    if now - began > HELD_UP && seen.held_up.len() < MOST_HELD_UP {
                        seen.held_up.push((key, revision));
                    }
                    true
                }
                _ => {
                    seen.refused += 1;
                    false
                }
            });
            if done {
                break;
            }
            sleep(RETRY).await;
        }
    }
}

/// Status and revision of an answer, if one came.
async fn ask(front: &str, open: &mut Option<Connection>, request: &[u8]) -> Option<(u16, u64)> {
    if open.is_none() {
        *open = Some(Connection::open(front).await.ok()?);
    }
    let mut connection = open.take()?;
    let answer = timeout(PATIENCE, connection.ask(request)).await.ok()?.ok()?;
    let (status, revision, keeps) = (answer.status, answer.revision.unwrap_or_default(), answer.keeps);
    if keeps {
        *open = Some(connection);
    }
    Some((status, revision))
}
