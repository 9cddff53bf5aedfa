//! B1, B3, B4, B5: reads spread over the replicas, the cache, and its invalidation.

use std::collections::BTreeMap;

use serde_json::json;
use tests::{Answer, Options, Request, Shared, TestCluster, eventually};

use crate::shop::{BOUGHT, Shop};

/// Whether a replica was asked; `stale` stands for a machine so busy that the freshness bound has passed.
fn is_miss(answer: &Answer) -> bool {
    ["fwd=uri-miss", "fwd=stale"].contains(&answer.cache())
}

/// B1: reads that miss the cache are spread round robin over the replicas; each answer names the one that served it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b1_misses_are_spread_round_robin_over_the_replicas() {
    let cluster = TestCluster::start("b1", Options::new().set("cache", false)).await;
    let shop = Shop::new(&cluster);
    eventually("the front end sees every replica", || async {
        let view = shop.get("/v1/cluster").await.expect(200).json();
        let all_active = view["catalogs"].as_array().is_some_and(|all| all.iter().all(|one| one["active"] == true));
        if all_active { Ok(()) } else { Err(view.to_string()) }
    })
    .await;
    let mut served = BTreeMap::new();
    for _ in 0..10 {
        for item in 1..=3 {
            let answer = shop.get(&format!("/lookup/{item}")).await.expect(200);
            assert!(!answer.is_hit(), "the cache is off");
            *served.entry(answer.served_by().to_owned()).or_insert(0) += 1;
        }
    }
    cluster.say(&format!("30 lookups were served by {served:?}"));
    assert_eq!(served.keys().collect::<Vec<_>>(), ["catalog-1", "catalog-2", "catalog-3"]);
    assert!(served.values().all(|count| (7..=13).contains(count)), "not round robin: {served:?}");
}

/// B3: the first lookup goes to a replica, the next ones are served from the cache; lookup and quantity have an
/// entry each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b3_the_second_lookup_is_served_from_the_cache() {
    let cluster = Shared::get().await;
    let shop = Shop::new(&cluster);
    let item = shop.own_item(5, 9).await;
    for path in [format!("/lookup/{}", item.number), format!("/get_quantity/{}", item.number)] {
        let first = shop.get(&path).await.expect(200);
        assert!(is_miss(&first), "{path}: the other view's entry does not serve this one: {first:?}");
        let second = shop.warm(&path).await;
        assert_eq!(second.body, first.body);
        assert_eq!(second.served_by(), first.served_by(), "a hit names the replica of its fill");
        assert!(second.revision() >= first.revision());
    }
    shop.withdraw(&item).await;
}

/// B3: lists and searches are cached, and go when an item of their topic changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b3_searches_are_cached_until_their_topic_changes() {
    let cluster = Shared::get().await;
    let shop = Shop::new(&cluster);
    let item = shop.own_item(5, 9).await;
    let search = format!("/search/{}", item.topic);
    shop.warm(&search).await;
    let new_title = json!({"title": "Another title"});
    shop.patch(&format!("/v1/items/{}", item.number), new_title).await.expect(200);
    let after = shop.get(&search).await.expect(200);
    assert!(after.text().contains("Another title"), "{after:?}");
    assert!(!after.is_hit());
    let moved = json!({"topic": format!("{}_moved", item.topic)});
    shop.patch(&format!("/v1/items/{}", item.number), moved).await.expect(200);
    assert_eq!(shop.get(&search).await.expect(200).text(), "[]", "an item that leaves a topic leaves its search");
    shop.withdraw(&item).await;
}

/// B4: a buy or an update drops the item's entries at once; the next lookup goes to a replica and is up to date.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b4_a_write_invalidates_the_item() {
    let cluster = Shared::get().await;
    let shop = Shop::new(&cluster);
    let item = shop.own_item(5, 9).await;
    let (lookup, quantity) = (format!("/lookup/{}", item.number), format!("/get_quantity/{}", item.number));
    let writes = [format!("/buy/{}", item.number), format!("/update_q/{}/3", item.number)];
    for (write, left) in writes.iter().zip([8, 11]) {
        shop.warm(&lookup).await;
        shop.warm(&quantity).await;
        let written = shop.get(write).await.expect(200);
        for path in [&lookup, &quantity] {
            let read = shop.get(path).await.expect(200);
            assert_eq!(read.json()["quantity"], left, "{path} after {write}");
            assert!(!read.is_hit(), "{path} after {write}: {read:?}");
            assert!(read.revision() >= written.revision());
        }
    }
    shop.withdraw(&item).await;
}

/// B4: the invalidation is pushed to every front end as the write commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b4_a_write_invalidates_at_every_front_end() {
    let cluster = TestCluster::start("b4", Options::new().frontends(2)).await;
    let shop = Shop::new(&cluster);
    let elsewhere = cluster.url("frontend-2") + "/lookup/1";
    for left in [99, 98, 97] {
        eventually("a hit at the other front end", || async {
            let answer = shop.client.get(&elsewhere).await;
            if answer.is_hit() { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
        assert_eq!(shop.buy(1).await.text(), BOUGHT);
        let began = std::time::Instant::now();
        eventually("the other front end tells the new stock", || async {
            let answer = shop.client.get(&elsewhere).await;
            if answer.json()["quantity"] == left { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
        cluster.say(&format!("the other front end followed within {:.1} ms", began.elapsed().as_secs_f64() * 1e3));
    }
}

/// B5: invalidation is per item.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b5_writes_to_one_item_leave_the_others_entries() {
    let cluster = Shared::get().await;
    let shop = Shop::new(&cluster);
    let (written, left_alone) = (shop.own_item(5, 9).await, shop.own_item(6, 9).await);
    let filled = shop.warm(&format!("/lookup/{}", left_alone.number)).await;
    for cost in 10..13 {
        shop.get(&format!("/update_c/{}/{cost}", written.number)).await.expect(200);
    }
    let hit = shop.warm(&format!("/lookup/{}", left_alone.number)).await;
    assert_eq!(hit.revision(), filled.revision(), "the entry is the one of before the writes");
    shop.withdraw(&written).await;
    shop.withdraw(&left_alone).await;
}

/// The compatible `/invalidate` drops one item's entries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalidate_drops_the_items_entries() {
    let cluster = Shared::get().await;
    let shop = Shop::new(&cluster);
    let item = shop.own_item(5, 9).await;
    let lookup = format!("/lookup/{}", item.number);
    shop.warm(&lookup).await;
    shop.get(&format!("/invalidate/{}", item.number)).await.expect(200);
    let read = shop.get(&lookup).await.expect(200);
    assert!(is_miss(&read), "{read:?}");
    shop.withdraw(&item).await;
}

/// The counters of `/v1/cluster` follow what the cache does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_document_counts_hits_and_misses() {
    let cluster = TestCluster::start("counters", Options::single()).await;
    let shop = Shop::new(&cluster);
    let counters = || async { shop.get("/v1/cluster").await.expect(200).json()["frontend"]["cache"].clone() };
    let before = counters().await;
    shop.get("/lookup/5").await.expect(200);
    shop.warm("/lookup/5").await;
    let after = counters().await;
    for counter in ["hits", "misses", "entries"] {
        assert!(after[counter].as_u64() > before[counter].as_u64(), "{counter}: {before} then {after}");
    }
    assert_eq!(shop.buy(5).await.text(), BOUGHT);
    eventually("the invalidation is counted", || async {
        let now = counters().await;
        if now["invalidations"].as_u64() > before["invalidations"].as_u64() { Ok(()) } else { Err(now) }
    })
    .await;
}

/// The front end of a layout with `cache = false` asks a replica every time, and reads its own writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cache_can_be_switched_off() {
    let cluster = TestCluster::start("uncached", Options::single().set("cache", false)).await;
    let shop = Shop::new(&cluster);
    for left in [99, 98, 97] {
        assert_eq!(shop.buy(3).await.text(), BOUGHT);
        for _ in 0..3 {
            let answer = shop.client.send(Request::get(cluster.front() + "/lookup/3")).await.expect(200);
            assert!(!answer.is_hit(), "{answer:?}");
            assert_eq!(answer.json()["quantity"], left);
        }
    }
}
