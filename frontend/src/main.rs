//! The `frontend` binary: arguments, configuration, logs; then serves until it is told to stop.

use anyhow::Context;
use clap::Parser;
use cluster_config::{
    Layout,
    server::{Args, bind, check, raise_file_limit, runtime, start_logging, terminated},
};
use frontend::{front::Front, server};

/// Threads give back what others have allocated, all the time, and libc spent a tenth of the processors on that under load.
/// What is allocated should be what was given back last, which the processor's cache still holds: here it is.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let layout = Layout::load(&args.config)?;
    let node = layout.frontends.iter().find(|node| node.id == args.instance);
    let node = node.cloned().with_context(|| {
        format!("layout {} has no front end {}; choose another with -i", args.config, args.instance)
    })?;
    if args.check {
        return check(&node.listen);
    }
    let _log = start_logging(&args, &node.name)?;
    raise_file_limit();
    runtime(&layout)?.block_on(async {
        let listener = bind(&layout, &node.listen).await?;
        tracing::info!(address = %node.address, "{} is listening", node.name);
        let front = Front::start(layout, &node.name);
        server::run(front, listener, terminated()).await;
        anyhow::Ok(())
    })?;
    tracing::info!("{} has stopped", node.name);
    Ok(())
}
