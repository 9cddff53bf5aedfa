//! How each cell is measured, with which load generator. Must not know what the figures are held against.

use std::{future::Future, time::Instant};

use anyhow::{Context, ensure};
use serde_json::json;

use crate::{
    cells::{Cell, ORDERS, Work},
    disk,
    drive::{Ask, Driver, Sample},
    process::output,
    syncs::{self, Counted},
    system::{
        Kind, Systems,
        etcd::Etcd,
        nginx::Nginx,
        ours::{CACHED, COLD, HOT, Ours},
        postgres,
        postgres::Postgres,
        redis::Redis,
    },
};

/// The items that uniform buys are about.
const UNIFORM: (u64, u64) = (1, 100_000);
/// `item` and `1`, in etcd's JSON.
const PUT: &str = r#"{"key": "aXRlbQ==", "value": "MQ=="}"#;
/// Of a warm-up, in seconds.
const WARM_UP: u32 = 1;
/// The fewest calls of a trial run of redis-benchmark, which cannot be told a time, only a number.
const TRIAL: u64 = 2_000;

/// Has a system that was just started serve for a second, unmeasured, unless that would change what is measured.
///
/// # Errors
/// When it does not serve.
pub async fn warm_up(systems: &Systems, driver: &Driver, cell: Cell) -> anyhow::Result<()> {
    if !matches!(cell.work, Work::Miss | Work::ThreeFiles) {
        let work = if cell.work == Work::Syncs { Work::Hot } else { cell.work };
        measure(systems, driver, Cell { work, ..cell }, WARM_UP).await?;
    }
    Ok(())
}

/// Measures a cell for so many seconds. Its system runs.
///
/// # Errors
/// When it does not serve.
pub async fn measure(systems: &Systems, driver: &Driver, cell: Cell, seconds: u32) -> anyhow::Result<Sample> {
    let connections = cell.connections;
    let page = Ask::Get(format!("/lookup/{CACHED}"));
    let absent = || format!("{} was not set up", cell.kind);
    match cell.kind {
        Kind::Disk => {
            let folder = systems.folder.sub("disk")?;
            tokio::task::spawn_blocking(move || disk::three_files(&folder, seconds)).await?
        }
        Kind::Ours => ours(systems.ours.as_ref().with_context(absent)?, driver, cell, seconds).await,
        Kind::Bare => {
            let bare = systems.bare.as_ref().with_context(absent)?;
            driver.ask(bare.address(), &page, connections, seconds).await
        }
        Kind::Nginx => {
            let address = systems.nginx.as_ref().map(Nginx::address).with_context(absent)?;
            driver.ask(address, &page, connections, seconds).await
        }
        Kind::Etcd => {
            let leader = systems.etcd.as_ref().map(Etcd::leader).with_context(absent)?;
            driver.ask(leader, &Ask::Post("/v3/kv/put".into(), PUT.into()), connections, seconds).await
        }
        Kind::Postgres => pgbench(systems, systems.postgres.as_ref().with_context(absent)?, cell, seconds).await,
        Kind::Redis => redis(systems.redis.as_ref().with_context(absent)?, connections, seconds).await,
    }
}

async fn ours(ours: &Ours, driver: &Driver, cell: Cell, seconds: u32) -> anyhow::Result<Sample> {
    let (address, connections) = (ours.address(), cell.connections);
    let ask = match cell.work {
        Work::Lookup => Ask::Get(format!("/lookup/{CACHED}")),
        Work::Linearizable => Ask::Get(format!("/lookup/{CACHED}?read=linearizable")),
        Work::Miss => Ask::GetInTurn("/lookup/".into(), COLD),
        Work::Hot | Work::Syncs => Ask::Get(format!("/buy/{HOT}")),
        Work::Uniform => Ask::GetAny("/buy/".into(), UNIFORM),
        Work::Batch => return batch(ours, driver, connections, seconds).await,
        Work::PlainLookup => {
            let arguments = ["--get".to_owned(), format!("/lookup/{CACHED}")];
            return driver.loadgen(&address, &arguments, connections, seconds).await;
        }
        Work::Mixed => {
            let words = ["--mix", "mixed:95", "--items", "1-10000", "--zipf", "1"].map(str::to_owned);
            // What is popular is in the cache of a front end that has run for a while.
            driver.loadgen(&address, &words, connections, WARM_UP).await?;
            return driver.loadgen(&address, &words, connections, seconds).await;
        }
        Work::ThreeFiles => anyhow::bail!("that is measured on the disk"),
    };
    let load = driver.ask(&address, &ask, connections, seconds);
    if cell.work == Work::Syncs { syncs(ours, load).await } else { load.await }
}

/// Orders in requests of many. An answer says nothing of its orders to a load generator: the stock does.
async fn batch(ours: &Ours, driver: &Driver, connections: u32, seconds: u32) -> anyhow::Result<Sample> {
    let order = json!({"lines": [{"item_number": HOT, "quantity": 1}]});
    let body = json!({"orders": vec![order; ORDERS]}).to_string();
    let before = ours.stock(HOT).await?;
    let sample = driver.ask(&ours.address(), &Ask::Post("/v1/orders:batch".into(), body), connections, seconds).await?;
    let (sold, told) = (before - ours.stock(HOT).await?, sample.per_second * f64::from(seconds) * ORDERS as f64);
    ensure!(sold as f64 > told * 0.95, "{sold} were sold, and {told:.0} answered");
    Ok(Sample { per_second: sample.per_second * ORDERS as f64, ..sample })
}

/// Buys to one fdatasync of the replica that syncs most.
async fn syncs(ours: &Ours, load: impl Future<Output = anyhow::Result<Sample>>) -> anyhow::Result<Sample> {
    let cluster = &ours.cluster;
    let mut replicas = Vec::new();
    for node in cluster.catalogs() {
        let pid = cluster.cluster.pid(&node).with_context(|| format!("{node} has gone"))?;
        replicas.push(Counted { url: cluster.url(&node), pid });
    }
    let timed = async {
        let began = Instant::now();
        let sample = load.await?;
        Ok((sample, began.elapsed()))
    };
    let ((sample, took), counts, _) = syncs::during(&replicas, timed).await?;
    let most = counts.iter().copied().max().unwrap_or_default();
    ensure!(most > 0, "no replica has synced");
    let per_second = sample.per_second * took.as_secs_f64() / most as f64;
    Ok(Sample { per_second, p50_us: None, p99_us: None, max_us: None, ..sample })
}

async fn pgbench(systems: &Systems, postgres: &Postgres, cell: Cell, seconds: u32) -> anyhow::Result<Sample> {
    let buy = |id: &str| format!("update items set quantity = quantity - 1 where id = {id} and quantity > 0;\n");
    let text = match cell.work {
        Work::Uniform => format!("\\set id random(1, {})\n{}", postgres::ROWS, buy(":id")),
        _ => buy("1"),
    };
    let script = systems.folder.file("pgbench.sql", &text)?;
    let said = output(&mut postgres.pgbench(&script, cell.connections, seconds)).await?;
    read_pgbench(&said).with_context(|| format!("pgbench says: {said}"))
}

/// What pgbench prints. It knows the mean of its times only.
fn read_pgbench(said: &str) -> Option<Sample> {
    let after = |name: &str| said.lines().find_map(|line| line.trim().strip_prefix(name));
    let number = |text: &str| text.split_whitespace().next()?.parse::<f64>().ok();
    let failed = after("number of failed transactions: ").and_then(number).unwrap_or_default();
    Some(Sample { per_second: after("tps = ").and_then(number)?, refused: failed as u64, ..Sample::default() })
}

async fn redis(redis: &Redis, connections: u32, seconds: u32) -> anyhow::Result<Sample> {
    let trial = TRIAL.max(u64::from(connections) * 20);
    let rate = read_redis(&output(&mut redis.benchmark(connections, trial)).await?).context("figures of Redis")?;
    let buys = (rate.per_second * f64::from(seconds)) as u64 + 1;
    let before = redis.stock().await?;
    let said = output(&mut redis.benchmark(connections, buys)).await?;
    let sold = before.saturating_sub(redis.stock().await?);
    let sample = read_redis(&said).with_context(|| format!("redis-benchmark says: {said}"))?;
    Ok(Sample { refused: buys.saturating_sub(sold), ..sample })
}

/// The second line of redis-benchmark's CSV, under the names of the first.
fn read_redis(said: &str) -> Option<Sample> {
    let mut lines = said.lines().skip_while(|line| !line.starts_with("\"test\""));
    let fields = |line: &str| -> Vec<String> { line.trim_matches('"').split("\",\"").map(str::to_owned).collect() };
    let (names, values) = (fields(lines.next()?), fields(lines.next()?));
    let value = |name: &str| values.get(names.iter().position(|known| known == name)?)?.parse::<f64>().ok();
    Some(Sample {
        per_second: value("rps")?,
        p50_us: value("p50_latency_ms").map(|ms| ms * 1_000.0),
        p99_us: value("p99_latency_ms").map(|ms| ms * 1_000.0),
        max_us: value("max_latency_ms").map(|ms| ms * 1_000.0),
        ..Sample::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_generators_of_peers_print() {
        let sample = read_pgbench(
            "number of failed transactions: 3 (0.001%)\nlatency average = 5.1 ms\n\
             tps = 1963.25 (without initial connection time)\n",
        )
        .unwrap();
        assert_eq!((sample.per_second, sample.refused), (1963.25, 3));
        assert!(read_pgbench("pgbench: error").is_none());
        let csv = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\
                   \"p99_latency_ms\",\"max_latency_ms\"\n\
                   \"EVALSHA a 1 stock:1\",\"41000.50\",\"1.5\",\"0.2\",\"1.4\",\"2.0\",\"2.5\",\"9.1\"\n";
        let sample = read_redis(csv).unwrap();
        assert_eq!((sample.per_second, sample.p50_us, sample.p99_us), (41_000.5, Some(1_400.0), Some(2_500.0)));
        assert_eq!(sample.max_us, Some(9_100.0));
        assert!(read_redis("NOSCRIPT").is_none());
    }
}
