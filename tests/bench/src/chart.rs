//! Figures as bars, in an SVG. Must not know how they came about.

use std::path::Path;

use anyhow::anyhow;
use plotters::{
    coord::Shift,
    prelude::{
        BLACK, ChartBuilder, DrawingArea, IntoDrawingArea, IntoFont, Palette, Palette99, Rectangle, SVGBackend,
        SeriesLabelPosition, WHITE,
    },
    style::{Color, RGBColor},
};

use crate::{
    cells::Work,
    results::{Results, Spread},
    system::Kind,
};

/// Of a picture, and of each of its panels, in pixels.
const WIDTH: u32 = 1_200;
const PANEL_HEIGHT: u32 = 350;
/// Panels: their titles, and what stands in them.
const PANELS: [(&str, Work); 3] = [
    ("cached lookups a second", Work::Lookup),
    ("one item or key: buys, puts, updates, decrements a second", Work::Hot),
    ("100,000 items or rows: buys, updates a second", Work::Uniform),
];
/// A group of bars is this wide, where 1 is the way to the next group.
const GROUP: f64 = 0.8;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A panel of a picture: groups of bars.
#[derive(Debug, Clone)]
pub struct Panel {
    /// What stands above it.
    pub title: String,
    /// The name of each group.
    pub groups: Vec<String>,
    /// The bars that each group has, by name: one value a group, where there is one.
    pub series: Vec<(String, Vec<Option<f64>>)>,
}

/// Draws what was measured.
///
/// # Errors
/// When the file cannot be written.
pub fn draw(results: &Results, path: &Path) -> anyhow::Result<()> {
    draw_panels(&PANELS.map(|(title, work)| panel_of(results, title, work)), path)
}

/// Draws panels below one another.
///
/// # Errors
/// When the file cannot be written.
pub fn draw_panels(panels: &[Panel], path: &Path) -> anyhow::Result<()> {
    let height = PANEL_HEIGHT * u32::try_from(panels.len())?;
    let root = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE).map_err(|error| anyhow!("{error}"))?;
    for (panel, area) in panels.iter().zip(root.split_evenly((panels.len(), 1))) {
        panel.draw(&area).map_err(|error| anyhow!("the chart of {}: {error}", panel.title))?;
    }
    root.present().map_err(|error| anyhow!("cannot write {}: {error}", path.display()))
}

/// One group for each number of connections and one bar for each system.
fn panel_of(results: &Results, title: &str, work: Work) -> Panel {
    let cells: Vec<_> = results.cells.keys().filter(|cell| cell.work == work).copied().collect();
    let mut groups: Vec<u32> = cells.iter().map(|cell| cell.connections).collect();
    groups.sort_unstable();
    groups.dedup();
    let kinds = Kind::ALL.into_iter().filter(|kind| cells.iter().any(|cell| cell.kind == *kind));
    let median = |cell| Spread::of(results.figures(cell, |s| Some(s.per_second)).into_values().collect());
    let series = kinds.map(|kind| {
        let values = groups.iter().map(|connections| {
            let cell = cells.iter().find(|cell| cell.kind == kind && cell.connections == *connections)?;
            Some(median(*cell)?.median)
        });
        (kind.to_string(), values.collect())
    });
    let series = series.collect();
    let groups = groups.into_iter().map(|connections| format!("{connections} connections")).collect();
    Panel { title: title.to_owned(), groups, series }
}

impl Panel {
    fn draw(&self, area: &Area<'_>) -> anyhow::Result<()> {
        let Self { title, groups, series } = self;
        let highest = series.iter().flat_map(|(_, values)| values).flatten().copied().fold(0.0, f64::max);
        if highest <= 0.0 {
            return Ok(());
        }
        let mut chart = ChartBuilder::on(area)
            .caption(title, ("sans-serif", 20).into_font())
            .margin(12)
            .x_label_area_size(28)
            .y_label_area_size(80)
            .build_cartesian_2d(0.0..groups.len() as f64, 0.0..highest * 1.15)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(groups.len() * 2 + 1)
            .x_label_formatter(&|at| {
                // Labels stand at halves, in the middle of their groups.
                let group = (at.fract() - 0.5).abs() < 1e-6;
                groups.get(*at as usize).filter(|_| group).cloned().unwrap_or_default()
            })
            .y_label_formatter(&|value| if highest < 10.0 { format!("{value:.1}") } else { format!("{value:.0}") })
            .draw()?;
        let width = GROUP / series.len() as f64;
        for (place, (name, values)) in series.iter().enumerate() {
            let colour: RGBColor = {
                let (red, green, blue) = Palette99::COLORS[place % Palette99::COLORS.len()];
                RGBColor(red, green, blue)
            };
            let bars = values.iter().enumerate().filter_map(|(group, value)| {
                let left = group as f64 + (1.0 - GROUP) / 2.0 + place as f64 * width;
                Some(Rectangle::new([(left, 0.0), (left + width * 0.9, (*value)?)], colour.filled()))
            });
            chart
                .draw_series(bars)?
                .label(name)
                .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled()));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cells::Cell, drive::Sample};

    #[test]
    fn every_system_that_was_measured_has_its_bar_and_its_name() {
        let mut results = Results::default();
        for (kind, per_second) in [(Kind::Ours, 90_000.0), (Kind::Nginx, 80_000.0)] {
            for connections in [1, 64] {
                let sample = Sample { per_second, ..Sample::default() };
                results.add(1, Cell::new(kind, Work::Lookup, connections), sample);
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chart.svg");
        draw(&results, &path).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        for text in ["cached lookups a second", "ours", "nginx", "64 connections"] {
            assert!(svg.contains(text), "{text} is not in the chart");
        }
        assert!(!svg.contains("redis"));
    }
}
