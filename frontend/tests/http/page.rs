//! The page's files with their headers, and the cluster told live.

use std::time::Duration;

use frontend::front::MAX_LOOKERS;
use reqwest::{Method, Response};
use serde_json::Value;

use crate::{fake::eventually, shop::Shop};

async fn look(shop: &Shop) -> Response {
    shop.request(Method::GET, "/v1/cluster").header("accept", "text/event-stream").send().await.unwrap()
}

/// The next message of a stream.
async fn next(stream: &mut Response, rest: &mut String) -> Value {
    loop {
        if let Some((message, behind)) = rest.split_once("\n\n") {
            let data = message.strip_prefix("event: cluster\ndata: ").unwrap_or_else(|| panic!("{message}"));
            let value = serde_json::from_str(data).unwrap();
            *rest = behind.to_owned();
            return value;
        }
        let chunk = tokio::time::timeout(Duration::from_secs(10), stream.chunk()).await.expect("silent for long");
        rest.push_str(std::str::from_utf8(&chunk.unwrap().expect("the stream has ended")).unwrap());
    }
}

#[tokio::test]
async fn the_page_comes_with_a_policy_and_is_sent_once() {
    let shop = Shop::open().await;
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/page/app.js", "text/javascript; charset=utf-8"),
        ("/page/style.css", "text/css; charset=utf-8"),
        ("/page/icon.svg", "image/svg+xml"),
    ] {
        let file = shop.get(path).await;
        assert_eq!((file.status, file.header("content-type")), (200, kind), "{path}");
        let policy = file.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(file.header("x-content-type-options"), "nosniff");
        let again = shop.request(Method::GET, path).header("if-none-match", file.header("etag"));
        let again = shop.send(again).await;
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{path}");
    }
    assert_eq!(shop.get("/page/nothing.js").await.status, 404);
    assert_eq!(shop.get("/page/").await.status, 404);
    assert_eq!(shop.send(shop.request(Method::POST, "/page/app.js")).await.status, 405);
}

#[tokio::test]
async fn the_cluster_is_told_live_to_who_accepts_a_stream() {
    let shop = Shop::open().await;
    let plain = shop.get("/v1/cluster").await;
    assert_eq!((plain.header("content-type"), plain.header("vary")), ("application/json", "accept"));
    let mut stream = look(&shop).await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let mut rest = String::new();
    let first = next(&mut stream, &mut rest).await;
    assert_eq!(first["cluster"]["leader"], "catalog-1");
    assert_eq!(first["status"][0]["role"], "leader");
    shop.get("/buy/1").await;
    shop.get("/lookup/1").await;
    shop.get("/lookup/1").await;
    let mut samples = Vec::new();
    while samples.len() < 2 {
        let message = next(&mut stream, &mut rest).await;
        samples.extend(message["samples"].as_array().unwrap().clone());
    }
    assert_eq!(samples[0]["roles"], "L");
    let sum = |name: &str| samples.iter().map(|sample| sample[name].as_f64().unwrap()).sum::<f64>();
    assert!(sum("orders") > 0.0 && sum("hits") > 0.0 && sum("reads") > 0.0, "{samples:?}");
    assert!(samples.iter().any(|sample| sample["order_ms"]["p99"].as_f64().is_some_and(|ms| ms > 0.0)), "{samples:?}");
    // Who comes later is told what came before.
    let later = next(&mut look(&shop).await, &mut String::new()).await;
    assert!(later["samples"].as_array().is_some_and(|kept| kept.len() >= 2), "{later}");
    // What breaks is told of.
    shop.fake.with(|world| world.stream = false);
    let mut told = Vec::new();
    while told.is_empty() {
        told.clone_from(next(&mut stream, &mut rest).await["events"].as_array().unwrap());
    }
    assert_eq!(told[0]["what"], "stream-cut");
}

#[tokio::test]
async fn only_so_many_look_at_a_time_and_their_streams_end_with_the_front_end() {
    let shop = Shop::open().await;
    let mut lookers = Vec::new();
    for _ in 0..MAX_LOOKERS {
        let looker = look(&shop).await;
        assert_eq!(looker.status(), 200);
        lookers.push(looker);
    }
    assert_eq!(look(&shop).await.status(), 429);
    lookers.pop();
    eventually("a place is free", async || look(&shop).await.status() == 200).await;
    let mut last = lookers.pop().unwrap();
    let stopped = shop.stop();
    while last.chunk().await.unwrap().is_some() {}
    drop(lookers);
    stopped.await.unwrap();
}
