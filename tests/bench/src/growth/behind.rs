//! A replica that has missed a million commands: how fast it makes up for them, against how fast they were made. Must not
//! know by which way they reach it.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{CONNECTIONS, Plan, buyers::Buyers, grouped, ledger, report::Report, store::Store};
use crate::targets::{Bound, Held};

const PART: &str = "behind";
/// How much faster than they were made.
const FASTER: f64 = 5.0;
/// Progress is told so often.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// Between two looks at how many were made.
const LOOK: Duration = Duration::from_millis(50);

/// Has a follower miss commands that clients make through the front end, then as many that come in batches at the leader.
///
/// # Errors
/// When the store does not serve.
pub async fn run(report: &mut Report, plan: &Plan, store: &Store) -> anyhow::Result<()> {
    let leader = store.cluster.leader().await;
    // So that none becomes due in the middle, and the log is there.
    store.snapshot(&leader).await?;
    for by in ["64 clients", "batches"] {
        let node = store.follower().await?;
        store.cluster.kill(&node).await;
        let made = match by {
            "batches" => ledger::place(&store.catalog(), plan.behind, store.items, |_, _| ()).await?.per_second,
            _ => by_clients(report, plan, store).await?,
        };
        let back = store.bring_back(&node).await?;
        let (at, rate) = (grouped(back.orders_after - back.orders_before), back.rate());
        report.row(PART, &format!("made by {by}"), &at, "/s", vec![made])?;
        report.row(PART, &format!("made up for, made by {by}"), &at, "/s", vec![rate])?;
        let seconds = back.caught_up.as_secs_f64();
        report.row(PART, &format!("from its start until it has caught up, made by {by}"), &at, "s", vec![seconds])?;
        let bound = if by == "batches" { Bound::None } else { Bound::AtLeast(FASTER) };
        let work = format!("{at} commands behind, made by {by}");
        report.hold(Held::new(&work, "against the rate they were made at", bound, "x", vec![rate / made]));
    }
    Ok(())
}

/// Buys by clients of the front end, a second.
async fn by_clients(report: &Report, plan: &Plan, store: &Store) -> anyhow::Result<f64> {
    let leader = store.cluster.leader().await;
    let orders = async || anyhow::Ok(store.cluster.try_status(&leader).await?.orders);
    let (first, began) = (orders().await?, Instant::now());
    let buyers = Buyers::start(store.front(), CONNECTIONS as usize);
    let mut told = Instant::now();
    loop {
        sleep(LOOK).await;
        let made = orders().await? - first;
        let rate = made as f64 / began.elapsed().as_secs_f64();
        if made >= plan.behind {
            drop(buyers);
            return Ok(rate);
        }
        if told.elapsed() >= TOLD_EVERY {
            report.step(PART, &format!("{} of {} made, {rate:.0} a second", grouped(made), grouped(plan.behind)));
            told = Instant::now();
        }
    }
}
