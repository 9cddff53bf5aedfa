//! What was counted within a second, as rates and times. Must not know who reads it.

use std::time::Duration;

use metrics::Histogram;
use serde::Serialize;
use tokio::time::Instant;

use super::Look;
use crate::front::Front;

/// A second of this front end.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// Milliseconds from the front end's beginning to the second's end.
    at_ms: u64,
    /// Reads answered from the cache, a second.
    hits: f64,
    /// Reads that a replica answered, a second.
    reads: f64,
    /// Orders sent on, a second, refused ones among them.
    orders: f64,
    /// Changes of items sent on, a second.
    changes: f64,
    /// From sending a batch of orders to its answer.
    order_ms: Option<Times>,
    /// From asking a replica to its answer.
    read_ms: Option<Times>,
    /// For each replica, in the layout's order: `L`eader, `F`ollower, `C`andidate, `N`on-voter, `D`own.
    roles: String,
    /// How far the stream of changes was.
    position: u64,
}

/// Times within a second, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Times {
    mean: f64,
    /// As near as buckets that double tell.
    p99: f64,
}

/// All that was counted up to a moment.
#[derive(Debug)]
pub(super) struct Totals {
    at: Instant,
    hits: u64,
    orders: f64,
    changes: f64,
    reads: Counted,
    order_times: Counted,
    position: u64,
}

#[derive(Debug)]
struct Counted {
    buckets: Vec<(f64, u64)>,
    sum: f64,
}

impl Totals {
    pub(super) fn of(front: &Front, at: Instant) -> Self {
        Self {
            at,
            hits: front.state().hits(),
            orders: front.writes.orders().deliveries().sizes.sum(),
            changes: front.catalog.deliveries().sizes.sum(),
            reads: Counted::of(&front.upstream.times),
            order_times: Counted::of(&front.writes.orders().deliveries().round_trips),
            position: front.state().stream().position,
        }
    }
}

impl Sample {
    pub(super) fn between(earlier: &Totals, now: &Totals, at_ms: u64, look: &Look) -> Self {
        let seconds = (now.at - earlier.at).max(Duration::from_millis(1)).as_secs_f64();
        let rate = |count: f64| (count / seconds * 10.0).round() / 10.0;
        Self {
            at_ms,
            hits: rate((now.hits - earlier.hits) as f64),
            reads: rate(now.reads.count_since(&earlier.reads) as f64),
            orders: rate(now.orders - earlier.orders),
            changes: rate(now.changes - earlier.changes),
            order_ms: now.order_times.since(&earlier.order_times),
            read_ms: now.reads.since(&earlier.reads),
            roles: look.replicas.iter().map(|(_, status)| role(status.as_ref().map(|s| s.role.as_str()))).collect(),
            position: now.position,
        }
    }
}

fn role(role: Option<&str>) -> char {
    match role {
        Some("leader") => 'L',
        Some("follower") => 'F',
        Some("candidate") => 'C',
        Some(_) => 'N',
        None => 'D',
    }
}

impl Counted {
    fn of(histogram: &Histogram) -> Self {
        Self { buckets: histogram.buckets(), sum: histogram.sum() }
    }

    fn count_since(&self, earlier: &Self) -> u64 {
        self.buckets.iter().zip(&earlier.buckets).map(|((_, now), (_, before))| now - before).sum()
    }

    /// The times since; `None` when there were none.
    fn since(&self, earlier: &Self) -> Option<Times> {
        let count = self.count_since(earlier);
        if count == 0 {
            return None;
        }
        let round = |seconds: f64| (seconds * 1e6).round() / 1e3;
        let mean = round((self.sum - earlier.sum) / count as f64);
        Some(Times { mean, p99: round(self.quantile(earlier, 0.99 * count as f64)).max(mean) })
    }

    /// The value below which `rank` of those since lie, as if they were spread evenly within each bucket.
    fn quantile(&self, earlier: &Self, rank: f64) -> f64 {
        let (mut below, mut from) = (0.0, 0.0);
        for ((bound, now), (_, before)) in self.buckets.iter().zip(&earlier.buckets) {
            let count = (now - before) as f64;
            // The last bucket has no end.
            let upto = if *bound == f64::MAX { from } else { *bound };
            if count > 0.0 && below + count >= rank {
                return from + (upto - from) * (rank - below) / count;
            }
            (below, from) = (below + count, upto);
        }
        from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(micros: &[u64]) -> Counted {
        let histogram = Histogram::times();
        micros.iter().for_each(|value| histogram.observe(*value));
        Counted::of(&histogram)
    }

    #[test]
    fn times_are_those_since_the_earlier_look() {
        let before = counted(&[8_000_000]);
        assert_eq!(before.since(&before), None);
        let after = counted(&[8_000_000, 1000, 3000]);
        let times = after.since(&before).unwrap();
        assert!((times.mean - 2.0).abs() < 1e-9, "{times:?}");
        assert!((2.048..=4.096).contains(&times.p99), "within the bucket of 3 ms: {times:?}");
    }

    #[test]
    fn a_quantile_is_no_more_than_its_bucket_and_no_less_than_the_one_before() {
        let none = counted(&[]);
        let many: Vec<u64> = (0..100).map(|n| if n < 98 { 100 } else { 5000 }).collect();
        let p99 = counted(&many).since(&none).unwrap().p99;
        assert!((4.096..=8.192).contains(&p99), "{p99}");
        let longest = counted(&[100_000_000]).since(&none).unwrap();
        assert!((longest.p99 - longest.mean).abs() < 1e-9, "what has no bound is at least the mean: {longest:?}");
    }
}
