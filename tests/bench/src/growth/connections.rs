//! More and more clients of the front end, and of a bare server with the same bytes: what a machine loses to many sockets
//! is no loss of the front end's. Must not know how it serves them.

use std::{path::Path, sync::Arc};

use super::{Load, Plan, grouped, report::Report, store::Store};
use crate::{
    drive::{Ask, Driver},
    process::Folder,
    results::Spread,
    system::{bare::Bare, ours::cached_page},
    targets::{Bound, Held},
};

const PART: &str = "connections";
/// How many connections.
const STEPS: [u32; 4] = [1, 64, 256, 1_000];
/// A rate may be so much of the best with fewer connections.
const KEEPS: f64 = 0.85;
/// A cached lookup is to be so much of what the bare server answers.
const OF_BARE: f64 = 0.9;
/// The item that is looked up.
const CACHED: u64 = 2;

/// Rates of a work: of each step, of each round.
type Rates = [Vec<f64>; STEPS.len()];

/// Measures the same loads with more and more connections, round after round.
///
/// # Errors
/// When the store does not serve, or the bare server of `programs` does not start.
pub async fn run(
    report: &mut Report,
    driver: &Driver,
    plan: &Plan,
    store: &Store,
    folder: Arc<Folder>,
    programs: &Path,
) -> anyhow::Result<()> {
    let mut bare = Bare::set_up(folder, programs, &cached_page(&store.cluster, CACHED).await)?;
    bare.start().await?;
    let load = |name, address: &str, path: String| Load::new(name, address, Ask::Get(path));
    let buy = load("buy of one item", &store.front(), "/buy/1".to_owned());
    let lookup = load("lookup, cached", &store.front(), format!("/lookup/{CACHED}"));
    let same_bytes = load("bare server, the same bytes", bare.address(), format!("/lookup/{CACHED}"));

    let [of_buys] = by_turns(driver, plan, [&buy]).await?;
    tell(report, &buy.name, of_buys, true)?;
    let [of_lookups, of_bare] = by_turns(driver, plan, [&lookup, &same_bytes]).await?;
    for ((ours, bare), connections) in of_lookups.iter().zip(&of_bare).zip(STEPS) {
        let work = format!("{}, {} connections", lookup.name, grouped(connections.into()));
        let ratios = ours.iter().zip(bare).map(|(ours, bare)| ours / bare).collect();
        report.hold(Held::new(&work, "against the bare server", Bound::AtLeast(OF_BARE), "x", ratios));
    }
    tell(report, &lookup.name, of_lookups, true)?;
    tell(report, &same_bytes.name, of_bare, false)?;
    bare.stop().await
}

/// The rates of loads that take turns at each number of connections.
async fn by_turns<const LOADS: usize>(
    driver: &Driver,
    plan: &Plan,
    loads: [&Load; LOADS],
) -> anyhow::Result<[Rates; LOADS]> {
    let mut rates = [const { [const { Vec::new() }; STEPS.len()] }; LOADS];
    for load in loads {
        load.run(driver, 1).await?;
    }
    for round in 0..plan.rounds as usize {
        for (step, connections) in STEPS.into_iter().enumerate() {
            for turn in 0..LOADS {
                let which = (turn + round) % LOADS;
                let load = Load { connections, ..loads[which].clone() };
                rates[which][step].push(load.run(driver, plan.seconds).await?.per_second);
            }
        }
    }
    Ok(rates)
}

/// Tells the rates of a work, and holds each against the best with fewer connections if that is wanted.
fn tell(report: &mut Report, name: &str, rates: Rates, holds: bool) -> anyhow::Result<()> {
    let mut best: Option<Spread> = None;
    for (rates, connections) in rates.into_iter().zip(STEPS) {
        let rate = Spread::of(rates.clone());
        let at = grouped(connections.into());
        if let (Some(best), Some(rate), true) = (best, rate, holds) {
            let work = format!("{name}, {at} connections");
            let ratio = rate.median / best.median;
            report.hold(Held::new(&work, "against the best with fewer", Bound::AtLeast(KEEPS), "x", vec![ratio]));
        }
        best = match (best, rate) {
            (Some(best), Some(rate)) if best.median >= rate.median => Some(best),
            (_, rate) => rate,
        };
        report.row(PART, name, &at, "/s", rates)?;
    }
    Ok(())
}
