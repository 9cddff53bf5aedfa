//! What many episodes showed together: a table for people, a line and JSON for programs.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use serde::Serialize;

use super::{Episode, Kind};

/// All episodes of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Summary {
    /// The seed of the first; each further one has the next number.
    pub seed: u64,
    /// In order.
    pub episodes: Vec<Episode>,
}

impl Summary {
    fn sum(&self, of: impl Fn(&Episode) -> u64) -> u64 {
        self.episodes.iter().map(of).sum()
    }

    /// Promises that were broken.
    pub fn violations(&self) -> u64 {
        self.sum(|episode| episode.report.violations.len() as u64)
    }

    /// How often each kind of fault was injected, those that were not included.
    pub fn faults(&self) -> BTreeMap<&'static str, u64> {
        let mut faults: BTreeMap<&'static str, u64> = Kind::ALL.iter().map(|kind| (kind.name(), 0)).collect();
        for (kind, count) in self.episodes.iter().flat_map(|episode| &episode.faults) {
            *faults.entry(kind).or_default() += count;
        }
        faults
    }

    /// The table.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut row = |name: &str, figure: String| writeln!(text, "  {name:<40} {figure:>12}").expect("text");
        for (kind, count) in self.faults() {
            row(kind, count.to_string());
        }
        let (episodes, operations) = (self.episodes.len() as u64, self.sum(|one| one.report.operations));
        let took = Duration::from_millis(self.sum(|one| one.took_ms));
        row("", String::new());
        row("episodes", episodes.to_string());
        row("minutes", format!("{:.1}", took.as_secs_f64() / 60.0));
        row("operations", operations.to_string());
        row("refusals that were final", self.sum(|one| one.report.refusals).to_string());
        row("answers outcome-unknown, all settled", self.sum(|one| one.report.unknowns).to_string());
        row("writes repeated at the end and on the way", self.sum(|one| one.report.repeats).to_string());
        row("reads checked", self.sum(|one| one.report.reads_checked).to_string());
        row("changes told to followers checked", self.sum(|one| one.report.changes_checked).to_string());
        row("positions of followers forgotten", self.sum(|one| one.report.compacted).to_string());
        row("hashes of replicas compared", self.sum(|one| one.report.hashes_compared).to_string());
        row("violations", self.violations().to_string());
        if self.violations() == 0 && episodes > 0 && operations > 0 {
            // The rule of three: none seen in N.
            row("95 % upper bound, per episode (3/N)", format!("{:.1e}", 3.0 / episodes as f64));
            row("95 % upper bound, per operation (3/N)", format!("{:.1e}", 3.0 / operations as f64));
        }
        text
    }

    /// The last line.
    pub fn line(&self) -> String {
        format!(
            "faults: {} operations, {} reads checked, {} faults, {} violations",
            self.sum(|one| one.report.operations),
            self.sum(|one| one.report.reads_checked),
            self.sum(Episode::faults),
            self.violations()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{checks::Violation, trial::Report};

    fn episode(operations: u64, violations: usize) -> Episode {
        let violation = Violation { property: "no_double", what: "twice".to_owned() };
        Episode {
            faults: BTreeMap::from([(Kind::Loss.name(), 2), (Kind::KillAll.name(), 1)]),
            report: Report {
                operations,
                reads_checked: 10,
                violations: vec![violation; violations],
                ..Report::default()
            },
            ..Episode::default()
        }
    }

    #[test]
    fn the_last_line_adds_up() {
        let summary = Summary { seed: 1, episodes: vec![episode(100, 0), episode(50, 1)] };
        assert_eq!(summary.line(), "faults: 150 operations, 20 reads checked, 6 faults, 1 violations");
    }

    #[test]
    fn the_table_names_every_kind_and_bounds_only_what_was_never_seen() {
        let sound = Summary { seed: 1, episodes: vec![episode(300, 0)] }.table();
        for kind in Kind::ALL {
            assert!(sound.contains(kind.name()), "{}", kind.name());
        }
        assert!(sound.contains("1.0e-2"), "{sound}");
        assert!(!Summary { seed: 1, episodes: vec![episode(300, 1)] }.table().contains("upper bound"));
    }
}
