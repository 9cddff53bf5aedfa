//! Which cluster lives in a run folder: the layout that `up` was given is remembered there, so that no other command
//! needs to be told. Must not know processes.

use std::path::Path;

use anyhow::Context;
use cluster_config::{Layout, launch::Cluster};
use serde::{Deserialize, Serialize};

/// The file that remembers the layout, below the run folder.
const MEMORY: &str = "cluster.json";
/// The layout of a cluster that was told nothing.
const DEFAULT_LAYOUT: &str = "4";

#[derive(Serialize, Deserialize)]
struct Memory {
    /// What is passed as `-c`.
    layout: String,
}

/// The cluster that was brought up in `run_dir`.
///
/// # Errors
/// When there is none.
pub fn open(config: Option<&str>, run_dir: &Path) -> anyhow::Result<Cluster> {
    let remembered = remembered(run_dir)?.context("no cluster here: run make up first")?;
    let selector = match config {
        Some(config) => absolute(config)?,
        None => remembered,
    };
    cluster(selector, run_dir)
}

/// The cluster to bring up in `run_dir`: of the layout `config`, or else the one that was there before, or else 4.
///
/// # Errors
/// When data of another layout is there: replicas founded under one layout cannot serve another.
pub fn create(config: Option<&str>, run_dir: &Path) -> anyhow::Result<Cluster> {
    let remembered = remembered(run_dir)?;
    let Some(config) = config else {
        return cluster(remembered.unwrap_or_else(|| DEFAULT_LAYOUT.into()), run_dir);
    };
    let selector = absolute(config)?;
    if let Some(other) = remembered.filter(|other| *other != selector) {
        anyhow::bail!(
            "{} holds a cluster of layout {other}: run make up LAYOUT={other}, or make down and make clean to remove its data first",
            run_dir.display()
        );
    }
    cluster(selector, run_dir)
}

/// Remembers the cluster's layout in its run folder.
///
/// # Errors
/// When the file cannot be written.
pub fn remember(cluster: &Cluster) -> anyhow::Result<()> {
    let path = cluster.run_dir.join(MEMORY);
    let staged = cluster.run_dir.join(format!("{MEMORY}.{}", std::process::id()));
    let text = serde_json::to_string(&Memory { layout: cluster.selector.clone() })?;
    std::fs::create_dir_all(&cluster.run_dir)
        .and_then(|()| std::fs::write(&staged, text))
        .and_then(|()| std::fs::rename(&staged, &path))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn remembered(run_dir: &Path) -> anyhow::Result<Option<String>> {
    let path = run_dir.join(MEMORY);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let memory: Memory = serde_json::from_str(&text)
        .with_context(|| format!("{} is damaged: write {{\"layout\": \"4\"}} into it", path.display()))?;
    Ok(Some(memory.layout))
}

fn cluster(selector: String, run_dir: &Path) -> anyhow::Result<Cluster> {
    let layout = Layout::load(&selector)?;
    let run_dir = std::path::absolute(run_dir).context("the run folder has no absolute path")?;
    Ok(Cluster { layout, selector, run_dir })
}

/// A number stays as it is; a path is made absolute, for servers and later commands run elsewhere.
fn absolute(config: &str) -> anyhow::Result<String> {
    if let Ok(number) = config.parse::<u64>() {
        return Ok(number.to_string());
    }
    let path = std::fs::canonicalize(config).with_context(|| {
        format!("{config}: no such layout; give a number from 1 to 4 or the path of a layout's file")
    })?;
    path.into_os_string().into_string().map_err(|path| anyhow::anyhow!("{path:?}: the path of a layout must be UTF-8"))
}
