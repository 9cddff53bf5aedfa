//! A replica that was away for longer than the log is kept comes back through a snapshot.

use futures::future::join_all;
use tests::{Options, TestCluster, eventually};

use crate::shop::{BOUGHT, Shop};

/// Writes until the leader's log is `entries` longer.
async fn write_entries(cluster: &TestCluster, shop: &Shop<'_>, entries: u64) {
    let leader = cluster.leader().await;
    let target = cluster.status(&leader).await.committed + entries;
    while cluster.status(&leader).await.committed < target {
        // Writes at once share entries, so the log is asked how far it has come.
        let writes = (0..100).map(|n| async move {
            let answer = shop.get(&format!("/update_c/{}/{n}", 1 + n % 7)).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        });
        let mut writes: Vec<_> = writes.collect();
        while !writes.is_empty() {
            join_all(writes.drain(..writes.len().min(2))).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_away_long_comes_back_through_a_snapshot() {
    let options = Options::new().raft("snapshot_entries", 200).raft("log_kept_entries", 50);
    let cluster = TestCluster::start("snapshot", options).await;
    let shop = Shop::new(&cluster);
    assert_eq!(shop.buy(1).await.text(), BOUGHT);
    let away = cluster.followers().await.pop().expect("two follow");
    let knew = cluster.status(&away).await.last_log;
    cluster.kill(&away).await;
    write_entries(&cluster, &shop, 1_000).await;
    let leader = cluster.leader().await;
    eventually("the leader has purged what the absent replica needs", || async {
        let status = cluster.try_status(&leader).await?;
        anyhow::ensure!(status.purged > knew && status.snapshot >= status.purged, "{status:?}");
        Ok(())
    })
    .await;
    let status = cluster.status(&leader).await;
    cluster.say(&format!(
        "log {} to {}, snapshot {}; {away} knew {knew}",
        status.purged, status.last_log, status.snapshot
    ));
    assert!(status.last_log - status.purged < 1_000, "the log is bounded: {status:?}");

    cluster.restart(&away).await;
    cluster.wait_equal_hashes().await;
    let back = cluster.status(&away).await;
    assert!(back.snapshot > knew && back.purged > knew, "it came back through a snapshot: {back:?}");
    assert_eq!((back.items, back.orders), (7, 1));

    // It is a full member: with another one gone it makes the majority, and it restarts from what it installed.
    let other = cluster.followers().await.into_iter().find(|node| *node != away).unwrap_or(leader);
    cluster.kill(&other).await;
    assert_eq!(shop.buy(1).await.text(), BOUGHT);
    cluster.restart(&other).await;
    cluster.kill(&away).await;
    cluster.restart(&away).await;
    cluster.wait_equal_hashes().await;
    assert_eq!(shop.stock(1).await, 98);
    assert_eq!(shop.units_ordered(1).await, 2);
}

/// All replicas killed with a snapshot behind them restart from snapshot and log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_replicas_restart_from_snapshot_and_log() {
    let options = Options::new().raft("snapshot_entries", 50).raft("log_kept_entries", 10);
    let cluster = TestCluster::start("snapshot-all", options).await;
    let shop = Shop::new(&cluster);
    write_entries(&cluster, &shop, 300).await;
    assert_eq!(shop.buy(4).await.text(), BOUGHT);
    eventually("every replica has a snapshot", || async {
        for (node, status) in cluster.statuses().await {
            anyhow::ensure!(status.snapshot > 0 && status.purged > 0, "{node}: {status:?}");
        }
        Ok(())
    })
    .await;
    let (_, hash) = cluster.wait_equal_hashes().await;
    cluster.kill_at_once(&cluster.catalogs());
    cluster.start_all().await.expect("all are back");
    assert_eq!(cluster.wait_equal_hashes().await.1, hash);
    assert_eq!(shop.stock(4).await, 9);
}

/// SIGUSR1 asks a replica for a snapshot, long before one is due, and nothing else comes of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_taken_when_it_is_asked_for() {
    let cluster = TestCluster::start("snapshot-asked", Options::new()).await;
    let shop = Shop::new(&cluster);
    assert_eq!(shop.buy(1).await.text(), BOUGHT);
    let leader = cluster.leader().await;
    let before = cluster.status(&leader).await;
    assert_eq!(before.snapshot, 0);
    let pid = cluster.cluster.pid(&leader).expect("the leader runs");
    let pid = rustix::process::Pid::from_raw(pid).expect("a process id");
    rustix::process::kill_process(pid, rustix::process::Signal::USR1).expect("it can be signalled");
    eventually("a snapshot of all that was there", || async {
        let status = cluster.try_status(&leader).await?;
        anyhow::ensure!(status.snapshot >= before.applied, "{status:?}");
        Ok(())
    })
    .await;
    assert_eq!(shop.buy(1).await.text(), BOUGHT);
    cluster.kill(&leader).await;
    cluster.restart(&leader).await;
    cluster.wait_equal_hashes().await;
}
