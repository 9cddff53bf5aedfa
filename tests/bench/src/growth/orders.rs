//! More and more orders: rates beside a store of few, memory and disk, and the start of a replica that has them all. Must
//! not know how orders are kept.

use std::time::{Duration, Instant};

use anyhow::ensure;
use catalog_client::OrderId;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use tests::load::connection::Connection;
use tokio::task::JoinSet;

use super::{CONNECTIONS, Load, Plan, compare, grouped, items::START, ledger::place, report::Report, store::Store};
use crate::{
    drive::{Ask, Driver},
    targets::{Bound, Held},
};

const PART: &str = "orders";

/// Measures `store` as its ledger grows, beside `small`.
///
/// # Errors
/// When a store does not serve.
pub async fn run(
    report: &mut Report,
    driver: &Driver,
    plan: &Plan,
    small: &Store,
    store: &Store,
) -> anyhow::Result<()> {
    let mut some: Vec<OrderId> = Vec::new();
    let mut before: Option<(u64, u64)> = None;
    for count in &plan.orders {
        some.extend(fill(report, *count, store).await?);
        let leader = store.cluster.leader().await;
        let orders = store.cluster.try_status(&leader).await?.orders;
        let catalog_memory = memory(report, store, *count).await?;
        if let Some((orders_before, memory_before)) = before {
            let grown = catalog_memory as f64 - memory_before as f64;
            let each = grown / orders.saturating_sub(orders_before).max(1) as f64;
            report.row(PART, "catalog, memory of each further order", &grouped(*count), "B", vec![each])?;
        }
        before = Some((orders, catalog_memory));
        disk(report, store, *count, orders).await?;
        for (small, large) in loads(small).into_iter().zip(loads(store)) {
            compare(report, driver, plan, (PART, &grouped(*count)), Some(&small), &large).await?;
        }
        if !some.is_empty() {
            let rate = look_up(&store.front(), &some, Duration::from_secs(plan.seconds.into())).await?;
            report.row(PART, "lookup of an order, any", &grouped(*count), "/s", vec![rate])?;
        }
    }
    starts(report, store, plan.orders.last().copied().unwrap_or_default()).await
}

/// Places orders until there are so many; gives some of them.
///
/// # Errors
/// When one is refused.
pub async fn fill(report: &mut Report, count: u64, store: &Store) -> anyhow::Result<Vec<OrderId>> {
    let leader = store.cluster.leader().await;
    let there = store.cluster.try_status(&leader).await?.orders;
    if there >= count {
        return Ok(Vec::new());
    }
    let tell = |done, rate: f64| report.step(PART, &format!("{} orders more, {rate:.0} a second", grouped(done)));
    let placed = place(&store.catalog(), count - there, store.items, tell).await?;
    report.row(PART, "placed in batches at the leader", &grouped(count), "/s", vec![placed.per_second])?;
    Ok(placed.some)
}

fn loads(store: &Store) -> Vec<Load> {
    let front = store.front();
    vec![
        Load::new("buy of one item", &front, Ask::Get("/buy/1".into())),
        Load { ask: None, ..Load::new("buy under a key of the client's own", &front, Ask::Get(String::new())) },
        Load::new("lookup, cached", &front, Ask::GetAny("/lookup/".into(), (1, store.items.min(1_000)))),
    ]
}

/// Returns the memory of a catalog.
async fn memory(report: &mut Report, store: &Store, count: u64) -> anyhow::Result<u64> {
    let memories = store.memories().await?;
    for (kind, bytes) in memories {
        report.row(PART, &format!("{kind}, memory"), &grouped(count), "MB", vec![bytes as f64 / 1e6])?;
    }
    Ok(memories[0].1)
}

async fn disk(report: &mut Report, store: &Store, count: u64, orders: u64) -> anyhow::Result<()> {
    let node = store.follower().await?;
    for (folder, what) in [("db", "catalog, database on disk"), ("snapshots", "catalog, snapshots on disk")] {
        let bytes = store.disk(&node, folder)?;
        report.row(PART, what, &grouped(count), "MB", vec![bytes as f64 / 1e6])?;
        if orders >= 100_000 {
            let each = bytes as f64 / orders as f64;
            report.row(PART, &format!("{what}, for each order"), &grouped(count), "B", vec![each])?;
        }
    }
    Ok(())
}

/// Has a replica come back after a kill and after a stop.
async fn starts(report: &mut Report, store: &Store, count: u64) -> anyhow::Result<()> {
    let at = grouped(count);
    for way in ["killed", "stopped"] {
        let node = store.follower().await?;
        if way == "killed" {
            store.cluster.kill(&node).await
        } else {
            store.cluster.stop(&node).await
        };
        let back = store.bring_back(&node).await?;
        let (serves, caught_up) = (back.serves.as_secs_f64(), back.caught_up.as_secs_f64());
        report.row(PART, &format!("replica {way}: from its start until it serves"), &at, "s", vec![serves])?;
        report.row(PART, &format!("replica {way}: until it has caught up"), &at, "s", vec![caught_up])?;
        let work = format!("start of a replica, {way}, {at} orders");
        report.hold(Held::new(&work, "until it serves", Bound::AtMost(START), "s", vec![serves]));
        let memory = store.settled_memory(&node).await? as f64 / 1e6;
        report.row(PART, &format!("catalog, memory after it was {way}"), &at, "MB", vec![memory])?;
    }
    Ok(())
}

/// Looks orders up at random, and says how many a second.
async fn look_up(address: &str, ids: &[OrderId], time: Duration) -> anyhow::Result<f64> {
    let (began, ids) = (Instant::now(), std::sync::Arc::<[OrderId]>::from(ids));
    let mut clients = JoinSet::new();
    for client in 0..CONNECTIONS {
        let (address, ids) = (address.to_owned(), ids.clone());
        clients.spawn(async move {
            let mut rng = SmallRng::seed_from_u64(client.into());
            let mut connection = Connection::open(&address).await?;
            let mut found = 0_u64;
            while began.elapsed() < time {
                let id = ids[rng.random_range(0..ids.len())];
                let request = format!("GET /v1/orders/{id} HTTP/1.1\r\nhost: {address}\r\n\r\n");
                let answer = connection.ask(request.as_bytes()).await?;
                ensure!(answer.status == 200, "order {id} is not found: {}", answer.status);
                found += 1;
            }
            anyhow::Ok(found)
        });
    }
    let mut found = 0;
    while let Some(one) = clients.join_next().await {
        found += one??;
    }
    Ok(found as f64 / began.elapsed().as_secs_f64())
}
