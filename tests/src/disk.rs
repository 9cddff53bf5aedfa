//! Disks that fail: what a server's files go through when power is lost, when a sync fails or takes long, when space
//! runs out, when a byte flips. Must not know what the files mean.
//!
//! The servers are the ones that ship: a shared object (`disk/preload.c`, compiled here) stands between them and libc.

mod control;
pub mod damage;
mod journal;
mod power;
#[cfg(test)]
mod tests;
mod volume;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, ensure};
use cluster_config::launch::Cluster;

use self::control::Control;
pub use self::{
    power::{Loss, lose},
    volume::Volume,
};
use crate::TestCluster;

const SOURCES: [(&str, &str); 4] = [
    ("preload.c", include_str!("disk/preload.c")),
    ("clock.c", include_str!("disk/clock.c")),
    ("random.c", include_str!("disk/random.c")),
    ("control.h", include_str!("disk/control.h")),
];
const OBJECT: &str = "disk.so";

/// The disks of all replicas of a cluster.
#[derive(Debug)]
pub struct Disk {
    cluster: Cluster,
    replicas: BTreeMap<String, Layer>,
}

/// One folder in the layer's hands.
#[derive(Debug)]
pub struct Layer {
    root: PathBuf,
    journal: PathBuf,
    control: Control,
}

impl Layer {
    /// Puts `root` into the hands of a layer that keeps its own files in `journal`, on the same file system.
    ///
    /// # Errors
    /// When a file of its own cannot be made.
    pub fn new(root: PathBuf, journal: PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&journal)?;
        let control = Control::create(&journal.join("control"))?;
        Ok(Self { root, journal, control })
    }

    /// The layer that this process itself was started with: [`Layer::environment`].
    ///
    /// # Errors
    /// When it was started without one.
    pub fn of_this_process() -> anyhow::Result<Self> {
        let place = |name| std::env::var_os(name).map(PathBuf::from).context("started without the disk layer");
        let (root, journal) = (place("DISK_ROOT")?, place("DISK_JOURNAL")?);
        let control = Control::open(&journal.join("control"))?;
        Ok(Self { root, journal, control })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The wall clock is off by so many milliseconds.
    pub fn shift_clock(&self, ms: i64) {
        self.control.shift_clock(ms);
    }

    /// How far the journal goes.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn journal_end(&self) -> std::io::Result<u64> {
        match std::fs::metadata(self.journal.join(journal::FILE)) {
            Ok(found) => Ok(found.len()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Power fails at the folder `part` of the root, whose files nobody has open any more, while this process goes on:
    /// what it did there since the journal's place `since` is lost as by [`lose`].
    ///
    /// # Errors
    /// When a file cannot be rewritten, or the journal is damaged.
    pub fn lose_part(&self, part: &Path, since: u64, seed: u64) -> std::io::Result<Loss> {
        power::lose_part(part, &self.journal, since, seed)
    }

    /// What a program is to be started with.
    pub fn environment(&self, object: &Path) -> Vec<(OsString, OsString)> {
        let pair = |name: &str, value: &Path| (OsString::from(name), value.as_os_str().to_owned());
        vec![
            pair("LD_PRELOAD", object),
            pair("DISK_ROOT", &self.root),
            pair("DISK_CONTROL", &self.journal.join("control")),
            pair("DISK_JOURNAL", &self.journal),
        ]
    }
}

impl Disk {
    /// Compiles the layer and puts the disk of every replica into its hands from the next start on.
    ///
    /// # Errors
    /// When there is no C compiler, or the folder cannot be written.
    pub fn prepare(cluster: &TestCluster) -> anyhow::Result<Self> {
        let run_dir = cluster.cluster.run_dir.canonicalize()?;
        let object = compile(&run_dir)?;
        let mut replicas = BTreeMap::new();
        for node in cluster.catalogs() {
            let layer = Layer::new(run_dir.join(&node), run_dir.join(format!("{node}.disk")))?;
            cluster.specialise(&node, |special| special.environment.extend(layer.environment(&object)));
            replicas.insert(node, layer);
        }
        Ok(Self { cluster: cluster.cluster.clone(), replicas })
    }

    fn layer(&self, node: &str) -> &Layer {
        self.replicas.get(node).unwrap_or_else(|| panic!("{node} is no replica"))
    }

    /// Every sync of `node` takes so much longer.
    pub fn slow(&self, node: &str, sync: Duration) {
        self.layer(node).control.slow_syncs(sync);
    }

    /// Every write of `node` takes so much longer.
    pub fn slow_writes(&self, node: &str, write: Duration) {
        self.layer(node).control.slow_writes(write);
    }

    /// Every sync of `node` fails with EIO from now on, and what it should have made durable is lost with the power.
    pub fn fail_syncs(&self, node: &str) {
        self.layer(node).control.fail_syncs(true);
    }

    /// What `node` goes through from now on, and nothing else; a death that was ordered stays so.
    pub fn set(&self, node: &str, sync: Duration, clock_ms: i64, syncs_fail: bool) {
        let control = &self.layer(node).control;
        control.slow_syncs(sync);
        control.shift_clock(clock_ms);
        control.fail_syncs(syncs_fail);
    }

    /// How many syncs of `node` have been made to fail.
    pub fn failed_syncs(&self, node: &str) -> u64 {
        self.layer(node).control.failed_syncs()
    }

    /// How many changes `node` has made to its disk.
    pub fn steps(&self, node: &str) -> u64 {
        self.layer(node).control.steps()
    }

    /// `node` dies right before the `nth` change, from now on, to a file whose path has `path` in it.
    pub fn die_at(&self, node: &str, nth: u64, path: &str) {
        self.layer(node).control.die_at(nth, path);
    }

    /// Whether the death that [`Disk::die_at`] ordered is still to come.
    pub fn is_to_die(&self, node: &str) -> bool {
        self.layer(node).control.is_to_die()
    }

    /// Flips a bit on the disk of `node`, which is down, and gives what was hit. The disk as it was is put aside.
    ///
    /// # Errors
    /// As the file system's.
    pub fn damage(&self, node: &str, seed: u64) -> anyhow::Result<String> {
        damage::damage(self.layer(node), seed).with_context(|| format!("the damage of {node}"))
    }

    /// Puts the disk of `node`, which is down, back as it was before [`Disk::damage`].
    ///
    /// # Errors
    /// As the file system's.
    pub fn repair(&self, node: &str) -> anyhow::Result<()> {
        damage::repair(self.layer(node)).with_context(|| format!("the repair of {node}"))
    }

    /// The wall clock of `node` is off by so many milliseconds.
    pub fn shift_clock(&self, node: &str, ms: i64) {
        self.layer(node).control.shift_clock(ms);
    }

    /// Ends all faults of `node` and sets its clock right. What was lost stays lost.
    pub fn heal(&self, node: &str) {
        self.layer(node).control.heal();
    }

    /// Power fails at `node`: it is killed if it still runs, and its folder becomes what a disk could hold. The caller
    /// starts it again.
    ///
    /// # Errors
    /// When it cannot be killed or its folder cannot be rewritten.
    pub fn lose_power(&self, node: &str, seed: u64) -> anyhow::Result<Loss> {
        if self.cluster.process(node).is_some() {
            self.cluster.kill(node)?;
        }
        let layer = self.layer(node);
        // A death that was still to come does not come in the next life.
        layer.control.die_at(0, "");
        lose(&layer.root, &layer.journal, seed).with_context(|| format!("the power loss of {node}, seed {seed}"))
    }

    /// Power fails at several replicas at once.
    ///
    /// # Errors
    /// As [`Disk::lose_power`].
    pub fn lose_power_at_once(&self, nodes: &[String], seed: u64) -> anyhow::Result<Vec<Loss>> {
        std::thread::scope(|scope| {
            let kills: Vec<_> = nodes.iter().map(|node| scope.spawn(|| self.cluster.kill(node))).collect();
            kills.into_iter().try_for_each(|kill| kill.join().expect("a kill does not panic").map(drop))
        })?;
        // One seed for all: what matters most is when all of them lose everything.
        nodes.iter().map(|node| self.lose_power(node, seed)).collect()
    }
}

/// Compiles the layer into `folder`.
///
/// # Errors
/// When there is no C compiler.
pub fn compile(folder: &Path) -> anyhow::Result<PathBuf> {
    for (name, text) in SOURCES {
        std::fs::write(folder.join(name), text)?;
    }
    let object = folder.join(OBJECT);
    let output = Command::new("cc")
        .args([
            "-O2",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-shared",
            "-fPIC",
            "-o",
            OBJECT,
            "preload.c",
            "clock.c",
            "random.c",
        ])
        .args(["-ldl", "-lpthread"])
        .current_dir(folder)
        .output()
        .context("the disk layer needs a C compiler, cc")?;
    ensure!(output.status.success(), "the disk layer: {}", String::from_utf8_lossy(&output.stderr));
    Ok(object)
}
