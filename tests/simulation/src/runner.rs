//! Many seeds, some at a time, each a process of its own, and what they showed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tests::{checks::Violation, disk};

use crate::Args;

/// A seed that takes longer is stuck: it is ended, and counts as one that failed.
const PATIENCE: Duration = Duration::from_secs(300);
/// What a seed leaves behind for the runner, as JSON.
pub const REPORT: &str = "report.json";
/// What happened, line by line.
pub const TRACE: &str = "trace.log";

/// What one seed showed.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Writes and reads that clients began.
    pub operations: u64,
    /// Reads that were judged.
    pub reads: u64,
    /// Faults that were injected.
    pub faults: u64,
    /// Times that a replica lost what it had not synced.
    pub power_losses: u64,
    /// Changes to files that were lost so.
    pub lost_changes: u64,
    /// Times that another replica led than before.
    pub elections: u64,
    /// Simulated time.
    pub simulated_ms: u64,
    /// What was broken: property and sentence.
    pub violations: Vec<(String, String)>,
}

impl Report {
    /// Notes what is broken.
    pub fn broken(&mut self, violation: Violation) {
        self.violations.push((violation.property.to_owned(), violation.what));
    }
}

/// All seeds so far.
#[derive(Debug, Default)]
struct Total {
    seeds: u64,
    sum: Report,
    failed: Vec<u64>,
}

/// Runs the seeds that are asked for, prints what they showed, and fails if one of them broke a promise.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let first = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let jobs = args.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from)).max(1);
    let lasts = args.minutes.map(|minutes| Duration::from_secs_f64(minutes.max(0.0) * 60.0));
    let seeds = if lasts.is_some() { u64::MAX } else { args.seeds };
    println!("simulation: SEED={first}, {} s of load each, {jobs} at a time", args.seconds);
    let scratch = tempfile::Builder::new().prefix("catalog-simulation-").tempdir_in(memory())?;
    let object = disk::compile(scratch.path())?;
    let (began, next, total) = (Instant::now(), AtomicU64::new(0), Mutex::new(Total::default()));
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Relaxed);
                    let enough = args.first_failure && !lock(&total).failed.is_empty();
                    if enough || at >= seeds || lasts.is_some_and(|lasts| began.elapsed() >= lasts) {
                        break;
                    }
                    let seed = first.wrapping_add(at);
                    let folder = scratch.path().join(seed.to_string());
                    let report = one(&folder, &object, seed, args.seconds).unwrap_or_else(|error| Report {
                        violations: vec![("no_exit".to_owned(), format!("{error:#}"))],
                        ..Report::default()
                    });
                    tell(&mut lock(&total), seed, report, &folder, args, began.elapsed());
                    let _ = fs::remove_dir_all(&folder);
                }
            });
        }
    });
    let Total { seeds, sum, failed } = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    let took = began.elapsed();
    println!(
        "{:.1} min, {:.0} seeds an hour, {:.1} h simulated; {} losses of power ({} changes lost), {} changes of leader",
        took.as_secs_f64() / 60.0,
        seeds as f64 * 3600.0 / took.as_secs_f64(),
        sum.simulated_ms as f64 / 3.6e6,
        sum.power_losses,
        sum.lost_changes,
        sum.elections,
    );
    println!(
        "simulation: {seeds} seeds, {} operations, {} reads checked, {} faults, {} violations",
        sum.operations,
        sum.reads,
        sum.faults,
        sum.violations.len()
    );
    // A run that looked at nothing proves nothing.
    let sound = failed.is_empty() && seeds > 0 && sum.operations > 0 && sum.reads > 0;
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn lock(total: &Mutex<Total>) -> MutexGuard<'_, Total> {
    total.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Syncs of a folder in memory cost nothing.
fn memory() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

fn one(folder: &Path, object: &Path, seed: u64, seconds: u64) -> anyhow::Result<Report> {
    fs::create_dir_all(folder.join("data"))?;
    let layer = disk::Layer::new(folder.join("data"), folder.join("journal"))?;
    let output = fs::File::create(folder.join("output.log"))?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--seed", &seed.to_string(), "--seconds", &seconds.to_string(), "--one"])
        .arg(folder)
        .envs(layer.environment(object))
        .env("RANDOM_SEED", seed.to_string())
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()?;
    let until = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if Instant::now() < until => thread::sleep(Duration::from_millis(5)),
            None => {
                child.kill()?;
                child.wait()?;
                anyhow::bail!("no end within {PATIENCE:?}");
            }
        }
    };
    let said = || fs::read_to_string(folder.join("output.log")).unwrap_or_default();
    anyhow::ensure!(status.success(), "the process ended with {status}: {}", last_lines(&said()));
    let report = fs::read(folder.join(REPORT)).context("no report")?;
    Ok(serde_json::from_slice(&report)?)
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join(" | ")
}

fn tell(total: &mut Total, seed: u64, report: Report, folder: &Path, args: &Args, elapsed: Duration) {
    total.seeds += 1;
    if !report.violations.is_empty() {
        total.failed.push(seed);
        println!("seed {seed} failed:");
        for (property, what) in &report.violations {
            println!("      {property}: {what}");
        }
        println!("      again: make simulate SEED={seed} SEEDS=1 SECONDS={}", args.seconds);
    }
    if args.keep || !report.violations.is_empty() {
        match keep(folder, &args.out.join(seed.to_string())) {
            Ok(kept) => println!("      the trace of seed {seed} is {}", kept.join(TRACE).display()),
            Err(error) => {
                println!("      the trace of seed {seed} could not be kept in {}: {error}", args.out.display())
            }
        }
    }
    let sum = &mut total.sum;
    sum.operations += report.operations;
    sum.reads += report.reads;
    sum.faults += report.faults;
    sum.power_losses += report.power_losses;
    sum.lost_changes += report.lost_changes;
    sum.elections += report.elections;
    sum.simulated_ms += report.simulated_ms;
    sum.violations.extend(report.violations);
    if total.seeds.is_multiple_of(50) {
        let an_hour = total.seeds as f64 * 3600.0 / elapsed.as_secs_f64();
        println!(
            "{:>6} seeds, {an_hour:.0} an hour, {} operations, {} failed",
            total.seeds,
            total.sum.operations,
            total.failed.len()
        );
    }
}

/// Copies the files that tell what happened, not the databases.
fn keep(from: &Path, to: &Path) -> std::io::Result<PathBuf> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(to.to_owned())
}
