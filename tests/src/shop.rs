//! A customer's view of a cluster: what the tests ask again and again, in few words.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Answer, Client, Request, TestCluster, eventually};
use serde_json::{Value, json};

mod customers;

pub use customers::{Customers, some_buys};

/// The body of a buy that succeeded.
pub const BOUGHT: &str = "\"Record successfully bought\"";
/// The body of a buy that found nothing to buy.
pub const UNAVAILABLE: &str = "\"Item is unavailable.\"";

/// A cluster and a client that asks it, mostly through the first front end.
#[derive(Debug)]
pub struct Shop<'a> {
    /// The cluster.
    pub cluster: &'a TestCluster,
    /// The client.
    pub client: Client,
}

/// An item that one test has added and no other knows.
#[derive(Debug, Clone)]
pub struct OwnItem {
    /// Its number.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// Its topic.
    pub topic: String,
}

impl<'a> Shop<'a> {
    /// A customer of `cluster`.
    pub fn new(cluster: &'a TestCluster) -> Self {
        Self { cluster, client: Client::new() }
    }

    /// GET at the front end.
    pub async fn get(&self, path: &str) -> Answer {
        self.get_at("frontend-1", path).await
    }

    /// GET at a node.
    pub async fn get_at(&self, node: &str, path: &str) -> Answer {
        self.client.get(self.cluster.url(node) + path).await
    }

    /// POST at the front end.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.post_at("frontend-1", path, body).await
    }

    /// POST at a node.
    pub async fn post_at(&self, node: &str, path: &str, body: Value) -> Answer {
        self.client.post(self.cluster.url(node) + path, body.to_string()).await
    }

    /// PATCH at the front end.
    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.client.send(Request::patch(self.cluster.front() + path, body.to_string())).await
    }

    /// POST under an `Idempotency-Key` at a node.
    pub async fn post_under(&self, key: &str, node: &str, path: &str, body: Value) -> Answer {
        let request = Request::post(self.cluster.url(node) + path, body.to_string());
        self.client.send(request.header("idempotency-key", key)).await
    }

    /// Adds an item with a topic and a title that nobody else has.
    pub async fn own_item(&self, cost: u64, quantity: u64) -> OwnItem {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let (title, topic) = (format!("Book {n} of its test"), format!("topic_{n}"));
        let body = json!({"title": title, "topic": topic, "cost": cost, "quantity": quantity});
        let added = self.post("/v1/items", body).await.expect(201).json();
        let number = added["item_number"].as_u64().expect("an item has a number");
        OwnItem { number, title, topic }
    }

    /// Withdraws an item.
    pub async fn withdraw(&self, item: &OwnItem) {
        self.client
            .send(Request::delete(format!("{}/v1/items/{}", self.cluster.front(), item.number)))
            .await
            .expect(204);
    }

    /// Buys one unit through the front end.
    pub async fn buy(&self, item: u64) -> Answer {
        self.get(&format!("/buy/{item}")).await
    }

    /// `/lookup` at the front end as JSON.
    pub async fn lookup(&self, item: u64) -> Value {
        self.get(&format!("/lookup/{item}")).await.expect(200).json()
    }

    /// Units in stock, as of every write acknowledged before.
    pub async fn stock(&self, item: u64) -> u64 {
        let answer = self.get(&format!("/v1/items/{item}?read=linearizable")).await.expect(200).json();
        answer["quantity"].as_u64().expect("an item has a quantity")
    }

    /// All orders, oldest first, as a node tells them.
    pub async fn ledger(&self, node: &str) -> Vec<Value> {
        let mut orders = Vec::new();
        let mut after = String::new();
        loop {
            let page = self.get_at(node, &format!("/v1/orders?limit=1000{after}")).await.expect(200).json();
            orders.extend(page["orders"].as_array().expect("a page has orders").iter().cloned());
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return orders,
            }
        }
    }

    /// Units of `item` in all orders.
    pub async fn units_ordered(&self, item: u64) -> u64 {
        let ledger = self.ledger("frontend-1").await;
        let lines = ledger.iter().flat_map(|order| order["lines"].as_array().expect("an order has lines"));
        lines.filter(|line| line["item_number"] == item).filter_map(|line| line["quantity"].as_u64()).sum()
    }

    /// Looks `item` up until the cache answers.
    pub async fn warm(&self, path: &str) -> Answer {
        eventually(&format!("{path} is answered from the cache"), || async {
            let answer = self.get(path).await.expect(200);
            if answer.is_hit() { Ok(answer) } else { Err(format!("{:?}", answer.header("cache-status"))) }
        })
        .await
    }
}

/// The client flow of the original store (B15), from `stock` of item 1 on.
///
/// # Panics
/// When an answer is another.
pub async fn client_flow(shop: &Shop<'_>, stock: u64) {
    let list = shop.get("/list").await.expect(200).json();
    assert_eq!(list[0]["quantity"], stock);
    let set = shop.get("/update_c/1/10").await.expect(200).text();
    assert_eq!(set, "\"Cost of item :1 successfully updated to:10\"");
    let found = shop.get("/search/Distributed_systems").await.expect(200).json();
    let numbers: Vec<_> = found.as_array().expect("an array").iter().map(|row| row["item_number"].as_u64()).collect();
    assert_eq!(numbers, [Some(1), Some(2), Some(5)]);
    assert_eq!(shop.buy(1).await.expect(200).text(), BOUGHT);
    let lookup = shop.get("/lookup/1").await.expect(200).json();
    assert_eq!((&lookup["cost"], &lookup["quantity"]), (&json!(10), &json!(stock - 1)));
    let quantity = shop.get("/get_quantity/1").await.expect(200).json();
    assert_eq!(quantity, json!({"quantity": stock - 1}));
    let list = shop.get("/list").await.expect(200).json();
    assert_eq!((&list[0]["cost"], &list[0]["quantity"]), (&json!(10), &json!(stock - 1)));
    assert_eq!(list.as_array().map(Vec::len), Some(7));
}
