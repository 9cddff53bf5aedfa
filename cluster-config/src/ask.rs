//! What servers say of themselves, asked over HTTP: ready or not, a catalog's status. Must not know processes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::Context;
use cluster_config::launch::Cluster;
use futures::future::join_all;
use serde::{Deserialize, Serialize};

/// How long a question about a server's state may take.
pub const QUICK: Duration = Duration::from_millis(300);

/// What `GET /v1/status` of a catalog says, as far as it matters here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// `leader`, `follower`, …
    pub role: String,
    /// Who leads, as far as it knows.
    pub leader: Option<u64>,
    /// The term.
    pub term: u64,
    /// Index of the last log entry.
    pub last_log: u64,
    /// Index of the last entry known to be committed.
    pub committed: u64,
    /// Index of the last entry applied.
    pub applied: u64,
    /// Hash over the state at `applied`.
    pub state_hash: String,
}

/// Asks servers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ask {
    http: reqwest::Client,
}

impl Ask {
    /// Connects directly, whatever proxy the environment names.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new() -> anyhow::Result<Self> {
        let http =
            reqwest::Client::builder().no_proxy().tcp_nodelay(true).build().context("cannot make an HTTP client")?;
        Ok(Self { http })
    }

    /// The HTTP client itself.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Whether the server at `address` serves; if not, why.
    ///
    /// # Errors
    /// Why it does not serve, in a few words.
    pub async fn ready(&self, address: &str) -> Result<(), String> {
        let sent = self.http.get(format!("http://{address}/readyz")).timeout(QUICK).send().await;
        let answer = sent.map_err(|error| if error.is_timeout() { "no answer yet" } else { "not listening yet" })?;
        if answer.status().is_success() {
            return Ok(());
        }
        Err(why(&answer.text().await.unwrap_or_default()))
    }

    /// The state of the catalog at `address`, if it answers.
    pub async fn status(&self, address: &str) -> Option<Status> {
        let answer = self.http.get(format!("http://{address}/v1/status")).timeout(QUICK).send().await.ok()?;
        answer.error_for_status().ok()?.json().await.ok()
    }

    /// The names of the catalogs that the front end at `address` knows, if it answers.
    pub async fn catalogs_seen_by(&self, address: &str) -> Option<BTreeSet<String>> {
        let answer = self.http.get(format!("http://{address}/v1/cluster")).timeout(QUICK).send().await.ok()?;
        let view: serde_json::Value = answer.error_for_status().ok()?.json().await.ok()?;
        let catalogs = view.get("catalogs")?.as_array()?.iter();
        catalogs.map(|catalog| catalog.get("node")?.as_str().map(str::to_owned)).collect()
    }

    /// The states of all catalogs that answer, by name.
    pub async fn statuses(&self, cluster: &Cluster) -> BTreeMap<String, Status> {
        let asked = cluster.layout.catalogs.iter().map(|node| async {
            // A process that is known to be down or paused need not be waited for.
            let status = if cluster.may_answer(&node.name) { self.status(&node.client).await } else { None };
            Some((node.name.clone(), status?))
        });
        join_all(asked).await.into_iter().flatten().collect()
    }
}

/// The reason in the body of a refusal: of a JSON document its `error` or `detail`, else the text itself.
fn why(body: &str) -> String {
    let document: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let told = ["error", "detail"].iter().find_map(|field| document.get(field)?.as_str());
    match told.unwrap_or(body.trim()) {
        "" => "not ready".into(),
        why => why.into(),
    }
}

/// Today's leader: the one of the highest term among those that claim to lead.
pub fn leader(statuses: &BTreeMap<String, Status>) -> Option<(&str, &Status)> {
    let leaders = statuses.iter().filter(|(_, status)| status.role == "leader");
    leaders.max_by_key(|(_, status)| status.term).map(|(name, status)| (name.as_str(), status))
}

/// The leader, if a majority of all `voters` replicas agree that it leads in its term.
pub fn agreed_leader(statuses: &BTreeMap<String, Status>, voters: usize) -> Option<&str> {
    let (name, leads) = leader(statuses)?;
    let agree = |status: &&Status| status.term == leads.term && status.leader == leads.leader;
    (statuses.values().filter(agree).count() > voters / 2).then_some(name)
}

/// A time to give up at, with the question how much is left.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    from: Instant,
    patience: Duration,
}

impl Deadline {
    /// Begins now.
    pub fn within(patience: Duration) -> Self {
        Self { from: Instant::now(), patience }
    }

    /// Whether it has come.
    pub fn is_over(&self) -> bool {
        self.from.elapsed() >= self.patience
    }

    /// How long it has been.
    pub fn elapsed(&self) -> Duration {
        self.from.elapsed()
    }

    /// How long it was to be.
    pub fn patience(&self) -> Duration {
        self.patience
    }
}
