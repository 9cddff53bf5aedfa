//! `bench`: a run over all systems, round after round, with the targets held against it at the end. Must not know how a
//! system is started or driven.

use std::{path::PathBuf, process::ExitCode, time::Instant};

use anyhow::{Context, ensure};
use bench::{
    cells::{self, Cell, PARTS},
    chart,
    drive::{Driver, Sample},
    faults::{self, Way},
    idle, machine,
    measure::{measure, warm_up},
    process::Folder,
    results::{Results, Run},
    system::{Kind, Systems},
    targets,
};
use clap::Parser;

/// Measures the store and its peers under the same loads, in one run.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
struct Args {
    /// How often each figure is taken.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How long each is taken for, in seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Parts of the run, joined by commas: lookup, miss, buy, uniform, alone, syncs, mixed, linearizable, failover, stop, idle.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// How often the leader is killed, and stopped.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    times: u32,
    /// Drive all that speaks HTTP by loadgen, though wrk is installed: it tells hit rates, and takes more of the machine.
    #[arg(long)]
    loadgen: bool,
    /// Where figures go.
    #[arg(long, default_value = "run/bench")]
    out: PathBuf,
    /// Where the programs `bare` and `loadgen` are. Default: beside this one.
    #[arg(long)]
    programs: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    machine::run("bench", run(&args))
}

async fn run(args: &Args) -> anyhow::Result<()> {
    for part in &args.only {
        let known = PARTS.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        ensure!(known.contains(&part.as_str()), "there is no part {part}; parts are {}", known.join(", "));
    }
    let wanted = |part: &str| args.only.is_empty() || args.only.iter().any(|only| only == part);
    let programs = match &args.programs {
        Some(programs) => programs.clone(),
        None => std::env::current_exe()?.parent().context("this program lies nowhere")?.to_owned(),
    };
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot make {}", args.out.display()))?;
    let folder = Folder::new()?;
    if folder.is_in_memory()? {
        eprintln!("data lies in memory: all that syncs is too fast; set TMPDIR to a folder on a disk");
    }
    let mut systems = Systems::new(folder, programs.clone());
    let driver = Driver::new(systems.folder.clone(), programs.join("loadgen"), !args.loadgen);
    let cores = std::thread::available_parallelism()?.get();
    let load = machine::warn_if_busy();
    let how = Run { rounds: args.rounds, seconds: args.seconds, driver: driver.name(), cores, load };
    let mut results = Results::default();
    for kind in Kind::ALL {
        if let Some(package) = kind.missing() {
            println!("{kind} is left out: {package} is not installed; make bench-peers installs it");
            results.absent.insert(kind, format!("{package} is not installed"));
        }
    }
    if how.driver != "wrk" && !args.loadgen {
        println!("wrk is not installed: loadgen drives all that speaks HTTP");
    }
    rounds(args, &wanted, &mut systems, &driver, &mut results).await?;
    faults(args, &wanted, &mut systems, &mut results).await?;

    let held = targets::hold(&results);
    println!("\n{}\n\n{}", results.table(), targets::text(&held));
    for (kind, why) in &results.absent {
        println!("not in it: {kind}: {why}");
    }
    let (json, svg) = (args.out.join("results.json"), args.out.join("results.svg"));
    std::fs::write(&json, serde_json::to_vec_pretty(&results.json(&how, &held))?)
        .with_context(|| format!("cannot write {}", json.display()))?;
    chart::draw(&results, &svg)?;
    println!("written: {}, {}", json.display(), svg.display());
    Ok(())
}

async fn rounds(
    args: &Args,
    wanted: &dyn Fn(&str) -> bool,
    systems: &mut Systems,
    driver: &Driver,
    results: &mut Results,
) -> anyhow::Result<()> {
    let turns = cells::round(wanted, &|kind| kind.missing().is_none());
    let count = turns.iter().map(|(_, cells)| cells.len()).sum::<usize>() * args.rounds as usize;
    let mut done = 0;
    for round in 1..=args.rounds {
        for (kind, cells) in &turns {
            if results.absent.contains_key(kind) {
                done += cells.len();
                continue;
            }
            let mut turn = Turn { round, rounds: args.rounds, done: &mut done, count };
            if let Err(error) = turn.take(systems, driver, *kind, cells, args.seconds, results).await {
                // Without a peer the others still say something; without ours, or the disk, nothing does.
                ensure!(!matches!(kind, Kind::Ours | Kind::Disk), "{kind}: {error:#}");
                let why = format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ");
                eprintln!("{kind} is left out from here on: {why}");
                results.absent.insert(*kind, why);
                // It may be half up.
                let _ = systems.stop(*kind).await;
            }
        }
    }
    Ok(())
}

/// One system's turn.
struct Turn<'a> {
    round: u32,
    rounds: u32,
    done: &'a mut usize,
    count: usize,
}

impl Turn<'_> {
    async fn take(
        &mut self,
        systems: &mut Systems,
        driver: &Driver,
        kind: Kind,
        cells: &[Cell],
        seconds: u32,
        results: &mut Results,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        systems.start(kind).await.context("starting")?;
        if let Some(first) = cells.first() {
            warm_up(systems, driver, *first).await.context("warming up")?;
        }
        let started = began.elapsed().as_secs_f64();
        for (at, cell) in cells.iter().enumerate() {
            *self.done += 1;
            let sample = measure(systems, driver, *cell, seconds).await.with_context(|| cell.to_string())?;
            let start = if at == 0 { format!("   (started in {started:.1} s)") } else { String::new() };
            println!(
                "[{:>3}/{}] round {}/{}  {:<44} {}{start}",
                self.done,
                self.count,
                self.round,
                self.rounds,
                cell.to_string(),
                line(&sample)
            );
            results.add(self.round, *cell, sample);
        }
        systems.stop(kind).await.context("stopping")
    }
}

fn line(sample: &Sample) -> String {
    let ms =
        |name: &str, us: Option<f64>| us.map_or_else(String::new, |us| format!("   {name} {:.2} ms", us / 1_000.0));
    let hits = sample.hit_rate.map_or_else(String::new, |rate| format!("   hits {:.1} %", rate * 100.0));
    let refused = if sample.refused == 0 { String::new() } else { format!("   REFUSED {}", sample.refused) };
    let times = [("p50", sample.p50_us), ("p99", sample.p99_us), ("max", sample.max_us)].map(|(name, us)| ms(name, us));
    format!("{:>10.1}{}{hits}{refused}", sample.per_second, times.concat())
}

async fn faults(
    args: &Args,
    wanted: &dyn Fn(&str) -> bool,
    systems: &mut Systems,
    results: &mut Results,
) -> anyhow::Result<()> {
    if !["failover", "stop", "idle"].into_iter().any(wanted) {
        return Ok(());
    }
    systems.start(Kind::Ours).await?;
    let ours = systems.ours.as_ref().context("our cluster was not set up")?;
    for (part, way) in [("failover", Way::Killed), ("stop", Way::Stopped)] {
        if !wanted(part) {
            continue;
        }
        let tell = |trial: u32, ms: f64| println!("[{trial:>3}/{}] {part:<12} {ms:>8.1} ms", args.times);
        let seen = faults::run(&ours.cluster, way, args.times, tell).await.with_context(|| part.to_owned())?;
        println!(
            "{part}: {} buys acknowledged, {} refusals, {} asked again, of which {} lost; surplus {}",
            seen.acknowledged, seen.refused, seen.asked_again, seen.lost, seen.surplus
        );
        if way == Way::Killed {
            results.failover = Some(seen);
        } else {
            results.stop = Some(seen);
        }
    }
    if wanted("idle") {
        let share = idle::leader_cpu(&ours.cluster, args.seconds.max(5)).await?;
        println!("idle: the leader takes {share:.1} % of a core with one replica dead");
        results.idle = Some(share);
    }
    systems.stop(Kind::Ours).await
}
