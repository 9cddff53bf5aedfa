//! A snapshot of everything: how long buys pause while the leader builds one, and how fast one is sent to a replica for
//! which the log is too short. Must not know what is in it.

use std::time::{Duration, Instant};

use ::tests::try_eventually;
use anyhow::{Context, ensure};
use tokio::time::sleep;

use super::{
    CONNECTIONS, Plan,
    buyers::{Buyers, Seen},
    grouped,
    report::Report,
    store::Store,
};
use crate::targets::{Bound, Held};

const PART: &str = "snapshots";
/// Buys may pause for so long, in milliseconds.
const PAUSE_MS: f64 = 50.0;
/// A snapshot is sent so fast, in megabytes a second.
const SENT: f64 = 200.0;
/// The control windows last as long as snapshots take, at least so long.
const CONTROL: Duration = Duration::from_secs(5);
/// Clients settle.
const STEADY: Duration = Duration::from_secs(1);
/// Entries beyond those that are kept, so that they are purged.
const BEYOND: u64 = 5_000;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// How long what was logged may take to be in the file.
const LOG_PATIENCE: Duration = Duration::from_secs(10);
/// How long entries may take to be made.
const PATIENCE: Duration = Duration::from_secs(300);

/// Builds snapshots under load, by turns with windows without one; then has one sent.
///
/// # Errors
/// When the store does not serve.
pub async fn run(report: &mut Report, plan: &Plan, store: &Store) -> anyhow::Result<()> {
    let leader = store.cluster.leader().await;
    let at = grouped(store.cluster.try_status(&leader).await?.orders);
    building(report, plan, store, &leader, &at).await?;
    sending(report, store, &leader, &at).await
}

async fn building(report: &mut Report, plan: &Plan, store: &Store, leader: &str, at: &str) -> anyhow::Result<()> {
    let buyers = Buyers::start(store.front(), CONNECTIONS as usize);
    sleep(STEADY).await;
    let (mut without, mut during, mut took) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        buyers.turn();
        sleep(took.last().copied().unwrap_or(CONTROL).max(CONTROL)).await;
        without.push(buyers.turn());
        let began = Instant::now();
        store.snapshot(leader).await?;
        took.push(began.elapsed());
        during.push(buyers.turn());
    }
    drop(buyers);
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let figures = |seen: &[Seen], figure: &dyn Fn(&Seen) -> f64| seen.iter().map(figure).collect::<Vec<_>>();
    for (seen, when) in [(&without, "without a snapshot"), (&during, "while one is built")] {
        report.row(PART, &format!("longest pause of buys, {when}"), at, "ms", figures(seen, &|seen| ms(seen.pause)))?;
        report.row(PART, &format!("slowest buy, {when}"), at, "ms", figures(seen, &|seen| ms(seen.slowest)))?;
        report.row(PART, &format!("buys, {when}"), at, "/s", figures(seen, &|seen| seen.per_second))?;
        ensure!(seen.iter().all(|seen| seen.refused == 0), "buys were refused: {seen:?}");
    }
    report.row(PART, "building one under load", at, "s", took.iter().map(Duration::as_secs_f64).collect())?;
    let worst = during.iter().map(|seen| ms(seen.pause)).max_by(f64::total_cmp);
    let work = format!("snapshot built, {at} orders");
    report.hold(Held::new(
        &work,
        "the longest pause of buys",
        Bound::AtMost(PAUSE_MS),
        "ms",
        worst.into_iter().collect(),
    ));
    Ok(())
}

/// Makes a follower need a snapshot: more entries than the log keeps, and a snapshot behind which it is purged.
async fn sending(report: &mut Report, store: &Store, leader: &str, at: &str) -> anyhow::Result<()> {
    let node = store.follower().await?;
    let knows = store.cluster.try_status(&node).await?.last_log;
    store.cluster.kill(&node).await;
    let wanted = knows + store.cluster.cluster.layout.raft.log_kept_entries + BEYOND;
    report.step(PART, &format!("entries are made until {node} needs a snapshot"));
    let buyers = Buyers::start(store.front(), CONNECTIONS as usize);
    let began = Instant::now();
    while store.cluster.try_status(leader).await?.last_log < wanted {
        ensure!(began.elapsed() < PATIENCE, "entries are made too slowly");
        sleep(LOOK).await;
    }
    drop(buyers);
    sleep(STEADY).await;
    store.snapshot(leader).await?;
    store.until(leader, |status| status.purged > knows).await?;
    let told_before = store.cluster.log(leader).len();
    let back = store.bring_back(&node).await?;
    // The replica may be back before the leader has heard of it.
    let told = try_eventually("the leader's log says what was sent", LOG_PATIENCE, || async {
        let log = store.cluster.log(leader);
        read_log(log.get(told_before..).unwrap_or(&log), &node).context("not yet")
    });
    let (bytes, sent_ms, installed_ms) = told.await?;
    let rate = bytes / 1e6 / (sent_ms / 1e3);
    report.row(PART, "the snapshot", at, "MB", vec![bytes / 1e6])?;
    report.row(PART, "sent over loopback", at, "MB/s", vec![rate])?;
    report.row(PART, "synced, verified and installed by the replica", at, "s", vec![installed_ms / 1e3])?;
    report.row(PART, "from its start until it has caught up", at, "s", vec![back.caught_up.as_secs_f64()])?;
    let work = format!("snapshot sent, {at} orders");
    report.hold(Held::new(&work, "over loopback", Bound::AtLeast(SENT), "MB/s", vec![rate]));
    Ok(())
}

/// Bytes, milliseconds until all were sent, and further ones until they were installed: what a leader says of the last
/// snapshot that it has sent to a replica.
fn read_log(log: &str, node: &str) -> Option<(f64, f64, f64)> {
    let number = |line: &str, after: &str| {
        let rest = &line[line.find(after)? + after.len()..];
        rest.split_whitespace().next()?.parse::<f64>().ok()
    };
    let line = |text: String| log.lines().rev().find(|line| line.contains(&text));
    let sent = line(format!(" bytes to {node} in "))?;
    let installed = line(format!("{node} has installed it in another "))?;
    Some((number(sent, "sent a snapshot of ")?, number(sent, " in ")?, number(installed, "in another ")?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn reads_what_a_leader_says_of_a_snapshot() {
        let log = "2026-01-01T00:00:00.000Z  INFO tokio sending a snapshot of 2000000 bytes to catalog-2\n\
                   2026-01-01T00:00:00.010Z  INFO tokio sent a snapshot of 2000000 bytes to catalog-2 in 8 ms\n\
                   2026-01-01T00:00:00.100Z  INFO tokio catalog-2 has installed it in another 90 ms\n";
        assert_eq!(super::read_log(log, "catalog-2"), Some((2_000_000.0, 8.0, 90.0)));
        assert_eq!(super::read_log(log, "catalog-3"), None);
    }
}
