//! Starts, signals and watches the processes of a cluster on this machine. The Make targets and the tests' harness
//! go through here.

use std::{path::PathBuf, time::Duration};

use crate::layout::Layout;

/// A cluster of processes under one run folder.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// The layout.
    pub layout: Layout,
    /// What is passed as `-c`: an absolute path, or a number.
    pub selector: String,
    /// Data, logs, pid files; binaries of a running cluster are copies in `bin/` below it.
    pub run_dir: PathBuf,
}

impl Cluster {
    /// Names of all nodes: catalogs, order servers, front ends.
    pub fn nodes(&self) -> Vec<String> {
        todo!()
    }

    /// Starts a node unless it runs. Returns whether it was started.
    ///
    /// # Errors
    /// Says what to do.
    pub fn start(&self, _node: &str) -> anyhow::Result<bool> {
        todo!()
    }

    /// The process id of a node that runs (paused ones too).
    pub fn pid(&self, _node: &str) -> Option<i32> {
        todo!()
    }

    /// SIGKILL, and waits until the process is gone.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&self, _node: &str) -> anyhow::Result<()> {
        todo!()
    }

    /// SIGTERM, and waits until the process is gone.
    ///
    /// # Errors
    /// When it does not run, or not go within `patience`.
    pub fn stop(&self, _node: &str, _patience: Duration) -> anyhow::Result<()> {
        todo!()
    }

    /// SIGSTOP.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self, _node: &str) -> anyhow::Result<()> {
        todo!()
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&self, _node: &str) -> anyhow::Result<()> {
        todo!()
    }

    /// Copies the binaries `catalog-raft`, `order`, `frontend` from `from` to `run_dir/bin`, atomically.
    ///
    /// # Errors
    /// When one is missing.
    pub fn install_binaries(&self, _from: &std::path::Path) -> anyhow::Result<()> {
        todo!()
    }
}
