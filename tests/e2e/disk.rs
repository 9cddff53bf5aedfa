//! Disks that are lost: a replica never comes back under its old id with an empty one.

use tests::{Options, TestCluster, eventually};

use crate::shop::{BOUGHT, Shop};

/// A replica whose data folder is gone is refused with a clear message, does not serve, and the others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_disk_is_refused() {
    let cluster = TestCluster::start("lost-disk", Options::new()).await;
    let shop = Shop::new(&cluster);
    assert_eq!(shop.buy(1).await.text(), BOUGHT);
    cluster.kill("catalog-2").await;
    std::fs::remove_dir_all(cluster.data("catalog-2")).expect("its data can be removed");
    let said_before = cluster.log("catalog-2").len();
    cluster.launch("catalog-2");
    let said = eventually("catalog-2 says what is wrong and what to do", || async {
        assert!(cluster.ready("catalog-2").await.is_err(), "it must not serve");
        let said = cluster.log("catalog-2")[said_before..].to_owned();
        if said.contains("new id") { Ok(said) } else { Err(said) }
    })
    .await;
    cluster.say(said.lines().find(|line| line.contains("new id")).unwrap_or_default());
    eventually("catalog-2 ends", || async {
        if cluster.cluster.process("catalog-2").is_none() { Ok(()) } else { Err("it runs") }
    })
    .await;
    assert_eq!(shop.buy(1).await.text(), BOUGHT, "the others go on");
    assert_eq!(shop.stock(1).await, 98);
}

/// A majority of lost disks must not found a second group over what the last replica still knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_group_is_never_founded() {
    let cluster = TestCluster::start("second-group", Options::new().set("deadline_ms", 1_500)).await;
    let shop = Shop::new(&cluster);
    assert_eq!(shop.buy(1).await.text(), BOUGHT);
    cluster.wait_caught_up().await;
    cluster.kill_at_once(&cluster.catalogs());
    for node in ["catalog-1", "catalog-2"] {
        std::fs::remove_dir_all(cluster.data(node)).expect("its data can be removed");
    }
    let said_before = cluster.log("catalog-1").len();
    for node in cluster.catalogs() {
        cluster.launch(&node);
    }
    eventually("catalog-1 refuses to serve with an empty disk", || async {
        assert!(cluster.ready("catalog-1").await.is_err());
        let said = cluster.log("catalog-1")[said_before..].to_owned();
        if said.contains("new id") { Ok(()) } else { Err(said) }
    })
    .await;
    eventually("catalog-3 says that it cannot serve alone", || async {
        if cluster.ready("catalog-3").await.is_err() { Ok(()) } else { Err("ready") }
    })
    .await;
    assert_eq!(shop.buy(1).await.status, 503);
    let survivor = cluster.status("catalog-3").await;
    assert_eq!((survivor.orders, survivor.items), (1, 7), "what the last replica knows is untouched");
}
