//! One trial: a cluster under load, and what the checks say of it at its end. Must not know what is done to the cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    time::Duration,
};

use cluster_config::EdgeNode;
use serde::Serialize;

use crate::{
    Client, Request, TestCluster, checks,
    checks::Violation,
    eventually::try_eventually,
    history::{History, Item, Outcome, Sample, Told},
    observe,
    watcher::Watchers,
    workload::{Plan, Workload},
};

/// Once the faults have ended every server serves within this time.
pub const SERVES_WITHIN: Duration = Duration::from_secs(10);

/// Items: the first is sold most, the last ones are scarce.
pub const ITEMS: [(Item, u64); 8] =
    [(1, 1_000_000), (2, 100_000), (3, 100_000), (4, 100_000), (5, 300), (6, 60), (7, 20), (8, 3)];

/// A cluster under load.
#[derive(Debug)]
pub struct Trial {
    /// The cluster.
    pub cluster: TestCluster,
    load: Workload,
    watchers: Watchers,
    before: BTreeMap<Item, (i64, u64)>,
    unserved: Vec<String>,
}

/// What a trial showed.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Writes and reads that clients began.
    pub operations: u64,
    /// Writes whose outcome was unknown for some time.
    pub unknowns: u64,
    /// Refusals that promised that nothing was done.
    pub refusals: u64,
    /// Reads, lists among them, that a check had something to hold against: [`checks::reads_judged`].
    pub reads_checked: u64,
    /// Writes whose outcome was known and that were sent again.
    pub repeats: u64,
    /// How often a follower was told that its position is forgotten.
    pub compacted: u64,
    /// Changes told to followers that were judged.
    pub changes_checked: u64,
    /// Pairs of revision and hash that were compared.
    pub hashes_compared: u64,
    /// Promises that were broken.
    pub violations: Vec<Violation>,
}

/// The first items, as the layout's CSV.
pub fn items_csv(items: &[(Item, u64)]) -> String {
    let mut text = "item_number,title,topic,cost,quantity\n".to_owned();
    for (item, quantity) in items {
        writeln!(text, "{item},Book {item},{},{item},{quantity}", topic(*item)).expect("text takes everything");
    }
    text
}

fn topic(item: Item) -> String {
    format!("Shelf_{}", item % 3)
}

/// The shelves, with what stands on them.
pub fn topics(items: impl Iterator<Item = Item>) -> Vec<(String, Vec<Item>)> {
    let mut topics: BTreeMap<String, Vec<Item>> = BTreeMap::new();
    for item in items {
        topics.entry(topic(item)).or_default().push(item);
    }
    topics.into_iter().collect()
}

impl Trial {
    /// Puts `clients` to work on a cluster that was brought up with [`ITEMS`], their choices drawn from `seed`.
    ///
    /// # Errors
    /// When the stock before the first write cannot be read.
    pub async fn begin(cluster: TestCluster, seed: u64, clients: u64) -> anyhow::Result<Self> {
        Self::begin_where(cluster, seed, clients, false).await
    }

    /// As [`Trial::begin`]; `fronts_may_go` says whether front ends may be killed on the way.
    ///
    /// # Errors
    /// When what there is before the first write cannot be read.
    pub async fn begin_where(
        cluster: TestCluster,
        seed: u64,
        clients: u64,
        fronts_may_go: bool,
    ) -> anyhow::Result<Self> {
        let before = observe::books(&Client::new(), &cluster.front()).await?;
        let layout = &cluster.cluster.layout;
        let listens = |nodes: &[EdgeNode]| nodes.iter().map(|node| node.listen.clone()).collect();
        let plan = Plan {
            fronts: listens(&layout.frontends),
            orders: listens(&layout.orders),
            fronts_may_go,
            seed,
            clients,
            items: before.keys().copied().collect(),
            topics: observe::topics(&Client::new(), &cluster.front()).await?,
        };
        let watchers = Watchers::start(layout, seed);
        Ok(Self { load: Workload::start(plan), watchers, before, unserved: Vec::new(), cluster })
    }

    /// How long the load has been on.
    pub fn now(&self) -> Duration {
        self.load.now()
    }

    /// Buys one, and gives how long it took until that was acknowledged; `None` if it was not within `patience`.
    pub async fn first_buy(&mut self, patience: Duration) -> Option<Duration> {
        self.load.first_buy(patience).await
    }

    /// Notes that all faults have ended and all servers are up, and looks whether each serves within [`SERVES_WITHIN`].
    pub async fn faults_ended(&mut self) {
        let cluster = &self.cluster;
        let client = Client::new();
        let nodes = cluster.cluster.nodes();
        let looks = nodes.iter().map(|node| {
            let client = &client;
            async move {
                let serves = try_eventually(node, SERVES_WITHIN, || async {
                    cluster.ready(node).await?;
                    if node.starts_with("frontend") {
                        let url = format!("{}/lookup/1?read=linearizable", cluster.url(node));
                        let answer = client.try_send(Request::get(url)).await?;
                        anyhow::ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
                    }
                    Ok::<(), anyhow::Error>(())
                });
                serves.await.err()
            }
        });
        let late = futures::future::join_all(looks).await;
        self.unserved.extend(late.into_iter().flatten().map(|why| why.to_string()));
        for front in 0..self.cluster.cluster.layout.frontends.len() {
            if self.load.first_buy_at(front, SERVES_WITHIN).await.is_none() {
                let what =
                    format!("no buy was acknowledged at front end {front} within {SERVES_WITHIN:?} after the faults");
                self.unserved.push(what);
            }
        }
    }

    /// Ends the load and judges it, with everything that clients saw. All servers must be up.
    ///
    /// # Errors
    /// When the cluster at rest cannot be read.
    pub async fn judge(self) -> anyhow::Result<(TestCluster, History, Report)> {
        let worked = self.load.now();
        let mut history = self.load.finish().await;
        let last = history.writes.iter().filter_map(|write| match write.outcome {
            Outcome::Ok(revision) => Some(revision),
            _ => None,
        });
        // The last changes must reach the followers, so that what is missing at the end is seen to be missing.
        history.merge(self.watchers.finish(last.max().unwrap_or(0)).await);
        history.unserved.extend(self.unserved);
        let report = judge(&self.cluster, &self.before, &history, worked).await?;
        if !report.violations.is_empty() {
            let file = self.cluster.cluster.run_dir.join("history.txt");
            if let Err(error) = std::fs::write(&file, format!("{history:#?}")) {
                self.cluster.say(&format!("cannot keep the history in {}: {error}", file.display()));
            }
        }
        Ok((self.cluster, history, report))
    }
}

/// Reads what the cluster holds and judges the history by it.
///
/// # Errors
/// When the cluster at rest cannot be read.
pub async fn judge(
    cluster: &TestCluster,
    before: &BTreeMap<Item, (i64, u64)>,
    history: &History,
    worked: Duration,
) -> anyhow::Result<Report> {
    tell(cluster, history, worked);
    let told = history.told.iter().flatten();
    let mut report = Report {
        operations: history.operations(),
        unknowns: history.unknown,
        refusals: history.turned_away,
        reads_checked: 0,
        repeats: history.repeats.len() as u64,
        compacted: told.clone().filter(|told| matches!(told, Told::Compacted)).count() as u64,
        changes_checked: told.filter(|told| matches!(told, Told::Changes(..))).count() as u64,
        hashes_compared: compared(&history.samples),
        violations: Vec::new(),
    };
    if let Err(error) = cluster.try_equal_hashes().await {
        // What differs cannot be judged as one state.
        report.violations.push(Violation { property: "replicas_agree", what: format!("{error:#}") });
        return Ok(report);
    }
    let end = observe::observe(cluster, before).await?;
    report.violations = checks::violations(history, &end);
    report.reads_checked = checks::reads_judged(history);
    if report.violations.is_empty() {
        let last = &end.replicas[0];
        let (applied, orders, hash) = (last.applied, last.ledger.len(), &last.state_hash);
        cluster.say(&format!("all promises kept: revision {applied}, {orders} orders, {hash}"));
    }
    Ok(report)
}

/// Samples that another replica's sample at the same revision was there to be compared with.
fn compared(samples: &[Sample]) -> u64 {
    let mut seen: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
    for sample in samples {
        seen.entry(sample.applied).or_default().insert(&sample.name);
    }
    seen.values().map(|names| names.len().saturating_sub(1) as u64).sum()
}

fn tell(cluster: &TestCluster, history: &History, worked: Duration) {
    cluster.say(&format!(
        "{} writes in {:.1} s: {} took effect, {} out of stock, {} given up, {} unknown; answers meanwhile: {} refusals, {} unknown; {} reads, {} lists",
        history.writes.len(),
        worked.as_secs_f64(),
        history.count(|outcome| matches!(outcome, Outcome::Ok(_))),
        history.count(|outcome| matches!(outcome, Outcome::OutOfStock(_))),
        history.count(|outcome| outcome == Outcome::TurnedAway),
        history.count(|outcome| outcome == Outcome::Unknown),
        history.turned_away,
        history.unknown,
        history.reads.len(),
        history.listings.len(),
    ));
    let slowest = |times: &mut dyn Iterator<Item = Duration>| times.max().unwrap_or_default().as_millis();
    cluster.say(&format!(
        "the slowest write took {} ms, the slowest read {} ms",
        slowest(&mut history.writes.iter().map(|write| write.end - write.start)),
        slowest(&mut history.reads.iter().map(|read| read.end - read.start)),
    ));
}
