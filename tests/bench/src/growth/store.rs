//! A store that grows: its servers, what they take of memory and disk, and how long one of them takes to come back. Must
//! not know loads.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use ::tests::{Options, TestCluster, watcher::way_to};
use anyhow::{Context, ensure};
use catalog_client::{client::Catalog, protocol::Status};
use tokio::time::sleep;

use crate::system::ours::items_csv;

/// How long a store may take until it serves, for each million of items, and at least.
const START_PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at a replica that comes back.
const LOOK: Duration = Duration::from_millis(5);
/// How long a replica may take to come back, whatever it has to read or to be sent.
const RETURN_PATIENCE: Duration = Duration::from_secs(600);
/// Before memory is read: what was begun ends, and allocators give back what they do not need.
const SETTLE: Duration = Duration::from_secs(1);

/// A store.
#[derive(Debug)]
pub struct Store {
    /// Its processes.
    pub cluster: TestCluster,
    /// How many items it began with.
    pub items: u64,
}

/// How long a replica took to come back, from the start of its process on.
#[derive(Debug, Clone, Copy)]
pub struct Return {
    /// Until it first said how far it is.
    pub speaks: Duration,
    /// Until it served.
    pub serves: Duration,
    /// Until it had applied all that was committed when it was started.
    pub caught_up: Duration,
    /// The last entry that it had applied when it first spoke.
    pub applied_before: u64,
    /// Orders that it had when it first spoke.
    pub orders_before: u64,
    /// Orders that it had in the end.
    pub orders_after: u64,
}

impl Return {
    /// Orders applied a second, from when it first spoke on.
    pub fn rate(&self) -> f64 {
        let orders = self.orders_after.saturating_sub(self.orders_before);
        orders as f64 / (self.caught_up - self.speaks).as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl Store {
    /// Brings one up with so many items, and says how long it took.
    ///
    /// # Errors
    /// When it does not serve in time.
    pub async fn start(name: &str, items: u64, options: Options) -> anyhow::Result<(Self, Duration)> {
        let cluster = TestCluster::prepare(name, &options.quiet().items_csv(items_csv(items))).await;
        let began = Instant::now();
        let patience = START_PATIENCE * u32::try_from(items / 1_000_000 + 1)?;
        while let Err(error) = cluster.start_all().await {
            // It is given up earlier than a million items take on a slow machine; servers that have ended are started again.
            ensure!(began.elapsed() < patience, "{name} with {items} items does not serve: {error:#}");
        }
        Ok((Self { cluster, items }, began.elapsed()))
    }

    /// `host:port` of the front end.
    pub fn front(&self) -> String {
        self.address("frontend-1")
    }

    /// `host:port` of a node's client port.
    pub fn address(&self, node: &str) -> String {
        self.cluster.url(node).trim_start_matches("http://").to_owned()
    }

    /// A client of its replicas.
    pub fn catalog(&self) -> Catalog {
        way_to(&self.cluster.cluster.layout)
    }

    /// Some follower.
    ///
    /// # Errors
    /// When none runs.
    pub async fn follower(&self) -> anyhow::Result<String> {
        self.cluster.followers().await.pop().context("no follower runs")
    }

    /// Resident memory of a server, in bytes, once it has settled.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn settled_memory(&self, node: &str) -> anyhow::Result<u64> {
        sleep(SETTLE).await;
        self.memory(node)
    }

    /// Resident memory of a server now, in bytes.
    ///
    /// # Errors
    /// When it does not run.
    pub fn memory(&self, node: &str) -> anyhow::Result<u64> {
        let pid = self.cluster.cluster.pid(node).with_context(|| format!("{node} does not run"))?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        resident(&status).with_context(|| format!("the memory of {node}"))
    }

    /// The same of all servers once they have settled, by the names of their kinds: the most of each.
    ///
    /// # Errors
    /// When one does not run.
    pub async fn memories(&self) -> anyhow::Result<[(&'static str, u64); 3]> {
        sleep(SETTLE).await;
        let nodes = self.cluster.cluster.nodes();
        let most = |kind: &'static str| {
            let of_kind = nodes.iter().filter(|node| node.starts_with(kind));
            let each = of_kind.map(|node| self.memory(node)).collect::<anyhow::Result<Vec<_>>>()?;
            each.into_iter().max().with_context(|| format!("no {kind}")).map(|most| (kind, most))
        };
        Ok([most("catalog")?, most("order")?, most("frontend")?])
    }

    /// Bytes on the disk of a node below one of its folders.
    ///
    /// # Errors
    /// As the file system's.
    pub fn disk(&self, node: &str, folder: &str) -> anyhow::Result<u64> {
        bytes_below(&self.cluster.data(node).join(folder))
    }

    /// Starts a replica that was killed or stopped, and watches it come back.
    ///
    /// # Errors
    /// When it does not.
    pub async fn bring_back(&self, node: &str) -> anyhow::Result<Return> {
        let leader = self.cluster.leader().await;
        let target = self.cluster.try_status(&leader).await?.committed;
        let began = Instant::now();
        self.cluster.launch(node);
        let first = self.until(node, |_| true).await?;
        let speaks = began.elapsed();
        let mut serves = None;
        loop {
            if serves.is_none() && self.cluster.ready(node).await.is_ok() {
                serves = Some(began.elapsed());
            }
            // While it installs a snapshot it may not answer.
            let status = self.cluster.try_status(node).await;
            if let (Ok(status), Some(serves)) = (&status, serves)
                && status.applied >= target
            {
                let caught_up = began.elapsed();
                let (orders_before, orders_after) = (first.orders, status.orders);
                let applied_before = first.applied;
                return Ok(Return { speaks, serves, caught_up, applied_before, orders_before, orders_after });
            }
            ensure!(self.cluster.cluster.process(node).is_some(), "{node} has ended: {}", self.cluster.log(node));
            ensure!(began.elapsed() < RETURN_PATIENCE, "{node} has not caught up: {status:?}");
            sleep(LOOK).await;
        }
    }

    /// Waits until what a replica says of itself is as wanted.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn until(&self, node: &str, wanted: impl Fn(&Status) -> bool) -> anyhow::Result<Status> {
        let began = Instant::now();
        loop {
            let said = self.cluster.try_status(node).await;
            match said {
                Ok(status) if wanted(&status) => return Ok(status),
                other => {
                    ensure!(began.elapsed() < RETURN_PATIENCE, "{node} does not come to what is waited for: {other:?}")
                }
            }
            sleep(LOOK).await;
        }
    }

    /// Has the leader take a snapshot now, and waits until it is whole.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn snapshot(&self, leader: &str) -> anyhow::Result<Status> {
        let before = self.cluster.try_status(leader).await?;
        let pid = self.cluster.cluster.pid(leader).with_context(|| format!("{leader} does not run"))?;
        let pid = rustix::process::Pid::from_raw(pid).context("no process has the id 0")?;
        rustix::process::kill_process(pid, rustix::process::Signal::USR1)?;
        self.until(leader, |status| status.snapshot >= before.applied).await
    }
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}

fn bytes_below(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        // A file of the database may go between the two looks.
        let Ok(meta) = entry.metadata() else { continue };
        bytes += if meta.is_dir() { bytes_below(&entry.path())? } else { meta.len() };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_resident_memory() {
        assert_eq!(resident("Name:\tcatalog\nVmHWM:\t   9000 kB\nVmRSS:\t    1234 kB\n"), Some(1234 * 1024));
        assert_eq!(resident("Name:\tcatalog\n"), None);
    }

    #[test]
    fn a_rate_counts_from_the_first_word() {
        let ms = Duration::from_millis;
        let (applied_before, orders_before, orders_after) = (100, 1_000, 11_000);
        let (speaks, serves, caught_up) = (ms(500), ms(900), ms(2_500));
        let seen = Return { speaks, serves, caught_up, applied_before, orders_before, orders_after };
        assert_eq!(seen.rate(), 5_000.0);
    }
}
