//! `train`: has the store do some of everything that it does, so that a compiler that was told by these programs what they
//! do often can lay them out for that (`.ci/trained`). Measures nothing. Must not know compilers.

use std::{path::PathBuf, process::ExitCode, time::Instant};

use anyhow::Context;
use bench::{
    cells,
    drive::{Ask, Driver},
    growth::{Plan, behind, orders, report::Report, snapshots, store::Store, watchers},
    machine,
    measure::{measure, warm_up},
    process::Folder,
    system::{Kind, Systems, ours},
};
use clap::Parser;
use tests::Options;

/// Parts of `bench` that are gone through.
const PARTS: [&str; 7] = ["lookup", "miss", "buy", "uniform", "batch", "mixed", "linearizable"];
/// Each part of them takes so many seconds.
const SECONDS: u32 = 2;
/// Reads that no part asks for.
const READS: [&str; 4] = ["/search/Topic_7", "/v1/items?q=book%20leng&limit=20", "/v1/items/77", "/v1/orders?limit=20"];
const CONNECTIONS: u32 = 16;
/// Of the store that is watched, killed, and sends snapshots.
const ITEMS: u64 = 10_000;
const ORDERS: u64 = 200_000;
const BEHIND: u64 = 20_000;
const LOG_KEPT: u64 = 1_000;

/// Has the store work through all that it is for, and ends its servers in order.
#[derive(Debug, Parser)]
#[command(name = "train", version)]
struct Args {
    /// Where figures go that nobody is to read.
    #[arg(long)]
    out: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    machine::run("train", run(&args))
}

async fn run(args: &Args) -> anyhow::Result<()> {
    let programs = std::env::current_exe()?.parent().context("this program lies nowhere")?.to_owned();
    let mut systems = Systems::new(Folder::new()?, programs.clone());
    // Not by wrk, even where it is: what is learnt must not hang on what is installed.
    let driver = Driver::new(systems.folder.clone(), programs.join("loadgen"), false);
    serve(&mut systems, &driver).await?;
    grow(args).await
}

async fn serve(systems: &mut Systems, driver: &Driver) -> anyhow::Result<()> {
    let began = Instant::now();
    let tell = |what: &str| println!("[{:>4.0} s] {what}", began.elapsed().as_secs_f64());
    let turns = cells::round(&|part| PARTS.contains(&part), &|kind| matches!(kind, Kind::Ours | Kind::Bare));
    for (kind, cells) in turns {
        systems.start(kind).await.with_context(|| format!("starting {kind}"))?;
        for cell in cells {
            tell(&cell.to_string());
            warm_up(systems, driver, cell).await?;
            measure(systems, driver, cell, SECONDS).await.with_context(|| cell.to_string())?;
        }
        if let (Kind::Ours, Some(ours)) = (kind, &systems.ours) {
            for path in READS {
                tell(path);
                driver.ask(&ours.address(), &Ask::Get(path.to_owned()), CONNECTIONS, 1).await.context(path)?;
            }
        }
        systems.stop(kind).await.with_context(|| format!("stopping {kind}"))?;
    }
    Ok(())
}

async fn grow(args: &Args) -> anyhow::Result<()> {
    let plan = Plan {
        items: vec![ITEMS],
        orders: vec![ORDERS],
        behind: BEHIND,
        watchers: vec![50],
        rounds: 1,
        seconds: SECONDS,
    };
    let mut report = Report::new(args.out.clone(), serde_json::Value::Null)?;
    let options = Options::new().raft("log_kept_entries", LOG_KEPT);
    let (store, _) = Store::start("train", ITEMS, options).await?;
    orders::fill(&mut report, ORDERS, &store).await.context("orders")?;
    behind::run(&mut report, &plan, &store).await.context("a replica that is behind")?;
    snapshots::run(&mut report, &plan, &store).await.context("snapshots")?;
    watchers::run(&mut report, &plan, &store).await.context("watchers")?;
    ours::stop_all(&store.cluster).await
}
