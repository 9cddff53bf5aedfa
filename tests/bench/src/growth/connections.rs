//! More and more clients of the front end. Must not know how it serves them.

use super::{Load, Plan, grouped, report::Report, store::Store};
use crate::{
    drive::{Ask, Driver},
    results::Spread,
    targets::{Bound, Held},
};

const PART: &str = "connections";
/// How many connections.
const STEPS: [u32; 4] = [1, 64, 256, 1_000];
/// A rate may be so much of the best with fewer connections.
const KEEPS: f64 = 0.85;

/// Measures the same loads with more and more connections, round after round.
///
/// # Errors
/// When the store does not serve.
pub async fn run(report: &mut Report, driver: &Driver, plan: &Plan, store: &Store) -> anyhow::Result<()> {
    for (name, path) in [("buy of one item", "/buy/1"), ("lookup, cached", "/lookup/2")] {
        let load = |connections| {
            let load = Load::new(name, &store.front(), Ask::Get(path.into()));
            Load { connections, ..load }
        };
        load(STEPS[1]).run(driver, 1).await?;
        let mut rates = [const { Vec::new() }; STEPS.len()];
        for _ in 0..plan.rounds {
            for (rates, connections) in rates.iter_mut().zip(STEPS) {
                rates.push(load(connections).run(driver, plan.seconds).await?.per_second);
            }
        }
        let mut best: Option<Spread> = None;
        for (rates, connections) in rates.into_iter().zip(STEPS) {
            let rate = Spread::of(rates.clone());
            let at = grouped(connections.into());
            if let (Some(best), Some(rate)) = (best, rate) {
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
    }
    Ok(())
}
