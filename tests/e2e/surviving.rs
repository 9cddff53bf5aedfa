//! B8 to B12 and B18: servers that come, go and come back.

use std::time::Instant;

use futures::future::join_all;
use tests::{
    Options, TestCluster, eventually,
    shop::{BOUGHT, Customers, Shop, client_flow, some_buys},
};

/// B8: servers may come up in any order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b8_servers_may_come_up_in_any_order() {
    let cluster = TestCluster::prepare("b8", &Options::new()).await;
    let shop = Shop::new(&cluster);
    for node in ["frontend-1", "order-2"] {
        cluster.launch(node);
        eventually(&format!("{node} lives"), || async {
            let answer = shop.client.try_send(tests::Request::get(cluster.url(node) + "/livez")).await;
            answer.map(|answer| assert_eq!(answer.status, 200))
        })
        .await;
        assert_eq!(shop.get_at(node, "/readyz").await.status, 503, "{node} cannot serve without catalogs, and says so");
    }
    for node in ["catalog-3", "order-1", "catalog-1", "catalog-2"] {
        cluster.launch(node);
    }
    cluster.start_all().await.expect("all serve in the end");
    client_flow(&shop, 100).await;
}

/// A front end that began between the founding of the group and the first items told of an empty store for as long as
/// its freshness allowed (the client flow above met it once), though every server had said that it was ready.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_server_is_ready_before_the_first_items() {
    // Several entries take a while.
    let last = 60_000;
    let rows: String = (1..=last).map(|n| format!("{n},Title {n},topic,10,100\n")).collect();
    let items = format!("item_number,title,topic,cost,quantity\n{rows}");
    let cluster = TestCluster::prepare("first-items", &Options::new().frontends(2).items_csv(items)).await;
    let shop = Shop::new(&cluster);
    let nodes = cluster.cluster.nodes();
    nodes.iter().for_each(|node| cluster.launch(node));
    let finds =
        async |node: &str, read: &str| shop.get_at(node, &format!("/v1/items/{last}{read}")).await.status == 200;
    let looks = nodes.iter().map(async |node| {
        eventually(&format!("{node} is ready"), || cluster.ready(node)).await;
        let found = if node.starts_with("order") {
            // It has no items: but the leader that it knows of has.
            join_all(cluster.catalogs().iter().map(|catalog| finds(catalog, ""))).await.contains(&true)
        } else {
            finds(node, if node.starts_with("catalog") { "?read=linearizable" } else { "" }).await
        };
        assert!(found, "{node} is ready without the last of the first items");
    });
    join_all(looks).await;
}

/// B8: the front end's view is live, can be read, and changes of it are logged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b8_the_front_end_keeps_a_live_view_of_all_servers() {
    let cluster = TestCluster::start("b8-view", Options::new()).await;
    let shop = Shop::new(&cluster);
    let active = |node: &'static str| {
        let shop = &shop;
        async move {
            let view = shop.get("/v1/cluster").await.expect(200).json();
            let all = ["catalogs", "orders"].into_iter().filter_map(|kind| view[kind].as_array().cloned()).flatten();
            let found = all.into_iter().find(|one| one["node"] == node).expect("every server is in the view");
            found["active"].as_bool().expect("a server is active or not")
        }
    };
    for node in ["catalog-2", "order-1"] {
        let lines = || cluster.log("frontend-1").lines().filter(|line| line.contains(node)).count();
        for (step, expected) in [("up", true), ("killed", false), ("restarted", true)] {
            let logged = lines();
            match step {
                "killed" => drop(cluster.kill(node).await),
                "restarted" => cluster.restart(node).await,
                _ => {}
            }
            eventually(&format!("the view of {node}, {step}"), || async {
                if active(node).await == expected { Ok(()) } else { Err("not yet") }
            })
            .await;
            if step != "up" {
                eventually(&format!("the log tells that {node} was {step}"), || async {
                    if lines() > logged { Ok(()) } else { Err("no new line") }
                })
                .await;
            }
        }
    }
}

/// B9: a killed follower, leader or order server is masked: every request succeeds, and nothing is bought twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b9_killed_servers_are_masked() {
    let cluster = TestCluster::start("b9", Options::new()).await;
    let shop = Shop::new(&cluster);
    let item = shop.own_item(1, 1_000_000).await;
    let story = async {
        some_buys(&shop, item.number).await;
        let follower = cluster.followers().await.pop().expect("two follow");
        for victim in [follower.as_str(), "leader", "order-1", "order-2"] {
            let victim = cluster.kill(victim).await;
            some_buys(&shop, item.number).await;
            cluster.restart(&victim).await;
            some_buys(&shop, item.number).await;
        }
    };
    let (bought, slowest) = Customers::while_story(&shop, item.number, 4, story).await;
    cluster.say(&format!("{bought} bought by 4 customers, no request failed, the slowest took {slowest:?}"));
    assert_eq!(shop.stock(item.number).await, 1_000_000 - bought);
    assert_eq!(shop.units_ordered(item.number).await, bought);
    cluster.wait_equal_hashes().await;
}

/// B10, B11, B12: what is written while a replica is down reaches it, it serves the updated values, and it is back
/// in the rotation by itself. So is an order server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b10_b11_b12_a_restarted_replica_catches_up_and_serves_again() {
    let cluster = TestCluster::start("b10", Options::new().set("cache", false)).await;
    let shop = Shop::new(&cluster);
    cluster.kill("catalog-2").await;
    shop.get("/update_c/1/10").await.expect(200);
    for _ in 0..5 {
        assert_eq!(shop.buy(1).await.text(), BOUGHT);
    }
    cluster.restart("catalog-2").await;
    let there = shop.get_at("catalog-2", "/lookup/1").await.expect(200).json();
    assert_eq!((there["cost"].as_u64(), there["quantity"].as_u64()), (Some(10), Some(95)), "the updated values");
    cluster.wait_equal_hashes().await;
    eventually("catalog-2 serves reads of the front end again", || async {
        let answer = shop.get("/lookup/1").await.expect(200);
        assert_eq!(answer.json()["quantity"], 95);
        if answer.served_by() == "catalog-2" { Ok(()) } else { Err(answer.served_by().to_owned()) }
    })
    .await;

    cluster.kill("order-2").await;
    assert_eq!(shop.buy(1).await.text(), BOUGHT);
    let sold = || cluster.log("order-2").matches("Bought book").count();
    let before = sold();
    cluster.restart("order-2").await;
    eventually("order-2 sells again", || async {
        assert_eq!(shop.buy(2).await.text(), BOUGHT);
        if sold() > before { Ok(()) } else { Err("nothing yet") }
    })
    .await;
}

/// B18, as a test: flow, kill catalog 2, write, restart, caught up, flow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b18_the_story_of_the_original() {
    let cluster = TestCluster::start("b18", Options::new()).await;
    let shop = Shop::new(&cluster);
    client_flow(&shop, 100).await;
    cluster.kill("catalog-2").await;
    shop.get("/update_c/1/20").await.expect(200);
    assert_eq!(shop.buy(1).await.text(), BOUGHT);
    let began = Instant::now();
    cluster.restart("catalog-2").await;
    let (applied, hash) = cluster.wait_equal_hashes().await;
    cluster.say(&format!("caught up after {:.2} s: applied {applied}, hash {hash}", began.elapsed().as_secs_f64()));
    client_flow(&shop, 98).await;
}

/// A leader that is stopped with SIGTERM hands over first, so that no request fails; so do the other servers finish
/// what they have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_loses_no_request() {
    let cluster = TestCluster::start("sigterm", Options::new()).await;
    let shop = Shop::new(&cluster);
    let item = shop.own_item(1, 1_000_000).await;
    let story = async {
        some_buys(&shop, item.number).await;
        for victim in ["leader", "order-1", "leader"] {
            let began = Instant::now();
            let victim = cluster.stop(victim).await;
            let leader = cluster.leader().await;
            cluster
                .say(&format!("{leader} leads {:.2} s after {victim} was told to go", began.elapsed().as_secs_f64()));
            some_buys(&shop, item.number).await;
            cluster.restart(&victim).await;
        }
    };
    let (bought, slowest) = Customers::while_story(&shop, item.number, 2, story).await;
    cluster.say(&format!("{bought} bought, the slowest request took {slowest:?}"));
    assert_eq!(shop.stock(item.number).await, 1_000_000 - bought);
    assert_eq!(shop.units_ordered(item.number).await, bought);
}
