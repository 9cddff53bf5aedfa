//! The store that is measured: layout 4 with every knob at its default, and a second front end that is like the first but
//! for its cache, which is switched off. Must not know what is measured.

use anyhow::{Context, ensure};
use serde_json::Value;
use tests::{Client, Options, TestCluster};

use crate::{growth::store::Store, system::ours::items_csv};

/// Items of the catalogue, which all have room in the cache.
pub const ITEMS: u64 = 10_000;
/// The front end as it ships.
pub const CACHED: &str = "frontend-1";
/// The front end without a cache.
pub const UNCACHED: &str = "frontend-2";

/// Brings it up.
///
/// # Panics
/// When it does not come up.
pub async fn start() -> anyhow::Result<Store> {
    let options = Options::new().frontends(2).quiet().items_csv(items_csv(ITEMS));
    let (cluster, prepared) = TestCluster::start_after("questions", options, switch_off).await;
    prepared?;
    Ok(Store { cluster, items: ITEMS })
}

/// Gives the second front end a layout of its own.
fn switch_off(cluster: &TestCluster) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(&cluster.cluster.selector)?;
    let path = cluster.cluster.run_dir.join("uncached.toml");
    std::fs::write(&path, format!("cache = false\n{text}"))?;
    let path = path.to_str().context("a path that is no text")?.to_owned();
    cluster.specialise(UNCACHED, |special| special.selector = Some(path));
    Ok(())
}

/// What is left of an item, as of now.
///
/// # Errors
/// When the front end does not say.
pub async fn stock(store: &Store, item: u64) -> anyhow::Result<i64> {
    let url = format!("{}/v1/items/{item}?read=linearizable", store.cluster.url(CACHED));
    let answer = Client::new().try_send(tests::Request::get(url)).await?;
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
    let item: Value = serde_json::from_slice(&answer.body)?;
    item["quantity"].as_i64().context("an item without a quantity")
}
