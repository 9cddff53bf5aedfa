//! `/v1/items:batch`: many items at once, all rows or none, exactly once, while others buy.

use std::time::Duration;

use catalog_client::watch::{Update, Watch};
use serde_json::{Value, json};
use tests::{Answer, Options, Request, Shared, TestCluster, eventually};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::shop::{BOUGHT, Customers, Shop, some_buys};

const PATH: &str = "/v1/items:batch";

fn row(item_number: u64) -> Value {
    json!({"item_number": item_number, "title": format!("Import {item_number}"), "topic": "imported", "cost": 7, "quantity": 30})
}

fn rows(numbers: impl IntoIterator<Item = u64>) -> Value {
    json!({ "items": numbers.into_iter().map(row).collect::<Vec<_>>() })
}

#[track_caller]
fn is_problem(answer: &Answer, status: u16, code: &str) -> Value {
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (status, Some("application/problem+json")),
        "{answer:?}"
    );
    let problem = answer.json();
    assert_eq!(problem["type"], format!("/problems/{code}"));
    problem
}

/// `(added, updated, kept)` of an answer, which names its state, who gave it, and the key.
#[track_caller]
fn counts(answer: &Answer) -> (u64, u64, u64) {
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = answer.json();
    assert_eq!(body["revision"], answer.revision());
    assert!(answer.served_by().starts_with("catalog-") && answer.header("idempotency-key").is_some(), "{answer:?}");
    let count = |name: &str| body[name].as_u64().expect("a count");
    (count("added"), count("updated"), count("kept"))
}

/// What is wrong in form is refused whole, and each row that is wrong is named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_import_can_be_is_refused() {
    let cluster = Shared::get().await;
    let shop = Shop::new(&cluster);
    let front = cluster.front();
    let before = shop.get("/v1/items?limit=1000&read=linearizable").await.expect(200).json()["items"].clone();
    let mut wrong = rows([900_000_001, 900_000_002, 0, 900_000_001]);
    wrong["items"][1]["title"] = "".into();
    let problem = is_problem(&shop.post(PATH, wrong).await, 422, "invalid");
    let named: Vec<_> = problem["items"].as_array().expect("rows").iter().map(|row| row["index"].as_u64()).collect();
    assert_eq!(named, [Some(1), Some(2), Some(3)], "{problem}");
    for bad in [json!({"items": []}), rows(1..=1_001)] {
        is_problem(&shop.post(PATH, bad).await, 422, "invalid");
    }
    for bad in [json!([]), json!({}), json!({"items": [{}]}), json!({"items": [row(900_000_001)], "existing": "all"})] {
        is_problem(&shop.post(PATH, bad).await, 400, "bad-request");
    }
    let plain = Request::post(format!("{front}{PATH}"), "x").header("content-type", "text/plain");
    assert!(matches!(shop.client.send(plain).await.status, 400 | 415));
    let text = Request::new(reqwest::Method::POST, format!("{front}{PATH}")).header("content-type", "text/plain");
    is_problem(&shop.client.send(text.body("{}")).await, 415, "unsupported-media-type");
    is_problem(&shop.get(PATH).await, 405, "method-not-allowed");
    is_problem(&shop.post(&format!("{PATH}?now=1"), rows([900_000_001])).await, 400, "bad-request");
    // A thousand titles of full length are more than a body may have: whoever imports sends fewer at a time.
    let mut large = rows(900_000_001..=900_001_000);
    for row in large["items"].as_array_mut().expect("rows") {
        row["title"] = "x".repeat(1_024).into();
    }
    is_problem(&shop.post(PATH, large).await, 413, "content-too-large");
    let taken = is_problem(&shop.post(PATH, rows([900_000_001, 1])).await, 409, "number-taken");
    assert_eq!(taken["items"], json!([{"index": 1, "item_number": 1, "why": "taken"}]));
    let after = shop.get("/v1/items?limit=1000&read=linearizable").await.expect(200).json()["items"].clone();
    let numbers = |items: &Value| -> Vec<u64> {
        items.as_array().expect("items").iter().filter_map(|item| item["item_number"].as_u64()).collect()
    };
    // Other tests add and withdraw items of their own meanwhile, below these numbers.
    assert!(numbers(&before).iter().chain(&numbers(&after)).all(|number| *number < 900_000_001));
}

/// A body that is too long is answered to a client that sends all of it before it reads: it saw a broken pipe instead of
/// 413 when the front end closed in the middle, as a test found that lost this race on a busy machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_still_sending_too_much_is_told_so() {
    let cluster = Shared::get().await;
    let address = cluster.front().trim_start_matches("http://").to_owned();
    for (path, length) in [(PATH, 12 << 20), ("/v1/orders", 1 << 20), ("/buy", 1 << 20)] {
        let mut stream = TcpStream::connect(&address).await.expect("the port is open");
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("the head is sent");
        // In pieces, and long enough for an answer to come in between.
        let piece = vec![b' '; 256 << 10];
        for _ in 0..length / piece.len() {
            stream.write_all(&piece).await.unwrap_or_else(|error| panic!("{path}: cut off while sending: {error}"));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let mut answer = vec![0; 12];
        stream.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 413", "{path}");
    }
}

/// All rows or none while customers buy; what is repeated gives no stock back; as many of the longest rows as a body takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_is_whole_and_leaves_the_stock_alone() {
    let cluster = TestCluster::start("import", Options::new()).await;
    let shop = Shop::new(&cluster);
    let item = shop.own_item(1, 1_000_000).await;
    let gone = shop.own_item(1, 1).await;
    shop.withdraw(&gone).await;
    let own = item.number;
    let catalogue = json!({"items": [
        {"item_number": own, "title": "Renamed", "topic": item.topic, "cost": 9, "quantity": 1_000_000},
        row(501),
    ]});
    let with = |existing: &str| {
        let mut body = catalogue.clone();
        body["existing"] = existing.into();
        body
    };
    let story = async {
        some_buys(&shop, own).await;
        let taken = is_problem(&shop.post(PATH, catalogue.clone()).await, 409, "number-taken");
        assert_eq!((&taken["count"], &taken["items"][0]["index"]), (&json!(1), &json!(0)));
        shop.get("/v1/items/501?read=linearizable").await.expect(404);
        assert_eq!(counts(&shop.post(PATH, with("keep")).await), (1, 0, 1));
        assert_eq!(shop.lookup(own).await["title"], json!(item.title));
        for expected in [(0, 1, 1), (0, 0, 2)] {
            let stock = shop.stock(own).await;
            assert_eq!(counts(&shop.post(PATH, with("update")).await), expected);
            // Read through the cache: what an import changed is out of it before it is answered.
            let now = shop.lookup(own).await;
            assert_eq!((&now["title"], &now["cost"]), (&json!("Renamed"), &json!(9)));
            assert!(shop.stock(own).await <= stock, "stock was given back");
            some_buys(&shop, own).await;
        }
        for existing in ["keep", "update"] {
            let mut body = rows([502, gone.number]);
            body["existing"] = existing.into();
            let problem = is_problem(&shop.post(PATH, body).await, 409, "number-taken");
            assert_eq!(problem["items"], json!([{"index": 1, "item_number": gone.number, "why": "withdrawn"}]));
        }
        shop.get("/v1/items/502?read=linearizable").await.expect(404);
    };
    let (bought, _) = Customers::while_story(&shop, own, 2, story).await;
    assert_eq!(shop.stock(own).await, 1_000_000 - bought);
    assert_eq!(shop.units_ordered(own).await, bought);

    // A thousand rows, with the longest titles that a body of them has room for.
    let mut large = rows(1_001..=2_000);
    for row in large["items"].as_array_mut().expect("rows") {
        row["title"] = "x".repeat(955).into();
    }
    assert!(((1 << 20) - 20_000..1 << 20).contains(&large.to_string().len()), "{} bytes", large.to_string().len());
    let first = shop.post_under("large", "frontend-1", PATH, large.clone()).await;
    assert_eq!(counts(&first), (1_000, 0, 0));
    let again = shop.post_under("large", "frontend-1", PATH, large.clone()).await;
    assert_eq!((again.json(), again.revision()), (first.json(), first.revision()));
    large["items"][0]["cost"] = 8.into();
    is_problem(&shop.post_under("large", "frontend-1", PATH, large.clone()).await, 422, "key-reused");
    let all = is_problem(&shop.post(PATH, large).await, 409, "number-taken");
    assert_eq!((all["items"].as_array().map(Vec::len), &all["count"]), (Some(100), &json!(1_000)));
    cluster.wait_equal_hashes().await;
    for node in cluster.catalogs() {
        assert_eq!(cluster.status(&node).await.items, 7 + 1 + 1 + 1_000);
    }
}

/// Watchers are told of an import in one event of one revision, even of a thousand rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_is_one_event() {
    let cluster = TestCluster::start("import-event", Options::single()).await;
    let shop = Shop::new(&cluster);
    let catalog = tests::watcher::way_to(&cluster.cluster.layout);
    let begin = cluster.status("catalog-1").await.applied;
    let done = shop.post(PATH, rows(1_001..=2_000)).await;
    assert_eq!(counts(&done), (1_000, 0, 0));
    let mut watch = Watch::new(catalog, Some(begin));
    let events = loop {
        match watch.next().await {
            Update::Events { events, .. } if !events.is_empty() => break events,
            Update::Events { .. } | Update::Connected { .. } | Update::Disconnected { .. } => {}
            Update::Compacted { oldest } => panic!("compacted up to {oldest}"),
        }
    };
    assert_eq!(events.iter().map(|event| event.changes.len()).collect::<Vec<_>>(), [1_000]);
    assert_eq!(events[0].revision, done.revision());
}

/// An import whose leader is killed under it is repeated with its key until its outcome is known: it has taken effect once,
/// and goes on having done so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_import_takes_effect_once() {
    let cluster = TestCluster::start("import-once", Options::new()).await;
    let shop = Shop::new(&cluster);
    for round in 0..3_u64 {
        let first = 10_000 * (round + 1);
        let (key, body) = (format!("import-{round}"), rows(first..first + 1_000));
        let send = || async { shop.post_under(&key, "frontend-1", PATH, body.clone()).await };
        let (early, killed) = tokio::join!(send(), cluster.kill("leader"));
        cluster.say(&format!("the import under which {killed} was killed: {}", early.status));
        assert!(matches!(early.status, 200 | 503), "{early:?}");
        let known = eventually("the outcome is known", || async {
            let answer = send().await;
            if answer.status == 200 { Ok(answer) } else { Err(answer.text()) }
        })
        .await;
        // Done a second time, every number would be taken.
        assert_eq!(counts(&known), (1_000, 0, 0));
        assert_eq!(shop.buy(first).await.text(), BOUGHT);
        cluster.restart(&killed).await;
        let again = send().await;
        assert_eq!((again.json(), again.revision()), (known.json(), known.revision()));
        assert_eq!(shop.stock(first).await, 29);
    }
    cluster.wait_equal_hashes().await;
    for node in cluster.catalogs() {
        assert_eq!(cluster.status(&node).await.items, 7 + 3_000);
    }
}
