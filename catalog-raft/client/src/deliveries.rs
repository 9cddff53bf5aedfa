//! What a client counts of the batches that it sends.

use std::time::Duration;

use metrics::{Counter, Histogram};

/// Batches sent, since the start. Counted a batch at a time, and never by what is in it.
#[derive(Debug)]
pub struct Deliveries {
    /// How many commands were in each batch.
    pub sizes: Histogram,
    /// How often a batch was sent, each try counted.
    pub tries: Counter,
    /// From the sending of a try to its answer: tries that had none, or were refused, are not in it.
    pub round_trips: Histogram,
}

impl Default for Deliveries {
    fn default() -> Self {
        Self { sizes: Histogram::sizes(), tries: Counter::new(), round_trips: Histogram::times() }
    }
}

impl Deliveries {
    /// Counts a try that ended after `time`.
    pub fn tried(&self, time: Duration, answered: bool) {
        self.tries.one();
        if answered {
            self.round_trips.time(time);
        }
    }
}
