//! The four questions that the original's task asks of an implementation, answered with figures: what caching gains, what
//! it costs to keep the cache consistent, what a crash does, and whether clients notice.
//!
//! Each part measures and returns plain figures; what is told of them, tables and pictures, is made of the figures alone, as
//! they lie in the JSON. Must not know what the answers ought to be.

pub mod cache;
pub mod clients;
pub mod consistency;
pub mod crash;
pub mod page;
pub mod pictures;
pub mod setting;
pub mod tables;

use serde::{Deserialize, Serialize};

use crate::results::Spread;

/// How a run was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct How {
    /// How often each figure of the first two parts was taken.
    pub rounds: u32,
    /// For how long, in seconds.
    pub seconds: u32,
    /// How often a follower and a leader were killed.
    pub times: u32,
    /// Items of the catalogue.
    pub items: u64,
    /// Cores of the machine, which clients share with the servers.
    pub cores: usize,
    /// Processes that wanted a core before it began, on average over a minute.
    pub load: f64,
    /// The profile that this program was built with, as the servers are by `make questions`.
    pub profile: String,
    /// How long the whole of it took, in seconds.
    pub took: f64,
}

/// All figures of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Figures {
    /// How it was made.
    pub how: How,
    /// The first question.
    pub responses: Vec<cache::Response>,
    /// The second: what following costs the writes.
    pub overheads: Vec<consistency::Overhead>,
    /// The second: what it costs the reads.
    pub probe: consistency::Probe,
    /// The third.
    pub crashes: Vec<crash::Crash>,
    /// The first of the crashes of each kind, a look every [`clients::BIN`].
    pub timeline: crash::Timeline,
    /// The fourth.
    pub noticed: crash::Noticed,
}

/// The median of some values; 0 of none.
pub fn median(values: &[f64]) -> f64 {
    Spread::of(values.to_vec()).map_or(0.0, |spread| spread.median)
}

/// The value that so many of 100 do not pass, of values that are sorted; 0 of none.
pub fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let place = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(place).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!((percentile(&values, 50), percentile(&values, 99), percentile(&values, 100)), (100.0, 198.0, 200.0));
        assert_eq!((percentile(&[7.0], 99), percentile(&[], 50)), (7.0, 0.0));
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
    }
}
