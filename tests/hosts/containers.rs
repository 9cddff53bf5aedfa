//! The containers of compose.yaml: B8 to B12, a leader off the network of its peers, a container made anew, all of it stopped
//! and started.

use std::time::Duration;

use tests::{
    Request, TestCluster, eventually,
    shop::{BOUGHT, Customers, Shop, client_flow, some_buys},
    trial::Trial,
};
use tokio::time::sleep;

use crate::{must_be_kept, project::Project, stock_up, turn};

/// Clients of a trial.
const CLIENTS: u64 = 16;
/// How long the load runs before, between and after faults.
const STRETCH: Duration = Duration::from_millis(1500);
/// How long the first buy after a fault may take; a busy machine gets more than the two seconds that are aimed at.
const FIRST_BUY_PATIENCE: Duration = Duration::from_secs(10);

/// Waits until the front end counts `node` among the living, or no longer.
async fn counts_as(shop: &Shop<'_>, node: &str, active: bool) {
    eventually(&format!("the front end sees {node} as active: {active}"), || async {
        let view = shop.get("/v1/cluster").await.expect(200).json();
        let all = ["catalogs", "orders"].into_iter().filter_map(|kind| view[kind].as_array().cloned()).flatten();
        let seen = all.into_iter().find(|one| one["node"] == node).expect("every server is in the view");
        if seen["active"] == active { Ok(()) } else { Err(seen.to_string()) }
    })
    .await;
}

/// B8 and B9: containers come up in any order; a killed one of each kind is masked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b8_b9_containers_come_in_any_order_and_killed_ones_are_masked() {
    let _turn = turn().await;
    let Some(project) = Project::new("masked").await else { return };
    project.compose.up(&["frontend-1", "order-2"]).expect("the engine starts them");
    {
        let cluster = project.seen().await;
        let shop = Shop::new(&cluster);
        eventually("the front end lives", || shop.client.try_send(Request::get(cluster.front() + "/livez"))).await;
        assert_eq!(shop.get("/readyz").await.status, 503, "it cannot serve without catalogs, and says so");
    }
    let cluster = project.up().await;
    let shop = Shop::new(&cluster);
    client_flow(&shop, 100).await;
    let item = shop.own_item(1, 1_000_000).await;
    let story = async {
        some_buys(&shop, item.number).await;
        let follower = cluster.followers().await.pop().expect("two follow");
        for victim in [follower.as_str(), "leader", "order-1"] {
            let victim = if victim == "leader" { cluster.leader().await } else { victim.to_owned() };
            project.compose.kill(&victim).expect("it runs");
            cluster.say(&format!("killed {victim}"));
            counts_as(&shop, &victim, false).await;
            some_buys(&shop, item.number).await;
            project.compose.start(&victim).expect("it is there");
            counts_as(&shop, &victim, true).await;
        }
    };
    let (bought, slowest) = Customers::while_story(&shop, item.number, 4, story).await;
    cluster.say(&format!("{bought} bought by 4 customers, no request failed, the slowest took {slowest:?}"));
    assert_eq!(shop.stock(item.number).await, 1_000_000 - bought);
    assert_eq!(shop.units_ordered(item.number).await, bought);
    drop(cluster);
    project.seen().await.wait_equal_hashes().await;
}

/// B10 to B12: what is written while a container is down reaches it; it serves the updated values, and is asked again. So it
/// is for one that is removed and made anew on its volume, and when all are stopped and started.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b10_b11_b12_containers_that_come_back_have_everything() {
    let _turn = turn().await;
    let Some(project) = Project::new("back").await else { return };
    let mut cluster = project.up().await;
    let mut stock = 100;
    for (round, how) in ["killed and started", "removed and made anew on its volume"].into_iter().enumerate() {
        let cost = 10 + round as u64;
        {
            let shop = Shop::new(&cluster);
            if round == 0 {
                project.compose.kill("catalog-2").expect("it runs");
            } else {
                project.compose.remove("catalog-2").expect("it is there");
            }
            shop.get(&format!("/update_c/1/{cost}")).await.expect(200);
            for _ in 0..5 {
                assert_eq!(shop.buy(1).await.text(), BOUGHT);
                stock -= 1;
            }
        }
        if round == 0 {
            project.compose.start("catalog-2").expect("it is there");
        } else {
            project.compose.up(&["catalog-2"]).expect("it can be made");
        }
        drop(cluster);
        cluster = project.seen().await;
        project.ready(&cluster, &["catalog-2".to_owned()]).await;
        cluster.wait_caught_up().await;
        let shop = Shop::new(&cluster);
        has(&shop, "catalog-2", cost, stock).await;
        counts_as(&shop, "catalog-2", true).await;
        is_asked_again(&shop, "catalog-2").await;
        cluster.say(&format!("catalog-2, {how}, has cost {cost} and quantity {stock} of item 1, and is asked again"));
    }

    let before = cluster.wait_equal_hashes().await.1;
    drop(cluster);
    project.compose.compose(&["stop"]).expect("the engine stops them");
    project.compose.compose(&["start"]).expect("the engine starts them");
    let cluster = project.up().await;
    assert_eq!(cluster.wait_equal_hashes().await.1, before, "the state is that of before");
    let shop = Shop::new(&cluster);
    for node in cluster.catalogs() {
        has(&shop, &node, 11, stock).await;
    }
    assert_eq!(shop.buy(1).await.text(), BOUGHT);
}

async fn has(shop: &Shop<'_>, node: &str, cost: u64, quantity: u64) {
    let there = shop.get_at(node, "/lookup/1").await.expect(200).json();
    assert_eq!((there["cost"].as_u64(), there["quantity"].as_u64()), (Some(cost), Some(quantity)), "{node}");
}

/// Waits until a read that the cache does not have is answered by `node`.
async fn is_asked_again(shop: &Shop<'_>, node: &str) {
    eventually(&format!("{node} answers the front end"), || async {
        // No cache has the list of a topic that nobody asked for before.
        let topic = uuid::Uuid::new_v4();
        let answer = shop.get(&format!("/search/{topic}")).await;
        if answer.served_by() == node { Ok(()) } else { Err(answer.served_by().to_owned()) }
    })
    .await;
}

/// The leader is disconnected from the network of its peers in the middle of load, while order servers and front end reach it
/// still, and is connected again: twice. Every promise is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_off_the_network_of_its_peers_loses_nothing() {
    let _turn = turn().await;
    let Some(project) = Project::new("off-peers").await else { return };
    let cluster = project.up().await;
    stock_up(&Shop::new(&cluster)).await;
    let mut trial = Trial::begin(cluster, rand::random(), CLIENTS).await.expect("a cluster that serves");
    for round in 1..=2 {
        sleep(STRETCH).await;
        let leader = trial.cluster.leader().await;
        project.compose.cut(&leader).expect("it is on the network");
        trial.cluster.say(&format!("round {round}: {leader} is off the network of its peers"));
        let took = trial.first_buy(FIRST_BUY_PATIENCE).await;
        let took = took.unwrap_or_else(|| panic!("no buy within {FIRST_BUY_PATIENCE:?} while {leader} is off"));
        trial.cluster.say(&format!("first buy after {} ms", took.as_millis()));
        another_leads(&trial.cluster, &leader).await;
        sleep(STRETCH).await;
        project.compose.heal(&leader).expect("it is off the network");
        sleep(STRETCH).await;
    }
    trial.faults_ended().await;
    let (_cluster, _history, report) = trial.judge().await.expect("a cluster at rest can be read");
    must_be_kept(&report);
}

async fn another_leads(cluster: &TestCluster, than: &str) {
    eventually("another leads", || async {
        let leader = cluster.leader().await;
        if leader == than { Err(format!("{leader} leads")) } else { Ok(()) }
    })
    .await;
}
