//! Imports that are interrupted while what they have brought is sold: every row is in once, with its stock right.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tests::{Client, Options, Request, TestCluster, try_eventually};
use tokio::{process::Child, task::JoinHandle};

use crate::{begin, ctl, end};

/// Items of the file: numbers behind those of the seven books.
const FIRST: u64 = 101;
const ROWS: u64 = 20_000;
const STOCK: u64 = 50;

fn title(n: u64) -> String {
    format!("Row {n}, \"quoted\" – 日本")
}

fn write(file: &Path) {
    let rows: String = (FIRST..FIRST + ROWS)
        .map(|n| format!("{n},\"{}\",imported,{},{STOCK}\n", title(n).replace('"', "\"\""), n % 97))
        .collect();
    std::fs::write(file, format!("item_number,title,topic,cost,quantity\n{rows}")).expect("a file");
}

/// Customers who buy one of an item of the file after the other, until they are stopped: how many of each they have bought.
struct Customers {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<BTreeMap<u64, u64>>>,
}

impl Customers {
    fn come(cluster: &TestCluster) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let buy = |seed: u64| tokio::spawn(buy(cluster.front(), seed, stop.clone()));
        Self { tasks: (0..3).map(buy).collect(), stop: stop.clone() }
    }

    async fn go(self) -> BTreeMap<u64, u64> {
        self.stop.store(true, Relaxed);
        let mut sum = BTreeMap::new();
        for task in self.tasks {
            for (item, count) in task.await.expect("customers do not panic") {
                *sum.entry(item).or_default() += count;
            }
        }
        sum
    }
}

async fn buy(front: String, seed: u64, stop: Arc<AtomicBool>) -> BTreeMap<u64, u64> {
    let client = Client::new();
    let (mut bought, mut turn) = (BTreeMap::new(), seed);
    while !stop.load(Relaxed) {
        turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let item = FIRST + (turn >> 33) % ROWS;
        let key = format!("customer-{seed}-{turn}");
        let body = json!({"lines": [{"item_number": item, "quantity": 1}]}).to_string();
        // Until it is known what became of it.
        loop {
            let request = Request::post(format!("{front}/v1/orders"), body.clone()).header("idempotency-key", &key);
            match client.try_send(request).await.map(|answer| answer.status) {
                Ok(201) => *bought.entry(item).or_default() += 1,
                Ok(404 | 409) => {}
                Ok(429 | 503) | Err(_) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
                Ok(other) => panic!("{other}"),
            }
            break;
        }
    }
    bought
}

fn note(file: &str) -> PathBuf {
    format!("{file}.import-progress").into()
}

fn rows_done(file: &str) -> u64 {
    let text = std::fs::read_to_string(note(file)).unwrap_or_default();
    serde_json::from_str::<Value>(&text).ok().and_then(|note| note["rows"].as_u64()).unwrap_or(0)
}

/// Waits until so many rows are in, or the import has ended, which is told.
async fn until_done(run: &mut Child, file: &str, rows: u64) -> bool {
    let what = format!("{rows} rows are in");
    let mut ended = false;
    let look = || {
        ended |= run.try_wait().expect("a process").is_some();
        let found = if ended || rows_done(file) >= rows { Ok(()) } else { Err(format!("{} are", rows_done(file))) };
        std::future::ready(found)
    };
    try_eventually(&what, Duration::from_secs(60), look).await.unwrap_or_else(|error| panic!("{error}"));
    ended
}

/// All rows are there once, as in the file, and of each there is what was not sold.
async fn is_all_there(cluster: &TestCluster, folder: &Path, sold: &BTreeMap<u64, u64>) {
    let export = folder.join("export.csv");
    let export = export.to_str().expect("UTF-8");
    ctl(cluster, &["export", export]).await.expect(0);
    let mut rows = csv::Reader::from_path(export).expect("a file");
    let mut seen = BTreeMap::new();
    for row in rows.deserialize::<(u64, String, String, u64, u64)>() {
        let (n, named, topic, cost, quantity) = row.expect("a row");
        if n >= FIRST {
            assert_eq!((named, topic.as_str(), cost), (title(n), "imported", n % 97), "item {n}");
            assert!(seen.insert(n, quantity).is_none(), "item {n} is there twice");
        }
    }
    assert_eq!(seen.len() as u64, ROWS);
    for (n, quantity) in seen {
        assert_eq!(quantity + sold.get(&n).copied().unwrap_or(0), STOCK, "item {n}");
    }
    // And what comes out goes in.
    let back = ctl(cluster, &["import", export, "--existing", "keep", "-o", "json"]).await.expect(0).document();
    assert_eq!((&back["added"], &back["kept"]), (&json!(0), &json!(ROWS + 7)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_is_killed_again_and_again_brings_every_row_once_while_they_are_sold() {
    let cluster = TestCluster::start("ctl-import", Options::single()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("items.csv");
    write(&path);
    let file = path.to_str().expect("UTF-8");
    let customers = Customers::come(&cluster);
    // One at a time, so that it takes a while; on a machine that looks away for long it may end before it is killed, and
    // what holds at the end holds then too. That kills hit is the business of the tests with a store that waits.
    let arguments = ["import", file, "-o", "json", "--in-flight", "1"];
    let mut last = None;
    for part in [1, 3_000, 6_000] {
        let mut run = begin(&cluster, &arguments);
        if until_done(&mut run, file, part).await {
            last = Some(run);
            break;
        }
        run.kill().await.expect("a kill");
        cluster.say(&format!("killed at {} rows", rows_done(file)));
    }
    let run = end(last.unwrap_or_else(|| begin(&cluster, &arguments))).await.expect(0);
    let told = run.document();
    assert_eq!((&told["rows"], &told["added"]), (&json!(ROWS), &json!(ROWS)), "{told}");
    assert!(!note(file).exists());
    let sold = customers.go().await;
    cluster.say(&format!("{} orders meanwhile", sold.values().sum::<u64>()));
    is_all_there(&cluster, folder.path(), &sold).await;
    let again = ctl(&cluster, &["import", file]).await.expect(1);
    assert!(again.err.contains(&format!("{file}:2: item {FIRST} is there already")), "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_goes_on_when_the_leader_is_killed() {
    let cluster = TestCluster::start("ctl-import-leader", Options::new()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("items.csv");
    write(&path);
    let file = path.to_str().expect("UTF-8");
    let customers = Customers::come(&cluster);
    let mut run = begin(&cluster, &["import", file, "--timeout", "60", "-o", "json"]);
    until_done(&mut run, file, 3_000).await;
    let killed = cluster.kill("leader").await;
    let told = end(run).await.expect(0).document();
    assert_eq!((&told["rows"], &told["added"]), (&json!(ROWS), &json!(ROWS)), "{told}");
    let sold = customers.go().await;
    cluster.restart(&killed).await;
    is_all_there(&cluster, folder.path(), &sold).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_line_is_named_and_nothing_is_sent() {
    let cluster = TestCluster::start("ctl-import-bad", Options::single()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("items.csv");
    let file = path.to_str().expect("UTF-8");
    std::fs::write(&path, "item_number,title,topic,cost,quantity\n8,a,t,1,1\n9,b,t,one,1\n").expect("a file");
    let run = ctl(&cluster, &["import", file]).await.expect(1);
    assert!(run.err.contains(&format!("{file}:3: cost is \"one\"")), "{run:?}");
    ctl(&cluster, &["show", "8"]).await.expect(1);
    std::fs::write(&path, "item_number,title,topic,cost,quantity\n8,a,t,1,1\n7,b,t,1,1\n").expect("a file");
    let run = ctl(&cluster, &["import", file]).await.expect(1);
    assert!(run.err.contains(&format!("{file}:3: item 7 is there already")), "{run:?}");
    ctl(&cluster, &["show", "8"]).await.expect(1);
    ctl(&cluster, &["import", file, "--restart", "--existing", "update"]).await.expect(0);
    let item = ctl(&cluster, &["show", "7", "-o", "json"]).await.expect(0).document();
    assert_eq!((&item["title"], &item["cost"], &item["quantity"]), (&json!("b"), &json!(1), &json!(100)));
}
