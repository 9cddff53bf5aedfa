//! What the server has counted, as Prometheus text.
//!
//! Must not know what the figures are for.

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering},
};

use catalog_client::Outcome;
use order_client::{NotPlaced, Placed};

/// Orders by what became of them.
const RESULTS: [&str; 5] = ["placed", "refused", "overloaded", "unavailable", "unknown"];

/// Counters since the start.
#[derive(Debug, Default)]
pub(crate) struct Metrics([AtomicU64; RESULTS.len()]);

impl Metrics {
    /// Counts one order.
    pub(crate) fn count(&self, result: &Result<Placed, NotPlaced>) {
        let which = match result {
            Ok(placed) if matches!(placed.answer.outcome, Outcome::Placed(_)) => 0,
            Ok(_) => 1,
            Err(NotPlaced::Overloaded) => 2,
            Err(NotPlaced::Unavailable(_)) => 3,
            Err(NotPlaced::Unknown) => 4,
        };
        self.0[which].fetch_add(1, Ordering::Relaxed);
    }

    /// The text, with the gauges given.
    pub(crate) fn text(&self, queued: usize, revision: u64, has_leader: bool) -> String {
        let mut text = String::from("# HELP order_results_total Orders by what became of them.\n");
        text.push_str("# TYPE order_results_total counter\n");
        for (result, count) in RESULTS.iter().zip(&self.0) {
            let count = count.load(Ordering::Relaxed);
            writeln!(text, "order_results_total{{result=\"{result}\"}} {count}").expect("text takes text");
        }
        for (name, help, value) in [
            ("order_queued", "Orders that wait to be submitted.", queued as u64),
            ("order_revision", "The greatest revision seen in an answer of the catalog.", revision),
            ("order_leader_known", "Whether a leader of the catalog answered recently.", u64::from(has_leader)),
        ] {
            writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}").expect("text takes text");
        }
        text
    }
}
