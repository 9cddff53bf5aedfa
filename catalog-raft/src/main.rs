//! The program `catalog-raft`: arguments, layout, log, and then the replica.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use cluster_config::{Layout, server};

/// Threads that run tasks: on two cores more of them only hand work to each other.
const WORKERS: usize = 2;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("catalog-raft: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let args = server::Args::parse();
    let layout = Layout::load(&args.config)?;
    let node = layout.catalogs.iter().find(|node| node.id == args.instance).cloned();
    let node = node.with_context(|| format!("layout {} has no catalog {}", args.config, args.instance))?;
    let _log = server::start_logging(&args, &node.name)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    let result = runtime.block_on(catalog_raft::replica::run(layout, node, &args.run_dir));
    if let Err(error) = &result {
        tracing::error!("{error:#}");
    }
    result
}
