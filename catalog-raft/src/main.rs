//! The program `catalog-raft`: arguments, layout, log, and then the replica.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, ensure};
use clap::Parser;
use cluster_config::{Layout, server};

/// How long tasks that block may take once the replica is down.
const GOING: Duration = Duration::from_secs(2);

/// Threads give back what others have allocated, all the time, and libc spent a tenth of the processors on that under load.
/// What is allocated should be what was given back last, which the processor's cache still holds: here it is.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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
    ensure!(
        !layout.retired.contains(&args.instance),
        "catalog-{} is retired in layout {}: another replica has its place, or it was removed, and its id is never used again",
        args.instance,
        args.config
    );
    let node = node.with_context(|| format!("layout {} has no catalog {}", args.config, args.instance))?;
    if args.check {
        return server::check(&node.listen_client);
    }
    // One without SSE 4.1 does not come as far: what RocksDB does before `main` is compiled for it too.
    #[cfg(target_arch = "x86_64")]
    ensure!(
        is_x86_feature_detected!("sse4.2") && is_x86_feature_detected!("pclmulqdq"),
        "this processor lacks SSE 4.2 or PCLMULQDQ, which the log's checksums are compiled for: build the store without the \
         flags in .cargo/config.toml"
    );
    let _log = server::start_logging(&args, &node.name)?;
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        // A replica that has lost a task must not go on answering as if nothing had happened.
        std::process::abort();
    }));
    server::raise_file_limit();
    let runtime = server::runtime(&layout)?;
    let result = runtime.block_on(catalog_raft::replica::run(layout, node, &args.run_dir));
    if let Err(error) = &result {
        tracing::error!("{error:#}");
    }
    // The installation of a snapshot may still be under way; a restart begins it again.
    runtime.shutdown_timeout(GOING);
    result
}
