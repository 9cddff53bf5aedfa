//! The figures of a load: how many answers, of which kind, and how long they took. Must not know connections.

use std::{collections::BTreeMap, fmt, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest time that is told apart, in microseconds; longer ones count as this.
const LONGEST_US: u64 = 600_000_000;
/// Significant digits of a time.
const DIGITS: u8 = 3;

/// Counts and times of one run or one stretch of it.
#[derive(Debug)]
pub struct Figures {
    times: Histogram<u64>,
    statuses: BTreeMap<u16, u64>,
    /// Answers of a cache.
    hits: u64,
    /// Answers that a cache did not have, as it says.
    misses: u64,
    /// Connections that could not be opened or broke with a request outstanding.
    pub broken: u64,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Load {
    /// What was asked: `buy`, `lookup`, `mixed:<percent>`.
    pub mix: String,
    /// Connections, each with at most one request outstanding.
    pub connections: usize,
    /// Requests due a second in an open loop; none in a closed one, where each connection asks as soon as it may.
    pub rate: Option<f64>,
}

/// A run's result, as `--json` writes it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What was measured.
    #[serde(flatten)]
    pub load: Load,
    /// How long it took.
    pub seconds: f64,
    /// Answers of any status.
    pub answers: u64,
    /// Answers of any status a second.
    pub per_second: f64,
    /// Answers of status 200 to 299 a second.
    pub ok_per_second: f64,
    /// Times of all answers, in microseconds: from when the request was sent, in an open loop from when it was due.
    pub p50_us: u64,
    /// See `p50_us`.
    pub p90_us: u64,
    /// See `p50_us`.
    pub p99_us: u64,
    /// See `p50_us`.
    pub p999_us: u64,
    /// See `p50_us`.
    pub max_us: u64,
    /// See `p50_us`.
    pub mean_us: f64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// The share of answers that a cache gave, from 0 to 1, among those that say so.
    pub hit_rate: Option<f64>,
    /// Connections that could not be opened or broke with a request outstanding.
    pub broken_connections: u64,
    /// Requests that were outstanding at the end.
    pub unanswered: u64,
    /// Requests of an open loop that were due and not yet sent at the end: their time is in no figure.
    pub unsent: u64,
}

impl Default for Figures {
    fn default() -> Self {
        let times = Histogram::new_with_bounds(1, LONGEST_US, DIGITS).expect("the bounds are in order");
        Self { times, statuses: BTreeMap::new(), hits: 0, misses: 0, broken: 0 }
    }
}

impl Figures {
    /// Counts an answer of this status that took so long.
    pub fn answered(&mut self, status: u16, took: Duration) {
        self.times.saturating_record(u64::try_from(took.as_micros()).unwrap_or(LONGEST_US).max(1));
        *self.statuses.entry(status).or_default() += 1;
    }

    /// Counts what a cache says of an answer.
    pub fn cached(&mut self, hit: Option<bool>) {
        self.hits += u64::from(hit == Some(true));
        self.misses += u64::from(hit == Some(false));
    }

    /// Adds the counts and times of another stretch.
    pub fn add(&mut self, other: &Self) {
        self.times.add(&other.times).expect("both have the same bounds");
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        self.hits += other.hits;
        self.misses += other.misses;
        self.broken += other.broken;
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.times.reset();
        self.statuses.clear();
        (self.hits, self.misses, self.broken) = (0, 0, 0);
    }

    /// Answers of any status.
    pub fn answers(&self) -> u64 {
        self.times.len()
    }

    /// Answers that are not of status 200 to 299, and broken connections.
    pub fn errors(&self) -> u64 {
        self.answers() - self.ok() + self.broken
    }

    fn ok(&self) -> u64 {
        self.statuses.range(200..300).map(|(_, count)| count).sum()
    }

    /// The time within which a share of the answers came, in microseconds.
    pub fn within_us(&self, share: f64) -> u64 {
        self.times.value_at_quantile(share)
    }

    /// The report of a run that took so long.
    pub fn report(&self, load: Load, took: Duration, unanswered: u64, unsent: u64) -> Report {
        let seconds = took.as_secs_f64();
        Report {
            load,
            seconds,
            answers: self.answers(),
            per_second: self.answers() as f64 / seconds,
            ok_per_second: self.ok() as f64 / seconds,
            p50_us: self.within_us(0.5),
            p90_us: self.within_us(0.9),
            p99_us: self.within_us(0.99),
            p999_us: self.within_us(0.999),
            max_us: self.times.max(),
            mean_us: self.times.mean(),
            statuses: self.statuses.clone(),
            hit_rate: (self.hits + self.misses > 0).then(|| self.hits as f64 / (self.hits + self.misses) as f64),
            broken_connections: self.broken,
            unanswered,
            unsent,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Load { mix, connections, rate } = &self.load;
        let due = rate.map(|rate| format!(", {rate} due a second")).unwrap_or_default();
        writeln!(f, "{mix}, {connections} connections{due}, {:.1} s", self.seconds)?;
        writeln!(f, "  requests/s   {:>12.0}", self.per_second)?;
        writeln!(f, "  of them 2xx  {:>12.0}", self.ok_per_second)?;
        let times = [self.p50_us, self.p90_us, self.p99_us, self.p999_us, self.max_us];
        for (name, us) in ["p50", "p90", "p99", "p99.9", "max"].iter().zip(times) {
            writeln!(f, "  {name:<12} {:>12.3} ms", us as f64 / 1000.0)?;
        }
        if let Some(rate) = self.hit_rate {
            writeln!(f, "  cache hits   {:>12.1} %", rate * 100.0)?;
        }
        for (status, count) in &self.statuses {
            writeln!(f, "  status {status}   {count:>12}")?;
        }
        writeln!(f, "  broken       {:>12}", self.broken_connections)?;
        if rate.is_some() {
            writeln!(f, "  unsent       {:>12}", self.unsent)?;
        }
        write!(f, "  unanswered   {:>12}", self.unanswered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_what_was_counted() {
        let mut all = Figures::default();
        let mut stretch = Figures::default();
        for ms in 1..=99 {
            stretch.answered(200, Duration::from_millis(ms));
        }
        stretch.answered(503, Duration::from_millis(900));
        stretch.broken = 2;
        for hit in [Some(true), Some(false), Some(true), Some(true), None] {
            stretch.cached(hit);
        }
        all.add(&stretch);
        stretch.clear();
        assert_eq!((stretch.answers(), stretch.errors()), (0, 0));
        assert_eq!(all.errors(), 3);
        let load = Load { mix: "buy".into(), connections: 4, rate: Some(50.0) };
        let report = all.report(load, Duration::from_secs(2), 1, 7);
        assert_eq!((report.answers, report.statuses[&200], report.statuses[&503]), (100, 99, 1));
        assert_eq!((report.hit_rate, report.unanswered, report.unsent), (Some(0.75), 1, 7));
        assert_eq!(serde_json::to_value(&report).unwrap()["mix"], "buy");
        assert!((report.per_second - 50.0).abs() < 1e-9 && (report.ok_per_second - 49.5).abs() < 1e-9);
        assert!((49_900..=50_100).contains(&report.p50_us) && report.max_us >= 899_000, "{report}");
    }
}
