//! `watch`, through a restart of its front end.

use serde_json::Value;
use tests::{Options, TestCluster};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::{begin, ctl};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_on_through_a_restart_of_its_front_end_and_shows_each_change_once() {
    let cluster = TestCluster::start("ctl-watch", Options::single()).await;
    let first = ctl(&cluster, &["add-stock", "1", "1", "-o", "json"]).await.expect(0).document();
    let from = (first["revision"].as_u64().expect("a revision") - 1).to_string();
    let mut watch = begin(&cluster, &["watch", "--after", &from, "--timeout", "60", "-o", "json"]);
    let mut lines = BufReader::new(watch.stdout.take().expect("piped")).lines();
    let mut seen: Vec<Value> = Vec::new();
    let mut expected = vec![first["revision"].clone()];
    for round in 0..3 {
        if round == 1 {
            cluster.kill("frontend-1").await;
            cluster.restart("frontend-1").await;
        }
        for _ in 0..5 {
            let item = ctl(&cluster, &["add-stock", "1", "1", "-o", "json"]).await.expect(0).document();
            expected.push(item["revision"].clone());
        }
        while seen.len() < expected.len() {
            let line = tokio::time::timeout(tests::PATIENCE, lines.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("{seen:?} of {expected:?}")).expect("text").expect("a line");
            seen.push(serde_json::from_str(&line).expect("JSON"));
        }
    }
    watch.kill().await.expect("it runs");
    let revisions: Vec<Value> = seen.iter().map(|change| change["revision"].clone()).collect();
    assert_eq!(revisions, expected, "each once and in order");
    assert_eq!((&seen[0]["type"], &seen[15]["quantity"]), (&"put".into(), &116.into()), "{seen:?}");

    // Begun before the first change of these, and ended by itself.
    let table = ctl(&cluster, &["watch", "--after", &from, "--count", "2"]).await.expect(0).out;
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.starts_with("REVISION  CHANGE"), "{table}");
    ctl(&cluster, &["withdraw", "7"]).await.expect(0);
    let after = revisions[15].to_string();
    let gone = ctl(&cluster, &["watch", "--after", &after, "--count", "1", "-o", "json"]).await.expect(0).document();
    assert_eq!((&gone["type"], &gone["item_number"]), (&"withdrawn".into(), &7.into()), "{gone}");
    assert!(gone["revision"].as_u64() > revisions[15].as_u64());
    cluster.kill("frontend-1").await;
    let run = ctl(&cluster, &["watch", "--after", &after, "--timeout", "1"]).await.expect(3);
    assert!(run.err.contains(&format!("watch --after {after}")), "{run:?}");
}
