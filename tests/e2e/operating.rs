//! What an operator asks of replicas over their peer ports: a snapshot now, another leader.

use std::time::{Duration, Instant};

use catalog_client::client::{Catalog, Error};
use tests::{Options, TestCluster, eventually, watcher::way_to};

use crate::shop::{BOUGHT, Customers, Shop, some_buys};

fn soon() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(20)
}

fn id_of(node: &str) -> u64 {
    node.rsplit('-').next().and_then(|id| id.parse().ok()).expect("catalog-<id>")
}

/// Why the leader stays.
async fn stays(catalog: &Catalog, to: Option<u64>) -> String {
    match catalog.transfer_leader(to, soon()).await {
        Ok(Err(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// A leader that is asked to go goes at once to whom it is told to, and nobody who buys notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leadership_moves_under_load_and_nothing_is_lost() {
    let cluster = TestCluster::start("transfer", Options::new()).await;
    let shop = Shop::new(&cluster);
    let catalog = way_to(&cluster.cluster.layout);
    let item = shop.own_item(1, 1_000_000).await;
    let story = async {
        some_buys(&shop, item.number).await;
        for round in 0..6 {
            let before = cluster.leader().await;
            // Whoever it is told to, or whoever is best.
            let to = cluster.followers().await.into_iter().nth(round % 2).map(|node| id_of(&node));
            let to = to.filter(|_| round % 3 != 2);
            let began = Instant::now();
            let leader = catalog.transfer_leader(to, soon()).await.expect("a leader is found").expect("it hands over");
            cluster.say(&format!(
                "replica {leader} leads {:.3} s after it was asked of {before}",
                began.elapsed().as_secs_f64()
            ));
            assert_ne!(leader, id_of(&before));
            assert!(to.is_none_or(|to| to == leader), "{to:?} was to lead, not {leader}");
            eventually("all know", || async {
                let now = cluster.leader().await;
                if id_of(&now) == leader { Ok(()) } else { Err(now) }
            })
            .await;
            some_buys(&shop, item.number).await;
        }
    };
    let (bought, slowest) = Customers::while_story(&shop, item.number, 4, story).await;
    cluster.say(&format!("{bought} bought, no request failed, the slowest took {slowest:?}"));
    assert_eq!(shop.stock(item.number).await, 1_000_000 - bought);
    assert_eq!(shop.units_ordered(item.number).await, bought);
    cluster.wait_equal_hashes().await;
}

/// Whoever cannot lead is not handed to, and the sentence says why; the leader goes on to lead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_stays_where_nobody_could_take_its_place() {
    let cluster = TestCluster::start("transfer-refused", Options::new()).await;
    let shop = Shop::new(&cluster);
    let catalog = way_to(&cluster.cluster.layout);
    let leader = cluster.leader().await;
    let term = cluster.status(&leader).await.term;
    let down = cluster.followers().await.pop().expect("two follow");
    for (to, words) in [(id_of(&leader), "leads already"), (77, "is no voter")] {
        let why = stays(&catalog, Some(to)).await;
        assert!(why.contains(words), "{why}");
    }
    cluster.kill(&down).await;
    let why = stays(&catalog, Some(id_of(&down))).await;
    assert!(why.contains(&format!("{down} does not answer")) && why.contains("start"), "{why}");
    assert_eq!(shop.buy(1).await.text(), BOUGHT);
    let status = cluster.status(&leader).await;
    assert_eq!((status.role.as_str(), status.term), ("leader", term), "nothing has happened to it");
    // Of the others, the one that is left takes it.
    let other = catalog.transfer_leader(None, soon()).await.expect("a leader").expect("it hands over");
    assert!(other != id_of(&leader) && other != id_of(&down));
    cluster.restart(&down).await;
    // Without a quorum nobody leads, and nothing is done.
    let rest: Vec<_> = cluster.catalogs().into_iter().filter(|node| id_of(node) != other).collect();
    cluster.kill_at_once(&rest);
    let within = tokio::time::Instant::now() + Duration::from_secs(2);
    let error = catalog.transfer_leader(None, within).await.expect_err("no quorum");
    assert!(matches!(error, Error::Refused(_)), "{error}");
}

/// Any replica builds a snapshot when it is asked to, long before one is due, and says when it has all of it already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_built_when_it_is_asked_for_over_the_peer_port() {
    let cluster = TestCluster::start("snapshot-on-demand", Options::new()).await;
    let shop = Shop::new(&cluster);
    let catalog = way_to(&cluster.cluster.layout);
    assert_eq!(shop.buy(1).await.text(), BOUGHT);
    cluster.wait_caught_up().await;
    for node in cluster.catalogs() {
        let asked = catalog.snapshot(id_of(&node), soon()).await.expect("an answer");
        assert!(asked.snapshot == 0 && asked.applied > 0 && !asked.is_there(), "{node}: {asked:?}");
        eventually("a snapshot of all that was there", || async {
            let status = cluster.try_status(&node).await?;
            anyhow::ensure!(status.snapshot >= asked.applied, "{status:?}");
            Ok(())
        })
        .await;
        // Nothing is bought meanwhile, but whoever leads may have written an entry of its own.
        let again = catalog.snapshot(id_of(&node), soon()).await.expect("an answer");
        assert!(again.snapshot >= asked.applied && (again.is_there() || again.applied > asked.applied), "{again:?}");
    }
    let down = cluster.kill("catalog-2").await;
    let within = tokio::time::Instant::now() + Duration::from_secs(1);
    let error = catalog.snapshot(id_of(&down), within).await.expect_err("it is down").to_string();
    assert!(error.contains("catalog-2"), "{error}");
    cluster.restart(&down).await;
    assert!(cluster.status(&down).await.snapshot > 0, "it is kept");
    cluster.wait_equal_hashes().await;
}
