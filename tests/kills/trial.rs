//! One trial: a cluster of its own under load, and the verdict at its end. Must not know what is done to the cluster.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use tests::{
    Client, Options, TestCluster, checks,
    history::{History, Item, Outcome},
    observe,
    workload::{Plan, Workload},
};
use tokio::sync::{Mutex, MutexGuard};

/// Trials measure times: they take turns.
static TURN: Mutex<()> = Mutex::const_new(());

/// The environment variable that sets the seed of all trials, to repeat one.
const SEED: &str = "KILLS_SEED";
/// How long the first buy after a fault may take. The figure to meet is 2 s; a busy machine gets more.
const FIRST_BUY_PATIENCE: Duration = Duration::from_secs(10);
/// Items: the first is sold most, the last ones are scarce.
const ITEMS: [(Item, u64); 8] =
    [(1, 1_000_000), (2, 100_000), (3, 100_000), (4, 100_000), (5, 300), (6, 60), (7, 20), (8, 3)];

/// A cluster under load.
pub struct Trial {
    /// The cluster.
    pub cluster: TestCluster,
    load: Workload,
    initial: BTreeMap<Item, i64>,
    _turn: MutexGuard<'static, ()>,
}

/// The first items, as the layout's CSV.
pub fn items_csv(items: &[(Item, u64)]) -> String {
    let mut text = "item_number,title,topic,cost,quantity\n".to_owned();
    for (item, quantity) in items {
        writeln!(text, "{item},Book {item},Shelf_{},{item},{quantity}", item % 3).expect("text takes everything");
    }
    text
}

/// Waits for this trial's turn.
pub async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}

impl Trial {
    /// Brings up a cluster and puts `clients` to work on it.
    pub async fn begin(name: &str, clients: u64) -> Self {
        Self::begin_with(name, clients, Options::new()).await
    }

    /// As [`Trial::begin`], with knobs of the layout.
    pub async fn begin_with(name: &str, clients: u64, options: Options) -> Self {
        let turn = turn().await;
        let seed = std::env::var(SEED).ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random::<u64>);
        let cluster = TestCluster::start(name, options.items_csv(items_csv(&ITEMS))).await;
        cluster.say(&format!("{SEED}={seed}, {clients} clients"));
        let initial = observe::stock(&Client::new(), &cluster.front()).await.expect("the stock before the first write");
        let front = cluster.front().trim_start_matches("http://").to_owned();
        let items = ITEMS.iter().map(|(item, _)| *item).collect();
        let load = Workload::start(Plan { front, seed, clients, items });
        Self { cluster, load, initial, _turn: turn }
    }

    /// Lets the load run for a while.
    pub async fn run_for(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Buys one, and says how long that took.
    pub async fn first_buy(&mut self, after: &str) {
        let took = self.load.first_buy(FIRST_BUY_PATIENCE).await;
        let took =
            took.unwrap_or_else(|| panic!("no buy was acknowledged within {FIRST_BUY_PATIENCE:?} after {after}"));
        self.cluster.say(&format!("first buy after {after}: acknowledged after {} ms", took.as_millis()));
    }

    /// Ends the load and judges it. All servers must be up.
    pub async fn judge(self) -> History {
        let worked = self.load.now();
        let history = self.load.finish().await;
        judge(&self.cluster, self.initial, &history, worked).await;
        history
    }
}

/// Reads what the cluster holds and fails the test when a promise was broken.
pub async fn judge(cluster: &TestCluster, initial: BTreeMap<Item, i64>, history: &History, worked: Duration) {
    cluster.say(&format!(
        "{} writes in {:.1} s: {} took effect, {} out of stock, {} given up, {} unknown; answers meanwhile: {} refusals, {} unknown; {} reads",
        history.writes.len(),
        worked.as_secs_f64(),
        history.count(|outcome| matches!(outcome, Outcome::Ok(_))),
        history.count(|outcome| matches!(outcome, Outcome::OutOfStock(_))),
        history.count(|outcome| outcome == Outcome::TurnedAway),
        history.count(|outcome| outcome == Outcome::Unknown),
        history.turned_away,
        history.unknown,
        history.reads.len(),
    ));
    let slowest = |times: &mut dyn Iterator<Item = Duration>| times.max().unwrap_or_default().as_millis();
    cluster.say(&format!(
        "the slowest write took {} ms, the slowest read {} ms",
        slowest(&mut history.writes.iter().map(|write| write.end - write.start)),
        slowest(&mut history.reads.iter().map(|read| read.end - read.start)),
    ));
    let end = observe::observe(cluster, initial).await.expect("a cluster at rest can be read");
    let violations = checks::violations(history, &end);
    let told: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(violations.is_empty(), "promises were broken:\n{}", told.join("\n"));
    let last = &end.replicas[0];
    cluster.say(&format!(
        "all promises kept: revision {}, {} orders, {}",
        last.applied,
        last.ledger.len(),
        last.state_hash
    ));
}
