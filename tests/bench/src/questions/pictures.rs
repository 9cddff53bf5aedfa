//! Figures as pictures, in SVG on white, which is the same by day and by night. Must not know how they came about.

use std::path::Path;

use anyhow::anyhow;
use plotters::{
    coord::Shift,
    prelude::{ChartBuilder, DrawingArea, IntoDrawingArea, IntoFont, PathElement, Rectangle, SVGBackend, Text, WHITE},
    style::{Color, RGBColor},
};

use super::{Figures, cache::CLIENTS, clients::Bin, crash::Timeline, median};
use crate::chart::{Panel, draw_panels};

/// The names of the pictures.
pub const NAMES: [&str; 3] = ["questions-cache.svg", "questions-consistency.svg", "questions-crash.svg"];
/// Of the timeline, and of each of its panels, in pixels.
const WIDTH: u32 = 1_200;
const PANEL_HEIGHT: u32 = 260;
const BARS: RGBColor = RGBColor(70, 120, 180);
const REFUSED: RGBColor = RGBColor(200, 40, 40);
const MARK: RGBColor = RGBColor(90, 90, 90);
/// Lines on which the names of marks take turns, so that two near each other can be read.
const LINES: usize = 3;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws all pictures into a folder.
///
/// # Errors
/// When a file cannot be written.
pub fn draw(figures: &Figures, folder: &Path) -> anyhow::Result<()> {
    let [cache, consistency, crash] = NAMES.map(|name| folder.join(name));
    draw_panels(&["lookup", "buy"].map(|what| response(figures, what)), &cache)?;
    draw_panels(&[writes(figures), reads(figures)], &consistency)?;
    draw_timeline(&figures.timeline, &crash)
}

fn response(figures: &Figures, what: &str) -> Panel {
    let series = [("with the cache", true), ("without", false)].map(|(name, cached)| {
        let value = |clients: u32| {
            let found =
                figures.responses.iter().find(|one| one.what == what && one.cached == cached && one.clients == clients);
            found.map(|one| median(&one.p50_us) / 1e3)
        };
        (name.to_owned(), CLIENTS.map(value).to_vec())
    });
    let groups = CLIENTS.map(of_clients).to_vec();
    Panel { title: format!("{what}: median response time, ms"), groups, series: series.to_vec() }
}

fn of_clients(clients: u32) -> String {
    if clients == 1 { "1 client".to_owned() } else { format!("{clients} clients") }
}

fn writes(figures: &Figures) -> Panel {
    let clients = super::consistency::CLIENTS;
    let series = [("two front ends follow", true), ("nobody follows", false)].map(|(name, followed)| {
        let value = |clients: u32| {
            let found = figures.overheads.iter().find(|one| one.followed == followed && one.clients == clients);
            found.map(|one| median(&one.per_second))
        };
        (name.to_owned(), clients.map(value).to_vec())
    });
    let groups = clients.map(of_clients).to_vec();
    Panel { title: "buys a second at an order server".to_owned(), groups, series: series.to_vec() }
}

fn reads(figures: &Figures) -> Panel {
    let probe = &figures.probe;
    let all =
        [("a hit", probe.hit), ("the miss behind a buy", probe.miss), ("a buy elsewhere is seen", probe.seen_after)];
    let groups = all.iter().map(|(name, _)| (*name).to_owned()).collect();
    let series = vec![
        ("p50".to_owned(), all.iter().map(|(_, times)| Some(times.p50 / 1e3)).collect()),
        ("p99".to_owned(), all.iter().map(|(_, times)| Some(times.p99 / 1e3)).collect()),
    ];
    Panel { title: "one client, ms".to_owned(), groups, series }
}

/// What of a bin a panel shows.
type Count = fn(&Bin) -> u64;

fn draw_timeline(timeline: &Timeline, path: &Path) -> anyhow::Result<()> {
    let panels: [(&str, Count); 2] =
        [("buys acknowledged", |bin| bin.bought), ("lookups answered", |bin| bin.looked_up)];
    let height = PANEL_HEIGHT * u32::try_from(panels.len())?;
    let root = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE).map_err(|error| anyhow!("{error}"))?;
    for ((what, count), area) in panels.into_iter().zip(root.split_evenly((panels.len(), 1))) {
        draw_panel(timeline, what, count, &area).map_err(|error| anyhow!("the timeline of {what}: {error}"))?;
    }
    root.present().map_err(|error| anyhow!("cannot write {}: {error}", path.display()))
}

fn draw_panel(timeline: &Timeline, what: &str, count: Count, area: &Area<'_>) -> anyhow::Result<()> {
    let seconds = timeline.bin_ms as f64 / 1e3;
    let end = timeline.bins.len() as f64 * seconds;
    let highest = timeline.bins.iter().map(count).max().unwrap_or_default();
    if highest == 0 {
        return Ok(());
    }
    let top = highest as f64 * 1.4;
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{what} in each {} ms; red: refused", timeline.bin_ms), ("sans-serif", 18).into_font())
        .margin(12)
        .x_label_area_size(28)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..end, 0.0..top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_label_formatter(&|at| format!("{at:.0} s"))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .draw()?;
    let bars = |count: Count, colour: RGBColor| {
        let counted = timeline.bins.iter().enumerate().map(move |(place, bin)| (place as f64 * seconds, count(bin)));
        counted.filter(|(_, count)| *count > 0).map(move |(left, count)| {
            Rectangle::new([(left, 0.0), (left + seconds * 0.9, count as f64)], colour.filled())
        })
    };
    chart.draw_series(bars(count, BARS))?;
    chart.draw_series(bars(|bin| bin.refused, REFUSED))?;
    let marks = || timeline.marks.iter().map(|(at, name)| (at / 1e3, name));
    chart.draw_series(marks().map(|(at, _)| PathElement::new(vec![(at, 0.0), (at, top)], MARK)))?;
    chart.draw_series(marks().enumerate().map(|(place, (at, name))| {
        let line = (place % LINES) as f64;
        Text::new(name.clone(), (at + end * 0.003, top * (0.99 - 0.07 * line)), ("sans-serif", 13).into_font())
    }))?;
    Ok(())
}
