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

/// With, and without, in the order of a round: who comes second finds a warmer machine, or a busier one.
fn in_turn(round: u32) -> [bool; 2] {
    let first = round % 2 == 1;
    [first, !first]
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

    fn figures() -> Figures {
        let profile = "dev".to_owned();
        let how = How { rounds: 1, seconds: 1, times: 1, items: 10, cores: 2, load: 0.5, profile, took: 9.0 };
        let response = |cached: bool, us: f64| cache::Response {
            what: "lookup".to_owned(),
            cached,
            clients: 16,
            p50_us: vec![us],
            p99_us: vec![us * 2.0],
            per_second: vec![1e6 / us],
            hit_rate: None,
            refused: 0,
        };
        let overhead = |followed, per_second| consistency::Overhead {
            followed,
            clients: 16,
            per_second: vec![per_second],
            p50_us: vec![500.0],
        };
        let crash = |role: &str, elected| crash::Crash {
            node: "catalog-1".to_owned(),
            role: role.to_owned(),
            detected: 12.0,
            elected,
            first_lookup: 3.0,
            first_buy: 650.0,
            pause: 640.0,
            slowest_lookup: 20.0,
            slowest_buy: 655.0,
            refused: 0,
            missed: 77,
            serves: 100.0,
            caught_up: 110.0,
            in_rotation: 120.0,
        };
        let bin = clients::Bin { bought: 5, looked_up: 9, refused: 1 };
        Figures {
            how,
            responses: vec![response(true, 100.0), response(false, 400.0)],
            overheads: vec![overhead(true, 900.0), overhead(false, 1_000.0)],
            probe: consistency::Probe { times: 300, ..consistency::Probe::default() },
            crashes: vec![crash("follower", None), crash("leader", Some(630.0))],
            timeline: crash::Timeline { bin_ms: 100, bins: vec![bin; 20], marks: vec![(700.0, "a kill".to_owned())] },
            noticed: crash::Noticed {
                bought: 70,
                looked_up: 80,
                refused: 0,
                slowest_buy: 655.0,
                slowest_lookup: 20.0,
                surplus: 0,
                replicas: vec![("catalog-1".to_owned(), 99, "abc".to_owned())],
            },
        }
    }

    /// What was measured comes back from the JSON, and has its place on the page, each table whole.
    #[test]
    fn every_figure_has_its_place_on_the_page() {
        let saved = serde_json::to_vec(&figures()).unwrap();
        let figures: Figures = serde_json::from_slice(&saved).unwrap();
        let parts = tables::parts(&figures);
        let page = page::fill(include_str!("../../../docs/questions.md"), &parts).unwrap();
        for text in [
            "| lookup | 16 | 0.10 ms / 0.20 ms | 0.40 ms / 0.80 ms | 4.0 | 10000 | 2500 | - | 23 ms |",
            "| 16 | 900 | 1000 | 0.90 |",
            "| kill → the front end knows another leader | - | 630 ms (630 - 630) |",
            "| log entries that it had missed | 77 (77 - 77) | 77 (77 - 77) |",
            "| slowest buy | 655 ms |",
            "| catalog-1 | 99 | `abc` |",
        ] {
            assert!(page.contains(text), "{text}: {page}");
        }
        assert!(!page.contains("the cache makes"), "nothing is told of a mix that was not measured");
        for (_, text) in parts {
            let columns = |line: &str| line.matches('|').count();
            let lines: Vec<&str> = text.lines().collect();
            for pair in lines.windows(2).filter(|pair| pair.iter().all(|line| line.starts_with('|'))) {
                assert_eq!(columns(pair[0]), columns(pair[1]), "{pair:?}");
            }
        }
    }

    #[test]
    fn every_picture_is_drawn() {
        let folder = tempfile::tempdir().unwrap();
        pictures::draw(&figures(), folder.path()).unwrap();
        for (name, text) in pictures::NAMES.into_iter().zip(["16 clients", "nobody follows", "a kill"]) {
            let svg = std::fs::read_to_string(folder.path().join(name)).unwrap();
            assert!(svg.contains(text), "{name}");
            assert!(include_str!("../../../docs/questions.md").contains(&format!("({name})")), "{name} is not shown");
        }
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!((percentile(&values, 50), percentile(&values, 99), percentile(&values, 100)), (100.0, 198.0, 200.0));
        assert_eq!((percentile(&[7.0], 99), percentile(&[], 50)), (7.0, 0.0));
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
    }
}
