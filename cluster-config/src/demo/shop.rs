//! A client of the compatible surface, as the store's customers have it.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, de::DeserializeOwned};

use crate::ask::Ask;

/// How long a request may take: more than the front end's own deadline.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a buy answers that went well.
const BOUGHT: &str = "Record successfully bought";

/// Talks to one front end, or to any server of the compatible surface. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shop {
    ask: Ask,
    address: String,
}

/// A line of the list.
#[derive(Debug, Deserialize)]
pub struct Item {
    /// Its number.
    pub item_number: u64,
    /// Its topic.
    pub topic: String,
    /// Its cost.
    pub cost: u64,
    /// Units in stock.
    pub quantity: u64,
}

/// What a lookup answers.
#[derive(Debug, Deserialize)]
pub struct Book {
    /// Its title.
    pub title: String,
    /// Its cost.
    pub cost: u64,
    /// Units in stock.
    pub quantity: u64,
}

#[derive(Deserialize)]
struct Quantity {
    quantity: u64,
}

/// What a front end says of the cluster, as far as it matters here.
#[derive(Deserialize)]
struct View {
    catalogs: Vec<Seen>,
}

#[derive(Deserialize)]
struct Seen {
    node: String,
    active: bool,
}

impl Shop {
    /// A client of the server at `address`.
    pub fn new(ask: Ask, address: String) -> Self {
        Self { ask, address }
    }

    /// The same customer at another server.
    pub fn at(&self, address: &str) -> Self {
        Self { ask: self.ask.clone(), address: address.to_owned() }
    }

    /// All items.
    ///
    /// # Errors
    /// When the answer is not 200 or not of its shape; so below.
    pub async fn list(&self) -> anyhow::Result<Vec<Item>> {
        self.get("/list").await
    }

    /// The books of a topic.
    ///
    /// # Errors
    /// As of [`Shop::list`].
    pub async fn search(&self, topic: &str) -> anyhow::Result<Vec<serde_json::Value>> {
        self.get(&format!("/search/{topic}")).await
    }

    /// One book.
    ///
    /// # Errors
    /// As of [`Shop::list`].
    pub async fn lookup(&self, item: u64) -> anyhow::Result<Book> {
        self.get(&format!("/lookup/{item}")).await
    }

    /// Units of a book in stock.
    ///
    /// # Errors
    /// As of [`Shop::list`].
    pub async fn quantity(&self, item: u64) -> anyhow::Result<u64> {
        Ok(self.get::<Quantity>(&format!("/get_quantity/{item}")).await?.quantity)
    }

    /// Sets a cost; returns what the server says.
    ///
    /// # Errors
    /// As of [`Shop::list`].
    pub async fn set_cost(&self, item: u64, cost: u64) -> anyhow::Result<String> {
        let said: String = self.get(&format!("/update_c/{item}/{cost}")).await?;
        ensure!(said.contains("successfully"), "setting the cost of item {item} was answered: {said}");
        Ok(said)
    }

    /// Buys one; returns what the server says.
    ///
    /// # Errors
    /// As of [`Shop::list`], and when nothing was bought.
    pub async fn must_buy(&self, item: u64) -> anyhow::Result<String> {
        let said: String = self.get(&format!("/buy/{item}")).await?;
        ensure!(said == BOUGHT, "buying item {item} was answered: {said}");
        Ok(said)
    }

    /// Whether the front end counts a catalog among the living.
    ///
    /// # Errors
    /// As of [`Shop::list`].
    pub async fn sees_active(&self, catalog: &str) -> anyhow::Result<bool> {
        let view: View = self.get("/v1/cluster").await?;
        let seen = view.catalogs.iter().find(|seen| seen.node == catalog);
        Ok(seen.with_context(|| format!("/v1/cluster does not name {catalog}"))?.active)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let url = format!("http://{}{path}", self.address);
        let sent = self.ask.http().get(&url).timeout(PATIENCE).send().await;
        let answer = sent.with_context(|| format!("no answer to {path}"))?;
        let status = answer.status();
        let text = answer.text().await.with_context(|| format!("the answer to {path} broke off"))?;
        if !status.is_success() {
            bail!("{path} was answered {status}: {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("{path} was answered {text:?}"))
    }
}
