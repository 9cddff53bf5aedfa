//! More and more items: rates beside a store of few, memory of each server, and the start of a replica. Must not know how
//! items are kept.

use tests::Options;

use super::{Load, Plan, compare, grouped, report::Report, store::Store};
use crate::{
    drive::{Ask, Driver},
    targets::{Bound, Held},
};

const PART: &str = "items";
/// Items of which all are in the front end's cache once each was asked for.
const CACHED: u64 = 1_000;
/// A start may take so long, in seconds.
pub const START: f64 = 5.0;

/// Measures stores of each size beside `small`.
///
/// # Errors
/// When a store does not serve.
pub async fn run(report: &mut Report, driver: &Driver, plan: &Plan, small: &Store) -> anyhow::Result<()> {
    let base = memory(report, small).await?;
    for count in plan.items.iter().copied().filter(|count| *count != small.items) {
        let at = grouped(count);
        report.step(PART, &format!("a store of {at} items starts"));
        let (store, took) = Store::start("growth-items", count, Options::new()).await?;
        report.row(PART, "from nothing until it serves", &at, "s", vec![took.as_secs_f64()])?;
        let loaded = memory(report, &store).await?;
        for (small, large) in loads(small).await?.iter().zip(loads(&store).await?) {
            compare(report, driver, plan, (PART, &at), Some(small), &large).await?;
        }
        let after_restart = restart(report, &store).await?;
        let each = |bytes: u64, base: u64| bytes.saturating_sub(base) as f64 / (count - small.items) as f64;
        report.row(PART, "catalog, each further item", &at, "B", vec![each(loaded, base)])?;
        report.row(PART, "catalog, each further item, after a restart", &at, "B", vec![each(after_restart, base)])?;
    }
    Ok(())
}

/// Memory of the servers as they are; returns that of a catalog.
async fn memory(report: &mut Report, store: &Store) -> anyhow::Result<u64> {
    let memories = store.memories().await?;
    for (kind, bytes) in memories {
        let what = format!("{kind}, memory");
        report.row(PART, &what, &grouped(store.items), "MB", vec![bytes as f64 / 1e6])?;
    }
    Ok(memories[0].1)
}

async fn loads(store: &Store) -> anyhow::Result<Vec<Load>> {
    let (front, replica) = (store.front(), store.address(&store.follower().await?));
    Ok(vec![
        Load::new("buy of one item", &front, Ask::Get("/buy/1".into())),
        Load::new("buy, all items alike", &front, Ask::GetAny("/buy/".into(), (1, store.items))),
        Load::new("lookup, cached", &front, Ask::GetAny("/lookup/".into(), (1, CACHED.min(store.items)))),
        Load::new("lookup at a replica, all items alike", &replica, Ask::GetAny("/lookup/".into(), (1, store.items))),
    ])
}

/// Kills a follower and starts it; returns its memory then.
async fn restart(report: &mut Report, store: &Store) -> anyhow::Result<u64> {
    let (follower, at) = (store.follower().await?, grouped(store.items));
    store.cluster.kill(&follower).await;
    let back = store.bring_back(&follower).await?;
    let serves = back.serves.as_secs_f64();
    report.row(PART, "replica killed: from its start until it serves", &at, "s", vec![serves])?;
    let work = format!("start of a replica, {at} items");
    report.hold(Held::new(&work, "until it serves", Bound::AtMost(START), "s", vec![serves]));
    store.settled_memory(&follower).await
}
