//! What the catalogs of a cluster say of themselves, and waiting until they agree.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use catalog_client::protocol::Status;

use super::{QUICK, TestCluster};
use crate::{
    client::Request,
    eventually::{PATIENCE, try_eventually},
};

impl TestCluster {
    /// `/v1/status` of a catalog.
    ///
    /// # Errors
    /// When it does not answer at once.
    pub async fn try_status(&self, node: &str) -> anyhow::Result<Status> {
        let asked = self.http.try_send(Request::get(format!("{}/v1/status", self.url(node))));
        let answer = tokio::time::timeout(QUICK, asked).await.context("no answer in time")??;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        serde_json::from_slice(&answer.body).with_context(|| answer.text())
    }

    /// `/v1/status` of a catalog.
    ///
    /// # Panics
    /// When it does not answer at once.
    pub async fn status(&self, node: &str) -> Status {
        self.try_status(node).await.unwrap_or_else(|error| panic!("status of {node}: {error:#}"))
    }

    /// The states of all catalogs that run and are not paused, by name.
    pub async fn statuses(&self) -> BTreeMap<String, Status> {
        let mut found = BTreeMap::new();
        for node in self.catalogs() {
            if self.cluster.may_answer(&node)
                && let Ok(status) = self.try_status(&node).await
            {
                found.insert(node, status);
            }
        }
        found
    }

    pub(super) async fn agreed_leader(&self) -> Result<String, String> {
        let statuses = self.statuses().await;
        let majority = self.cluster.layout.catalogs.len() / 2 + 1;
        let newest = statuses.values().filter(|status| status.role == "leader").max_by_key(|status| status.term);
        let Some(leader) = newest else { return Err(format!("none leads: {statuses:?}")) };
        let agree = statuses.values().filter(|one| one.term == leader.term && one.leader == Some(leader.id)).count();
        if agree < majority {
            return Err(format!("{agree} of {majority} agree on {}", leader.node));
        }
        Ok(leader.node.clone())
    }

    /// The name of the leader, as soon as a majority agrees on one.
    ///
    /// # Panics
    /// When there is none in time.
    pub async fn leader(&self) -> String {
        try_eventually("a leader", PATIENCE, || self.agreed_leader()).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The names of the catalogs that do not lead, and run.
    ///
    /// # Panics
    /// When there is no leader in time.
    pub async fn followers(&self) -> Vec<String> {
        let leader = self.leader().await;
        let runs = |node: &String| *node != leader && self.cluster.may_answer(node);
        self.catalogs().into_iter().filter(runs).collect()
    }

    /// Waits until every catalog that runs has applied all that the leader had committed when it was first asked.
    ///
    /// # Panics
    /// When one does not in time.
    pub async fn wait_caught_up(&self) {
        let leader = self.leader().await;
        let target = self.status(&leader).await.committed;
        let caught_up = try_eventually("all replicas caught up", PATIENCE, || async {
            for node in self.catalogs().iter().filter(|node| self.cluster.may_answer(node)) {
                let applied = self.try_status(node).await?.applied;
                ensure!(applied >= target, "{node} has applied {applied} of {target}");
            }
            Ok(())
        });
        caught_up.await.unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// Waits until all catalogs that run have applied the same, and returns that revision and their common hash.
    /// No writes may go on meanwhile.
    ///
    /// # Panics
    /// When hashes differ at one revision, or the revisions do not meet in time.
    pub async fn wait_equal_hashes(&self) -> (u64, String) {
        self.try_equal_hashes().await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// As [`TestCluster::wait_equal_hashes`].
    ///
    /// # Errors
    /// When hashes differ at one revision, or the revisions do not meet in time.
    pub async fn try_equal_hashes(&self) -> anyhow::Result<(u64, String)> {
        let running = self.catalogs().iter().filter(|node| self.cluster.may_answer(node)).count();
        let equal = try_eventually("equal revisions", PATIENCE, || async {
            let statuses = self.statuses().await;
            ensure!(statuses.len() == running, "only {} of {running} answer", statuses.len());
            let seen: Vec<_> = statuses.values().map(|one| (one.applied, one.state_hash.clone())).collect();
            let first = seen.first().context("no catalog runs")?.clone();
            ensure!(seen.iter().all(|(applied, _)| *applied == first.0), "revisions differ: {seen:?}");
            let same = seen.iter().all(|(_, hash)| *hash == first.1);
            Ok::<_, anyhow::Error>(if same { Ok(first) } else { Err(format!("replicas diverged: {seen:?}")) })
        });
        equal.await.map_err(anyhow::Error::msg)?.map_err(anyhow::Error::msg)
    }
}
