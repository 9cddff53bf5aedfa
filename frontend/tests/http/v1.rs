//! `/v1`: items, orders, the watch.

use std::time::Duration;

use catalog_client::Action;
use reqwest::Method;
use serde_json::{Value, json};

use crate::shop::{Reply, Shop, book};

fn value(reply: &Reply) -> Value {
    serde_json::from_str(&reply.body).unwrap_or_else(|error| panic!("{error}: {reply:?}"))
}

#[tokio::test]
async fn an_item_through_its_life() {
    let shop = Shop::open().await;
    let body = r#"{"title": "New", "topic": "x", "cost": 3, "quantity": 4}"#;
    let added = shop.json(Method::POST, "/v1/items", body).await;
    assert_eq!((added.status, added.header("location"), added.header("etag")), (201, "/v1/items/4", "\"6.0\""));
    let expected = json!({"item_number": 4, "title": "New", "topic": "x", "cost": 3, "quantity": 4, "revision": 6});
    assert_eq!(value(&added), expected);
    let read = shop.get("/v1/items/4").await;
    assert_eq!((value(&read), read.header("etag")), (expected, "\"6.0\""));
    let known = shop.send(shop.request(Method::GET, "/v1/items/4").header("if-none-match", "\"6.0\"")).await;
    assert_eq!((known.status, known.body.as_str(), known.header("etag")), (304, "", "\"6.0\""));
    assert!(known.is_hit());

    let patch = |body: &'static str, tag: &str| {
        let request = shop.request(Method::PATCH, "/v1/items/4").header("content-type", "application/json");
        shop.send(request.header("if-match", tag).body(body))
    };
    let changed = patch(r#"{"topic": "y", "add_quantity": -1}"#, "\"6.0\"").await;
    assert_eq!((changed.status, changed.header("etag")), (200, "\"7.0\""));
    assert_eq!(value(&changed)["quantity"], 3);
    let late = patch(r#"{"cost": 1}"#, "\"6.0\"").await;
    assert_eq!((late.status, value(&late)["etag"].as_str()), (412, Some("\"7.0\"")));
    let below = patch(r#"{"add_quantity": -9}"#, "*").await;
    assert_eq!((below.status, value(&below)["left"].as_u64()), (409, Some(3)));
    assert_eq!(below.header("x-served-by"), "catalog-1");

    let taken = r#"{"item_number": 1, "title": "New", "topic": "x", "cost": 3, "quantity": 4}"#;
    assert_eq!(shop.json(Method::POST, "/v1/items", taken).await.status, 409);
    let gone = shop.send(shop.request(Method::DELETE, "/v1/items/4")).await;
    assert_eq!((gone.status, gone.body.as_str(), gone.revision), (204, "", 11));
    assert_eq!(shop.get("/v1/items/4").await.status, 404);
    assert_eq!(shop.send(shop.request(Method::DELETE, "/v1/items/4")).await.status, 404);
}

#[tokio::test]
async fn pages_of_items() {
    let shop = Shop::open_with("", (1..=5).map(|n| book(n, if n == 3 { "y" } else { "x" }, 1)).collect()).await;
    let page = shop.get("/v1/items?limit=2&topic=x").await;
    assert_eq!(page.source, "frontend-1; fwd=bypass");
    let first = value(&page);
    assert_eq!((first["items"].as_array().unwrap().len(), &first["next"]), (2, &json!("2")));
    let rest = value(&shop.get("/v1/items?after=2&topic=x").await);
    let numbers: Vec<_> = rest["items"].as_array().unwrap().iter().map(|item| &item["item_number"]).collect();
    assert_eq!((numbers, &rest["next"]), (vec![&json!(4), &json!(5)], &Value::Null));
}

#[tokio::test]
async fn an_order_and_its_refusals() {
    let shop = Shop::open().await;
    let order = |lines: &str| {
        shop.json(Method::POST, "/v1/orders", Box::leak(format!(r#"{{"lines": [{lines}]}}"#).into_boxed_str()))
    };
    let placed = order(r#"{"item_number": 3, "quantity": 2}"#).await;
    assert_eq!((placed.status, placed.revision), (201, 6));
    let body = value(&placed);
    assert_eq!((&body["total"], &body["lines"][0]["title"]), (&json!(100), &json!("Book 3")));
    let location = placed.header("location").to_owned();
    assert_eq!(location, format!("/v1/orders/{}", body["id"].as_str().unwrap()));
    assert_eq!(value(&shop.get(&location).await), body);
    assert_eq!(value(&shop.get("/v1/orders").await)["orders"], json!([body]));
    let short = order(r#"{"item_number": 3, "quantity": 9}"#).await;
    assert_eq!((short.status, value(&short)["left"].as_u64()), (409, Some(3)));
    assert_eq!(order(r#"{"item_number": 77, "quantity": 1}"#).await.status, 404);
    assert_eq!(order("").await.status, 422);
    let unknown = shop.get("/v1/orders/00000000-0000-0000-0000-000000000000").await;
    assert_eq!(unknown.status, 404);
}

/// Reads messages off a stream until `n` have come.
async fn messages(response: &mut reqwest::Response, n: usize) -> Vec<String> {
    let mut text = String::new();
    while text.matches("\n\n").count() < n {
        let chunk =
            tokio::time::timeout(Duration::from_secs(20), response.chunk()).await.expect("the stream is silent");
        text.push_str(std::str::from_utf8(&chunk.unwrap().expect("the stream ended")).unwrap());
    }
    text.split_terminator("\n\n").map(ToOwned::to_owned).collect()
}

#[tokio::test]
async fn a_watch_begins_resumes_and_is_told_what_is_gone() {
    let shop = Shop::open().await;
    let mut present = shop.request(Method::GET, "/v1/watch").send().await.unwrap();
    assert_eq!(present.headers()["content-type"], "text/event-stream");
    let first = messages(&mut present, 1).await;
    assert_eq!(first[0], "id: 5\nevent: bookmark\ndata: {\"revision\":5}");
    let cost = Action::ChangeItem {
        item_number: 1,
        title: None,
        topic: None,
        cost: Some(7),
        add_quantity: None,
        if_match: None,
    };
    shop.fake.write(cost);
    shop.fake.write(Action::WithdrawItem { item_number: 3, if_match: None });
    let mut changes = messages(&mut present, 2).await;
    changes.retain(|message| message.contains("event: change"));
    let data = changes[0].split("data: ").nth(1).unwrap();
    let expected = json!({"revision": 6, "changes": [{
        "type": "put", "item_number": 1, "title": "Book 1", "topic": "Distributed_systems", "cost": 7, "quantity": 100,
        "revision": 6, "n": 0,
    }]});
    assert_eq!(serde_json::from_str::<Value>(data).unwrap(), expected);
    assert!(changes[0].starts_with("id: 6\n") && changes[1].starts_with("id: 7\n"), "{changes:?}");
    assert!(changes[1].contains("\"withdrawn\""));
    let idle = messages(&mut present, 1).await;
    assert!(idle[0].starts_with("id: 7\nevent: bookmark"), "{idle:?}");

    let resumed = shop.request(Method::GET, "/v1/watch?after=1").header("last-event-id", "6");
    let mut resumed = resumed.send().await.unwrap();
    assert!(messages(&mut resumed, 1).await[0].starts_with("id: 7\nevent: change"));

    // The front end keeps what came since the first began to watch, and no replica what came before.
    shop.fake.with(|world| world.oldest = 7);
    let gone = shop.get("/v1/watch?after=4").await;
    assert_eq!((gone.status, gone.header("content-type")), (410, "application/problem+json"));
}
