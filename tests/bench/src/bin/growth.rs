//! `growth`: what becomes of the store's figures as it grows, with the targets held against them. Must not know how a part
//! is measured.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::{Context, ensure};
use bench::{
    drive::Driver,
    growth::{PARTS, Plan, behind, connections, items, orders, report::Report, snapshots, store::Store, watchers},
    machine,
    process::Folder,
};
use clap::Parser;
use serde_json::json;
use tests::Options;

/// Items of the store whose ledger grows.
const ITEMS_OF_ORDERS: u64 = 10_000;
/// Entries that its log keeps, a tenth of the default: to make it too short for a replica would be most of a run.
const LOG_KEPT: u64 = 5_000;

/// Measures the store as it grows.
#[derive(Debug, Parser)]
#[command(name = "growth", version)]
struct Args {
    /// The most items: measured are 1,000, ten times as many, and so on up to here.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..=10_000_000))]
    items: u64,
    /// The most orders: measured are none, a tenth, and so many.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1_000..=1_000_000_000))]
    orders: u64,
    /// Commands that a replica has missed. Default: a million, or as many as there are orders.
    #[arg(long)]
    behind: Option<u64>,
    /// The most clients that watch: measured are one, a tenth, and so many.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(10..=2_000))]
    watchers: u32,
    /// How often each rate is taken.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How long each is taken for, in seconds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Parts of the run, joined by commas: items, connections, watchers, orders, behind, snapshots.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Where figures go.
    #[arg(long, default_value = "run/bench")]
    out: PathBuf,
    /// Where the program `loadgen` is. Default: beside this one.
    #[arg(long)]
    programs: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    machine::run("growth", run(&args))
}

impl Args {
    fn plan(&self) -> Plan {
        let items =
            std::iter::successors(Some(1_000), |count| Some(count * 10)).take_while(|count| *count < self.items);
        let mut items: Vec<u64> = items.collect();
        items.push(self.items);
        items.dedup();
        let watchers = vec![1, self.watchers / 10, self.watchers];
        let behind = self.behind.unwrap_or(self.orders.min(1_000_000));
        let orders = vec![0, self.orders / 10, self.orders];
        Plan { items, orders, behind, watchers, rounds: self.rounds, seconds: self.seconds }
    }
}

async fn run(args: &Args) -> anyhow::Result<()> {
    for part in &args.only {
        let known = PARTS.map(|(name, _)| name);
        ensure!(known.contains(&part.as_str()), "there is no part {part}; parts are {}", known.join(", "));
    }
    let wanted = |parts: &[&str]| args.only.is_empty() || args.only.iter().any(|only| parts.contains(&only.as_str()));
    let programs = match &args.programs {
        Some(programs) => programs.clone(),
        None => std::env::current_exe()?.parent().context("this program lies nowhere")?.to_owned(),
    };
    let folder = Arc::new(Folder::new()?);
    if folder.is_in_memory()? {
        eprintln!("data lies in memory: all that syncs is too fast; set TMPDIR to a folder on a disk");
    }
    let load = machine::warn_if_busy();
    let driver = Driver::new(folder.clone(), programs.join("loadgen"), true);
    let plan = args.plan();
    let how = json!({
        "items": plan.items, "orders": plan.orders, "behind": plan.behind, "watchers": plan.watchers,
        "rounds": plan.rounds, "seconds": plan.seconds, "driver": driver.name(), "load": load,
        "cores": std::thread::available_parallelism()?.get(),
    });
    let mut report = Report::new(args.out.clone(), how)?;
    let tools = Tools { driver, folder, programs };
    let measured = parts(args, &plan, &tools, &wanted, &mut report).await;
    // What is known is told, whatever has happened.
    report.finish()?;
    measured
}

/// What loads are made with.
struct Tools {
    driver: Driver,
    folder: Arc<Folder>,
    programs: PathBuf,
}

async fn parts(
    args: &Args,
    plan: &Plan,
    Tools { driver, folder, programs }: &Tools,
    wanted: &dyn Fn(&[&str]) -> bool,
    report: &mut Report,
) -> anyhow::Result<()> {
    if wanted(&["items", "connections", "watchers"]) {
        let (small, _) = Store::start("growth-small", plan.items[0], Options::new()).await?;
        if wanted(&["items"]) {
            items::run(report, driver, plan, &small).await.context("items")?;
        }
        if wanted(&["connections"]) {
            let measured = connections::run(report, driver, plan, &small, folder.clone(), programs);
            measured.await.context("connections")?;
        }
        if wanted(&["watchers"]) {
            watchers::run(report, plan, &small).await.context("watchers")?;
        }
    }
    if wanted(&["orders", "behind", "snapshots"]) {
        let items = ITEMS_OF_ORDERS.min(args.items);
        let options = Options::new().raft("log_kept_entries", LOG_KEPT);
        let (store, _) = Store::start("growth-orders", items, options).await?;
        if wanted(&["orders"]) {
            let (small, _) = Store::start("growth-small", items, Options::new()).await?;
            orders::run(report, driver, plan, &small, &store).await.context("orders")?;
        } else {
            orders::fill(report, args.orders, &store).await?;
        }
        if wanted(&["behind"]) {
            behind::run(report, plan, &store).await.context("behind")?;
        }
        if wanted(&["snapshots"]) {
            snapshots::run(report, plan, &store).await.context("snapshots")?;
        }
        report.step("orders", "all replicas are asked whether they agree");
        store.cluster.try_equal_hashes().await?;
    }
    Ok(())
}
