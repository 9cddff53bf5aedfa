//! Our cluster, as layout 4 has it, on free ports: three catalogs, two order servers, one front end, every knob at its
//! default. Must not know what is measured.

use std::{fmt::Write, thread};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use tests::{Answer, Client, Options, TestCluster, cluster::STOP_PATIENCE};

/// Items of the catalogue: more than the front end's cache holds, so that items asked in turn are never there.
pub const ITEMS: u64 = 150_000;
/// Of each item. What is bought in a run is far less.
pub const STOCK: u64 = 1_000_000_000;
/// The item that all buy.
pub const HOT: u64 = 1;
/// The item that is looked up and that nobody buys.
pub const CACHED: u64 = 140_000;
/// The item that is bought while leaders are killed.
pub const CONTESTED: u64 = 139_999;
/// Items that were not bought and are not cached: more than the cache holds, asked for in turn.
pub const COLD: (u64, u64) = (20_001, 139_000);
/// Headers that every server makes itself.
const OWN_HEADERS: [&str; 2] = ["date", "content-length"];

/// The answer to a cached lookup.
#[derive(Debug, Clone)]
pub struct Page {
    /// Names and values, in order, without those that a server adds itself.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// The cluster.
#[derive(Debug)]
pub struct Ours {
    /// Its processes.
    pub cluster: TestCluster,
    /// A cached lookup of [`CACHED`].
    pub page: Page,
}

impl Ours {
    /// Brings it up with its items.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn set_up() -> Self {
        let cluster = TestCluster::start("bench", Options::new().quiet().items_csv(items_csv(ITEMS))).await;
        let page = cached_page(&cluster, CACHED).await;
        Self { cluster, page }
    }

    /// `host:port` of the front end.
    pub fn address(&self) -> String {
        self.cluster.front().trim_start_matches("http://").to_owned()
    }

    /// What is left of an item, as of now.
    ///
    /// # Errors
    /// When the front end does not say.
    pub async fn stock(&self, item: u64) -> anyhow::Result<u64> {
        let url = format!("{}/v1/items/{item}?read=linearizable", self.cluster.front());
        Client::new().get(&url).await.json()["quantity"].as_u64().with_context(|| format!("no quantity of item {item}"))
    }

    /// Starts all servers on their data, and waits until they serve.
    ///
    /// # Errors
    /// When they do not.
    pub async fn start(&self) -> anyhow::Result<()> {
        self.cluster.start_all().await
    }

    /// As [`stop_all`] does.
    ///
    /// # Errors
    /// When one does not end.
    pub async fn stop(&self) -> anyhow::Result<()> {
        stop_all(&self.cluster).await
    }
}

/// Stops all servers of a cluster at once; their data stays.
///
/// # Errors
/// When one does not end.
pub async fn stop_all(cluster: &TestCluster) -> anyhow::Result<()> {
    let cluster = cluster.cluster.clone();
    tokio::task::spawn_blocking(move || {
        thread::scope(|scope| {
            let stop = |node: String| {
                let cluster = &cluster;
                scope.spawn(move || match cluster.process(&node) {
                    Some(_) => cluster.stop(&node, STOP_PATIENCE),
                    None => Ok(()),
                })
            };
            let stopping: Vec<_> = cluster.nodes().into_iter().map(stop).collect();
            stopping.into_iter().try_for_each(|one| one.join().map_err(|_| anyhow!("stopping panicked"))?)
        })
    })
    .await
    .context("stopping our cluster")?
}

/// So many items as the CSV that a layout names, each with a stock of [`STOCK`].
pub fn items_csv(count: u64) -> String {
    let mut items = "item_number,title,topic,cost,quantity\n".to_owned();
    for item in 1..=count {
        // Writing to a string cannot fail.
        let _ = writeln!(items, "{item},A book of some length: {item},Topic_{},50,{STOCK}", item % 100);
    }
    items
}

/// The answer to a cached lookup of an item.
pub async fn cached_page(cluster: &TestCluster, item: u64) -> Page {
    let (http, url) = (Client::new(), format!("{}/lookup/{item}", cluster.front()));
    http.get(&url).await.expect(200);
    page_of(&http.get(&url).await.expect(200))
}

fn page_of(answer: &Answer) -> Page {
    let headers = answer.headers.iter().filter(|(name, _)| !OWN_HEADERS.contains(&name.as_str()));
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers = headers.map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect();
    Page { headers, body: answer.body.clone() }
}
