//! A cluster of real processes in a folder of its own, on ports of its own.
//!
//! Owns the life of the processes: none outlives the test, even if the test program is killed. At most
//! [`CLUSTERS_AT_ONCE`] are up at the same time, because a cluster is six processes.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use cluster_config::{
    Layout,
    launch::{Cluster, Special, free_addresses},
};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    client::{Client, Request},
    eventually::try_eventually,
    net::{Net, Target},
    options::Options,
};

mod acts;
mod shared;
mod states;

pub use shared::Shared;

/// Clusters that are up at the same time in one test program.
pub const CLUSTERS_AT_ONCE: usize = 2;
/// How long a cluster may take until every server serves.
pub const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long a server may take to end after SIGTERM.
pub const STOP_PATIENCE: Duration = Duration::from_secs(15);
/// How often a cluster is tried on other ports when a server could not have its own.
const PORT_TRIES: usize = 5;
/// Lines of each log that a failed test prints.
const LOG_LINES: usize = 25;
/// How long a question about a server's state may take.
const QUICK: Duration = Duration::from_millis(1000);

static SLOTS: Semaphore = Semaphore::const_new(CLUSTERS_AT_ONCE);

/// A cluster of processes. Dropping it kills them; when the test fails, the ends of their logs are printed and the
/// folder is kept.
#[derive(Debug)]
pub struct TestCluster {
    /// The processes, as the Make targets know them.
    pub cluster: Cluster,
    name: String,
    specials: Mutex<BTreeMap<String, Special>>,
    net: Option<Net>,
    guard: Option<Child>,
    failed: AtomicBool,
    quiet: bool,
    http: Client,
    _slot: SemaphorePermit<'static>,
}

impl TestCluster {
    /// Brings up a cluster and waits until every server serves and a majority agrees on a leader. `name` names
    /// the folder and what is printed.
    ///
    /// # Panics
    /// When it cannot be brought up.
    pub async fn start(name: &str, options: Options) -> Self {
        Self::start_after(name, options, |_| ()).await.0
    }

    /// As [`TestCluster::start`], after `prepare` has done something to what is about to be started.
    ///
    /// # Panics
    /// When it cannot be brought up.
    pub async fn start_after<T>(name: &str, options: Options, prepare: impl Fn(&Self) -> T) -> (Self, T) {
        let began = std::time::Instant::now();
        for _ in 1..PORT_TRIES {
            let cluster = Self::prepare(name, &options).await;
            let prepared = prepare(&cluster);
            match cluster.start_all().await {
                Ok(()) => {
                    cluster.say(&format!("serves after {:.2} s", began.elapsed().as_secs_f64()));
                    return (cluster, prepared);
                }
                Err(error) if cluster.lost_a_port(&error) => {
                    cluster.set_kept(false);
                    cluster.say("a port was taken meanwhile: trying others");
                }
                Err(error) => panic!("{name}: {error:#}"),
            }
        }
        panic!("{name}: a port was taken at each of {PORT_TRIES} tries")
    }

    /// Makes the folder, the layout and the copies of the binaries, and starts nothing yet.
    ///
    /// # Panics
    /// When that cannot be done.
    pub async fn prepare(name: &str, options: &Options) -> Self {
        let slot = SLOTS.acquire().await.expect("the semaphore is never closed");
        let mut cluster = Self::lay_out(name, options, slot).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        if options.proxied {
            let net = Net::start(targets(&cluster.cluster.layout)).await;
            cluster.net = Some(net.unwrap_or_else(|error| panic!("{name}: no proxies: {error}")));
        }
        cluster
    }

    fn lay_out(name: &str, options: &Options, slot: SemaphorePermit<'static>) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix(&format!("catalog-{name}-")).tempdir()?.keep();
        let addresses = free_addresses(options.address_count())?;
        let items = options.items.as_ref().map(|text| ("items.csv", text));
        if let Some((file, text)) = items {
            std::fs::write(folder.join(file), text)?;
        }
        // A name of its own: servers of two test runs must refuse one another even if they mix up their ports.
        let id = folder.file_name().and_then(|name| name.to_str()).context("a folder without a name")?;
        let selector = folder.join("layout.toml");
        std::fs::write(&selector, options.toml(id, items.map(|(file, _)| file), &addresses)?)?;
        let selector = selector.to_str().context("a folder whose name is no text")?.to_owned();
        let cluster = Cluster { layout: Layout::load(&selector)?, selector, run_dir: folder };
        cluster.install_binaries(&binaries()?)?;
        let guard = Some(guard(&cluster.run_dir)?);
        let http = Client::without_pool();
        let (name, specials, failed) = (name.to_owned(), Mutex::default(), AtomicBool::new(false));
        Ok(Self { cluster, name, specials, net: None, guard, failed, quiet: options.quiet, http, _slot: slot })
    }

    /// The network between the servers.
    ///
    /// # Panics
    /// When the cluster was brought up without [`Options::proxied`].
    pub fn net(&self) -> &Net {
        self.net.as_ref().expect("a cluster whose options say proxied()")
    }

    /// Takes the layout as its file is now: a command of the operator has rewritten it.
    ///
    /// # Panics
    /// When it is no layout.
    pub fn reload_layout(&mut self) {
        self.cluster.layout = Layout::load(&self.cluster.selector).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Changes what `node` is started with from its next start on.
    pub fn specialise(&self, node: &str, change: impl FnOnce(&mut Special)) {
        let mut specials = self.specials.lock().unwrap_or_else(PoisonError::into_inner);
        change(specials.entry(node.to_owned()).or_default());
    }

    /// Keeps the folder, and prints the ends of logs, when this is dropped, as after a failed test; or not.
    pub fn set_kept(&self, kept: bool) {
        self.failed.store(kept, Ordering::Relaxed);
    }

    /// Starts a node on its own data unless it runs, without waiting for it. Returns whether it was started.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_node(&self, node: &str) -> anyhow::Result<bool> {
        let special = self.specials.lock().unwrap_or_else(PoisonError::into_inner).get(node).cloned();
        self.cluster.start_specially(node, &special.unwrap_or_default())
    }

    /// Starts every node that does not run and waits until all serve.
    ///
    /// # Errors
    /// When a node ends or does not serve in time.
    pub async fn start_all(&self) -> anyhow::Result<()> {
        for node in self.cluster.nodes() {
            self.start_node(&node)?;
        }
        self.wait_serving(&self.cluster.nodes()).await
    }

    /// Waits until each of `nodes` serves and, if a catalog is among them, until a majority agrees on a leader.
    ///
    /// # Errors
    /// When a node has ended or does not serve in time.
    pub async fn wait_serving<S: AsRef<str>>(&self, nodes: &[S]) -> anyhow::Result<()> {
        for node in nodes {
            let node = node.as_ref();
            let what = format!("{node} serves");
            let serves = try_eventually(&what, START_PATIENCE, || async {
                match self.cluster.process(node) {
                    None => Ok(Err(format!("{node} has ended: {}", self.log_end(node)))),
                    Some(_) => self.ready(node).await.map(Ok),
                }
            });
            serves.await?.map_err(anyhow::Error::msg)?;
        }
        if nodes.iter().any(|node| self.is_catalog(node.as_ref())) {
            try_eventually("a leader that a majority agrees on", START_PATIENCE, || self.agreed_leader()).await?;
        }
        Ok(())
    }

    /// Whether `node` answers `/readyz` with 200; if not, why.
    ///
    /// # Errors
    /// Why it is not ready.
    pub async fn ready(&self, node: &str) -> anyhow::Result<()> {
        let asked = self.http.try_send(Request::get(format!("{}/readyz", self.url(node))));
        let answer = tokio::time::timeout(QUICK, asked).await.context("no answer in time")??;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        Ok(())
    }

    /// `http://host:port` of a node.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn url(&self, node: &str) -> String {
        format!("http://{}", self.cluster.address(node).unwrap_or_else(|| panic!("no node {node}")))
    }

    /// `http://host:port` of `frontend-1`.
    pub fn front(&self) -> String {
        self.url("frontend-1")
    }

    /// Names of the catalogs.
    pub fn catalogs(&self) -> Vec<String> {
        self.cluster.layout.catalogs.iter().map(|node| node.name.clone()).collect()
    }

    fn is_catalog(&self, node: &str) -> bool {
        self.cluster.layout.catalogs.iter().any(|known| known.name == node)
    }

    /// All that a node has logged in its present log file, and what it printed.
    pub fn log(&self, node: &str) -> String {
        let read = |kind| {
            let bytes = std::fs::read(self.cluster.run_dir.join(format!("{node}.{kind}")));
            bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
        };
        read("log") + &read("out")
    }

    /// The folder of a node's data.
    pub fn data(&self, node: &str) -> PathBuf {
        self.cluster.run_dir.join(node)
    }

    /// Tells a step of the test's story.
    pub fn say(&self, what: &str) {
        if !self.quiet {
            println!("[{}] {what}", self.name);
        }
    }

    fn log_end(&self, node: &str) -> String {
        let log = self.log(node);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    /// Whether bringing the cluster up failed because another program took a port between the choice and the bind.
    fn lost_a_port(&self, error: &anyhow::Error) -> bool {
        let text = format!("{error:#}");
        text.contains("is taken by another program") || text.contains("another program uses it")
    }
}

/// The ports at which servers look for each other.
fn targets(layout: &Layout) -> Vec<Target> {
    let catalogs = layout.catalogs.iter().map(|node| (&node.name, &node.peer, &node.listen_peer, true));
    let orders = layout.orders.iter().map(|node| (&node.name, &node.address, &node.listen, false));
    let target = |(name, shown, real, has_handshake): (&String, &String, &String, bool)| Target {
        name: name.clone(),
        shown: shown.clone(),
        real: real.clone(),
        has_handshake,
    };
    catalogs.chain(orders).map(target).collect()
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        let failed = std::thread::panicking() || self.failed.load(Ordering::Relaxed);
        // A command of the operator that was interrupted may have started more than was known before.
        if let Ok(layout) = Layout::load(&self.cluster.selector) {
            self.cluster.layout = layout;
        }
        if failed {
            for node in self.cluster.nodes() {
                println!("--- [{}] the end of {node}'s log ---\n{}", self.name, self.log_end(&node));
            }
        }
        for node in self.cluster.nodes() {
            if self.cluster.process(&node).is_some()
                && let Err(error) = self.cluster.kill(&node)
            {
                println!("[{}] {error:#}", self.name);
            }
        }
        if let Some(mut guard) = self.guard.take() {
            // It only reads its standard input, and nothing is left for it to do.
            let _ = guard.kill().and_then(|()| guard.wait());
        }
        if failed {
            println!("[{}] kept {}", self.name, self.cluster.run_dir.display());
        } else if let Err(error) = std::fs::remove_dir_all(&self.cluster.run_dir)
            && error.kind() != ErrorKind::NotFound
        {
            println!("[{}] cannot remove {}: {error}", self.name, self.cluster.run_dir.display());
        }
    }
}

/// A process that ends the cluster's servers if the test program dies without dropping the cluster: its standard
/// input ends then. It compares times of start, so that it never signals a stranger under an old process id.
fn guard(run_dir: &Path) -> anyhow::Result<Child> {
    let script = r#"cat >/dev/null
for file in "$0"/*.pid; do
    read -r pid started <"$file" || continue
    [ "$(cut -d' ' -f22 "/proc/$pid/stat" 2>/dev/null)" = "$started" ] && kill -9 "$pid"
done
# Small disks, where there are any.
for folder in "$0"/*/; do
    umount -l "$folder" 2>/dev/null
done
rm -rf "$0""#;
    Command::new("sh")
        .args(["-c", script])
        .arg(run_dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("cannot start the guard of the cluster")
}

/// The folder of the servers' binaries: `CATALOG_STORE_BIN`, which `make test` sets, or the folder above that of the
/// test program, where cargo puts binaries.
///
/// # Errors
/// When one of them is not there.
pub fn binaries() -> anyhow::Result<PathBuf> {
    let folder = match std::env::var_os("CATALOG_STORE_BIN") {
        Some(folder) => folder.into(),
        None => {
            let this = std::env::current_exe()?;
            this.parent().and_then(Path::parent).context("the test program lies nowhere")?.to_owned()
        }
    };
    if let Some(missing) = cluster_config::launch::BINARIES.iter().find(|name| !folder.join(name).is_file()) {
        bail!("{missing} is not in {}: build the servers first, or run make test", folder.display());
    }
    Ok(folder)
}
