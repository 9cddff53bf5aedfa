//! What programs that measure have to do with the machine: they run on one thread, end all that they have started when they
//! are told to end, and say when the machine is busy with other things. Must not know what is measured.

use std::process::ExitCode;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

/// Processes that want a core before the run has begun, for each core there is, from which on figures mean little.
pub const BUSY: f64 = 0.5;

/// Runs a program to its end, or until it is told to end; `name` stands before what goes wrong.
pub fn run(name: &str, program: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    cluster_config::server::raise_file_limit();
    // One thread: what this program does between figures is taken from nobody.
    let done =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("a runtime").and_then(|runtime| {
            let done = runtime.block_on(async {
                let (mut interrupt, mut terminate) =
                    (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
                tokio::select! {
                    done = program => done,
                    // What runs ends as it is dropped, processes and all.
                    _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
                    _ = terminate.recv() => Err(anyhow::anyhow!("told to end")),
                }
            });
            runtime.shutdown_background();
            done
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Processes that ran or wanted to, on average over the last minute. Warns when they are too many to measure anything.
pub fn warn_if_busy() -> f64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = load_average().unwrap_or_default();
    if load > cores as f64 * BUSY {
        eprintln!("this machine is busy with other things (load {load:.1}): figures will be low, and ratios rough");
    }
    load
}

fn load_average() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}
