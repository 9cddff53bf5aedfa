//! What a cluster at rest holds, read from each replica and from the front end: one half of what checks judge. Must not
//! know what clients did.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, bail, ensure};
use catalog_client::{
    client::{Catalog, Options, Peer},
    protocol::{Data, ReadAt, View},
};
use cluster_config::CatalogNode;
use serde::Deserialize;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    client::{Client, Request},
    cluster::TestCluster,
    history::{Final, Item, LedgerOrder, Replica},
};

/// Orders in a page.
const PAGE: u32 = 1000;
/// How long one read may take.
const READ_PATIENCE: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
struct Listed {
    item_number: Item,
    quantity: i64,
    cost: u64,
}

#[derive(Deserialize)]
struct OfTopic {
    item_number: Item,
    topic: String,
}

#[derive(Deserialize)]
struct Page {
    orders: Vec<PagedOrder>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct PagedOrder {
    id: Uuid,
    revision: u64,
    lines: Vec<PagedLine>,
}

#[derive(Deserialize)]
struct PagedLine {
    item_number: Item,
    quantity: u64,
}

/// The stock of all items as the server at `url` lists it.
///
/// # Errors
/// When it does not.
pub async fn stock(client: &Client, url: &str) -> anyhow::Result<BTreeMap<Item, i64>> {
    Ok(books(client, url).await?.into_iter().map(|(item, (stock, _))| (item, stock)).collect())
}

/// Stock and cost of all items as the server at `url` lists them.
///
/// # Errors
/// When it does not.
pub async fn books(client: &Client, url: &str) -> anyhow::Result<BTreeMap<Item, (i64, u64)>> {
    let answer = client.try_send(Request::get(format!("{url}/list"))).await?;
    ensure!(answer.status == 200, "{url}/list: {answer:?}");
    parse_books(&answer.body)
}

/// Stock and cost of all items out of a list.
///
/// # Errors
/// When it is none.
pub fn parse_books(list: &[u8]) -> anyhow::Result<BTreeMap<Item, (i64, u64)>> {
    let items: Vec<Listed> = serde_json::from_slice(list).context("a list of another shape")?;
    Ok(items.into_iter().map(|item| (item.item_number, (item.quantity, item.cost))).collect())
}

/// The topics that the server at `url` lists, with the items of each.
///
/// # Errors
/// When it does not.
pub async fn topics(client: &Client, url: &str) -> anyhow::Result<Vec<(String, Vec<Item>)>> {
    let answer = client.try_send(Request::get(format!("{url}/list"))).await?;
    ensure!(answer.status == 200, "{url}/list: {answer:?}");
    let items: Vec<OfTopic> = serde_json::from_slice(&answer.body).context("a list of another shape")?;
    let mut topics: BTreeMap<String, Vec<Item>> = BTreeMap::new();
    for item in items {
        topics.entry(item.topic).or_default().push(item.item_number);
    }
    Ok(topics.into_iter().collect())
}

/// Waits until all replicas have applied the same, and reads everything. No writes may go on.
///
/// # Errors
/// When something cannot be read.
pub async fn observe(cluster: &TestCluster, before: &BTreeMap<Item, (i64, u64)>) -> anyhow::Result<Final> {
    let client = Client::new();
    cluster.try_equal_hashes().await?;
    let initial = before.iter().map(|(item, (stock, _))| (*item, *stock)).collect();
    let costs = before.iter().map(|(item, (_, cost))| (*item, *cost)).collect();
    let mut replicas = Vec::new();
    for node in &cluster.cluster.layout.catalogs {
        let status = cluster.try_status(&node.name).await?;
        let books = books(&client, &cluster.url(&node.name)).await?;
        replicas.push(Replica {
            name: node.name.clone(),
            applied: status.applied,
            state_hash: status.state_hash,
            stock: books.iter().map(|(item, (stock, _))| (*item, *stock)).collect(),
            costs: books.iter().map(|(item, (_, cost))| (*item, *cost)).collect(),
            ledger: own_ledger(&cluster.cluster.layout.cluster, node).await?,
        });
    }
    let ledger = paged_ledger(&client, &cluster.front()).await?;
    Ok(Final { initial, costs, ledger, replicas })
}

/// The ledger as the front end pages it.
async fn paged_ledger(client: &Client, front: &str) -> anyhow::Result<Vec<LedgerOrder>> {
    let mut ledger = Vec::new();
    let mut path = first_page();
    loop {
        let answer = client.try_send(Request::get(format!("{front}{path}"))).await?;
        ensure!(answer.status == 200, "{path}: {answer:?}");
        let (orders, next) = parse_page(&answer.body)?;
        ledger.extend(orders);
        match next {
            Some(next) => path = next,
            None => return Ok(ledger),
        }
    }
}

/// The path of the first page of the ledger.
pub fn first_page() -> String {
    format!("/v1/orders?limit={PAGE}")
}

/// The orders of a page, and the path of the next one.
///
/// # Errors
/// When the page has another shape.
pub fn parse_page(page: &[u8]) -> anyhow::Result<(Vec<LedgerOrder>, Option<String>)> {
    let Page { orders, next } = serde_json::from_slice(page).context("a page of another shape")?;
    let orders = orders.into_iter().map(|order| LedgerOrder {
        key: order.id,
        revision: order.revision,
        lines: order.lines.iter().map(|line| (line.item_number, line.quantity)).collect(),
    });
    Ok((orders.collect(), next.map(|next| format!("{}&after={next}", first_page()))))
}

/// The ledger as one replica has it, whatever the others say: read at its peer port, from its own state.
///
/// # Errors
/// When it cannot be read.
pub async fn own_ledger(cluster: &str, node: &CatalogNode) -> anyhow::Result<Vec<LedgerOrder>> {
    let peer = Peer { id: node.id, name: node.name.clone(), address: node.listen_peer.clone() };
    let catalog =
        Catalog::new(Options { cluster: cluster.to_owned(), sender: "tests".to_owned(), replicas: vec![peer] });
    let mut ledger = Vec::new();
    let mut after = None;
    loop {
        let view = View::Orders { after, limit: PAGE };
        let read = catalog.read(Some(node.id), &view, ReadAt::Local, Instant::now() + READ_PATIENCE).await?;
        let Data::Orders { orders, more } = read.data else { bail!("{} answered another view", node.name) };
        after = orders.last().map(|order| order.version);
        ledger.extend(orders.into_iter().map(|order| LedgerOrder {
            key: Uuid::from_u128(order.id.0),
            revision: order.version.revision,
            lines: order.lines.iter().map(|line| (line.item_number, line.quantity)).collect(),
        }));
        if !more {
            return Ok(ledger);
        }
    }
}
