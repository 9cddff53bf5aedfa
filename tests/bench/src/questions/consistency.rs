//! The second question: what it costs to keep the cache consistent. Writes, with front ends that follow every change and
//! without any; and reads, the miss behind an invalidation against a hit. Must not know what is told of them.

use std::time::Instant;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use tests::load::connection::Connection;

use super::{
    in_turn, percentile,
    setting::{CACHED, UNCACHED},
};
use crate::{drive::Driver, growth::store::Store};

/// Clients that buy at an order server.
pub const CLIENTS: [u32; 2] = [1, 16];
/// The items that they buy, all of them in the cache of whoever follows.
const BOUGHT: &str = "1-1000";
/// The item that is bought and looked up by turns.
const PROBED: u64 = 7_777;
/// How often.
const PROBES: usize = 300;
/// Lookups until a change is seen at the other side, at most: an answer may be a second old, and no older.
const MOST_LOOKS: usize = 1_000_000;

/// Buys at an order server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overhead {
    /// Whether two front ends followed, one with a full cache.
    pub followed: bool,
    /// Who buy.
    pub clients: u32,
    /// Buys a second, round by round.
    pub per_second: Vec<f64>,
    /// Half took no longer, in microseconds, likewise.
    pub p50_us: Vec<f64>,
}

/// Median, 99 of 100, and the most, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// Half were no longer.
    pub p50: f64,
    /// 99 of 100 were no longer.
    pub p99: f64,
    /// None was longer.
    pub most: f64,
}

/// What one client saw that buys and looks up by turns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Each way, so often.
    pub times: usize,
    /// A lookup that the cache answered.
    pub hit: Times,
    /// The lookup behind a buy, which a replica answered.
    pub miss: Times,
    /// From the answer to a buy elsewhere until a lookup here told of it.
    pub seen_after: Times,
    /// Lookups behind a buy at the same front end that did not tell of it.
    pub stale: usize,
}

/// Measures buys at an order server, with and without followers, by turns.
///
/// # Errors
/// When the store does not serve.
pub async fn writes(store: &Store, driver: &Driver, rounds: u32, seconds: u32) -> anyhow::Result<Vec<Overhead>> {
    let mut overheads = Vec::new();
    for followed in [true, false] {
        overheads.extend(CLIENTS.map(|clients| Overhead {
            followed,
            clients,
            per_second: Vec::new(),
            p50_us: Vec::new(),
        }));
    }
    let load = |path: &str| ["--get", path, "--items", BOUGHT].map(str::to_owned);
    for round in 1..=rounds {
        for followed in in_turn(round) {
            for node in [CACHED, UNCACHED] {
                match (followed, store.cluster.cluster.process(node)) {
                    (false, Some(_)) => drop(store.cluster.stop(node).await),
                    (true, None) => store.cluster.restart(node).await,
                    _ => {}
                }
            }
            if followed {
                driver.loadgen(&store.address(CACHED), &load("/lookup/{item}"), 16, 1).await?;
            }
            let order = store.address("order-1");
            // Unmeasured: whoever has just started has this behind it, and who has just stopped is forgotten.
            driver.loadgen(&order, &load("/buy/{item}"), 16, 1).await?;
            for one in overheads.iter_mut().filter(|one| one.followed == followed) {
                let sample = driver.loadgen(&order, &load("/buy/{item}"), one.clients, seconds).await?;
                ensure!(sample.refused == 0, "{} buys were refused by order-1", sample.refused);
                one.per_second.push(sample.per_second);
                one.p50_us.extend(sample.p50_us);
            }
        }
        println!("cost of consistency: round {round} of {rounds}");
    }
    for node in [CACHED, UNCACHED] {
        store.cluster.restart(node).await;
    }
    Ok(overheads)
}

/// One answer to one client.
struct Looked {
    us: f64,
    hit: bool,
    body: Vec<u8>,
}

async fn ask(connection: &mut Connection, path: &str) -> anyhow::Result<Looked> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: store\r\n\r\n");
    let began = Instant::now();
    let answer = connection.ask(request.as_bytes()).await?;
    let us = began.elapsed().as_secs_f64() * 1e6;
    ensure!(answer.status == 200, "{path}: {}: {}", answer.status, String::from_utf8_lossy(answer.body));
    Ok(Looked { us, hit: answer.hit == Some(true), body: answer.body.to_vec() })
}

/// Has one client buy and look up by turns, half of the buys at an order server, where the front end learns of them only by
/// the stream of changes.
///
/// # Errors
/// When the store does not serve.
pub async fn probe(store: &Store) -> anyhow::Result<Probe> {
    let mut front = Connection::open(&store.address(CACHED)).await.context("the front end")?;
    let mut order = Connection::open(&store.address("order-2")).await.context("the order server")?;
    let (lookup, buy) = (format!("/lookup/{PROBED}"), format!("/buy/{PROBED}"));
    let (mut hits, mut misses, mut seen_after, mut stale) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for _ in 0..PROBES {
        for elsewhere in [true, false] {
            // The first may fill the cache, the second is answered by it.
            let before = ask(&mut front, &lookup).await?.body;
            let looked = ask(&mut front, &lookup).await?;
            if looked.hit {
                hits.push(looked.us);
            }
            ask(if elsewhere { &mut order } else { &mut front }, &buy).await?;
            let bought = Instant::now();
            for look in 0.. {
                let looked = ask(&mut front, &lookup).await?;
                if looked.body != before {
                    if !looked.hit {
                        misses.push(looked.us);
                    }
                    if elsewhere {
                        seen_after.push(bought.elapsed().as_secs_f64() * 1e6);
                    }
                    break;
                }
                stale += usize::from(!elsewhere);
                ensure!(look < MOST_LOOKS, "a buy elsewhere is never seen at the front end");
            }
        }
    }
    let (hit, miss, seen_after) = (times(hits), times(misses), times(seen_after));
    Ok(Probe { times: PROBES, hit, miss, seen_after, stale })
}

fn times(mut us: Vec<f64>) -> Times {
    us.sort_unstable_by(f64::total_cmp);
    Times { p50: percentile(&us, 50), p99: percentile(&us, 99), most: percentile(&us, 100) }
}
