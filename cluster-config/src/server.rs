//! What all servers have in common from the outside: arguments, log file, listeners, signals. Must not know what a
//! server serves.

mod check;
#[cfg(not(feature = "simulation"))]
mod outside;
#[cfg(feature = "simulation")]
#[path = "server/simulated.rs"]
mod outside;

use std::{
    fmt,
    io::{BufWriter, IsTerminal},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::Context;
use file_rotate::{ContentLimit, FileRotate, compression::Compression, suffix::AppendCount};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter,
    fmt::{format::Writer, time::FormatTime},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

pub use self::{
    check::check,
    outside::{SnapshotSignal, bind, terminated},
};
use crate::Layout;

/// A log file is put aside once it is this large, in bytes.
pub const LOG_FILE_BYTES: usize = 10 << 20;
/// How many log files that were put aside are kept, as `<node>.log.1` (the youngest) and so on.
pub const LOG_FILES_KEPT: usize = 4;
/// How many lines may wait for the disk. Beyond it lines are dropped: a slow disk must not stop the order path.
pub const LOG_QUEUE_LINES: usize = 65_536;
/// Lines that wait together go to the file in writes of at most so many bytes, or one whole line; none waits for more.
const LOG_WRITE_BYTES: usize = 64 << 10;
/// How long an address is waited for on which nobody listens: the near end of an outgoing connection is kept for a
/// minute after it was closed.
pub(crate) const CLOSING_PATIENCE: Duration = Duration::from_secs(65);
/// The time of a line: in UTC (RFC 3339) with milliseconds. An order server writes a line for each sale, and
/// interpreting a format for each of them took about a tenth of its time.
#[derive(Debug)]
struct Clock;

impl FormatTime for Clock {
    fn format_time(&self, line: &mut Writer<'_>) -> fmt::Result {
        write!(line, "{}", humantime::format_rfc3339_millis(SystemTime::now()))
    }
}

/// The arguments of every server: `catalog-raft -c 4 -i 2`.
#[derive(Debug, Clone, clap::Parser)]
#[command(version)]
pub struct Args {
    /// The layout: a number N for cluster-config/config_N.toml, or a path.
    #[arg(short = 'c', long = "config", default_value = "4", env = "CATALOG_STORE_CONFIG")]
    pub config: String,
    /// Which instance of its kind this is, from 1.
    #[arg(short = 'i', long = "instance", default_value_t = 1, env = "CATALOG_STORE_INSTANCE")]
    pub instance: u64,
    /// Where data and logs live: `<run-dir>/<node>/` and `<run-dir>/<node>.log`.
    #[arg(long = "run-dir", default_value = "run", env = "CATALOG_STORE_RUN_DIR")]
    pub run_dir: PathBuf,
    /// Logs to standard error too, where that is no terminal: for systemd and for containers.
    #[arg(long)]
    pub log_stderr: bool,
    /// Starts nothing: asks the server of this instance, which runs on this machine, whether it is ready, prints what it
    /// says, and ends with 0 if it is.
    #[arg(long)]
    pub check: bool,
}

/// Keeps the log's writer alive; drop it last.
#[derive(Debug)]
pub struct LogGuard {
    _writer: WorkerGuard,
}

/// Logs to `<run-dir>/<node>.log`, rotated by size, and to standard error when that is a terminal or the arguments say so.
/// The level comes from `RUST_LOG`, default `info`. Panics are logged too.
///
/// # Errors
/// When the file cannot be made.
pub fn start_logging(args: &Args, node: &str) -> anyhow::Result<LogGuard> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text).with_context(|| {
            format!("RUST_LOG={text} is not a filter; write for example `info` or `debug,openraft=warn`")
        })?,
        _ => EnvFilter::new("info,openraft=error"),
    };
    let (file, writer) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(LOG_QUEUE_LINES)
        .thread_name("log")
        .finish(BufWriter::with_capacity(LOG_WRITE_BYTES, log_file(&args.run_dir, node)?));
    let file = tracing_subscriber::fmt::layer()
        .with_timer(Clock)
        .with_ansi(false)
        .with_target(false)
        .with_thread_names(true)
        .with_writer(file);
    let is_terminal = std::io::stderr().is_terminal();
    let terminal = (is_terminal || args.log_stderr).then(|| {
        tracing_subscriber::fmt::layer()
            .with_timer(Clock)
            .with_ansi(is_terminal)
            .with_target(false)
            .with_writer(std::io::stderr)
    });
    tracing_subscriber::registry()
        .with(filter)
        .with(file)
        .with(terminal)
        .try_init()
        .context("logging was started twice in one process")?;
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // Its message stands on a line of its own, but an entry of the log is one line.
        tracing::error!("{}", panic.to_string().replace('\n', " "));
        report(panic);
    }));
    Ok(LogGuard { _writer: writer })
}

/// Opens `<run_dir>/<node>.log`. [`FileRotate`] swallows a file that it cannot open, so that is tried first.
fn log_file(run_dir: &Path, node: &str) -> anyhow::Result<FileRotate<AppendCount>> {
    let path = run_dir.join(format!("{node}.log"));
    std::fs::create_dir_all(run_dir)
        .and_then(|()| std::fs::OpenOptions::new().create(true).append(true).open(&path))
        .with_context(|| {
        format!("cannot write the log {}; choose another --run-dir or correct its rights", path.display())
    })?;
    let limit = ContentLimit::BytesSurpassed(LOG_FILE_BYTES);
    Ok(FileRotate::new(path, AppendCount::new(LOG_FILES_KEPT), limit, Compression::None, None))
}

/// What runs the tasks of a server, with as many threads as the layout says.
///
/// # Errors
/// When the system has no threads to give.
pub fn runtime(layout: &Layout) -> std::io::Result<tokio::runtime::Runtime> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if layout.threads == 0 { (processors / 2).max(1) } else { layout.threads };
    // Never the single-threaded kind: what blocks for a while asks for another thread to take its place.
    tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()
}

/// Raises the number of files that may be open to what the system allows: a server has one for each connection, and
/// one that runs out can no longer open its own.
pub fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!("the limit of open files stays at {:?}: {error}", limit.current);
    }
}
