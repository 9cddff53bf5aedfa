//! The program `simulate`: the store in one process, many seeds one after another. `make simulate` runs it.
//!
//! Each seed is a process of its own ([`one`]), started with the disk layer of the tests, so that power can be lost and
//! chance and the wall clock repeat.

mod clients;
mod one;
mod runner;
mod world;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;

/// Runs the store on a simulated network and disk, in virtual time, breaks it in ways drawn from a seed, and judges it by
/// all checks.
#[derive(Debug, Parser)]
#[command(name = "simulate", version)]
struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// For how long at most, in minutes.
    #[arg(long)]
    minutes: Option<f64>,
    /// The first seed; each further one has the next number. Without it one is drawn.
    #[arg(long)]
    seed: Option<u64>,
    /// How long the load of one seed lasts, in simulated seconds. It is part of what repeats a seed.
    #[arg(long, default_value_t = 12)]
    seconds: u64,
    /// Processes side by side; default: one a core.
    #[arg(long)]
    jobs: Option<usize>,
    /// Ends at the first seed that fails.
    #[arg(long)]
    first_failure: bool,
    /// Keeps the traces of all seeds, not only of those that fail.
    #[arg(long)]
    keep: bool,
    /// The folder in which traces are kept.
    #[arg(long, default_value = "run/simulation")]
    out: PathBuf,
    /// Runs one seed in this process, in this folder.
    #[arg(long, hide = true)]
    one: Option<PathBuf>,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    match (&args.one, args.seed) {
        (Some(folder), Some(seed)) => one::run(folder, seed, args.seconds),
        _ => runner::run(&args),
    }
}
