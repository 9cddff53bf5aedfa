//! `loadgen`: a closed loop of N connections against a front end, and the figures of it. Must not know a cluster's
//! processes, nor judge what was answered: it counts statuses.
//!
//! Every connection sends its next request when the answer to the last one is there, so a stalled server is seen as a
//! long time of N requests and not of all those that would have come meanwhile.

use std::{
    cell::RefCell,
    fs,
    io::{IsTerminal, Write, stderr},
    path::PathBuf,
    process::ExitCode,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Parser;
use rand::{SeedableRng, rngs::SmallRng};
use tests::load::{
    connection::Connection,
    figures::Figures,
    mix::{Items, Mix, Requests},
};
use tokio::{task::LocalSet, time::sleep};

/// After a connection could not be opened or broke, before the next one.
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);
/// Between two lines of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// Cells of the progress bar.
const BAR: usize = 30;

/// Puts a front end under load and measures it.
#[derive(Debug, Parser)]
#[command(name = "loadgen", version)]
struct Args {
    /// The front end.
    #[arg(default_value = "http://127.0.0.1:35303")]
    url: String,
    /// buy, lookup, or `mixed:PERCENT` (of lookups).
    #[arg(long, default_value = "lookup")]
    mix: String,
    /// Items, the most popular first: 1, or 1,3,5, or 1-7.
    #[arg(long, default_value = "1")]
    items: Items,
    /// Popularity of the k-th item is 1 / k^ZIPF; 0 makes all equal.
    #[arg(long, default_value_t = 0.0)]
    zipf: f64,
    /// How long, in seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Connections, each with one request outstanding.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Send an Idempotency-Key of our own with each buy.
    #[arg(long)]
    key: bool,
    /// Where to write the figures as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Seed of the choice of items.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What all connections share; there is one thread.
#[derive(Default)]
struct Counts {
    /// Of the present second.
    stretch: Figures,
    /// Of all seconds before.
    all: Figures,
    outstanding: u64,
}

fn main() -> ExitCode {
    match measure(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loadgen: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> anyhow::Result<()> {
    let mix: Mix = args.mix.parse()?;
    ensure!(args.zipf >= 0.0 && args.zipf.is_finite(), "--zipf must not be negative");
    let host = args.url.strip_prefix("http://").unwrap_or(&args.url).trim_end_matches('/').to_owned();
    ensure!(!host.contains('/'), "{}: give the front end as http://host:port", args.url);
    // One thread: the generator takes as little as it can from the servers beside it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = LocalSet::new().block_on(&runtime, async {
        Connection::open(&host)
            .await
            .with_context(|| format!("no front end answers at {host}; start it with make up"))?;
        let requests = Requests::new(&host, mix, &args.items, args.zipf, args.key);
        anyhow::Ok(run(args, host, requests).await)
    })?;
    println!("{report}");
    if let Some(path) = &args.json {
        fs::write(path, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    ensure!(report.answers > 0, "nothing was answered");
    Ok(())
}

async fn run(args: &Args, host: String, requests: Requests) -> tests::load::figures::Report {
    let counts = Rc::new(RefCell::new(Counts::default()));
    let shared = Rc::new((host, requests));
    let began = Instant::now();
    let end = began + Duration::from_secs(args.seconds.into());
    let tasks: Vec<_> = (0..u64::from(args.connections))
        .map(|at| {
            let rng = SmallRng::seed_from_u64(args.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(at));
            tokio::task::spawn_local(ask_on(shared.clone(), counts.clone(), rng, end))
        })
        .collect();
    let mut last = began;
    while Instant::now() < end {
        sleep(PROGRESS_EVERY.min(end - Instant::now())).await;
        let now = Instant::now();
        show(&counts.borrow().stretch, now - last, now - began, end - began);
        last = now;
        let Counts { stretch, all, .. } = &mut *counts.borrow_mut();
        all.add(stretch);
        stretch.clear();
    }
    if stderr().is_terminal() {
        eprintln!();
    }
    for task in tasks {
        task.abort();
    }
    let counts = counts.borrow();
    counts.all.report(args.mix.clone(), args.connections as usize, began.elapsed(), counts.outstanding)
}

/// One connection's loop.
async fn ask_on(shared: Rc<(String, Requests)>, counts: Rc<RefCell<Counts>>, mut rng: SmallRng, end: Instant) {
    let (host, requests) = &*shared;
    let mut request = Vec::new();
    let mut open = None;
    while Instant::now() < end {
        let connection = match &mut open {
            Some(connection) => connection,
            none => match Connection::open(host).await {
                Ok(connection) => none.insert(connection),
                Err(_) => {
                    counts.borrow_mut().stretch.broken += 1;
                    sleep(RECONNECT_PAUSE).await;
                    continue;
                }
            },
        };
        requests.next(&mut rng, &mut request);
        counts.borrow_mut().outstanding += 1;
        let asked = Instant::now();
        let answer = connection.ask(&request).await.map(|answer| (answer.status, answer.keeps));
        let broken = answer.is_err();
        if !matches!(answer, Ok((_, true))) {
            open = None;
        }
        {
            let counts = &mut *counts.borrow_mut();
            counts.outstanding -= 1;
            match answer {
                Ok((status, _)) => counts.stretch.answered(status, asked.elapsed()),
                Err(_) => counts.stretch.broken += 1,
            }
        }
        if broken {
            sleep(RECONNECT_PAUSE).await;
        }
    }
}

/// One line of progress: on a terminal it replaces the line before.
fn show(stretch: &Figures, took: Duration, so_far: Duration, whole: Duration) {
    let full = ((so_far.as_secs_f64() / whole.as_secs_f64() * BAR as f64) as usize).min(BAR);
    let line = format!(
        "[{}{}] {:>3.0}/{:.0} s {:>9.0} requests/s   p50 {:>8.3} ms   p99 {:>8.3} ms   errors {}",
        "#".repeat(full),
        ".".repeat(BAR - full),
        so_far.as_secs_f64(),
        whole.as_secs_f64(),
        stretch.answers() as f64 / took.as_secs_f64(),
        stretch.within_us(0.5) as f64 / 1000.0,
        stretch.within_us(0.99) as f64 / 1000.0,
        stretch.errors(),
    );
    let mut out = stderr();
    let written = if out.is_terminal() { write!(out, "\r{line}") } else { writeln!(out, "{line}") };
    // Progress is for people; a closed standard error must not end the measurement.
    drop(written.and_then(|()| out.flush()));
}
