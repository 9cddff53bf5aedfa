//! What all servers have in common from the outside: arguments, log file, signals.

use std::path::PathBuf;

use crate::layout::Layout;

/// The arguments of every server: `catalog-raft -c 4 -i 2`.
#[derive(Debug, Clone, clap::Parser)]
pub struct Args {
    /// The layout: a number N for cluster-config/config_N.toml, or a path.
    #[arg(short = 'c', long = "config", default_value = "4")]
    pub config: String,
    /// Which instance of its kind this is, from 1.
    #[arg(short = 'i', long = "instance", default_value_t = 1)]
    pub instance: u64,
    /// Where data and logs live: <run-dir>/<node>/ and <run-dir>/<node>.log.
    #[arg(long = "run-dir", default_value = "run")]
    pub run_dir: PathBuf,
}

/// Keeps the log's writer alive; drop it last.
#[derive(Debug)]
pub struct LogGuard {}

/// Logs to `<run-dir>/<node>.log`, rotated by size, and to standard error when that is a terminal. The level comes
/// from `RUST_LOG`, default `info`. Panics are logged too.
///
/// # Errors
/// When the file cannot be made.
pub fn start_logging(_args: &Args, _node: &str) -> anyhow::Result<LogGuard> {
    todo!()
}

/// Binds a listener, with `SO_REUSEADDR`; refuses an address beyond loopback unless the layout says `insecure`.
///
/// # Errors
/// Says what to do.
pub async fn bind(_layout: &Layout, _address: &str) -> anyhow::Result<tokio::net::TcpListener> {
    todo!()
}

/// Returns when SIGTERM or SIGINT arrives.
pub async fn terminated() {
    todo!()
}
