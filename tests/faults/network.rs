//! Networks that split, slow down and lose, by name. Every connection between servers passes a proxy that knows who made it;
//! each story runs under load, and is judged by all checks at its end. Must not know how a proxy works.

use std::{collections::HashSet, slice, time::Duration};

use anyhow::ensure;
use tests::{
    Options, TestCluster, eventually,
    net::{Cut, Link, Net},
    trial::{ITEMS, Trial, items_csv},
};
use tokio::time::sleep;

mod edges;
mod leaders;
mod partitions;
mod slow;
mod snapshots;

/// The environment variable that sets what clients choose, to repeat a run.
const SEED: &str = "NETWORK_SEED";
/// Clients.
const CLIENTS: u64 = 24;
/// How long the load runs before, between and after faults.
const STRETCH: Duration = Duration::from_millis(1000);
/// How long the first buy after a fault may take, on a machine that is busy with other tests.
const FIRST_BUY_PATIENCE: Duration = Duration::from_secs(10);
/// Terms that may go by while replicas disagree for some seconds. Without a vote before the vote there would be more.
const FEW_TERMS: u64 = 4;
/// Both ways of cutting a link.
const CUTS: [Cut; 2] = [Cut::Silent, Cut::Refused];

/// A cluster under load whose network is in our hands.
struct Story {
    trial: Trial,
}

impl Story {
    async fn begin(name: &str, options: Options) -> Self {
        let seed = std::env::var(SEED).ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random::<u64>);
        let cluster = TestCluster::start(name, options.proxied().items_csv(items_csv(&ITEMS))).await;
        cluster.say(&format!("{SEED}={seed}, {CLIENTS} clients"));
        let trial = Trial::begin(cluster, seed, CLIENTS).await.expect("the stock before the first write");
        let story = Self { trial };
        story.run().await;
        story
    }

    fn cluster(&self) -> &TestCluster {
        &self.trial.cluster
    }

    fn net(&self) -> &Net {
        self.trial.cluster.net()
    }

    /// Lets the load run for a while.
    async fn run(&self) {
        sleep(STRETCH).await;
    }

    /// Buys one: with a majority up, that must come about soon.
    async fn buys(&mut self, when: &str) {
        let took = self.trial.first_buy(FIRST_BUY_PATIENCE).await;
        let took = took.unwrap_or_else(|| panic!("no buy within {FIRST_BUY_PATIENCE:?} {when}"));
        self.cluster().say(&format!("first buy {when}: acknowledged after {} ms", took.as_millis()));
    }

    /// The leader and its term.
    async fn leader(&self) -> (String, u64) {
        let leader = self.cluster().leader().await;
        let term = self.cluster().status(&leader).await.term;
        (leader, term)
    }

    /// The other catalogs.
    fn others(&self, than: &[&str]) -> Vec<String> {
        self.cluster().catalogs().into_iter().filter(|node| !than.contains(&node.as_str())).collect()
    }

    /// Waits until another replica than `old` leads, and returns its name.
    async fn other_leader(&self, old: &str) -> String {
        eventually("another leader", || async {
            let leader = self.cluster().leader().await;
            ensure!(leader != old, "{leader} leads still");
            Ok(leader)
        })
        .await
    }

    /// Sets the links of every server of `from` to every server of `to`, this way only.
    fn set(&self, from: &[String], to: &[String], link: Link) {
        for (from, to) in from.iter().flat_map(|from| to.iter().map(move |to| (from, to))) {
            self.net().set(from, to, link);
        }
    }

    fn heal(&self) {
        self.net().heal();
        self.cluster().say("the network is whole again");
    }

    /// Ends the story with a whole network: everybody serves, and no promise was broken.
    async fn judge(mut self) {
        self.heal();
        self.buys("after the network was whole again").await;
        self.trial.faults_ended().await;
        self.run().await;
        self.cluster().wait_caught_up().await;
        let (_cluster, _, report) = self.trial.judge().await.expect("a cluster at rest can be read");
        let told: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
        assert!(told.is_empty(), "promises were broken:\n{}", told.join("\n"));
        assert!(report.reads_checked > 0 && report.operations > report.reads_checked, "nothing was done: {report:?}");
    }
}

/// Names of the servers of a kind: `order`, `frontend`.
fn servers(cluster: &TestCluster, kind: &str) -> Vec<String> {
    cluster.cluster.nodes().into_iter().filter(|node| node.starts_with(kind)).collect()
}

/// Distinct names in `all`.
fn distinct(all: &[String]) -> usize {
    all.iter().collect::<HashSet<_>>().len()
}
