//! `faults`: episodes of faults drawn from seeds, for as long as asked. `make faults` runs it.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Parser;
use tests::faults::{Episode, Summary, disks};

/// Breaks a cluster under load in ways drawn from a seed, again and again, and judges it by all checks.
#[derive(Debug, Parser)]
#[command(name = "faults", version)]
struct Args {
    /// How long, in minutes; the episode under way is finished.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// The seed of the first episode; each further one has the next number. Without it one is drawn.
    #[arg(long)]
    seed: Option<u64>,
    /// Episodes at most.
    #[arg(long, default_value_t = usize::MAX)]
    episodes: usize,
    /// How long the load of one episode lasts, in seconds. It is part of what repeats an episode.
    #[arg(long, default_value_t = 25)]
    seconds: u64,
    /// Where the figures go, as JSON.
    #[arg(long, default_value = "run/faults")]
    out: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    // Short enough to be typed.
    let seed = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let until = Instant::now() + Duration::from_secs_f64(args.minutes.max(0.0) * 60.0);
    let lasts = Duration::from_secs(args.seconds.max(3));
    println!("faults: SEED={seed}, {} minutes, episodes of {} s", args.minutes, lasts.as_secs());
    if let Some(skipped) = disks::skipped() {
        println!("      skipped: {skipped}");
    }
    let mut summary = Summary { seed, episodes: Vec::new() };
    while summary.episodes.len() < args.episodes && (summary.episodes.is_empty() || Instant::now() < until) {
        let episode = Episode::run(seed.wrapping_add(summary.episodes.len() as u64), lasts).await;
        println!("{:>4}  {}", summary.episodes.len() + 1, episode.line());
        tell_violations(&episode, lasts);
        summary.episodes.push(episode);
        write(&args.out, &summary)?;
    }
    println!("{}\n{}", summary.table(), summary.line());
    // A run that looked at nothing proves nothing.
    let looked = summary.episodes.iter().all(|one| one.report.operations > 0 && one.report.reads_checked > 0);
    Ok(if summary.violations() == 0 && looked { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell_violations(episode: &Episode, lasts: Duration) {
    for violation in &episode.report.violations {
        println!("      {violation}");
    }
    if let Some(folder) = &episode.kept {
        println!("      kept {}: faults.log says what was done, history.txt what clients saw", folder.display());
    }
    if !episode.report.violations.is_empty() {
        println!("      again: make faults SEED={} EPISODES=1 SECONDS={}", episode.seed, lasts.as_secs());
    }
}

fn write(folder: &Path, summary: &Summary) -> anyhow::Result<()> {
    let file = folder.join(format!("{}.json", summary.seed));
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&file, serde_json::to_vec_pretty(summary)?))
        .with_context(|| format!("cannot write {}", file.display()))
}
