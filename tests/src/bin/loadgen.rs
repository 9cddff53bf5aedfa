//! `loadgen`: a load of N connections on a front end, or on any server that speaks HTTP/1.1, and the figures of it. Must
//! not know a cluster's processes, nor judge what was answered: it counts statuses.
//!
//! In the closed loop every connection sends its next request when the answer to the last one is there, so a stalled
//! server is seen as a long time of N requests and not of all those that would have come meanwhile. In the open loop
//! (`--rate`) requests are due at their times, whatever the server does, and their times count from then.

use std::{
    cell::RefCell,
    fs,
    io::{IsTerminal, Write, stderr},
    path::PathBuf,
    process::ExitCode,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::{Parser, ValueEnum};
use rand::{SeedableRng, rngs::SmallRng};
use tests::load::{
    connection::Connection,
    figures::{Figures, Load, Report},
    mix::{Items, Mix, Order, Requests},
    pace::Pace,
    template::{Method, Template},
};
use tokio::{task::LocalSet, time::sleep};

/// After a connection could not be opened or broke, before the next one.
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);
/// Between two lines of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// Cells of the progress bar.
const BAR: usize = 30;

/// Puts a front end, or any HTTP server, under load and measures it.
#[derive(Debug, Parser)]
#[command(name = "loadgen", version)]
struct Args {
    /// The server.
    #[arg(default_value = "http://127.0.0.1:35303")]
    url: String,
    /// buy, lookup, or `mixed:PERCENT` (of lookups). Default: lookup; with --post alone, buy.
    #[arg(long)]
    mix: Option<String>,
    /// Items, the most popular first: 1, or 1,3,5, or 1-100000.
    #[arg(long, default_value = "1")]
    items: Items,
    /// Popularity of the k-th item is 1 / k^ZIPF; 0 makes all equal.
    #[arg(long, default_value_t = 0.0)]
    zipf: f64,
    /// Ask for each item once, one after another, before the first comes again.
    #[arg(long, conflicts_with = "zipf")]
    in_turn: bool,
    /// What lookups ask for: what the cache may answer, or the present.
    #[arg(long, value_enum, default_value = "default")]
    read: Read,
    /// What lookups ask for instead, on any server: a path in which {item} stands for the item's number.
    #[arg(long, value_name = "PATH", conflicts_with = "read")]
    get: Option<String>,
    /// What is asked instead of a buy, by POST: a path in which {item} stands for the item's number.
    #[arg(long, value_name = "PATH")]
    post: Option<String>,
    /// The body of --post, of JSON; {item} stands for the item's number.
    #[arg(long, value_name = "TEXT", requires = "post", default_value = "")]
    body: String,
    /// How long, in seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Connections, each with at most one request outstanding.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Open loop: so many requests are due a second, and times count from then. Without it, the closed loop.
    #[arg(long, value_name = "PER_SECOND", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    rate: Option<u32>,
    /// Send an Idempotency-Key of our own with each buy or POST.
    #[arg(long)]
    key: bool,
    /// Where to write the figures as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Seed of the choice of items.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// How a lookup is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Read {
    Default,
    Linearizable,
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

/// What a connection needs to go on.
struct Shared {
    host: String,
    requests: Requests,
    counts: RefCell<Counts>,
    /// In an open loop.
    pace: Option<Arc<Pace>>,
    end: Instant,
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
    let host = args.url.strip_prefix("http://").unwrap_or(&args.url).trim_end_matches('/').to_owned();
    ensure!(!host.contains('/'), "{}: give the server as http://host:port", args.url);
    let (mix, requests) = requests(args, &host)?;
    // One thread: the generator takes as little as it can from the servers beside it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = LocalSet::new().block_on(&runtime, async {
        let opened = Connection::open(&host).await;
        opened.with_context(|| format!("nobody answers at {host}; a cluster is started with make up"))?;
        anyhow::Ok(run(args, mix, host, requests).await)
    })?;
    println!("{report}");
    if let Some(path) = &args.json {
        fs::write(path, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    ensure!(report.answers > 0, "nothing was answered");
    Ok(())
}

/// The mix's name, and what is asked.
fn requests(args: &Args, host: &str) -> anyhow::Result<(String, Requests)> {
    let writes_only = args.post.is_some() && args.get.is_none();
    let name = args.mix.clone().unwrap_or_else(|| if writes_only { "buy" } else { "lookup" }.to_owned());
    let mix: Mix = name.parse()?;
    let order = match (args.in_turn, args.zipf) {
        (true, _) => Order::InTurn,
        (false, 0.0) => Order::Uniform,
        (false, exponent) => Order::Zipf(exponent),
    };
    let (mut read, mut write) = Requests::templates(host, args.read == Read::Linearizable, args.key);
    if let Some(path) = &args.get {
        read = Template::new(Method::Get, host, path, None);
    }
    if let Some(path) = &args.post {
        write = Template::new(Method::Post, host, path, Some(&args.body));
        if args.key {
            write = write.with_key();
        }
    }
    Ok((name, Requests::new(mix, args.items.clone(), order, read, write)?))
}

async fn run(args: &Args, mix: String, host: String, requests: Requests) -> Report {
    let began = Instant::now();
    let end = began + Duration::from_secs(args.seconds.into());
    let pace = args.rate.map(|rate| Pace::start(began, end, rate.into()));
    let shared = Rc::new(Shared { host, requests, counts: RefCell::default(), pace, end });
    let tasks: Vec<_> = (0..u64::from(args.connections))
        .map(|at| {
            let rng = SmallRng::seed_from_u64(args.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(at));
            tokio::task::spawn_local(ask_on(shared.clone(), rng))
        })
        .collect();
    let mut last = began;
    while Instant::now() < end {
        sleep(PROGRESS_EVERY.min(end - Instant::now())).await;
        let now = Instant::now();
        show(&shared.counts.borrow().stretch, now - last, now - began, end - began);
        last = now;
        let Counts { stretch, all, .. } = &mut *shared.counts.borrow_mut();
        all.add(stretch);
        stretch.clear();
    }
    if stderr().is_terminal() {
        eprintln!();
    }
    for task in tasks {
        task.abort();
    }
    let counts = shared.counts.borrow();
    let load = Load { mix, connections: args.connections as usize, rate: args.rate.map(f64::from) };
    let unsent = shared.pace.as_ref().map_or(0, |pace| pace.waiting());
    counts.all.report(load, began.elapsed(), counts.outstanding, unsent)
}

/// One connection's loop.
async fn ask_on(shared: Rc<Shared>, mut rng: SmallRng) {
    let Shared { host, requests, counts, pace, end } = &*shared;
    let mut request = Vec::new();
    let mut open = None;
    while Instant::now() < *end {
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
        let since = match pace {
            None => None,
            Some(pace) => Some(pace.take().await),
        };
        requests.next(&mut rng, &mut request);
        counts.borrow_mut().outstanding += 1;
        let since = since.unwrap_or_else(Instant::now);
        let answer = connection.ask(&request).await.map(|answer| (answer.status, answer.hit, answer.keeps));
        let broken = answer.is_err();
        if !matches!(answer, Ok((.., true))) {
            open = None;
        }
        {
            let counts = &mut *counts.borrow_mut();
            counts.outstanding -= 1;
            match answer {
                Ok((status, hit, _)) => {
                    counts.stretch.answered(status, since.elapsed());
                    counts.stretch.cached(hit);
                }
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
