//! Figures as Markdown: what stands between the markers of `docs/questions.md`, where no figure is typed by hand. Must not
//! know where they go.

use super::{Figures, cache::Response, clients::CLIENTS, consistency::Times, median};
use crate::machine::BUSY;

/// The original's response times on two cores, as its `behaviours.md` gives them, another machine: median milliseconds.
const ORIGINAL: [(&str, u32, &str); 4] =
    [("lookup", 1, "0.9 ms"), ("lookup", 16, "23 ms"), ("buy", 1, "67 ms"), ("buy", 8, "208 ms")];

/// The parts of the page, by the names of their markers.
pub fn parts(figures: &Figures) -> Vec<(&'static str, String)> {
    vec![
        ("run", run(figures)),
        ("cache", cache(figures)),
        ("consistency", consistency(figures)),
        ("crash", crash(figures)),
        ("clients", clients(figures)),
    ]
}

/// Rows under their headings.
fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let headings: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    let rule = format!("|{}\n", "---|".repeat(headings.len()));
    line(&headings) + &rule + &rows.iter().map(|row| line(row)).collect::<String>()
}

fn run(figures: &Figures) -> String {
    let how = &figures.how;
    let mut text = format!(
        "This run: profile `{}`, {} cores, load {:.1} before it began, {} items, {} rounds of {} s a figure, {} crashes of each \
         kind, {:.0} s in all.\n",
        how.profile, how.cores, how.load, how.items, how.rounds, how.seconds, how.times, how.took
    );
    if how.load > how.cores as f64 * BUSY {
        text += "**The machine was busy with other things: times are long, and only ratios mean something.**\n";
    }
    if how.profile != "dist" {
        text += "**The programs were not built as they ship.**\n";
    }
    text
}

/// Microseconds, as milliseconds.
fn in_ms(us: f64) -> String {
    format!("{:.2} ms", us / 1e3)
}

fn whole_ms(ms: f64) -> String {
    format!("{ms:.0} ms")
}

fn of<'a>(figures: &'a Figures, what: &str, cached: bool, clients: u32) -> Option<&'a Response> {
    figures.responses.iter().find(|one| one.what == what && one.cached == cached && one.clients == clients)
}

fn cache(figures: &Figures) -> String {
    let mut rows = Vec::new();
    for on in figures.responses.iter().filter(|one| one.cached) {
        let Some(off) = of(figures, &on.what, false, on.clients) else { continue };
        let pair = |one: &Response| format!("{} / {}", in_ms(median(&one.p50_us)), in_ms(median(&one.p99_us)));
        // Round by round: both were measured in the same seconds.
        let ratios: Vec<f64> = off.p50_us.iter().zip(&on.p50_us).map(|(off, on)| off / on).collect();
        let what = match on.what.as_str() {
            "mixed" => "95 % lookups, 5 % buys",
            what => what,
        };
        let original = ORIGINAL.iter().find(|(what, clients, _)| *what == on.what && *clients == on.clients);
        rows.push(vec![
            what.to_owned(),
            on.clients.to_string(),
            pair(on),
            pair(off),
            format!("{:.1}", median(&ratios)),
            format!("{:.0}", median(&on.per_second)),
            format!("{:.0}", median(&off.per_second)),
            on.hit_rate.map_or_else(|| "-".to_owned(), |rate| format!("{:.1} %", rate * 100.0)),
            original.map_or_else(|| "-".to_owned(), |(_, _, ms)| (*ms).to_owned()),
        ]);
    }
    let headings = [
        "what",
        "clients",
        "with the cache, p50 / p99",
        "without, p50 / p99",
        "without : with, p50",
        "with, a second",
        "without, a second",
        "hits",
        "the original, p50",
    ];
    let mut text = table(&headings, &rows);
    let ratio = |what: &str, clients| {
        let (on, off) = (of(figures, what, true, clients)?, of(figures, what, false, clients)?);
        Some(median(&on.per_second) / median(&off.per_second))
    };
    if let (Some(lookup), Some(mixed)) = (ratio("lookup", 16), ratio("mixed", 16)) {
        text += &format!(
            "\nAt 16 clients the cache makes {lookup:.1} times as many lookups a second, and {mixed:.1} times as many requests of the mix.\n"
        );
    }
    text
}

fn consistency(figures: &Figures) -> String {
    let mut rows = Vec::new();
    for with in figures.overheads.iter().filter(|one| one.followed) {
        let Some(without) = figures.overheads.iter().find(|one| !one.followed && one.clients == with.clients) else {
            continue;
        };
        let ratios: Vec<f64> =
            with.per_second.iter().zip(&without.per_second).map(|(with, without)| with / without).collect();
        rows.push(vec![
            with.clients.to_string(),
            format!("{:.0}", median(&with.per_second)),
            format!("{:.0}", median(&without.per_second)),
            format!("{:.2}", median(&ratios)),
            in_ms(median(&with.p50_us)),
            in_ms(median(&without.p50_us)),
        ]);
    }
    let headings = [
        "clients",
        "followed, buys a second",
        "nobody follows",
        "followed : not",
        "followed, p50",
        "nobody follows, p50",
    ];
    let writes = table(&headings, &rows);
    let probe = &figures.probe;
    let row = |what: &str, times: &Times| vec![what.to_owned(), in_ms(times.p50), in_ms(times.p99), in_ms(times.most)];
    let rows = [
        row("a hit", &probe.hit),
        row("the miss behind an invalidation", &probe.miss),
        row("from the answer to a buy elsewhere until it is seen here", &probe.seen_after),
    ];
    let reads = table(&["one client", "p50", "p99", "most"], &rows);
    format!(
        "{writes}\n{reads}\nOf {} lookups behind a buy at the same front end, {} did not tell of it. The miss takes {:.1} times as long as \
         a hit, {} more.\n",
        probe.times,
        probe.stale,
        probe.miss.p50 / probe.hit.p50,
        in_ms(probe.miss.p50 - probe.hit.p50)
    )
}

fn crash(figures: &Figures) -> String {
    let kinds: Vec<(&str, Vec<_>)> = ["follower", "leader"]
        .into_iter()
        .map(|role| (role, figures.crashes.iter().filter(|crash| crash.role == role).collect()))
        .collect();
    type Time = fn(&super::crash::Crash) -> Option<f64>;
    let lines: [(&str, Time); 9] = [
        ("kill → the front end counts it among the dead (detection)", |crash| Some(crash.detected)),
        ("kill → the front end knows another leader", |crash| crash.elected),
        ("kill → first lookup answered that was sent since (masked)", |crash| Some(crash.first_lookup)),
        ("kill → first buy acknowledged that was sent since (masked)", |crash| Some(crash.first_buy)),
        ("longest time without an acknowledged buy (recovery)", |crash| Some(crash.pause)),
        ("start → it serves", |crash| Some(crash.serves)),
        ("start → it has caught up", |crash| Some(crash.caught_up)),
        ("start → the front end asks it again", |crash| Some(crash.in_rotation)),
        ("log entries that it had missed", |crash| Some(crash.missed as f64)),
    ];
    let cell = |what: &str, values: Vec<f64>| {
        let unit = if what.starts_with("log entries") { "" } else { " ms" };
        let (Some(least), Some(most)) =
            (values.iter().copied().min_by(f64::total_cmp), values.iter().copied().max_by(f64::total_cmp))
        else {
            return "-".to_owned();
        };
        format!("{:.0}{unit} ({least:.0} - {most:.0})", median(&values))
    };
    let rows: Vec<Vec<String>> = lines
        .into_iter()
        .map(|(what, time)| {
            let of_kind =
                kinds.iter().map(|(_, crashes)| cell(what, crashes.iter().filter_map(|one| time(one)).collect()));
            std::iter::once(what.to_owned()).chain(of_kind).collect()
        })
        .collect();
    let headings = ["median (least - most)", "a follower is killed", "the leader is killed"];
    let load = format!("\n{CLIENTS} clients buy and {CLIENTS} look up meanwhile.\n");
    table(&headings, &rows) + &load
}

fn clients(figures: &Figures) -> String {
    let noticed = &figures.noticed;
    let row = |what: &str, value: String| vec![what.to_owned(), value];
    let rows = [
        row("crashes", figures.crashes.len().to_string()),
        row("buys acknowledged", noticed.bought.to_string()),
        row("lookups answered", noticed.looked_up.to_string()),
        row("refusals and broken connections", noticed.refused.to_string()),
        row("buys lost (less than 0) or doubled (more)", noticed.surplus.to_string()),
        row("slowest buy", whole_ms(noticed.slowest_buy)),
        row("slowest lookup", whole_ms(noticed.slowest_lookup)),
    ];
    let met = table(&["what clients met", ""], &rows);
    let rows: Vec<Vec<String>> = noticed
        .replicas
        .iter()
        .map(|(node, applied, hash)| vec![node.clone(), applied.to_string(), format!("`{hash}`")])
        .collect();
    format!("{met}\n{}", table(&["replica, at the end", "applied", "state hash"], &rows))
}
