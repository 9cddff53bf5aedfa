//! What is answered from the cache, and what never is.

use catalog_client::Action;

use crate::shop::{Shop, book};

fn set_cost(item_number: u64, cost: u64) -> Action {
    Action::ChangeItem { item_number, title: None, topic: None, cost: Some(cost), add_quantity: None, if_match: None }
}

fn cost_of(body: &str) -> &str {
    body.split("\"cost\": ").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or_default()
}

#[tokio::test]
async fn the_second_lookup_is_a_hit_and_views_have_an_entry_each() {
    let shop = Shop::open().await;
    let first = shop.get("/lookup/1").await;
    assert_eq!(first.body, r#"{"title": "Book 1", "cost": 50, "quantity": 100}"#);
    assert!(first.is_miss(), "{first:?}");
    let second = shop.get("/lookup/1").await;
    assert!(second.is_hit(), "{second:?}");
    assert_eq!((&second.body, second.revision), (&first.body, first.revision));
    assert_eq!((second.header("x-served-by"), second.header("content-type")), ("catalog-1", "application/json"));
    assert!(shop.get("/get_quantity/1").await.is_miss());
    assert!(shop.get("/get_quantity/1").await.is_hit());
    assert!(shop.get("/v1/items/1").await.is_miss());
    assert!(shop.get("/v1/items/1").await.is_hit());
}

#[tokio::test]
async fn a_write_elsewhere_invalidates_its_item_and_no_other() {
    let shop = Shop::open().await;
    let paths = ["/lookup/1", "/lookup/3", "/list", "/search/Distributed_systems", "/search/Graduate_School"];
    for path in paths {
        shop.get(path).await;
        assert!(shop.get(path).await.is_hit(), "{path}");
    }
    shop.fake.write(set_cost(1, 7));
    shop.caught_up().await;
    for (path, hit) in paths.into_iter().zip([false, true, false, false, true]) {
        assert_eq!(shop.get(path).await.is_hit(), hit, "{path}");
    }
    assert_eq!(cost_of(&shop.get("/lookup/1").await.body), "7");
}

#[tokio::test]
async fn unknown_items_and_topics_are_entries_that_go_when_they_appear() {
    let shop = Shop::open().await;
    for (path, body) in [("/lookup/9", "null"), ("/get_quantity/9", "null"), ("/search/New", "[]")] {
        assert_eq!(shop.get(path).await.body, body);
        assert!(shop.get(path).await.is_hit(), "{path}");
    }
    assert_eq!(shop.get("/v1/items/9").await.status, 404);
    assert!(shop.get("/v1/items/9").await.is_hit());
    let body = r#"{"item_number": 9, "title": "t", "topic": "New", "cost": 1, "quantity": 2}"#;
    assert_eq!(shop.json(reqwest::Method::POST, "/v1/items", body).await.status, 201);
    assert_eq!(shop.get("/get_quantity/9").await.body, r#"{"quantity": 2}"#);
    assert_eq!(shop.get("/search/New").await.body, r#"[{"item_number": 9, "title": "t"}]"#);
    assert_eq!(shop.get("/v1/items/9").await.status, 200);
}

/// The original invalidated before it wrote, so a read in between cached the old value for good (F3).
#[tokio::test]
async fn a_fill_that_races_an_invalidation_is_not_kept() {
    let shop = Shop::open().await;
    shop.fake.with(|world| world.hold_reads = true);
    let slow = shop.begin("/lookup/1");
    shop.reads(1).await;
    shop.fake.write(set_cost(1, 10));
    shop.caught_up().await;
    shop.fake.with(|world| world.hold_reads = false);
    assert_eq!(cost_of(&slow.await.unwrap().body), "50", "it began before the write");
    let next = shop.get("/lookup/1").await;
    assert!(next.is_miss(), "{next:?}");
    assert_eq!(cost_of(&next.body), "10");
}

#[tokio::test]
async fn concurrent_misses_of_a_key_share_one_call() {
    let shop = Shop::open().await;
    shop.fake.with(|world| world.hold_reads = true);
    let waiting: Vec<_> = (0..32).map(|_| shop.begin("/lookup/1")).collect();
    shop.reads(1).await;
    // All 32 are on their way once a later request has been answered.
    shop.get("/livez").await;
    crate::fake::eventually("all have missed", async || shop.get("/v1/cluster").await.body.contains("\"misses\":32,"))
        .await;
    shop.fake.with(|world| world.hold_reads = false);
    for reply in waiting {
        assert_eq!(cost_of(&reply.await.unwrap().body), "50");
    }
    assert_eq!(shop.fake.with(|world| world.reads), 1);
}

#[tokio::test]
async fn a_read_after_an_acknowledged_write_does_not_join_an_older_call() {
    let shop = Shop::open().await;
    shop.fake.with(|world| world.hold_reads = true);
    let slow = shop.begin("/lookup/1");
    shop.reads(1).await;
    let wrote = shop.get("/update_c/1/10").await;
    assert_eq!(wrote.body, r#""Cost of item :1 successfully updated to:10""#);
    let after = shop.begin("/lookup/1");
    shop.reads(2).await;
    shop.fake.with(|world| world.hold_reads = false);
    assert_eq!(cost_of(&after.await.unwrap().body), "10");
    slow.await.unwrap();
    assert_eq!(cost_of(&shop.get("/lookup/1").await.body), "10");
}

#[tokio::test]
async fn with_the_stream_cut_the_cache_goes_unused_until_it_has_caught_up() {
    let shop = Shop::open_with("freshness_ms = 60000", vec![book(1, "x", 5), book(2, "x", 5)]).await;
    for path in ["/lookup/1", "/lookup/2", "/search/x"] {
        shop.get(path).await;
    }
    shop.fake.with(|world| world.stream = false);
    let cut = async || shop.get("/v1/cluster").await.body.contains("\"cut\"");
    crate::fake::eventually("the stream is cut", cut).await;
    assert!(shop.get("/lookup/1").await.is_hit(), "nothing newer has been answered");
    shop.fake.write(set_cost(1, 7));
    let newer = shop.send(shop.request(reqwest::Method::GET, "/lookup/1").header("x-min-revision", "6")).await;
    assert_eq!((cost_of(&newer.body), newer.revision, newer.is_miss()), ("7", 6, true));
    for path in ["/lookup/1", "/get_quantity/1", "/lookup/2", "/lookup/2", "/search/x", "/list"] {
        let reply = shop.get(path).await;
        assert!(reply.is_miss() && reply.revision >= 6, "{path}: {reply:?}");
    }
    shop.fake.with(|world| world.stream = true);
    shop.caught_up().await;
    assert!(shop.get("/lookup/2").await.is_hit(), "the second item never changed");
    assert_eq!(cost_of(&shop.get("/lookup/1").await.body), "7");
}

#[tokio::test]
async fn a_refusal_is_not_followed_by_what_is_older() {
    let shop = Shop::open_with("freshness_ms = 60000", vec![book(1, "x", 1)]).await;
    assert_eq!(shop.get("/get_quantity/1").await.body, r#"{"quantity": 1}"#);
    shop.fake.with(|world| world.stream = false);
    let sell = Action::PlaceOrder { lines: vec![catalog_client::Line { item_number: 1, quantity: 1 }] };
    shop.fake.write(sell);
    assert_eq!(shop.get("/buy/1").await.body, r#""Item is unavailable.""#);
    assert_eq!(shop.get("/get_quantity/1").await.body, r#"{"quantity": 0}"#);
    assert!(shop.get("/list").await.body.contains("\"quantity\": 0"));
}

#[tokio::test]
async fn past_the_bound_reads_ask_for_themselves_and_without_a_quorum_they_end() {
    let shop = Shop::open_with("freshness_ms = 300\ndeadline_ms = 1000", vec![book(1, "x", 5)]).await;
    shop.get("/lookup/1").await;
    // The stream is cut and something was written elsewhere: nothing proves the cache fresh any more.
    shop.fake.with(|world| world.stream = false);
    shop.fake.write(set_cost(1, 7));
    let stale = async || shop.get("/lookup/1").await.source == "frontend-1; fwd=stale";
    crate::fake::eventually("freshness is lost", stale).await;
    assert_eq!(cost_of(&shop.get("/lookup/1").await.body), "7");
    shop.fake.with(|world| world.quorum = false);
    let begun = std::time::Instant::now();
    for path in ["/lookup/1", "/list", "/v1/items", "/v1/items/1", "/v1/orders"] {
        let reply = shop.get(path).await;
        assert_eq!((reply.status, reply.header("retry-after")), (503, "1"), "{path}");
    }
    assert!(begun.elapsed() < std::time::Duration::from_secs(10));
    assert_eq!(shop.get("/readyz").await.status, 503);
    assert_eq!(shop.get("/livez").await.status, 200);
    let unknown = shop.get("/update_c/1/9").await;
    assert_eq!(unknown.status, 503);
    assert!(unknown.body.starts_with(r#"{"error": "outcome-unknown: "#), "{unknown:?}");
    assert!(!unknown.header("idempotency-key").is_empty());
    shop.fake.with(|world| (world.quorum, world.stream) = (true, true));
    crate::fake::eventually("it is ready again", async || shop.get("/readyz").await.status == 200).await;
}

#[tokio::test]
async fn a_quorum_with_a_lagging_stream_ends_hits_at_the_bound() {
    let shop = Shop::open_with("freshness_ms = 300", vec![book(1, "x", 5)]).await;
    shop.get("/lookup/1").await;
    let expected = async || shop.get("/lookup/1").await.is_hit();
    crate::fake::eventually("a hit", expected).await;
    shop.fake.with(|world| world.quorum = false);
    let bounded = async || shop.begin("/lookup/1").await.unwrap().status == 503;
    crate::fake::eventually("the bound", bounded).await;
}

#[tokio::test]
async fn compacted_history_drops_everything() {
    let shop = Shop::open_with("freshness_ms = 60000", vec![book(1, "x", 5), book(2, "x", 5)]).await;
    for path in ["/lookup/1", "/lookup/2"] {
        shop.get(path).await;
        assert!(shop.get(path).await.is_hit());
    }
    shop.fake.with(|world| world.stream = false);
    crate::fake::eventually("the stream is cut", async || shop.get("/v1/cluster").await.body.contains("\"cut\"")).await;
    shop.fake.write(set_cost(1, 7));
    shop.fake.write(set_cost(1, 8));
    shop.fake.with(|world| (world.oldest, world.stream) = (world.revision, true));
    shop.caught_up().await;
    assert!(shop.get("/lookup/2").await.is_miss());
    assert_eq!(cost_of(&shop.get("/lookup/1").await.body), "8");
    assert!(shop.get("/lookup/2").await.is_hit());
}

#[tokio::test]
async fn a_minimum_revision_is_waited_for_and_harms_nobody_else() {
    let shop = Shop::open_with("deadline_ms = 1000", vec![book(1, "x", 5)]).await;
    let with_min = |path: &str, min: &str| shop.request(reqwest::Method::GET, path).header("x-min-revision", min);
    let ahead = tokio::spawn(with_min("/lookup/1", "1000000").send());
    let plain = shop.get("/lookup/1").await;
    assert_eq!(plain.status, 200);
    let ahead = ahead.await.unwrap().unwrap();
    assert_eq!((ahead.status().as_u16(), ahead.headers()["retry-after"].to_str().unwrap()), (503, "1"));
    assert!(shop.send(with_min("/lookup/1", "5")).await.is_hit(), "the position is there");
    let next = tokio::spawn(with_min("/lookup/1", "6").send());
    shop.fake.write(set_cost(1, 7));
    assert_eq!(cost_of(&next.await.unwrap().unwrap().text().await.unwrap()), "7");
    assert_eq!(shop.send(with_min("/lookup/1", "x")).await.status, 400);
    assert_eq!(shop.send(with_min("/v1/items/1", "-1")).await.status, 400);
}

#[tokio::test]
async fn linearizable_reads_see_what_was_written_elsewhere_at_once() {
    let shop = Shop::open_with("freshness_ms = 60000", vec![book(1, "x", 5)]).await;
    shop.get("/lookup/1").await;
    shop.fake.with(|world| world.stream = false);
    shop.fake.write(set_cost(1, 7));
    let read = shop.get("/lookup/1?read=linearizable").await;
    assert_eq!((cost_of(&read.body), read.source.as_str()), ("7", "frontend-1; fwd=bypass"));
    assert_eq!(cost_of(&shop.get("/lookup/1").await.body), "7", "no step back");
    for path in ["/lookup/1?read=x", "/v1/items?read=x", "/v1/items/1?read="] {
        assert_eq!(shop.get(path).await.status, 400, "{path}");
    }
}

/// One question to the leader, then the cache: but not before every change up to the answer has been applied to it.
#[tokio::test]
async fn a_linearizable_read_of_something_cached_is_a_hit_once_the_stream_is_there() {
    let shop = Shop::open_with("", vec![book(1, "x", 5)]).await;
    shop.get("/lookup/1").await;
    let reads = shop.fake.with(|world| world.reads);
    let first = shop.get("/lookup/1?read=linearizable").await;
    assert!(first.is_hit(), "{}", first.source);
    assert_eq!(shop.fake.with(|world| world.reads), reads, "no replica was asked");
    let mut before = first.revision;
    for cost in 10..60 {
        shop.fake.write(set_cost(1, cost));
        let read = shop.get("/lookup/1?read=linearizable").await;
        assert_eq!(cost_of(&read.body), cost.to_string());
        assert!(read.revision > before, "it names a state that has the write");
        before = read.revision;
    }
}

#[tokio::test]
async fn without_a_cache_every_read_goes_to_a_replica() {
    let shop = Shop::open_with("cache = false", vec![book(1, "x", 5)]).await;
    for _ in 0..3 {
        let reply = shop.get("/lookup/1").await;
        assert_eq!((reply.status, reply.source.as_str()), (200, "frontend-1; fwd=bypass"));
    }
    assert_eq!(shop.fake.with(|world| world.reads), 3);
    shop.get("/update_c/1/7").await;
    assert_eq!(cost_of(&shop.get("/lookup/1").await.body), "7");
}

#[tokio::test]
async fn somebody_may_ask_for_an_entry_to_go() {
    let shop = Shop::open().await;
    shop.get("/lookup/1").await;
    let reply = shop.get("/invalidate/1").await;
    assert_eq!((reply.body.as_str(), reply.header("content-type")), ("Invalidated entry for item 1", "text/plain"));
    assert!(shop.get("/lookup/1").await.is_miss());
}

#[tokio::test]
async fn before_the_first_quorum_it_is_alive_and_not_ready() {
    let shop = Shop::closed("deadline_ms = 500", vec![book(1, "x", 5)]).await;
    shop.fake.with(|world| world.quorum = false);
    assert_eq!(shop.get("/livez").await.status, 200);
    let ready = shop.get("/readyz").await;
    // The first question may have been answered before the quorum went.
    assert!([200, 503].contains(&ready.status));
    shop.fake.with(|world| world.quorum = true);
    crate::fake::eventually("it is ready", async || shop.get("/readyz").await.status == 200).await;
}
