//! What a run has measured, round by round, as a table and as JSON. Must not know what it is held against.

use std::collections::BTreeMap;

use cluster_config::table::table;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    cells::{Cell, Work},
    drive::Sample,
    faults::Outages,
    system::Kind,
    targets::Held,
};

/// All figures of a run.
#[derive(Debug, Default)]
pub struct Results {
    /// Each cell's samples by round.
    pub cells: BTreeMap<Cell, BTreeMap<u32, Sample>>,
    /// The leader killed.
    pub failover: Option<Outages>,
    /// The leader stopped.
    pub stop: Option<Outages>,
    /// The leader's share of a core, in percent.
    pub idle: Option<f64>,
    /// Who is not in it, and why.
    pub absent: BTreeMap<Kind, String>,
}

/// How a run was made.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// How often each cell was measured.
    pub rounds: u32,
    /// How long, in seconds.
    pub seconds: u32,
    /// What drove all that speaks HTTP.
    pub driver: &'static str,
    /// Cores of the machine, which load generators share.
    pub cores: usize,
    /// Processes that wanted a core before it began, on average over a minute.
    pub load: f64,
}

/// The middle of some values, and their ends.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

impl Spread {
    /// Of values, unless there are none.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, most, half) = (*values.first()?, *values.last()?, values.len() / 2);
        let median = if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 };
        Some(Self { median, least, most })
    }
}

impl Results {
    /// Adds a sample.
    pub fn add(&mut self, round: u32, cell: Cell, sample: Sample) {
        self.cells.entry(cell).or_default().insert(round, sample);
    }

    /// A figure of a cell by round.
    pub fn figures(&self, cell: Cell, figure: impl Fn(&Sample) -> Option<f64>) -> BTreeMap<u32, f64> {
        let samples = self.cells.get(&cell).into_iter().flatten();
        samples.filter_map(|(round, sample)| Some((*round, figure(sample)?))).collect()
    }

    /// One cell's figure divided by another's, of each round that has both.
    pub fn ratios(&self, of: Cell, to: Cell) -> Vec<f64> {
        let (of, to) = (self.figures(of, |s| Some(s.per_second)), self.figures(to, |s| Some(s.per_second)));
        of.iter().filter_map(|(round, value)| Some(value / to.get(round).filter(|to| **to > 0.0)?)).collect()
    }

    /// All figures for people.
    pub fn table(&self) -> String {
        let ms = |us: Option<f64>| us.map_or_else(|| "-".to_owned(), |us| format!("{:.2}", us / 1_000.0));
        let rows: Vec<[String; 8]> = self
            .cells
            .iter()
            .filter_map(|(cell, samples)| {
                let spread = |figure: fn(&Sample) -> Option<f64>| {
                    Spread::of(self.figures(*cell, figure).into_values().collect())
                };
                let rate = spread(|s| Some(s.per_second))?;
                let hits = spread(|s| s.hit_rate.map(|rate| rate * 100.0));
                let digits = usize::from(cell.work == Work::Syncs);
                Some([
                    cell.to_string(),
                    format!("{:.digits$}", rate.median),
                    format!("{:.digits$} - {:.digits$}", rate.least, rate.most),
                    ms(spread(|s| s.p50_us).map(|us| us.median)),
                    ms(spread(|s| s.p99_us).map(|us| us.median)),
                    ms(spread(|s| s.max_us).map(|us| us.most)),
                    hits.map_or_else(|| "-".to_owned(), |hits| format!("{:.1}", hits.median)),
                    samples.values().map(|sample| sample.refused).sum::<u64>().to_string(),
                ])
            })
            .collect();
        table(["what, connections", "a second", "spread", "p50 ms", "p99 ms", "max ms", "hits %", "refused"], &rows)
    }

    /// All figures for programs.
    pub fn json(&self, run: &Run, held: &[Held]) -> Value {
        let cells: Vec<Value> = self
            .cells
            .iter()
            .map(|(cell, samples)| {
                let rate = Spread::of(self.figures(*cell, |s| Some(s.per_second)).into_values().collect());
                json!({
                    "of": cell.kind, "work": cell.work, "connections": cell.connections,
                    "per_second": rate, "rounds": samples.values().collect::<Vec<_>>(),
                })
            })
            .collect();
        json!({
            "run": run, "cells": cells, "targets": held, "failover": self.failover, "stop": self.stop,
            "idle_leader_percent_of_a_core": self.idle, "absent": self.absent,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_those_of_one_round() {
        let (ours, nginx) = (Cell::new(Kind::Ours, Work::Lookup, 64), Cell::new(Kind::Nginx, Work::Lookup, 64));
        let mut results = Results::default();
        let sample = |per_second| Sample { per_second, ..Sample::default() };
        // A slow round of the machine is slow for both.
        for (round, of, to) in [(1, 100.0, 50.0), (2, 40.0, 20.0), (3, 90.0, 30.0)] {
            results.add(round, ours, sample(of));
            results.add(round, nginx, sample(to));
        }
        results.add(4, ours, sample(1.0));
        assert_eq!(results.ratios(ours, nginx), [2.0, 2.0, 3.0]);
        assert!(results.table().contains("nginx: cached lookup, 64"), "{}", results.table());
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 9.0]), Some(Spread { median: 3.0, least: 1.0, most: 9.0 }));
        assert_eq!(Spread::of(vec![7.0]), Some(Spread { median: 7.0, least: 7.0, most: 7.0 }));
        assert_eq!(Spread::of(Vec::new()), None);
    }
}
