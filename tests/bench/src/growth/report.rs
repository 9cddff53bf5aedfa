//! The figures of a run, told as they come: a line each, and the JSON written anew with each, so that a run that is cut
//! short has said what it knew. At the end tables, targets, and a chart a part. Must not know how a figure was taken.

use std::{path::PathBuf, time::Instant};

use anyhow::Context;
use cluster_config::table::table;
use serde::Serialize;
use serde_json::json;

use crate::{
    chart::{Panel, draw_panels},
    results::Spread,
    targets::{self, Held},
};

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    part: &'static str,
    what: String,
    /// At which size.
    at: String,
    unit: &'static str,
    /// One a round.
    values: Vec<f64>,
}

/// All figures of a run.
#[derive(Debug)]
pub struct Report {
    rows: Vec<Row>,
    held: Vec<Held>,
    how: serde_json::Value,
    folder: PathBuf,
    began: Instant,
}

impl Report {
    /// None yet. `how` is what the JSON says of the run.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(folder: PathBuf, how: serde_json::Value) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self { rows: Vec::new(), held: Vec::new(), how, folder, began: Instant::now() })
    }

    /// Adds a figure.
    ///
    /// # Errors
    /// When the JSON cannot be written.
    pub fn row(
        &mut self,
        part: &'static str,
        what: &str,
        at: &str,
        unit: &'static str,
        values: Vec<f64>,
    ) -> anyhow::Result<()> {
        let row = Row { part, what: what.to_owned(), at: at.to_owned(), unit, values };
        let [_, _, median, spread] = row.cells();
        println!("[{:>4.0} s] {part:<11} {what:<58} {at:>16} {median:>14}   {spread}", self.seconds());
        self.rows.push(row);
        self.save()
    }

    /// Holds something against its target; told at the end, and kept at once.
    pub fn hold(&mut self, held: Held) {
        self.held.push(held);
    }

    /// Tells a step.
    pub fn step(&self, part: &str, what: &str) {
        println!("[{:>4.0} s] {part:<11} {what}", self.seconds());
    }

    /// What was measured, as tables; the targets; and the charts.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn finish(&self) -> anyhow::Result<()> {
        self.save()?;
        let mut parts: Vec<&'static str> = self.rows.iter().map(|row| row.part).collect();
        parts.dedup();
        for part in &parts {
            let rows: Vec<[String; 4]> = self.rows.iter().filter(|row| row.part == *part).map(Row::cells).collect();
            println!("\n{}", table([part, "at", "median", "spread"], &rows));
        }
        println!("\n{}", targets::text(&self.held));
        for part in &parts {
            let path = self.folder.join(format!("growth-{part}.svg"));
            draw_panels(&self.panels(part), &path)?;
            println!("written: {}", path.display());
        }
        println!("written: {}", self.json_path().display());
        Ok(())
    }

    /// One panel for each unit of a part.
    fn panels(&self, part: &str) -> Vec<Panel> {
        let rows: Vec<&Row> = self.rows.iter().filter(|row| row.part == part).collect();
        let panel = |unit: &'static str| {
            let rows: Vec<&&Row> = rows.iter().filter(|row| row.unit == unit).collect();
            let groups = distinct(rows.iter().map(|row| row.at.clone()));
            let names = distinct(rows.iter().map(|row| row.what.clone()));
            let value = |name: &str, at: &str| {
                let row = rows.iter().find(|row| row.what == name && row.at == at)?;
                Some(Spread::of(row.values.clone())?.median)
            };
            let series = names.into_iter().map(|name| {
                let values = groups.iter().map(|at| value(&name, at)).collect();
                (name, values)
            });
            Panel { title: format!("{part}: {unit}"), series: series.collect(), groups: groups.clone() }
        };
        distinct(rows.iter().map(|row| row.unit)).into_iter().map(panel).collect()
    }

    fn save(&self) -> anyhow::Result<()> {
        let all = json!({"run": self.how, "seconds": self.seconds(), "figures": self.rows, "targets": self.held});
        let path = self.json_path();
        std::fs::write(&path, serde_json::to_vec_pretty(&all)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn json_path(&self) -> PathBuf {
        self.folder.join("growth.json")
    }

    fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}

impl Row {
    fn cells(&self) -> [String; 4] {
        let Some(spread) = Spread::of(self.values.clone()) else {
            return [self.what.clone(), self.at.clone(), "-".to_owned(), String::new()];
        };
        let digits = if spread.most < 100.0 { 2 } else { 0 };
        let range = match self.values.len() {
            1 => String::new(),
            _ => format!("{:.digits$} - {:.digits$}", spread.least, spread.most),
        };
        [self.what.clone(), self.at.clone(), format!("{:.digits$} {}", spread.median, self.unit), range]
    }
}

/// Each value once, in the order in which they first come.
fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    values.fold(Vec::new(), |mut seen, value| {
        if !seen.contains(&value) {
            seen.push(value);
        }
        seen
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::Bound;

    #[test]
    fn a_run_that_is_cut_short_has_said_what_it_knew() {
        let folder = tempfile::tempdir().unwrap();
        let mut report = Report::new(folder.path().to_owned(), json!({"rounds": 2})).unwrap();
        report.row("items", "buy", "1,000", "/s", vec![10.0, 30.0]).unwrap();
        report.row("items", "buy", "10,000", "/s", vec![12.0]).unwrap();
        report.row("items", "memory", "1,000", "MB", vec![55.5]).unwrap();
        report.hold(Held::new("buy, 10,000", "against a small store", Bound::AtLeast(0.9), "x", vec![0.8]));
        let saved: serde_json::Value = serde_json::from_slice(&std::fs::read(report.json_path()).unwrap()).unwrap();
        assert_eq!(saved["figures"][0]["values"], json!([10.0, 30.0]));
        assert_eq!(saved["figures"].as_array().unwrap().len(), 3);

        let panels = report.panels("items");
        assert_eq!(panels.iter().map(|panel| panel.groups.len()).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(panels[0].series, [("buy".to_owned(), vec![Some(20.0), Some(12.0)])]);
        report.finish().unwrap();
        let saved: serde_json::Value = serde_json::from_slice(&std::fs::read(report.json_path()).unwrap()).unwrap();
        assert_eq!(saved["targets"][0]["verdict"], "missed");
        assert!(std::fs::read_to_string(folder.path().join("growth-items.svg")).unwrap().contains("10,000"));
    }
}
