//! Trials take turns and fail their test when a promise was broken; all else is `tests::trial`. Must not know what is done
//! to the cluster.

use std::time::Duration;

use tests::{
    Options, TestCluster,
    history::History,
    trial::{self, ITEMS, Report},
};
use tokio::sync::{Mutex, MutexGuard};

pub use tests::trial::items_csv;

/// Trials measure times: they take turns.
static TURN: Mutex<()> = Mutex::const_new(());

/// The environment variable that sets the seed of all trials, to repeat one.
const SEED: &str = "KILLS_SEED";
/// How long the first buy after a fault may take. The figure to meet is 2 s; a busy machine gets more.
const FIRST_BUY_PATIENCE: Duration = Duration::from_secs(10);

/// A cluster under load.
pub struct Trial {
    inner: trial::Trial,
    _turn: MutexGuard<'static, ()>,
}

/// Waits for this trial's turn.
pub async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}

impl Trial {
    /// Brings up a cluster with two front ends and puts `clients` to work on it.
    pub async fn begin(name: &str, clients: u64) -> Self {
        Self::begin_with(name, clients, Options::new()).await
    }

    /// As [`Trial::begin`], with knobs of the layout.
    pub async fn begin_with(name: &str, clients: u64, options: Options) -> Self {
        let turn = turn().await;
        let seed = std::env::var(SEED).ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random::<u64>);
        let cluster = TestCluster::start(name, options.frontends(2).items_csv(items_csv(&ITEMS))).await;
        cluster.say(&format!("{SEED}={seed}, {clients} clients"));
        let inner = trial::Trial::begin(cluster, seed, clients).await.expect("a cluster that serves");
        Self { inner, _turn: turn }
    }

    /// The cluster.
    pub fn cluster(&self) -> &TestCluster {
        &self.inner.cluster
    }

    /// The cluster, to be changed by its operator.
    pub fn cluster_mut(&mut self) -> &mut TestCluster {
        &mut self.inner.cluster
    }

    /// Lets the load run for a while.
    pub async fn run_for(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Buys one, and says how long that took.
    pub async fn first_buy(&mut self, after: &str) {
        let took = self.inner.first_buy(FIRST_BUY_PATIENCE).await;
        let took =
            took.unwrap_or_else(|| panic!("no buy was acknowledged within {FIRST_BUY_PATIENCE:?} after {after}"));
        self.cluster().say(&format!("first buy after {after}: acknowledged after {} ms", took.as_millis()));
    }

    /// Ends the load and judges it. All servers must be up.
    pub async fn judge(mut self) -> History {
        self.inner.faults_ended().await;
        let (_cluster, history, report) = self.inner.judge().await.expect("a cluster at rest can be read");
        must_be_kept(&report);
        history
    }
}

/// Fails the test when a promise was broken.
pub fn must_be_kept(report: &Report) {
    let told: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    assert!(told.is_empty(), "promises were broken:\n{}", told.join("\n"));
}
