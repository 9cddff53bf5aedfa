//! The third and the fourth question: a follower and a leader are killed while clients buy and look up, and started again.
//! When is it noticed, when is a client answered again, when has the killed one caught up; what do clients see of it; and do
//! all replicas end with the same database? Must not know what is told of it.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tests::{Client, Request};
use tokio::time::sleep;

use super::{
    clients::{BIN, Bin, Crowd, Met},
    setting::{CACHED, stock},
};
use crate::growth::store::Store;

/// What all buy and look up.
const ITEM: u64 = 4_321;
/// Under load before each crash, and after the last.
const STEADY: Duration = Duration::from_secs(2);
/// How long a replica stays dead, at least.
const DEAD: Duration = Duration::from_secs(2);
/// Between two looks at what the front end sees.
const LOOK: Duration = Duration::from_millis(5);
/// How long the front end may take to see what has become of a replica.
const PATIENCE: Duration = Duration::from_secs(30);

/// One crash. Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Crash {
    /// Who was killed.
    pub node: String,
    /// `follower` or `leader`.
    pub role: String,
    /// From the kill until the front end counts it among the dead.
    pub detected: f64,
    /// From the kill until the front end knows another leader, if it led.
    pub elected: Option<f64>,
    /// From the kill until the first lookup was answered that was sent after it.
    pub first_lookup: f64,
    /// From the kill until the first buy was acknowledged that was sent after it.
    pub first_buy: f64,
    /// The longest time without an acknowledged buy, while it was dead.
    pub pause: f64,
    /// The slowest lookup, from the kill until all is as before.
    pub slowest_lookup: f64,
    /// The slowest buy, likewise.
    pub slowest_buy: f64,
    /// Requests that were refused, likewise.
    pub refused: u64,
    /// Log entries that it had missed when it was started again.
    pub missed: u64,
    /// From its start until it serves.
    pub serves: f64,
    /// From its start until it has applied all that was committed at its start.
    pub caught_up: f64,
    /// From its start until the front end asks it again.
    pub in_rotation: f64,
}

/// Throughput while the first follower and the first leader were killed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// The time of one bin, in milliseconds.
    pub bin_ms: u64,
    /// One after another.
    pub bins: Vec<Bin>,
    /// What was done, and when, in milliseconds since the first bin began.
    pub marks: Vec<(f64, String)>,
}

/// What clients and replicas have to show for all crashes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Noticed {
    /// Buys acknowledged, each once.
    pub bought: u64,
    /// Lookups answered.
    pub looked_up: u64,
    /// Answers other than 200, and broken connections.
    pub refused: u64,
    /// The slowest buy, in milliseconds.
    pub slowest_buy: f64,
    /// The slowest lookup, in milliseconds.
    pub slowest_lookup: f64,
    /// Units that have left the stock, less those of acknowledged buys: 0, or some were lost or doubled.
    pub surplus: i64,
    /// Of each replica at the end: its name, what it has applied, its state hash.
    pub replicas: Vec<(String, u64, String)>,
}

/// Kills a follower and a leader, so many times by turns.
///
/// # Errors
/// When the store does not come back, or replicas differ.
pub async fn run(store: &Store, times: u32) -> anyhow::Result<(Vec<Crash>, Timeline, Noticed)> {
    let before = stock(store, ITEM).await?;
    let crowd = Crowd::start(store.address(CACHED), ITEM);
    let (mut crashes, mut marks, mut bins) = (Vec::new(), Vec::new(), Vec::new());
    let mut all = Met::default();
    for time in 1..=times {
        for role in ["follower", "leader"] {
            sleep(STEADY).await;
            let (crash, seen) = crash(store, &crowd, role, &mut marks, &mut all).await.context(role)?;
            println!(
                "crash {time} of {times}: {} ({role}): noticed after {:.0} ms, first buy after {:.0} ms, caught up after {:.0} ms",
                crash.node, crash.detected, crash.first_buy, crash.caught_up
            );
            crashes.push(crash);
            add(&mut all, &seen);
        }
        if time == 1 {
            sleep(STEADY).await;
            bins = crowd.bins();
            // The last is not whole.
            bins.pop();
        }
    }
    marks.retain(|(at, _): &(f64, String)| *at < bins.len() as f64 * BIN.as_secs_f64() * 1e3);
    sleep(STEADY).await;
    let seen = crowd.turn(Instant::now());
    add(&mut all, &seen);
    add(&mut all, &crowd.end().await?);
    store.cluster.try_equal_hashes().await?;
    let replicas = store.cluster.statuses().await;
    let noticed = Noticed {
        bought: all.bought,
        looked_up: all.looked_up,
        refused: all.refused,
        slowest_buy: ms(all.slowest_buy),
        slowest_lookup: ms(all.slowest_lookup),
        surplus: before - stock(store, ITEM).await? - i64::try_from(all.bought)?,
        replicas: replicas.into_iter().map(|(node, status)| (node, status.applied, status.state_hash)).collect(),
    };
    let bin_ms = u64::try_from(BIN.as_millis())?;
    Ok((crashes, Timeline { bin_ms, bins, marks }, noticed))
}

async fn crash(
    store: &Store,
    crowd: &Crowd,
    role: &str,
    marks: &mut Vec<(f64, String)>,
    all: &mut Met,
) -> anyhow::Result<(Crash, Met)> {
    let node = if role == "leader" { store.cluster.leader().await } else { store.follower().await? };
    let mut mark = |at: Instant, what: String| marks.push((ms(at - crowd.began()), what));
    let (processes, victim) = (store.cluster.cluster.clone(), node.clone());
    let killed = Instant::now();
    add(all, &crowd.turn(killed));
    mark(killed, format!("{node}, the {role}, is killed"));
    let watched = seen_at_front(store, &node, killed, role == "leader");
    let kill = tokio::task::spawn_blocking(move || processes.kill(&victim));
    let (watched, gone) = tokio::join!(watched, kill);
    gone??;
    let (detected, elected) = watched?;
    if let Some(elected) = elected {
        mark(killed + elected, "another leads".to_owned());
    }
    sleep((killed + DEAD).saturating_duration_since(Instant::now())).await;
    let dead = crowd.turn(Instant::now());
    let had = store.cluster.statuses().await;
    let most = had.values().map(|status| status.committed).max().context("no replica answers")?;

    let started = Instant::now();
    mark(started, format!("{node} is started"));
    let back = store.bring_back(&node).await?;
    mark(started + back.caught_up, "it has caught up".to_owned());
    until_active(store, &node).await?;
    let in_rotation = started.elapsed();
    let returned = crowd.turn(Instant::now());
    let mut both = dead;
    add(&mut both, &returned);
    let crash = Crash {
        node,
        role: role.to_owned(),
        detected: ms(detected),
        elected: elected.map(ms),
        first_lookup: ms(dead.first_lookup.context("no lookup was answered after the kill")?),
        first_buy: ms(dead.first_buy.context("no buy was acknowledged after the kill")?),
        pause: ms(dead.pause),
        slowest_lookup: ms(both.slowest_lookup),
        slowest_buy: ms(both.slowest_buy),
        refused: both.refused,
        missed: most.saturating_sub(back.applied_before),
        serves: ms(back.serves),
        caught_up: ms(back.caught_up),
        in_rotation: ms(in_rotation),
    };
    Ok((crash, both))
}

/// What the front end says of the cluster.
async fn front(http: &Client, store: &Store) -> anyhow::Result<Value> {
    let answer = http.try_send(Request::get(format!("{}/v1/cluster", store.cluster.url(CACHED)))).await?;
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
    Ok(serde_json::from_slice(&answer.body)?)
}

fn is_active(cluster: &Value, node: &str) -> bool {
    let catalogs = cluster["catalogs"].as_array().into_iter().flatten();
    catalogs.filter(|one| one["node"] == node).any(|one| one["active"] == true)
}

/// Waits until the front end counts `node` among the dead and, if it led, knows another leader. Since `killed`.
async fn seen_at_front(
    store: &Store,
    node: &str,
    killed: Instant,
    led: bool,
) -> anyhow::Result<(Duration, Option<Duration>)> {
    let http = Client::new();
    let (mut detected, mut elected) = (None, None);
    loop {
        let seen = front(&http, store).await?;
        let now = killed.elapsed();
        if !is_active(&seen, node) {
            detected.get_or_insert(now);
        }
        if seen["leader"].as_str().is_some_and(|leader| leader != node) {
            elected.get_or_insert(now);
        }
        match (detected, elected) {
            (Some(detected), Some(elected)) if led => return Ok((detected, Some(elected))),
            (Some(detected), _) if !led => return Ok((detected, None)),
            _ => {}
        }
        ensure!(now < PATIENCE, "the front end does not notice that {node} is dead: {seen}");
        sleep(LOOK).await;
    }
}

async fn until_active(store: &Store, node: &str) -> anyhow::Result<()> {
    let (http, began) = (Client::new(), Instant::now());
    while !is_active(&front(&http, store).await?, node) {
        ensure!(began.elapsed() < PATIENCE, "the front end does not notice that {node} is back");
        sleep(LOOK).await;
    }
    Ok(())
}

fn add(all: &mut Met, more: &Met) {
    all.bought += more.bought;
    all.looked_up += more.looked_up;
    all.refused += more.refused;
    all.slowest_buy = all.slowest_buy.max(more.slowest_buy);
    all.slowest_lookup = all.slowest_lookup.max(more.slowest_lookup);
    all.pause = all.pause.max(more.pause);
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
