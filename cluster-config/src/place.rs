//! Which cluster lives in a run folder: the layout that `up` was given is remembered there, so that no other command
//! needs to be told. Must not know processes.

use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::{Layout, launch::Cluster, layout::edit};

/// The file that remembers the layout, below the run folder.
const MEMORY: &str = "cluster.json";
/// The cluster's own copy of a layout that came with the program, below the run folder: made when its replicas change.
const COPY: &str = "layout.toml";
/// The layout of a cluster that was told nothing.
const DEFAULT_LAYOUT: &str = "4";

#[derive(Serialize, Deserialize)]
struct Memory {
    /// What is passed as `-c`.
    layout: String,
    /// The number of the layout that `layout` was copied from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    copy_of: Option<String>,
}

impl Memory {
    /// What stands for `selector` here: the copy, if it is the layout that was copied.
    fn current(&self, selector: String) -> String {
        if self.copy_of.as_ref() == Some(&selector) { self.layout.clone() } else { selector }
    }
}

/// What names the layout of the cluster that was brought up in `run_dir`, if one was: a number, or an absolute path.
///
/// # Errors
/// When what is remembered there cannot be read.
pub fn selector(run_dir: &Path) -> anyhow::Result<Option<String>> {
    Ok(remembered(run_dir)?.map(|memory| memory.layout))
}

/// The cluster that was brought up in `run_dir`.
///
/// # Errors
/// When there is none.
pub fn open(config: Option<&str>, run_dir: &Path) -> anyhow::Result<Cluster> {
    let remembered = remembered(run_dir)?.context("no cluster here: run make up first")?;
    let selector = match config {
        Some(config) => remembered.current(absolute(config)?),
        None => remembered.layout,
    };
    cluster(selector, run_dir)
}

/// As [`open`]; with `config` also for servers that were started one by one, as on separate hosts.
///
/// # Errors
/// When there is none, or no such layout.
pub fn open_or_named(config: Option<&str>, run_dir: &Path) -> anyhow::Result<Cluster> {
    match (config, remembered(run_dir)?) {
        (Some(config), None) => cluster(absolute(config)?, run_dir),
        _ => open(config, run_dir),
    }
}

/// The cluster to bring up in `run_dir`: of the layout `config`, or else the one that was there before, or else 4.
///
/// # Errors
/// When data of another layout is there: replicas founded under one layout cannot serve another.
pub fn create(config: Option<&str>, run_dir: &Path) -> anyhow::Result<Cluster> {
    let remembered = remembered(run_dir)?;
    let Some(config) = config else {
        return cluster(remembered.map_or_else(|| DEFAULT_LAYOUT.into(), |memory| memory.layout), run_dir);
    };
    let mut selector = absolute(config)?;
    if let Some(memory) = remembered {
        selector = memory.current(selector);
        if memory.layout != selector {
            let other = memory.copy_of.unwrap_or(memory.layout);
            anyhow::bail!(
                "{} holds a cluster of layout {other}: run make up LAYOUT={other}, or make down and make clean to remove its data first",
                run_dir.display()
            );
        }
    }
    cluster(selector, run_dir)
}

/// Rewrites the cluster's layout by `change` and takes it as it is then. A layout that came with the program stays as it
/// is: the cluster gets a copy of its own, which goes with its data.
///
/// # Errors
/// When the file cannot be written, or what is written is no layout.
pub fn rewrite(cluster: &mut Cluster, change: impl FnOnce(&str) -> Result<String, crate::Error>) -> anyhow::Result<()> {
    let (mut text, path) = Layout::text(&cluster.selector)?;
    let is_shipped = cluster.selector.parse::<u64>().is_ok();
    let path = if is_shipped { cluster.run_dir.join(COPY) } else { path };
    if let (true, Some(items)) = (is_shipped, &cluster.layout.items) {
        text = edit::with_items(&text, &std::path::absolute(items)?)?;
    }
    let text = change(&text)?;
    let layout = Layout::parse(&text, &path)?;
    std::fs::create_dir_all(&cluster.run_dir)
        .and_then(|()| edit::save(&path, &text))
        .with_context(|| format!("cannot write {}", path.display()))?;
    if is_shipped {
        let selector = path.into_os_string().into_string();
        let selector = selector.map_err(|path| anyhow::anyhow!("{path:?}: the run folder's path must be UTF-8"))?;
        let copy_of = Some(std::mem::replace(&mut cluster.selector, selector));
        write(&cluster.run_dir, &Memory { layout: cluster.selector.clone(), copy_of })?;
    }
    cluster.layout = layout;
    Ok(())
}

/// Remembers the cluster's layout in its run folder.
///
/// # Errors
/// When the file cannot be written.
pub fn remember(cluster: &Cluster) -> anyhow::Result<()> {
    let known = remembered(&cluster.run_dir)?.filter(|memory| memory.layout == cluster.selector);
    let copy_of = known.and_then(|memory| memory.copy_of);
    write(&cluster.run_dir, &Memory { layout: cluster.selector.clone(), copy_of })
}

fn write(run_dir: &Path, memory: &Memory) -> anyhow::Result<()> {
    let path = run_dir.join(MEMORY);
    std::fs::create_dir_all(run_dir)
        .and_then(|()| edit::save(&path, &serde_json::to_string(memory)?))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn remembered(run_dir: &Path) -> anyhow::Result<Option<Memory>> {
    let path = run_dir.join(MEMORY);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let memory = serde_json::from_str(&text)
        .with_context(|| format!("{} is damaged: write {{\"layout\": \"4\"}} into it", path.display()))?;
    Ok(Some(memory))
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
