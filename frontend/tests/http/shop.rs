//! A front end over the fake catalog, and a client of it.

use std::{path::Path, sync::Arc, time::Duration};

use catalog_client::{Item, Version};
use cluster_config::Layout;
use frontend::{front::Front, server};
use reqwest::{Method, RequestBuilder, Response};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use crate::fake::{Fake, eventually};

/// What a test needs; the front end stops when it is dropped.
pub struct Shop {
    pub fake: Fake,
    pub url: String,
    client: reqwest::Client,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

/// An answer, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    pub status: u16,
    pub source: String,
    pub revision: u64,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

impl Shop {
    /// With the first two books, fresh and ready.
    pub async fn open() -> Self {
        Self::open_with("", vec![book(1, "Distributed_systems", 100), book(3, "Graduate_School", 5)]).await
    }

    /// `knobs`: lines of the layout.
    pub async fn open_with(knobs: &str, items: Vec<Item>) -> Self {
        let shop = Self::closed(knobs, items).await;
        eventually("the front end is ready", async || shop.get("/readyz").await.status == 200).await;
        eventually("the stream is live", async || shop.get("/v1/cluster").await.body.contains("\"live\"")).await;
        eventually("the order server is seen", async || {
            shop.get("/v1/cluster")
                .await
                .body
                .split_once("\"orders\"")
                .is_some_and(|(_, orders)| orders.contains("true"))
        })
        .await;
        shop
    }

    /// Not waited for.
    pub async fn closed(knobs: &str, items: Vec<Item>) -> Self {
        let (fake, replica, order) = Fake::start(items).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let text = format!(
            "{knobs}\n[[catalog]]\nid = 1\nclient = \"127.0.0.1:1\"\npeer = \"{replica}\"\n[[order]]\nid = 1\naddress = \"{order}\"\n[[frontend]]\nid = 1\naddress = \"{address}\"\n"
        );
        let layout = Layout::parse(&text, Path::new("test.toml")).unwrap();
        let (stop, stopped) = oneshot::channel();
        let front: Arc<Front> = Front::start(layout, "frontend-1");
        let server = tokio::spawn(server::run(front, listener, async move {
            let _ = stopped.await;
        }));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { fake, url: format!("http://{address}"), client, stop, server }
    }

    /// Tells the front end to stop. What is returned ends with it.
    pub fn stop(self) -> JoinHandle<()> {
        let _ = self.stop.send(());
        self.server
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(self.request(Method::GET, path)).await
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url)).timeout(Duration::from_secs(20))
    }

    pub async fn send(&self, request: RequestBuilder) -> Reply {
        Reply::of(request.send().await.unwrap()).await
    }

    pub async fn json(&self, method: Method, path: &str, body: &str) -> Reply {
        let request = self.request(method, path).header("content-type", "application/json").body(body.to_owned());
        self.send(request).await
    }

    /// A read of `path` begun in the background.
    pub fn begin(&self, path: &str) -> tokio::task::JoinHandle<Reply> {
        let request = self.request(Method::GET, path);
        tokio::spawn(async move { Reply::of(request.send().await.unwrap()).await })
    }

    /// Waits until `n` reads have reached the replica.
    pub async fn reads(&self, n: usize) {
        eventually("reads reach the replica", async || self.fake.with(|world| world.reads) >= n).await;
    }

    /// Waits until the front end has seen all changes.
    pub async fn caught_up(&self) {
        let revision = self.fake.with(|world| world.revision);
        let expected = format!("\"position\":{revision},");
        eventually("the position", async || self.get("/v1/cluster").await.body.contains(&expected)).await;
    }
}

impl Reply {
    async fn of(response: Response) -> Self {
        let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        Self {
            status: response.status().as_u16(),
            source: header("cache-status").to_owned(),
            revision: header("x-revision").parse().unwrap_or(0),
            headers: response.headers().clone(),
            body: response.text().await.unwrap_or_else(|error| format!("cut short: {error}")),
        }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn is_hit(&self) -> bool {
        self.source == "frontend-1; hit"
    }

    pub fn is_miss(&self) -> bool {
        self.source == "frontend-1; fwd=uri-miss"
    }
}

pub fn book(item_number: u64, topic: &str, quantity: u64) -> Item {
    Item {
        item_number,
        title: format!("Book {item_number}").into(),
        topic: topic.into(),
        cost: 50,
        quantity,
        version: Version { revision: 2, n: 0 },
    }
}
