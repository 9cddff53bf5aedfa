//! The disks of an episode's catalogs: in the hands of the layer that fails them, or small ones that can be filled. Must not
//! know what is done to them when.

use std::sync::OnceLock;

use super::{Kind, Plan, kind::Needs};
use crate::{
    cluster::TestCluster,
    disk::{Disk, Volume},
};

/// What a catalog needs for itself and for the load of an episode; it is filled up from there.
const MEGABYTES: u64 = 512;

/// See the file's head.
#[derive(Debug)]
pub struct Disks {
    layer: Option<Disk>,
    small: Vec<(String, Volume)>,
}

impl Disks {
    /// Prepares what a plan needs, before anything is started.
    ///
    /// # Errors
    /// When there is no C compiler, or no mount.
    pub fn prepare(cluster: &TestCluster, plan: &Plan) -> anyhow::Result<Self> {
        if !plan.small_disks {
            return Ok(Self { layer: Some(Disk::prepare(cluster)?), small: Vec::new() });
        }
        let mount = |node: String| Ok((node.clone(), Volume::mount(&cluster.data(&node), MEGABYTES)?));
        let small = cluster.catalogs().into_iter().map(mount).collect::<anyhow::Result<_>>()?;
        Ok(Self { layer: None, small })
    }

    /// The layer, if it has them in its hands.
    pub fn layer(&self) -> Option<&Disk> {
        self.layer.as_ref()
    }

    /// The small disk of a catalog, if it has one.
    pub fn volume(&self, node: &str) -> Option<&Volume> {
        self.small.iter().find(|(of, _)| of == node).map(|(_, volume)| volume)
    }
}

/// The kinds of faults that cannot be had on this machine, and why; `None` when all can.
pub fn skipped() -> Option<&'static str> {
    static SKIPPED: OnceLock<Option<String>> = OnceLock::new();
    let look = || {
        let why = Volume::lacking()?;
        let kinds = Kind::ALL.iter().filter(|kind| kind.needs() == Needs::SmallDisks);
        let names: Vec<&str> = kinds.map(|kind| kind.name()).collect();
        Some(format!("{}: {why}", names.join(", ")))
    };
    SKIPPED.get_or_init(look).as_deref()
}
