//! B20: what servers log.

use tests::{Options, Shared, TestCluster, eventually};

use crate::shop::{BOUGHT, Shop};

/// Whether a line opens with a time in UTC and a level, as `2026-01-02T03:04:05.678Z  INFO main started`.
fn is_log_line(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let time = words.next().unwrap_or_default().as_bytes();
    let level = words.next().unwrap_or_default();
    let shape = b"dddd-dd-ddTdd:dd:dd.dddZ";
    let is_time = time.len() == shape.len()
        && time.iter().zip(shape).all(|(is, like)| if *like == b'd' { is.is_ascii_digit() } else { is == like });
    is_time && ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&level) && words.next().is_some()
}

/// B20: each server logs to a file of its own: time, level, thread, message; a sale names the book and its request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b20_a_sale_is_logged_with_its_request() {
    let cluster = Shared::get().await;
    let shop = Shop::new(&cluster);
    let item = shop.own_item(1, 5).await;
    let bought = shop.buy(item.number).await;
    assert_eq!(bought.text(), BOUGHT);
    let id = bought.header("idempotency-key").expect("a buy has an id").to_owned();
    let line = eventually("a line for the sale", || async {
        let logs = cluster.cluster.nodes().iter().map(|node| cluster.log(node)).collect::<String>();
        let sale = format!("Bought book {}", item.title);
        logs.lines().find(|line| line.contains(&sale)).map(str::to_owned).ok_or("none yet")
    })
    .await;
    assert!(is_log_line(&line) && line.contains(&id), "{line} without {id}");
    for node in cluster.cluster.nodes() {
        let log = std::fs::read_to_string(cluster.cluster.run_dir.join(format!("{node}.log"))).expect("a log");
        let first = log.lines().next().expect("a first line");
        assert!(is_log_line(first), "{node}: {first}");
    }
    shop.withdraw(&item).await;
}

/// B20: there is a line per request only when the layout asks for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b20_requests_are_logged_only_when_asked_for() {
    let path = "/lookup/123123123";
    let lines = |cluster: &TestCluster| cluster.log("frontend-1").lines().filter(|line| line.contains(path)).count();
    let cluster = TestCluster::start("requests", Options::single().set("log_requests", true)).await;
    Shop::new(&cluster).get(path).await.expect(200);
    eventually("a line for the request", || async { if lines(&cluster) > 0 { Ok(()) } else { Err("none") } }).await;
    drop(cluster);
    let quiet = TestCluster::start("no-requests", Options::single()).await;
    let shop = Shop::new(&quiet);
    shop.get(path).await.expect(200);
    // The log is written in order: once this sale is there, a line for the request before it would be too.
    assert_eq!(shop.buy(1).await.text(), BOUGHT);
    quiet.stop("frontend-1").await;
    assert_eq!(lines(&quiet), 0, "{}", quiet.log("frontend-1"));
}
