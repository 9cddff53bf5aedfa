//! Crashes: all catalogs at once, in the middle of load and right after the first start.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use futures::future::join_all;
use tests::{Client, Options, Request, TestCluster, eventually};

use crate::shop::{BOUGHT, Shop};

/// All catalogs killed at once in the middle of buys, again and again: what was acknowledged is there, nothing is
/// there twice, stock and ledger agree, replicas are equal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_catalogs_killed_at_once_keep_everything() {
    let cluster = TestCluster::start("kill-all", Options::new()).await;
    let shop = Shop::new(&cluster);
    let item = shop.own_item(1, 1_000_000).await;
    let (stop, acknowledged) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let path = format!("{}/buy/{}", cluster.front(), item.number);
    let customers = join_all((0..8).map(|_| async {
        let client = Client::new();
        while !stop.load(Ordering::Relaxed) {
            let answer = client.get(&path).await;
            match answer.status {
                200 => {
                    assert_eq!(answer.text(), BOUGHT);
                    let id = answer.header("idempotency-key").expect("a buy has an id").to_owned();
                    acknowledged.lock().expect("not poisoned").push(id);
                }
                429 | 503 => assert!(answer.header("retry-after").is_some(), "{answer:?}"),
                other => panic!("{other}: {answer:?}"),
            }
        }
    }));
    let story = async {
        for _ in 0..3 {
            let before = acknowledged.lock().expect("not poisoned").len();
            eventually("buys go on", || async {
                let now = acknowledged.lock().expect("not poisoned").len();
                if now >= before + 50 { Ok(()) } else { Err(now - before) }
            })
            .await;
            cluster.kill_at_once(&cluster.catalogs());
            cluster.start_all().await.expect("all are back on their own data");
        }
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(customers, story);
    cluster.wait_equal_hashes().await;
    let acknowledged = acknowledged.into_inner().expect("not poisoned");
    let ledger = shop.ledger("frontend-1").await;
    let mut ids: Vec<_> = ledger.iter().map(|order| order["id"].as_str().expect("an id").to_owned()).collect();
    ids.sort_unstable();
    let lost: Vec<_> = acknowledged.iter().filter(|id| ids.binary_search(id).is_err()).collect();
    cluster.say(&format!("{} acknowledged, {} in the ledger, {} lost", acknowledged.len(), ids.len(), lost.len()));
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let placed = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), placed, "an order stands twice in the ledger");
    assert_eq!(shop.stock(item.number).await, 1_000_000 - placed as u64);
}

/// The first items are loaded exactly once, also when the catalogs are killed while they found their group.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_items_are_loaded_exactly_once() {
    let cluster = TestCluster::prepare("first-load", &Options::new()).await;
    let shop = Shop::new(&cluster);
    for round in 0..4 {
        for node in cluster.catalogs() {
            cluster.launch(&node);
        }
        // Each round lets them come a little further before they are killed.
        eventually("the catalogs have come as far as this round wants", || async {
            let mut far = 0;
            for node in cluster.catalogs() {
                let answer = shop.client.try_send(Request::get(cluster.url(&node) + "/livez")).await;
                let last_log = cluster.try_status(&node).await.map_or(0, |status| status.last_log);
                far += usize::from(answer.is_ok()) + usize::from(last_log >= 1) + usize::from(last_log >= 2);
            }
            if far >= 2 * round { Ok(()) } else { Err(far) }
        })
        .await;
        cluster.kill_at_once(&cluster.catalogs());
    }
    cluster.start_all().await.expect("all are up");
    for node in cluster.catalogs() {
        eventually("seven items", || async {
            let status = cluster.try_status(&node).await?;
            anyhow::ensure!(status.items == 7, "{status:?}");
            Ok(())
        })
        .await;
    }
    cluster.wait_equal_hashes().await;
    assert_eq!(shop.buy(1).await.text(), BOUGHT);
    cluster.kill_at_once(&cluster.catalogs());
    cluster.start_all().await.expect("all are back");
    assert_eq!(shop.stock(1).await, 99, "a restart does not load the items again");
    assert_eq!(cluster.status("catalog-1").await.items, 7);
}

/// A write is acknowledged after the fdatasync of a majority, as strace sees it: when the leader writes the answer,
/// a sync has begun and ended after the write arrived, on it and on a follower.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strace_shows_fdatasync_before_the_acknowledgement() {
    let found = std::process::Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success());
    if !found {
        println!("skipped: there is no strace on this machine");
        return;
    }
    let cluster = TestCluster::start("strace", Options::single()).await;
    let shop = Shop::new(&cluster);
    let trace = cluster.cluster.run_dir.join("trace");
    let pid = cluster.cluster.pid("catalog-1").expect("it runs").to_string();
    let mut strace = std::process::Command::new("strace")
        .args([
            "-f",
            "-tt",
            "-e",
            "trace=fdatasync,fsync,sync_file_range,write,writev,sendto,sendmsg",
            "-s",
            "64",
            "-p",
            &pid,
            "-o",
        ])
        .arg(&trace)
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("strace was there a moment ago");
    let text = || std::fs::read_to_string(&trace).unwrap_or_default();
    eventually("strace follows", || async { if text().is_empty() { Err("nothing traced yet") } else { Ok(()) } }).await;
    for cost in 1_001..1_006 {
        shop.get_at("catalog-1", &format!("/update_c/1/{cost}")).await.expect(200);
    }
    eventually("the last answer is in the trace", || async {
        if text().contains("HTTP/1.1 200") && acknowledgements(&text()).len() >= 5 { Ok(()) } else { Err("not yet") }
    })
    .await;
    end(&mut strace);
    let marks = acknowledgements(&text());
    cluster.say(&format!("each of {} acknowledgements had an fdatasync between it and the one before", marks.len()));
    assert!(marks.iter().all(|synced| *synced), "{marks:?}");
}

/// Of each HTTP answer in the trace, whether an fdatasync returned 0 between it and the answer before.
fn acknowledgements(trace: &str) -> Vec<bool> {
    let (mut marks, mut synced) = (Vec::new(), false);
    for line in trace.lines() {
        if line.contains("fdatasync") && line.trim_end().ends_with("= 0") {
            synced = true;
        } else if line.contains("HTTP/1.1 200") && line.contains("x-revision") || line.contains("HTTP/1.1 200 OK") {
            marks.push(std::mem::take(&mut synced));
        }
    }
    marks
}

fn end(child: &mut std::process::Child) {
    // SIGKILL detaches it: the kernel lets the traced process go on.
    child.kill().and_then(|()| child.wait()).expect("strace is our child");
}
