//! B21 and F8: more than can be done, and nobody to do it. Requests are refused quickly and cleanly; nothing hangs,
//! spins or crashes.

use std::time::{Duration, Instant};

use futures::future::join_all;
use tests::{Answer, Client, Options, PATIENCE, TestCluster, eventually};

use crate::shop::{BOUGHT, Shop};

/// Clock ticks a second in `/proc/<pid>/stat`: fixed in the kernel's interface to programs.
const TICKS: f64 = 100.0;

/// Processor time that a node has used, in seconds.
fn cpu_seconds(cluster: &TestCluster, node: &str) -> f64 {
    let pid = cluster.cluster.pid(node).expect("it runs");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process that runs has this file");
    let (_, fields) = stat.rsplit_once(')').expect("the name stands in parentheses");
    // User and system time are fields 14 and 15, and what follows the name begins with field 3.
    let ticks = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<f64>().expect("a number"));
    ticks.sum::<f64>() / TICKS
}

#[track_caller]
fn is_refusal(answer: &Answer) {
    assert!(matches!(answer.status, 429 | 503), "{answer:?}");
    assert!(answer.header("retry-after").is_some_and(|seconds| seconds.parse::<u64>().is_ok()), "{answer:?}");
    let body = answer.json();
    assert!(body["error"].is_string() || body["detail"].is_string(), "{answer:?}");
}

/// B21: with a queue of 4 orders and the catalogs paused, what does not fit is refused at once; afterwards exactly
/// the orders that the ledger knows have been taken from the stock, and nobody who was refused has one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b21_overload_is_refused_cleanly() {
    let options = Options::new().set("queue", 4).set("deadline_ms", 3_000);
    let cluster = TestCluster::start("b21", options).await;
    let shop = Shop::new(&cluster);
    assert_eq!(shop.buy(1).await.text(), BOUGHT);
    for node in cluster.catalogs() {
        cluster.pause(&node).await;
    }
    let front = cluster.front() + "/buy/1";
    let attempts = (0..100).map(|_| async {
        let (client, began) = (Client::new(), Instant::now());
        (client.get(&front).await, began.elapsed())
    });
    let answers = join_all(attempts).await;
    for node in cluster.catalogs() {
        cluster.resume(&node);
    }
    let refused: Vec<_> = answers.iter().filter(|(answer, _)| answer.status == 429).collect();
    let quickest = refused.iter().map(|(_, took)| *took).min();
    let slowest = answers.iter().map(|(_, took)| *took).max().expect("100 answers");
    cluster.say(&format!(
        "{} of 100 refused with 429, the first after {quickest:?}; the last answer after {slowest:?}",
        refused.len()
    ));
    assert!(refused.len() >= 50, "a queue of 4 cannot hold them");
    assert!(quickest.is_some_and(|took| took < Duration::from_secs(1)), "refused at once");
    assert!(slowest < Duration::from_secs(6), "nothing hangs");
    answers.iter().filter(|(answer, _)| answer.status != 200).for_each(|(answer, _)| is_refusal(answer));
    eventually("the store sells again", || async {
        let answer = shop.buy(1).await;
        if answer.text() == BOUGHT { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
    let ledger = shop.ledger("frontend-1").await;
    for (answer, _) in &answers {
        let id = answer.header("idempotency-key").unwrap_or_default();
        let is_placed = ledger.iter().any(|order| order["id"] == id);
        let is_unknown = answer.text().contains("outcome-unknown");
        assert!(is_placed == (answer.status == 200) || is_unknown, "placed: {is_placed}, yet {answer:?}");
    }
    assert_eq!(shop.stock(1).await, 100 - shop.units_ordered(1).await);
}

/// B21: hundreds of customers at once get an answer each, and no server goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b21_hundreds_of_customers_at_once() {
    let cluster = TestCluster::start("crowd", Options::new().set("queue", 16)).await;
    let shop = Shop::new(&cluster);
    let item = shop.own_item(1, 100_000).await;
    let pids: Vec<_> = cluster.cluster.nodes().iter().map(|node| cluster.cluster.pid(node)).collect();
    let path = format!("{}/buy/{}", cluster.front(), item.number);
    let answers = join_all((0..400).map(|_| async { Client::new().get(&path).await })).await;
    let bought = answers.iter().filter(|answer| answer.text() == BOUGHT).count() as u64;
    cluster.say(&format!("{bought} of 400 bought, the others were refused"));
    answers.iter().filter(|answer| answer.text() != BOUGHT).for_each(is_refusal);
    assert!(bought > 0);
    assert_eq!(shop.stock(item.number).await, 100_000 - bought);
    let now: Vec<_> = cluster.cluster.nodes().iter().map(|node| cluster.cluster.pid(node)).collect();
    assert_eq!(now, pids, "every server is still the same process");
}

/// F8: with no live replica the front end and the order servers answer 503 within the deadline, and do not spin.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f8_without_replicas_answers_are_503_and_nothing_spins() {
    let cluster = TestCluster::start("f8", Options::new().set("deadline_ms", 2_000)).await;
    let shop = Shop::new(&cluster);
    cluster.kill_at_once(&cluster.catalogs());
    let edges = ["frontend-1", "order-1"];
    let before = edges.map(|node| cpu_seconds(&cluster, node));
    let began = Instant::now();
    for path in ["/lookup/7", "/list", "/buy/1", "/update_c/1/1", "/v1/items/7", "/v1/items/7?read=linearizable"] {
        let asked = Instant::now();
        let answer = shop.get(path).await;
        assert_eq!(answer.status, 503, "{path}: {answer:?}");
        is_refusal(&answer);
        assert!(asked.elapsed() < Duration::from_millis(3_500), "{path} took {:?}", asked.elapsed());
    }
    let at_order_server = shop.get_at("order-1", "/buy/1").await;
    assert_eq!(at_order_server.status, 503);
    is_refusal(&at_order_server);
    let elapsed = began.elapsed().as_secs_f64();
    for (node, before) in edges.iter().zip(before) {
        let used = cpu_seconds(&cluster, node) - before;
        cluster.say(&format!("{node} used {used:.2} s of processor time in {elapsed:.1} s without replicas"));
        assert!(used < 0.2 * elapsed + 0.1, "{node} spins");
    }
    eventually("the front end says that it is not ready", || async {
        if shop.get("/readyz").await.status == 503 { Ok(()) } else { Err("ready") }
    })
    .await;
    shop.get("/livez").await.expect(200);
    cluster.start_all().await.expect("all are back");
    tests::try_eventually("the store sells again", PATIENCE, || async {
        let answer = shop.buy(1).await;
        if answer.text() == BOUGHT { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await
    .expect("the front end finds the replicas again by itself");
}

/// Without a majority, reads end at the freshness bound and writes within the deadline, all with 503; with the
/// majority back, everything goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_everything_is_503_in_time() {
    let cluster = TestCluster::start("minority", Options::new().set("deadline_ms", 2_000)).await;
    let shop = Shop::new(&cluster);
    shop.warm("/lookup/1").await;
    let gone = cluster.followers().await;
    cluster.kill_at_once(&gone);
    eventually("default reads end at the freshness bound", || async {
        let answer = shop.get("/lookup/1").await;
        if answer.status == 503 { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
    is_refusal(&shop.get("/lookup/1").await);
    for node in cluster.cluster.nodes().iter().filter(|node| cluster.cluster.may_answer(node)) {
        eventually(&format!("{node} says that it is not ready"), || async {
            if cluster.ready(node).await.is_err() { Ok(()) } else { Err("ready") }
        })
        .await;
    }
    let asked = Instant::now();
    is_refusal(&shop.buy(1).await);
    is_refusal(&shop.get("/v1/items/1?read=linearizable").await);
    assert!(asked.elapsed() < Duration::from_secs(7), "both took {:?}", asked.elapsed());
    for node in &gone {
        cluster.launch(node);
    }
    cluster.wait_serving(&cluster.cluster.nodes()).await.expect("all are back");
    eventually("the store sells again", || async {
        let answer = shop.buy(1).await;
        if answer.text() == BOUGHT { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
    assert_eq!(shop.stock(1).await, 100 - shop.units_ordered(1).await);
}
