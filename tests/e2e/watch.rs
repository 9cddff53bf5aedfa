//! `/v1/watch`: changes as Server-Sent Events, ordered, unique, resumable.

use std::time::Duration;

use futures::StreamExt;
use serde_json::Value;
use tests::{Options, Request, Shared, TestCluster, eventually};
use tokio::time::timeout;

use crate::shop::Shop;

/// How long a stream may be silent before the test gives up: bookmarks are due long before.
const SILENCE: Duration = Duration::from_secs(20);

/// One block of an event stream.
#[derive(Debug, Default)]
struct Block {
    id: Option<u64>,
    data: String,
}

impl Block {
    /// The changes, if it is an event and no bookmark.
    fn changes(&self) -> Option<Vec<Value>> {
        let data: Value = serde_json::from_str(&self.data).ok()?;
        let changes = data["changes"].as_array()?.clone();
        assert_eq!(data["revision"].as_u64(), self.id, "the id is the revision");
        (!changes.is_empty()).then_some(changes)
    }
}

/// A client of an event stream.
struct Stream {
    bytes: futures::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    buffer: String,
}

impl Stream {
    /// Opens the stream at `url`, with `Last-Event-ID` when it resumes.
    async fn open(shop: &Shop<'_>, url: &str, last: Option<u64>) -> Self {
        // A client of its own, without the patience that ends a request as a whole.
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let mut request = http.get(url);
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        let answer = timeout(SILENCE, request.send()).await.expect("an answer in time").expect("an answer");
        assert_eq!(answer.status().as_u16(), 200, "{url}");
        let kind = answer.headers()["content-type"].to_str().unwrap_or_default();
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        shop.cluster.say(&format!("watching {url}"));
        Self { bytes: answer.bytes_stream().boxed(), buffer: String::new() }
    }

    async fn next(&mut self) -> Block {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let mut parsed = Block::default();
                for line in block.lines() {
                    let (field, value) = line.split_once(':').unwrap_or((line, ""));
                    let value = value.strip_prefix(' ').unwrap_or(value);
                    match field {
                        "id" => parsed.id = value.parse().ok(),
                        "data" => parsed.data += value,
                        _ => {}
                    }
                }
                self.buffer = rest.to_owned();
                return parsed;
            }
            let part = timeout(SILENCE, self.bytes.next()).await.expect("no bookmark in time");
            let part = part.expect("the stream has ended").expect("the stream broke");
            self.buffer += std::str::from_utf8(&part).expect("UTF-8");
        }
    }

    /// The next change of `item`, with its revision; checks that ids ascend.
    async fn next_of(&mut self, item: u64, last: &mut u64) -> (u64, Value) {
        loop {
            let block = self.next().await;
            let Some(id) = block.id else { continue };
            match block.changes() {
                Some(changes) => {
                    assert!(id > *last, "event {id} after {last}");
                    *last = id;
                    if let Some(change) = changes.iter().find(|change| change["item_number"] == item) {
                        return (id, change.clone());
                    }
                }
                // A bookmark may repeat where the stream stands.
                None => {
                    assert!(id >= *last, "bookmark {id} after {last}");
                    *last = id;
                }
            }
        }
    }
}

/// Every change comes once, in order, with the item as it then was; a stream resumes where another ended; bookmarks
/// come while nothing happens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_is_ordered_complete_and_resumable() {
    let cluster = Shared::get().await;
    let shop = Shop::new(&cluster);
    let item = shop.own_item(1, 100).await;
    let n = item.number;
    for _ in 0..2 {
        let start = shop.get(&format!("/v1/items/{n}?read=linearizable")).await.expect(200).revision();
        let before = shop.stock(n).await;
        let url = format!("{}/v1/watch", cluster.front());
        let mut stream = Stream::open(&shop, &format!("{url}?after={start}"), None).await;
        let mut revisions = Vec::new();
        for _ in 0..10 {
            revisions.push(shop.get(&format!("/update_q/{n}/-1")).await.expect(200).revision());
        }
        let mut last = start;
        for (step, revision) in (1..).zip(&revisions) {
            let (id, change) = stream.next_of(n, &mut last).await;
            assert_eq!((id, change["quantity"].as_u64()), (*revision, Some(before - step)), "{change}");
            assert_eq!(change["type"], "put");
        }
        for (url, last_id) in [(format!("{url}?after={}", revisions[6]), None), (url.clone(), Some(revisions[6]))] {
            let mut resumed = Stream::open(&shop, &url, last_id).await;
            let mut last = revisions[6];
            for revision in &revisions[7..] {
                assert_eq!(resumed.next_of(n, &mut last).await.0, *revision, "resumed");
            }
        }
        let bookmark = loop {
            let block = stream.next().await;
            if block.id.is_some() && block.changes().is_none() {
                break block;
            }
        };
        assert!(bookmark.id >= revisions.last().copied(), "a bookmark while nothing happens: {bookmark:?}");
    }
    shop.withdraw(&item).await;
}

/// An event has all changes of its revision: an order of two items is one event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_atomic() {
    let cluster = Shared::get().await;
    let shop = Shop::new(&cluster);
    let (one, two) = (shop.own_item(1, 5).await, shop.own_item(1, 5).await);
    let start = shop.get(&format!("/v1/items/{}?read=linearizable", two.number)).await.expect(200).revision();
    let mut stream = Stream::open(&shop, &format!("{}/v1/watch?after={start}", cluster.front()), None).await;
    let lines = serde_json::json!({"lines": [{"item_number": one.number, "quantity": 1}, {"item_number": two.number, "quantity": 2}]});
    let placed = shop.post("/v1/orders", lines).await.expect(201).revision();
    loop {
        let block = stream.next().await;
        let Some(changes) = block.changes() else { continue };
        if block.id == Some(placed) {
            let of = |n: u64| changes.iter().find(|change| change["item_number"] == n).expect("both items");
            assert_eq!((of(one.number)["quantity"].as_u64(), of(two.number)["quantity"].as_u64()), (Some(4), Some(3)));
            break;
        }
        assert!(block.id < Some(placed), "the event of revision {placed} did not come");
    }
    shop.withdraw(&one).await;
    shop.withdraw(&two).await;
}

/// The history of changes does not outlive all catalogs: a position from before is 410, and a new watch works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgotten_position_is_410() {
    let cluster = TestCluster::start("compacted", Options::new()).await;
    let shop = Shop::new(&cluster);
    let first = shop.get("/update_c/1/10").await.expect(200).revision();
    for cost in 11..20 {
        shop.get(&format!("/update_c/1/{cost}")).await.expect(200);
    }
    cluster.wait_equal_hashes().await;
    cluster.kill_at_once(&cluster.cluster.nodes());
    cluster.start_all().await.expect("all are back");
    let url = cluster.front() + "/v1/watch";
    for request in [Request::get(format!("{url}?after={first}")), Request::get(&url).header("last-event-id", first)] {
        let gone = eventually("an answer", || async {
            let answer = shop.client.send(request.clone()).await;
            if answer.status == 503 { Err(answer.text()) } else { Ok(answer) }
        })
        .await;
        assert_eq!(gone.status, 410, "{gone:?}");
        assert!(gone.text().contains("compacted"), "{gone:?}");
    }
    let now = shop.get("/v1/items/1?read=linearizable").await.expect(200).revision();
    let mut stream = Stream::open(&shop, &format!("{}/v1/watch?after={now}", cluster.front()), None).await;
    let written = shop.get("/update_c/1/99").await.expect(200).revision();
    assert_eq!(stream.next_of(1, &mut { now }).await.0, written);
}

/// A stream ends or goes on when the replica that feeds it is killed, but never loses a change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_survives_the_death_of_any_replica() {
    let cluster = TestCluster::start("watch-kill", Options::new()).await;
    let shop = Shop::new(&cluster);
    let start = shop.get("/v1/items/1?read=linearizable").await.expect(200).revision();
    let mut stream = Stream::open(&shop, &format!("{}/v1/watch?after={start}", cluster.front()), None).await;
    let mut last = start;
    for victim in cluster.catalogs() {
        cluster.kill(&victim).await;
        for _ in 0..5 {
            let written = shop.get("/update_q/1/-1").await.expect(200).revision();
            assert_eq!(stream.next_of(1, &mut last).await.0, written, "after {victim} was killed");
        }
        cluster.restart(&victim).await;
    }
}
