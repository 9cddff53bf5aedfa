//! Which state an answer comes from: linearizable reads, minimum revisions, the floor, the freshness bound.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::{Answer, Client, Options, Request, Shared, TestCluster};

use crate::shop::Shop;

/// A linearizable read reflects every write acknowledged anywhere before it, also at another front end whose cache
/// holds the item.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn linearizable_reads_see_every_acknowledged_write() {
    let cluster = TestCluster::start("linearizable", Options::new().frontends(2)).await;
    let shop = Shop::new(&cluster);
    let elsewhere = cluster.url("frontend-2");
    for cost in 100..130 {
        shop.client.get(format!("{elsewhere}/lookup/1")).await.expect(200);
        let written = shop.get(&format!("/update_c/1/{cost}")).await.expect(200).revision();
        for path in ["/lookup/1?read=linearizable", "/v1/items/1?read=linearizable"] {
            let read = shop.client.get(format!("{elsewhere}{path}")).await.expect(200);
            assert_eq!(read.json()["cost"], cost, "{path}: {read:?}");
            assert!(read.revision() >= written);
        }
    }
}

/// `X-Min-Revision` is never answered from an older state, at a front end and at a replica; a revision that does
/// not come is 503 within the deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minimum_revision_is_honoured() {
    let cluster = TestCluster::start("min-revision", Options::new().frontends(2).set("deadline_ms", 1_500)).await;
    let shop = Shop::new(&cluster);
    let asked = |node: &str, path: &str, revision: u64| {
        Request::get(cluster.url(node) + path).header("x-min-revision", revision)
    };
    for cost in 100..120 {
        let written = shop.get(&format!("/update_c/1/{cost}")).await.expect(200).revision();
        for node in ["frontend-2", "catalog-1", "catalog-2", "catalog-3"] {
            let read = shop.client.send(asked(node, "/lookup/1", written)).await.expect(200);
            assert_eq!(read.json()["cost"], cost, "{node}: {read:?}");
            assert!(read.revision() >= written, "{node}: {read:?}");
        }
    }
    for node in ["frontend-1", "catalog-1"] {
        let began = Instant::now();
        let answer = shop.client.send(asked(node, "/lookup/1", 1_000_000)).await;
        assert_eq!(answer.status, 503, "{node}: {answer:?}");
        assert!(answer.header("retry-after").is_some(), "{node}: {answer:?}");
        assert!(began.elapsed() < Duration::from_secs(3), "{node} took {:?}", began.elapsed());
    }
    let malformed = Request::get(cluster.front() + "/lookup/1").header("x-min-revision", "soon");
    assert_eq!(shop.client.send(malformed).await.status, 400);
}

/// Through one front end nobody sees an item go back, whatever is read and written meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_front_end_never_goes_back() {
    let cluster = Shared::get().await;
    let shop = Shop::new(&cluster);
    let item = shop.own_item(1, 1_000).await;
    let n = item.number;
    let writer = async {
        for _ in 0..150 {
            let before = Instant::now();
            let written = shop.get(&format!("/update_q/{n}/-1")).await.expect(200);
            let read = shop.get(&format!("/lookup/{n}")).await.expect(200);
            assert!(read.revision() >= written.revision(), "own write not seen: {read:?} {:?}", before.elapsed());
        }
    };
    let reader = |path: String| {
        let front = cluster.front();
        async move {
            let client = Client::new();
            let mut last = (0, u64::MAX);
            let quantity = |answer: &Answer| {
                let body = answer.json();
                let row = if body.is_array() { body[0].clone() } else { body };
                row["quantity"].as_u64()
            };
            loop {
                let answer = client.get(format!("{front}{path}")).await.expect(200);
                let seen = quantity(&answer).expect("a quantity");
                assert!(seen <= last.1, "{path}: {seen} left at {} after {last:?}", answer.revision());
                last = (answer.revision(), seen);
                if seen == 850 {
                    return;
                }
            }
        }
    };
    let linearizable = format!("/lookup/{n}?read=linearizable");
    tokio::join!(writer, reader(format!("/lookup/{n}")), reader(format!("/get_quantity/{n}")), reader(linearizable));
    shop.withdraw(&item).await;
}

/// Default reads follow writes made elsewhere within the freshness bound, also while the front end's stream comes
/// from a replica that is cut off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn default_reads_are_no_older_than_the_freshness_bound() {
    let cluster = TestCluster::start("freshness", Options::new()).await;
    let shop = Shop::new(&cluster);
    let bound = cluster.cluster.layout.freshness;
    for cut_off in cluster.followers().await {
        shop.warm("/lookup/1").await;
        cluster.pause(&cut_off).await;
        let leader = cluster.leader().await;
        for cost in 0..3 {
            let cost = cost + 10 * cut_off.bytes().last().map_or(0, u64::from);
            let set = shop.get_at(&leader, &format!("/update_c/1/{cost}")).await.expect(200);
            let acknowledged = Instant::now();
            loop {
                let asked = Instant::now();
                let read = shop.get("/lookup/1").await.expect(200);
                if read.json()["cost"] == cost {
                    break;
                }
                assert!(asked < acknowledged + bound, "still old {:?} after {set:?}: {read:?}", acknowledged.elapsed());
            }
        }
        cluster.resume(&cut_off);
        cluster.wait_caught_up().await;
    }
}

/// `/v1` answers name the revision, the replica and what the cache did.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_name_revision_replica_and_cache() {
    let cluster = Shared::get().await;
    let shop = Shop::new(&cluster);
    let item = shop.own_item(1, 5).await;
    for path in [format!("/v1/items/{}", item.number), "/v1/items?limit=2".to_owned(), "/v1/orders?limit=2".to_owned()]
    {
        let answer = shop.get(&path).await.expect(200);
        assert!(answer.revision() > 0 && answer.served_by().starts_with("catalog-"), "{path}: {answer:?}");
        assert!(["hit", "fwd=uri-miss", "fwd=bypass", "fwd=stale"].contains(&answer.cache()), "{path}: {answer:?}");
    }
    let bypass = shop.get(&format!("/lookup/{}?read=linearizable", item.number)).await.expect(200);
    assert!(bypass.cache() == "fwd=bypass" || bypass.is_hit(), "{bypass:?}");
    let placed = shop.post("/v1/orders", json!({"lines": [{"item_number": item.number, "quantity": 1}]})).await;
    assert_eq!(placed.expect(201).served_by(), cluster.leader().await);
    shop.withdraw(&item).await;
}
