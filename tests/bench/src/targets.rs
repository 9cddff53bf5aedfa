//! What the store is to reach, relative to its peers and to the machine, and whether it did. Must not know how anything
//! was measured.

use cluster_config::table::table;
use serde::Serialize;

use crate::{
    cells::{Cell, Work},
    faults::Outages,
    results::{Results, Spread},
    system::Kind,
};

/// Whether a target was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It was.
    Met,
    /// It was not.
    Missed,
    /// Something that it needs was not measured.
    Unknown,
    /// There is none; the figure is only told.
    Told,
}

/// On which side of its bound a figure should lie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Not below.
    AtLeast(f64),
    /// Not above.
    AtMost(f64),
    /// No target.
    None,
}

/// A target held against the figures.
#[derive(Debug, Clone, Serialize)]
pub struct Held {
    /// What is done.
    pub work: String,
    /// What is compared.
    pub what: String,
    /// The target.
    pub bound: Bound,
    /// `x`, `ms`, `%`, or nothing.
    pub unit: &'static str,
    /// The figure: by its median it is judged.
    pub figure: Option<Spread>,
    /// Whether the target was reached.
    pub verdict: Verdict,
}

impl Held {
    /// Holds values against their target.
    pub fn new(work: &str, what: impl Into<String>, bound: Bound, unit: &'static str, values: Vec<f64>) -> Self {
        let figure = Spread::of(values);
        let met = |yes: bool| if yes { Verdict::Met } else { Verdict::Missed };
        let verdict = match (figure, bound) {
            (None, _) => Verdict::Unknown,
            (Some(figure), Bound::AtLeast(bound)) => met(figure.median >= bound),
            (Some(figure), Bound::AtMost(bound)) => met(figure.median <= bound),
            (Some(_), Bound::None) => Verdict::Told,
        };
        Self { work: work.to_owned(), what: what.into(), bound, unit, figure, verdict }
    }
}

/// Each target. Those of parts that were left out stay unknown.
pub fn hold(results: &Results) -> Vec<Held> {
    use {Bound as B, Kind as K, Work as W};
    let cell = Cell::new;
    let mut held = Vec::new();
    let mut ratio = |work: &str, of: Cell, to: Cell, bound: Bound| {
        let name = if to.kind == K::Ours { format!("our own: {}", short(to)) } else { to.kind.to_string() };
        held.push(Held::new(work, format!("against {name}"), bound, "x", results.ratios(of, to)));
    };
    for (connections, nginx, bare) in
        [(1, B::None, B::None), (64, B::AtLeast(1.1), B::AtLeast(0.9)), (256, B::None, B::None)]
    {
        let work = format!("cached lookup, {connections}");
        let ours = cell(K::Ours, W::Lookup, connections);
        ratio(&work, ours, cell(K::Nginx, W::Lookup, connections), nginx);
        ratio(&work, ours, cell(K::Bare, W::Lookup, connections), bare);
    }
    ratio("lookup that misses, 64", cell(K::Ours, W::Miss, 64), cell(K::Bare, W::Lookup, 64), B::AtLeast(0.25));
    for (connections, nginx, etcd, postgres, redis) in [(64, 0.35, 3.0, 20.0, 0.45), (256, 0.5, 4.0, 40.0, 0.6)] {
        let work = format!("buy of one item, {connections}");
        let ours = cell(K::Ours, W::Hot, connections);
        ratio(&work, ours, cell(K::Nginx, W::Lookup, connections), B::AtLeast(nginx));
        ratio(&work, ours, cell(K::Etcd, W::Hot, connections), B::AtLeast(etcd));
        ratio(&work, ours, cell(K::Postgres, W::Hot, connections), B::AtLeast(postgres));
        ratio(&work, ours, cell(K::Redis, W::Hot, connections), B::AtLeast(redis));
    }
    // Redis passed: the stretch.
    for connections in [256, 1_024] {
        let (ours, redis) = (cell(K::Ours, W::Hot, connections), cell(K::Redis, W::Hot, connections));
        ratio(&format!("stretch: buy of one item, {connections}"), ours, redis, B::AtLeast(1.0));
    }
    for connections in [64, 256] {
        let work = format!("buy over 100,000 items, {connections}");
        let ours = cell(K::Ours, W::Uniform, connections);
        ratio(&work, ours, cell(K::Ours, W::Hot, connections), B::AtLeast(0.9));
        ratio(&work, ours, cell(K::Postgres, W::Uniform, connections), B::AtLeast(2.0));
    }
    ratio("one client", cell(K::Ours, W::Hot, 1), cell(K::Etcd, W::Hot, 1), B::AtLeast(1.0));
    ratio("95 % lookups, 64", cell(K::Ours, W::Mixed, 64), cell(K::Ours, W::PlainLookup, 64), B::AtLeast(0.6));
    let linearizable = cell(K::Ours, W::Linearizable, 64);
    ratio("linearizable lookup, 64", linearizable, cell(K::Ours, W::Lookup, 64), B::AtLeast(0.5));

    for (connections, most) in [(64, 5.0), (256, 15.0)] {
        let p99 = results.figures(cell(K::Ours, W::Hot, connections), |s| s.p99_us.map(|us| us / 1_000.0));
        let work = format!("buy of one item, {connections}");
        held.push(Held::new(&work, "99 of 100", B::AtMost(most), "ms", p99.into_values().collect()));
    }
    held.push(Held::new("one client", "half, over 2 x disk + 0.5 ms", B::AtMost(1.0), "x", alone(results)));
    let batched = results.figures(cell(K::Ours, W::Batch, 64), |s| Some(s.per_second));
    let work = "stretch: buys, 100 in a request";
    held.push(Held::new(work, "buys a second", B::AtLeast(150_000.0), "", batched.into_values().collect()));
    for (connections, least) in [(64, 20.0), (256, 80.0)] {
        let figures = results.figures(cell(K::Ours, W::Syncs, connections), |s| Some(s.per_second));
        let work = format!("buy of one item, {connections}");
        held.push(Held::new(&work, "buys to one fdatasync", B::AtLeast(least), "", figures.into_values().collect()));
    }
    held.extend(outages(results));
    let idle = results.idle.into_iter().collect();
    held.push(Held::new("idle, one replica dead", "the leader's core", B::AtMost(5.0), "%", idle));
    held
}

/// The median of a lone client's buy, divided by what it may be: twice what the disk takes for three files, and half a
/// millisecond.
fn alone(results: &Results) -> Vec<f64> {
    let buys = results.figures(Cell::new(Kind::Ours, Work::Hot, 1), |s| s.p50_us);
    let disk = results.figures(Cell::new(Kind::Disk, Work::ThreeFiles, 1), |s| s.p50_us);
    buys.iter().filter_map(|(round, buy)| Some(buy / (2.0 * disk.get(round)? + 500.0))).collect()
}

fn outages(results: &Results) -> Vec<Held> {
    use Bound::AtMost;
    let mut held = Vec::new();
    let mut add = |work: &str, seen: &Option<Outages>, median: Option<f64>, worst: f64| {
        let ms = seen.as_ref().map(|seen| seen.ms.clone()).unwrap_or_default();
        let one = |value: Option<f64>| value.into_iter().collect::<Vec<f64>>();
        let most = one(ms.iter().copied().max_by(f64::total_cmp));
        if let Some(median) = median {
            held.push(Held::new(work, "to the first buy, median", AtMost(median), "ms", ms));
            held.push(Held::new(work, "to the first buy, worst", AtMost(worst), "ms", most));
        } else {
            held.push(Held::new(work, "the longest pause", AtMost(worst), "ms", most));
            let refused = one(seen.as_ref().map(|seen| seen.refused as f64));
            held.push(Held::new(work, "refused requests", AtMost(0.0), "", refused));
        }
        let wrong = one(seen.as_ref().map(|seen| seen.surplus.unsigned_abs() as f64 + seen.lost as f64));
        held.push(Held::new(work, "buys lost or doubled", AtMost(0.0), "", wrong));
    };
    add("leader killed, 64", &results.failover, Some(700.0), 1_200.0);
    add("leader stopped, 64", &results.stop, None, 100.0);
    held
}

fn short(cell: Cell) -> &'static str {
    match cell.work {
        Work::Hot => "one item",
        Work::PlainLookup => "lookups only",
        _ => "default lookup",
    }
}

/// For people: what was measured and what is told, then what is unknown, in one line.
pub fn text(held: &[Held]) -> String {
    let known = held.iter().filter(|one| one.figure.is_some());
    let rows: Vec<[String; 6]> = known
        .map(|one| {
            let value = |value: f64| match one.unit {
                // A miss by four thousandths is not to look like what was aimed at.
                "x" => format!("{value:.3} x"),
                "" => format!("{value:.0}"),
                unit => format!("{value:.1} {unit}"),
            };
            let bound = match one.bound {
                Bound::AtLeast(bound) => format!(">= {}", value(bound)),
                Bound::AtMost(bound) => format!("<= {}", value(bound)),
                Bound::None => "-".to_owned(),
            };
            let (median, spread) = one.figure.map_or_else(Default::default, |figure| {
                (value(figure.median), format!("{} - {}", value(figure.least), value(figure.most)))
            });
            let verdict = match one.verdict {
                Verdict::Met => "met",
                Verdict::Missed => "MISSED",
                Verdict::Unknown | Verdict::Told => "-",
            };
            [one.work.clone(), one.what.clone(), bound, median, spread, verdict.to_owned()]
        })
        .collect();
    let count = |verdict| held.iter().filter(|one| one.verdict == verdict).count();
    format!(
        "{}\n\n{} met, {} missed, {} not measured",
        table(["work, connections", "figure", "target", "median", "spread", ""], &rows),
        count(Verdict::Met),
        count(Verdict::Missed),
        count(Verdict::Unknown)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::Sample;

    fn of<'a>(held: &'a [Held], work: &str, what: &str) -> &'a Held {
        held.iter().find(|one| one.work == work && one.what.contains(what)).unwrap_or_else(|| panic!("{work}, {what}"))
    }

    #[test]
    fn targets_are_met_missed_or_unknown() {
        let mut results = Results::default();
        let mut add = |kind, work, connections, per_second, p50_us| {
            let sample = Sample { per_second, p50_us: Some(p50_us), p99_us: Some(4_000.0), ..Sample::default() };
            results.add(1, Cell::new(kind, work, connections), sample);
        };
        add(Kind::Ours, Work::Hot, 64, 30_000.0, 1.0);
        add(Kind::Etcd, Work::Hot, 64, 10_000.0, 1.0);
        add(Kind::Postgres, Work::Hot, 64, 1_501.0, 1.0);
        add(Kind::Ours, Work::Hot, 1, 1_000.0, 1_200.0);
        add(Kind::Disk, Work::ThreeFiles, 1, 1.0, 300.0);
        let held = hold(&results);
        let buy = "buy of one item, 64";
        assert_eq!(of(&held, buy, "etcd").verdict, Verdict::Met);
        assert_eq!(of(&held, buy, "postgres").verdict, Verdict::Missed);
        assert_eq!(of(&held, buy, "redis").verdict, Verdict::Unknown);
        assert_eq!(of(&held, buy, "99 of 100").verdict, Verdict::Met);
        // 1.2 ms, where 2 x 0.3 + 0.5 ms are allowed.
        assert_eq!(of(&held, "one client", "disk").verdict, Verdict::Missed);
        assert!(text(&held).contains("MISSED") && !text(&held).contains("redis"), "{}", text(&held));
    }

    #[test]
    fn one_lost_buy_and_one_doubled_do_not_cancel_out() {
        let outages = |surplus, lost| {
            let seen = Outages { ms: vec![500.0, 900.0], acknowledged: 9, refused: 0, surplus, asked_again: 4, lost };
            hold(&Results { failover: Some(seen), ..Results::default() })
        };
        let work = "leader killed, 64";
        assert_eq!(of(&outages(0, 0), work, "lost or doubled").verdict, Verdict::Met);
        assert_eq!(of(&outages(0, 1), work, "lost or doubled").verdict, Verdict::Missed);
        assert_eq!(of(&outages(-1, 0), work, "lost or doubled").verdict, Verdict::Missed);
        assert_eq!(of(&outages(0, 0), work, "median").verdict, Verdict::Met);
        assert_eq!(of(&outages(0, 0), work, "worst").figure.map(|figure| figure.median), Some(900.0));
    }
}
