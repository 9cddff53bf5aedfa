//! What is wrong in form: refused with the right status and one sentence, and never reaching the catalog.

use reqwest::Method;
use serde_json::json;
use tests::{Answer, Request, Shared};

use crate::shop::Shop;

#[track_caller]
fn is_error(what: &str, answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{what}: {answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{what}");
    let error = answer.json()["error"].as_str().map(str::to_owned);
    assert!(error.is_some_and(|sentence| sentence.len() > 10), "{what}: {}", answer.text());
}

#[track_caller]
fn is_problem(what: &str, answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{what}: {answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
    let problem = answer.json();
    assert_eq!(problem["status"], status, "{what}: {problem}");
    for member in ["type", "title", "detail"] {
        assert!(problem[member].is_string(), "{what}: {problem}");
    }
}

/// Arguments in the path that are not the operation's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_paths_are_400() {
    let cluster = Shared::get().await;
    let shop = Shop::new(&cluster);
    let long = format!("/search/{}", "x".repeat(257));
    let reads = ["/lookup/0", "/lookup/-1", "/lookup/one", "/lookup/1.5", "/lookup/9007199254740993", "/lookup/1/2"];
    let reads = reads.into_iter().chain(["/get_quantity/0", "/get_quantity/%zz", "/get_quantity/+1", &long]);
    let writes = ["/update_c/1/-1", "/update_c/1/9007199254740993", "/update_c/1", "/update_c/1/ten"];
    let writes = writes.into_iter().chain(["/update_q/1/9007199254740993", "/update_q/0/1", "/update_q/1/1.0"]);
    for path in reads.chain(writes) {
        for node in ["frontend-1", "catalog-1", "catalog-2"] {
            is_error(&format!("{node} {path}"), &shop.get_at(node, path).await, 400);
        }
    }
    for path in ["/buy/0", "/buy/x", "/buy/99999999999999999999"] {
        for node in ["frontend-1", "order-1"] {
            is_error(&format!("{node} {path}"), &shop.get_at(node, path).await, 400);
        }
    }
}

/// Bodies that are not the operation's: 400, 413, 415.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_bodies_are_400_413_or_415() {
    let cluster = Shared::get().await;
    let shop = Shop::new(&cluster);
    let bodies = [
        ("/lookup/", "{\"item_number\": 1"),
        ("/lookup/", "[1]"),
        ("/lookup/", "{}"),
        ("/lookup/", "{\"item_number\": 1, \"more\": 2}"),
        ("/lookup/", "{\"item_number\": 1.5}"),
        ("/lookup/", "{\"item_number\": \"one\"}"),
        ("/lookup/", "{\"item_number\": null}"),
        ("/lookup/", "{\"item_number\": 9007199254740993}"),
        ("/lookup/", ""),
        ("/lookup/", "\u{fffd}"),
        ("/search/", "{\"topic\": 5}"),
        ("/update_c/", "{\"item_number\": 1}"),
        ("/update_c/", "{\"item_number\": 1, \"cost\": -1}"),
        ("/update_q/", "{\"item_number\": 1, \"cost\": 1}"),
        ("/buy/", "{\"item_number\": 0}"),
        ("/buy/", "{\"item_number\": true}"),
    ];
    let large = format!("{{\"item_number\": 1, \"x\": \"{}\"}}", "x".repeat(70_000));
    let cases = bodies.into_iter().map(|(path, body)| (path, body, "application/json", 400));
    let cases = cases.chain([
        ("/lookup/", large.as_str(), "application/json", 413),
        ("/buy/", &large, "application/json", 413),
        ("/lookup/", "{\"item_number\": 1}", "text/plain", 415),
        ("/buy/", "item_number=1", "application/x-www-form-urlencoded", 415),
    ]);
    for (path, body, content_type, status) in cases {
        let nodes = if path == "/buy/" { ["frontend-1", "order-2"] } else { ["frontend-1", "catalog-3"] };
        for node in nodes {
            let request = Request::new(Method::POST, shop.cluster.url(node) + path);
            let answer = shop.client.send(request.header("content-type", content_type).body(body.to_owned())).await;
            is_error(&format!("{node} {path} {:.60}", body), &answer, status);
        }
    }
    let bare = Request::new(Method::POST, shop.cluster.front() + "/lookup/").body("{\"item_number\": 1}");
    is_error("no content type", &shop.client.send(bare).await, 415);
    let charset = Request::new(Method::POST, shop.cluster.front() + "/lookup/").body("{\"item_number\": 1}");
    let charset = charset.header("content-type", "application/json; charset=utf-8");
    shop.client.send(charset).await.expect(200);
}

/// Wrong methods are 405 and name the right ones; wrong paths are 404.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_methods_are_405_and_wrong_paths_404() {
    let cluster = Shared::get().await;
    let shop = Shop::new(&cluster);
    let wrong = [
        ("frontend-1", Method::DELETE, "/lookup/1"),
        ("frontend-1", Method::POST, "/list"),
        ("frontend-1", Method::PUT, "/buy/1"),
        ("frontend-1", Method::POST, "/lookup/1"),
        ("frontend-1", Method::PUT, "/v1/items/1"),
        ("frontend-1", Method::DELETE, "/v1/orders"),
        ("catalog-1", Method::DELETE, "/lookup/1"),
        ("catalog-1", Method::POST, "/v1/status"),
        ("order-1", Method::PUT, "/buy/1"),
        ("order-1", Method::DELETE, "/v1/orders"),
    ];
    for (node, method, path) in wrong {
        let request = Request::new(method.clone(), shop.cluster.url(node) + path);
        let answer = shop.client.send(request.header("content-type", "application/json").body("{}")).await;
        assert_eq!(answer.status, 405, "{node} {method} {path}: {answer:?}");
        assert!(answer.header("allow").is_some_and(|allow| allow.contains("GET")), "{node} {path}: {answer:?}");
    }
    for node in ["frontend-1", "catalog-1", "order-1"] {
        for path in ["/nothing", "/v1/nothing", "/listing", "/lookups/1"] {
            assert_eq!(shop.get_at(node, path).await.status, 404, "{node} {path}");
        }
    }
}

/// `/v1` refuses with `application/problem+json`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v1_refuses_with_problems() {
    let cluster = Shared::get().await;
    let shop = Shop::new(&cluster);
    let gets = [
        ("/v1/items?limit=0", 400),
        ("/v1/items?limit=many", 400),
        ("/v1/items?after=x", 400),
        ("/v1/items/987654321", 404),
        ("/v1/orders?limit=0", 400),
        ("/v1/orders?after=x", 400),
        ("/v1/orders/0190a0a0-0000-7000-8000-000000000000", 404),
        ("/v1/nothing", 404),
    ];
    for (path, status) in gets {
        is_problem(path, &shop.get(path).await, status);
    }
    let line = |item: u64, quantity: u64| json!({"lines": [{"item_number": item, "quantity": quantity}]});
    let posts = [
        ("/v1/orders", json!({"lines": []}), 422),
        ("/v1/orders", line(1, 0), 422),
        ("/v1/orders", line(987_654_321, 1), 404),
        ("/v1/orders", line(1, 1_000_000), 409),
        ("/v1/orders", json!({}), 400),
        ("/v1/orders", json!({"lines": vec![json!({"item_number": 1, "quantity": 1}); 101]}), 422),
        ("/v1/items", json!({"item_number": 1, "title": "a", "topic": "b", "cost": 1, "quantity": 1}), 409),
    ];
    for (path, body, status) in posts {
        is_problem(&format!("{path} {body:.80}"), &shop.post(path, body).await, status);
    }
    let key = Request::post(shop.cluster.front() + "/v1/orders", line(1, 1).to_string());
    let key = key.header("idempotency-key", "x".repeat(256));
    is_problem("a key of 256 characters", &shop.client.send(key).await, 400);
}

/// Nothing that is wrong in form costs a log entry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_requests_never_reach_the_log() {
    let cluster = tests::TestCluster::start("malformed", tests::Options::single()).await;
    let shop = Shop::new(&cluster);
    let before = cluster.status("catalog-1").await.last_log;
    for path in ["/update_c/0/1", "/update_c/1/-1", "/update_q/1/x", "/buy/0", "/buy/x", "/lookup/0"] {
        is_error(path, &shop.get(path).await, 400);
    }
    is_problem("an order without lines", &shop.post("/v1/orders", json!({"lines": []})).await, 422);
    assert_eq!(cluster.status("catalog-1").await.last_log, before);
}
