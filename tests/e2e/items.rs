//! `/v1/items`: adding, reading, changing and withdrawing, under conditions, page by page.

use serde_json::{Value, json};
use tests::{Answer, Options, Request, Shared, TestCluster, eventually};

use crate::shop::Shop;

#[track_caller]
fn is_problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    let problem = answer.json();
    assert!(problem["type"].as_str().is_some_and(|kind| kind.ends_with(code)), "{problem}");
}

/// The life of an item.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_item_is_added_changed_and_withdrawn() {
    let cluster = Shared::get().await;
    let shop = Shop::new(&cluster);
    let body = json!({"title": "Tünnes & Schäl", "topic": "topic_of_one", "cost": 7, "quantity": 3});
    let added = shop.post("/v1/items", body).await.expect(201);
    let item = added.json();
    let url = format!("/v1/items/{}", item["item_number"]);
    assert_eq!(added.header("location"), Some(url.as_str()));
    assert_eq!(item["revision"], added.revision());
    let tag = added.header("etag").expect("an added item has a tag").to_owned();
    assert!(tag.starts_with(&format!("\"{}.", added.revision())) && tag.ends_with('"'), "{tag}");

    let read = shop.get(&url).await.expect(200);
    assert_eq!((read.json(), read.header("etag")), (item.clone(), Some(tag.as_str())));
    let expected = json!({"title": "Tünnes & Schäl", "topic": "topic_of_one", "cost": 7, "quantity": 3});
    for (member, value) in expected.as_object().expect("an object") {
        assert_eq!(item[member], *value);
    }

    let changed = shop.patch(&url, json!({"cost": 9, "add_quantity": -1, "title": "Tünnes"})).await.expect(200);
    let now = changed.json();
    assert_eq!((&now["cost"], &now["quantity"], &now["title"]), (&json!(9), &json!(2), &json!("Tünnes")));
    assert!(changed.revision() > added.revision() && now["revision"] == changed.revision());
    assert_eq!(shop.get(&url).await.expect(200).json(), now);
    is_problem(&shop.patch(&url, json!({"add_quantity": -3})).await, 409, "below-zero");
    is_problem(&shop.patch(&url, json!({"add_quantity": -3, "cost": 1})).await, 409, "below-zero");
    assert_eq!(shop.get(&url).await.expect(200).json(), now, "a refused change changes nothing");

    shop.client.send(Request::delete(cluster.front() + &url)).await.expect(204);
    is_problem(&shop.get(&url).await, 404, "no-such-item");
    is_problem(&shop.patch(&url, json!({"cost": 1})).await, 404, "no-such-item");
    is_problem(&shop.client.send(Request::delete(cluster.front() + &url)).await, 404, "no-such-item");
    let again = json!({"item_number": item["item_number"], "title": "a", "topic": "b", "cost": 1, "quantity": 1});
    is_problem(&shop.post("/v1/items", again).await, 409, "number-taken");
}

/// What an item must not be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_item_can_be_is_refused() {
    let cluster = Shared::get().await;
    let shop = Shop::new(&cluster);
    let with = |member: &str, value: Value| {
        let mut body = json!({"title": "a", "topic": "b", "cost": 1, "quantity": 1});
        body[member] = value;
        body
    };
    for (member, value) in [
        ("title", json!("x".repeat(1025))),
        ("topic", json!("x".repeat(257))),
        ("cost", json!(9_007_199_254_740_993_u64)),
        ("cost", json!(-1)),
        ("quantity", json!(-1)),
        ("item_number", json!(0)),
    ] {
        let answer = shop.post("/v1/items", with(member, value.clone())).await;
        assert_eq!(answer.status, 422, "{member} {value:.40}: {answer:?}");
    }
    for body in [with("more", json!(1)), json!({"title": "a"}), json!([]), with("title", json!(5))] {
        assert_eq!(shop.post("/v1/items", body.clone()).await.status, 400, "{body}");
    }
    assert_eq!(shop.patch("/v1/items/1", json!({})).await.status, 400);
    assert_eq!(shop.patch("/v1/items/1", json!({"quantity": 1})).await.status, 400);
    let plain = Request::post(cluster.front() + "/v1/items", "{}");
    let plain = Request::header(plain, "content-type", "text/plain");
    assert!(matches!(shop.client.send(plain).await.status, 400 | 415));
}

/// `If-None-Match` saves the body, `If-Match` guards a change: of two that read the same, one wins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_are_honoured() {
    let cluster = Shared::get().await;
    let shop = Shop::new(&cluster);
    let item = shop.own_item(5, 5).await;
    let url = format!("{}/v1/items/{}", cluster.front(), item.number);
    let tag = shop.client.get(&url).await.header("etag").expect("a tag").to_owned();
    for matching in [tag.clone(), format!("\"0.0\", {tag}"), format!("W/{tag}"), "*".to_owned()] {
        let not_modified = shop.client.send(Request::get(&url).header("if-none-match", &matching)).await;
        assert_eq!((not_modified.status, not_modified.body.len()), (304, 0), "{matching}");
        assert_eq!(not_modified.header("etag"), Some(tag.as_str()));
    }
    shop.client.send(Request::get(&url).header("if-none-match", "\"1.0\"")).await.expect(200);

    let change = |cost: u64| Request::patch(&url, json!({"cost": cost}).to_string()).header("if-match", &tag);
    let (one, other) = tokio::join!(shop.client.send(change(50)), shop.client.send(change(60)));
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412], "{one:?} {other:?}");
    let (winner, loser) = if one.status == 200 { (one, other) } else { (other, one) };
    is_problem(&loser, 412, "changed-since");
    let now = shop.client.get(&url).await;
    assert_eq!((now.json(), now.header("etag")), (winner.json(), winner.header("etag")));

    let delete = Request::delete(&url).header("if-match", &tag);
    is_problem(&shop.client.send(delete).await, 412, "changed-since");
    let fresh = winner.header("etag").expect("a tag");
    shop.client.send(Request::delete(&url).header("if-match", fresh)).await.expect(204);
}

/// Writes of `/v1/items` under one key have one outcome; the key with another body is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_key_gets_the_first_outcome() {
    let cluster = Shared::get().await;
    let shop = Shop::new(&cluster);
    let body = json!({"title": "Once", "topic": "topic_of_keys", "cost": 1, "quantity": 1});
    let first = shop.post_under("add-once", "frontend-1", "/v1/items", body.clone()).await.expect(201);
    let again = shop.post_under("add-once", "frontend-1", "/v1/items", body.clone()).await.expect(201);
    assert_eq!((first.json(), first.revision()), (again.json(), again.revision()));
    let mut other = body;
    other["cost"] = json!(2);
    is_problem(&shop.post_under("add-once", "frontend-1", "/v1/items", other).await, 422, "key-reused");
    let url = format!("{}/v1/items/{}", cluster.front(), first.json()["item_number"]);
    let delta = || Request::patch(&url, json!({"add_quantity": 5}).to_string()).header("idempotency-key", "delta-once");
    for _ in 0..3 {
        assert_eq!(shop.client.send(delta()).await.expect(200).json()["quantity"], 6);
    }
    shop.client.send(Request::delete(&url)).await.expect(204);
}

/// Pages by number, by topic, by words of the title, to the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_are_listed_page_by_page() {
    let cluster = TestCluster::start("pages", Options::single()).await;
    let shop = Shop::new(&cluster);
    let numbers = |page: &Value| -> Vec<u64> {
        page["items"].as_array().expect("items").iter().filter_map(|item| item["item_number"].as_u64()).collect()
    };
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = shop.get(&format!("/v1/items?limit=3{after}")).await.expect(200).json();
        assert!(page["revision"].as_u64().is_some());
        seen.push(numbers(&page));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen, [vec![1, 2, 3], vec![4, 5, 6], vec![7]]);
    let page = shop.get("/v1/items").await.expect(200).json();
    assert_eq!((numbers(&page).len(), &page["next"]), (7, &Value::Null));
    for (query, expected) in [
        ("topic=Distributed_systems", vec![1, 2, 5]),
        ("topic=Distributed_systems&limit=2", vec![1, 2]),
        ("topic=None", vec![]),
        ("q=graduate", vec![3, 4]),
        ("q=GRADUATE%20school", vec![3]),
        ("q=student%20cooking", vec![4]),
        ("q=grad", vec![1, 3, 4]),
        ("q=GRAD,coo", vec![4]),
        ("q=rad", vec![]),
        ("q=grad&limit=1", vec![1]),
        ("q=grad&after=1", vec![3, 4]),
        ("q=...", vec![1, 2, 3, 4, 5, 6, 7]),
        ("q=graduate&topic=Distributed_systems", vec![]),
        ("after=6", vec![7]),
        ("after=7", vec![]),
    ] {
        for node in ["frontend-1", "catalog-1"] {
            let page = shop.get_at(node, &format!("/v1/items?{query}")).await.expect(200).json();
            assert_eq!(numbers(&page), expected, "{query} at {node}");
        }
    }
    for query in [format!("q={}", "a".repeat(257)), format!("q={}", "a-".repeat(33))] {
        for node in ["frontend-1", "catalog-1"] {
            is_problem(&shop.get_at(node, &format!("/v1/items?{query}")).await, 400, "bad-request");
        }
    }
}

/// Words and a topic, page by page, while items are added, withdrawn and renamed between the pages: what matches all the
/// time comes once, whichever server gives the page; after a restart it is found as before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_goes_on_while_the_catalogue_changes() {
    let mut csv = "item_number,title,topic,cost,quantity\n".to_owned();
    for n in 1..=400 {
        let (kind, topic) = (["Ünder the sea", "Under the sky", "Undertow"][n % 3], ["Water", "Air"][n % 2]);
        csv += &format!("{n},{kind} {n},{topic},1,1\n");
    }
    let cluster = TestCluster::start("search", Options::new().items_csv(csv)).await;
    let shop = Shop::new(&cluster);
    let number = |item: &Value| item["item_number"].as_u64().expect("an item has a number");
    let query = "/v1/items?topic=Air&q=SEA%20%C3%BCn&limit=7";
    // Of the numbers that are divisible by 3 and odd.
    let all: Vec<u64> = (1..=400).filter(|n| n % 6 == 3).collect();
    let (mut seen, mut after, mut least) = (Vec::new(), String::new(), 0);
    for round in 0.. {
        let node = ["frontend-1", "catalog-1", "catalog-2", "catalog-3"][round % 4];
        let request = Request::get(cluster.url(node) + query + &after).header("x-min-revision", least.to_string());
        let page = shop.client.send(request).await.expect(200).json();
        let found = page["items"].as_array().expect("items");
        assert!(found.len() == 7 || page["next"].is_null(), "{page}");
        seen.extend(found.iter().map(number));
        let Some(next) = page["next"].as_str() else { break };
        let next: u64 = next.parse().expect("a number");
        assert_eq!(Some(&next), seen.last());
        after = format!("&after={next}");
        // One that was seen is withdrawn, and one ahead; one behind and one ahead begin to match; one is added at the end. What
        // is gone already is refused.
        let item = |n: u64| format!("{}/v1/items/{n}", cluster.front());
        shop.client.send(Request::delete(item(next))).await.expect(204);
        shop.client.send(Request::delete(item(next + 12))).await;
        for (n, title) in [(next - 1, "Ünseen"), (next - 2, "A sea of ünknown"), (next + 1, "Ünknown seas")] {
            shop.patch(&format!("/v1/items/{n}"), json!({"title": title, "topic": "Air"})).await;
        }
        let new = json!({"title": "Ünlike any sea", "topic": "Air", "cost": 1, "quantity": 1});
        least = shop.post("/v1/items", new).await.expect(201).revision();
    }
    assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
    let now = shop.get("/v1/items?topic=Air&q=sea%20%C3%BCn&limit=1000&read=linearizable").await.expect(200).json();
    let now: Vec<u64> = now["items"].as_array().expect("items").iter().map(number).collect();
    let always: Vec<u64> = all.into_iter().filter(|n| now.contains(n)).collect();
    assert!(now.iter().any(|n| n % 2 == 0) && now.iter().any(|n| !seen.contains(n)), "renamed ones are found: {now:?}");
    assert!(always.len() > 20 && always.iter().all(|n| seen.contains(n)), "{seen:?} of {always:?}");

    cluster.kill_at_once(&cluster.catalogs());
    cluster.start_all().await.expect("all serve");
    cluster.wait_equal_hashes().await;
    for node in cluster.catalogs() {
        let found = shop.get_at(&node, "/v1/items?topic=Air&q=sea%20%C3%BCn&limit=1000").await.expect(200).json();
        assert_eq!(found["items"].as_array().expect("items").iter().map(number).collect::<Vec<_>>(), now, "{node}");
    }
}

/// A catalogue of 10,050 items is loaded from its CSV, and its list is streamed whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_beyond_ten_thousand_items_is_streamed() {
    let mut csv = String::from("item_number,title,topic,cost,quantity\n");
    for n in 1..=10_050 {
        csv += &format!("{n},Title number {n},topic_{},{n},{}\n", n % 7, n * 2);
    }
    let cluster = TestCluster::start("long-list", Options::single().items_csv(csv)).await;
    let shop = Shop::new(&cluster);
    assert_eq!(cluster.status("catalog-1").await.items, 10_050);
    for node in ["frontend-1", "frontend-1", "catalog-1"] {
        let list = shop.get_at(node, "/list").await.expect(200);
        assert!(!list.is_hit(), "a list this long is not cached");
        let rows = list.json();
        let rows = rows.as_array().expect("an array");
        assert_eq!(rows.len(), 10_050, "{node}");
        for (n, row) in (1..).zip(rows) {
            assert_eq!((row["item_number"].as_u64(), row["quantity"].as_u64()), (Some(n), Some(2 * n)));
        }
    }
    let found = shop.get("/search/topic_3").await.expect(200).json();
    assert_eq!(found.as_array().map(Vec::len), Some(1436));
    shop.warm("/search/topic_3").await;
}

/// Ten thousand rows are one part. The replicas are killed while parts are loaded: whoever leads then goes on where it
/// stopped, and every item is there once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_first_items_are_loaded_in_parts_whatever_happens_meanwhile() {
    const ITEMS: u64 = 100_000;
    let mut csv = "item_number,title,topic,cost,quantity\n".to_owned();
    for n in (1..=ITEMS).rev() {
        csv += &format!("{n},Title {n},topic_{},1,{}\n", n % 7, n + 5);
    }
    let cluster = TestCluster::prepare("many-items", &Options::new().quiet().items_csv(csv)).await;
    for node in cluster.catalogs() {
        cluster.launch(&node);
    }
    let interrupted = eventually("some are loaded", || async {
        let items = cluster.try_status("catalog-1").await?.items;
        anyhow::ensure!(items > 0, "none");
        Ok(items)
    })
    .await;
    cluster.kill_at_once(&cluster.catalogs());
    println!("killed after {interrupted} of {ITEMS} items");
    cluster.start_all().await.expect("all serve");
    let shop = Shop::new(&cluster);
    cluster.wait_equal_hashes().await;
    assert_eq!(cluster.status("catalog-1").await.items, ITEMS);
    for n in [1, 10_000, 10_001, 55_555, ITEMS] {
        assert_eq!(shop.stock(n).await, n + 5);
    }
    let added = shop.post("/v1/items", json!({"title": "One more", "topic": "t", "cost": 1, "quantity": 1})).await;
    assert_eq!(added.expect(201).json()["item_number"], ITEMS + 1);
    cluster.kill_at_once(&cluster.catalogs());
    cluster.start_all().await.expect("all serve");
    cluster.wait_equal_hashes().await;
    assert_eq!(cluster.status("catalog-1").await.items, ITEMS + 1);
}
