//! Waits until nodes serve, and says meanwhile what it waits for.

use std::{collections::BTreeMap, fmt::Write, path::Path, time::Duration};

use anyhow::bail;
use cluster_config::launch::{Cluster, State};
use futures::future::join_all;

use crate::ask::{Ask, Deadline, Status, agreed_leader};

/// How long nodes may take until they serve.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two rounds of questions.
const POLL: Duration = Duration::from_millis(25);
/// What is waited for is said after this long, and again this often.
pub const SAY_EVERY: Duration = Duration::from_secs(3);
/// Lines of a log that a failure shows.
const LOG_LINES: usize = 15;
/// Of a log, at most so many bytes are read for them.
const LOG_BYTES: u64 = 16 << 10;

/// Waits until each of `nodes` serves, and, if catalogs are among them, until a majority agrees on a leader.
///
/// # Errors
/// When a node ends, or one does not serve within [`PATIENCE`]: with the end of its log.
pub async fn wait(cluster: &Cluster, ask: &Ask, nodes: &[String]) -> anyhow::Result<()> {
    let deadline = Deadline::within(PATIENCE);
    let mut said = Duration::ZERO;
    loop {
        let missing = missing(cluster, ask, nodes).await;
        let Some((node, why)) = missing.first_key_value() else { return Ok(()) };
        if let Some(ended) = missing.keys().find(|node| cluster.is_local(node) && cluster.process(node).is_none()) {
            bail!("{ended} has ended{}", log_end(&cluster.run_dir, ended));
        }
        if deadline.is_over() {
            let end = log_end(&cluster.run_dir, node);
            bail!("{node} does not serve after {} s: {why}{end}", deadline.patience().as_secs());
        }
        if deadline.elapsed() >= said + SAY_EVERY {
            said = deadline.elapsed();
            let list: Vec<String> = missing.iter().map(|(node, why)| format!("{node} ({why})")).collect();
            println!("{:>3} s  waiting for {}", said.as_secs(), list.join(", "));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Those of `nodes` that do not serve, with why.
pub async fn missing(cluster: &Cluster, ask: &Ask, nodes: &[String]) -> BTreeMap<String, String> {
    let asked = nodes.iter().map(|node| async move {
        let why = match cluster.process(node).and_then(|process| process.state()) {
            None if cluster.is_local(node) => "not running".into(),
            Some(State::Paused) => format!("paused; make resume NODE={node} lets it go on"),
            _ => match cluster.address(node) {
                Some(address) => ask.ready(address).await.err()?,
                None => "not in the layout".into(),
            },
        };
        Some((node.clone(), why))
    });
    let mut missing: BTreeMap<String, String> = join_all(asked).await.into_iter().flatten().collect();
    let catalogs: Vec<_> = cluster.layout.catalogs.iter().map(|node| &node.name).collect();
    if missing.is_empty()
        && let Some(&first) = catalogs.iter().find(|name| nodes.contains(name))
    {
        let statuses: BTreeMap<String, Status> = ask.statuses(cluster).await;
        if agreed_leader(&statuses, catalogs.len()).is_none() {
            missing.insert(first.clone(), "no leader that a majority agrees on".into());
        }
    }
    missing
}

/// The last lines of a node's log, and of what it printed, with their paths.
pub fn log_end(run_dir: &Path, node: &str) -> String {
    let mut text = String::new();
    for kind in ["out", "log"] {
        let path = run_dir.join(format!("{node}.{kind}"));
        let lines = last_lines(&path);
        if !lines.is_empty() {
            let _ = write!(text, "\n--- the end of {} ---\n{}", path.display(), lines.join("\n"));
        }
    }
    text
}

fn last_lines(path: &Path) -> Vec<String> {
    use std::io::{Read, Seek, SeekFrom};
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|mut file| {
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(LOG_BYTES)))?;
        file.take(LOG_BYTES).read_to_end(&mut bytes)
    });
    if read.is_err() {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].iter().map(|line| (*line).to_owned()).collect()
}
