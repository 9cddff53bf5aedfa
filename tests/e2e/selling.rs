//! B2, B6, B7, B14 to B17, B22: buying and what it leaves behind, and the flow of the original's client.

use futures::future::join_all;
use serde_json::json;
use tests::{Options, Request, Shared, TestCluster, eventually};

use crate::shop::{BOUGHT, Shop, UNAVAILABLE, client_flow};

/// B2: buys are spread over the order servers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b2_buys_are_spread_over_the_order_servers() {
    let cluster = Shared::get().await;
    let shop = Shop::new(&cluster);
    let item = shop.own_item(1, 100).await;
    for _ in 0..20 {
        assert_eq!(shop.buy(item.number).await.text(), BOUGHT);
    }
    let line = format!("Bought book {}", item.title);
    let sold = |node: &str| cluster.log(node).lines().filter(|text| text.contains(&line)).count();
    eventually("all sales are in the logs of the order servers", || async {
        let (first, second) = (sold("order-1"), sold("order-2"));
        if first + second == 20 { Ok(()) } else { Err(format!("{first} and {second}")) }
    })
    .await;
    let (first, second) = (sold("order-1"), sold("order-2"));
    cluster.say(&format!("order-1 sold {first}, order-2 sold {second}"));
    assert!(first >= 5 && second >= 5, "order-1 sold {first}, order-2 sold {second}");
    shop.withdraw(&item).await;
}

/// B6: every write reaches every replica and its log on disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b6_every_write_reaches_every_replica() {
    let cluster = Shared::get().await;
    let shop = Shop::new(&cluster);
    let item = shop.own_item(1, 10).await;
    let written = shop.get(&format!("/update_c/{}/77", item.number)).await.expect(200).revision();
    for node in cluster.catalogs() {
        eventually(&format!("{node} has the write"), || async {
            let status = cluster.try_status(&node).await?;
            anyhow::ensure!(status.applied >= written && status.last_log >= written, "{status:?}");
            assert_eq!(status.durability, "fsync");
            Ok(())
        })
        .await;
        let there = shop.get_at(&node, &format!("/lookup/{}", item.number)).await.expect(200);
        assert_eq!(there.json()["cost"], 77, "{node}");
        assert_eq!(there.served_by(), node);
        let log = cluster.data(&node);
        assert!(log.is_dir(), "{node} keeps its log in {}", log.display());
    }
    shop.withdraw(&item).await;
}

/// B7: a buy checks and decrements in one step.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b7_out_of_stock_is_said_and_nothing_is_sold() {
    let cluster = Shared::get().await;
    let shop = Shop::new(&cluster);
    let item = shop.own_item(1, 2).await;
    for expected in [BOUGHT, BOUGHT, UNAVAILABLE, UNAVAILABLE] {
        let answer = shop.buy(item.number).await.expect(200);
        assert_eq!(answer.text(), expected);
    }
    assert_eq!(shop.lookup(item.number).await["quantity"], 0);
    assert_eq!(shop.units_ordered(item.number).await, 2);
    shop.withdraw(&item).await;
    assert_eq!(shop.buy(item.number).await.expect(200).text(), UNAVAILABLE, "a withdrawn item");
}

/// B14: GET and POST on every server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b14_get_and_post_on_every_server() {
    let cluster = Shared::get().await;
    let shop = Shop::new(&cluster);
    let item = shop.own_item(3, 50).await;
    let n = item.number;
    for node in cluster.cluster.nodes() {
        if !node.starts_with("order-") {
            shop.get_at(&node, &format!("/update_c/{n}/4")).await.expect(200);
            let body = json!({"item_number": n, "cost": 3});
            let written = shop.post_at(&node, "/update_c/", body).await.expect(200).revision();
            // A replica that follows answers from its own state, which may lag.
            let get = Request::get(format!("{}/lookup/{n}", cluster.url(&node)));
            let post = Request::post(cluster.url(&node) + "/lookup/", json!({"item_number": n}).to_string());
            for read in [get, post] {
                let read = shop.client.send(read.header("x-min-revision", written)).await.expect(200);
                assert_eq!(
                    (read.json()["cost"].as_u64(), read.json()["title"].as_str()),
                    (Some(3), Some(&*item.title))
                );
            }
        }
        if !node.starts_with("catalog-") {
            assert_eq!(shop.get_at(&node, &format!("/buy/{n}")).await.text(), BOUGHT, "{node}");
            assert_eq!(shop.post_at(&node, "/buy/", json!({"item_number": n})).await.text(), BOUGHT, "{node}");
        }
    }
    assert_eq!(shop.stock(n).await, 50 - 6);
    shop.withdraw(&item).await;
}

/// B15, B16 and B17, one after the other, as the original's client does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b15_b16_b17_the_flow_of_the_originals_client() {
    let cluster = TestCluster::start("b15", Options::new()).await;
    let shop = Shop::new(&cluster);
    let before = shop.get("/list").await.expect(200).json();
    assert_eq!((&before[0]["cost"], &before[0]["quantity"]), (&json!(50), &json!(100)));
    client_flow(&shop, 100).await;
    cluster.say("B15: cost 50 to 10, quantity 100 to 99");

    assert_eq!(shop.get("/get_quantity/4").await.expect(200).json(), json!({"quantity": 10}));
    shop.get("/update_q/4/20").await.expect(200);
    assert_eq!(shop.buy(4).await.text(), BOUGHT);
    assert_eq!(shop.get("/get_quantity/4").await.expect(200).json(), json!({"quantity": 29}));
    cluster.say("B16: 10 and 20 less 1 are 29");

    shop.get("/update_q/3/-100").await.expect(200);
    assert_eq!(shop.get("/get_quantity/3").await.expect(200).json(), json!({"quantity": 0}));
    assert_eq!(shop.buy(3).await.expect(200).text(), UNAVAILABLE);
    cluster.say("B17: sold out is said");
    cluster.wait_equal_hashes().await;
}

/// B22: every order is kept, and can be listed at the front end and at every order server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b22_all_orders_can_be_listed() {
    let cluster = TestCluster::start("b22", Options::new()).await;
    let shop = Shop::new(&cluster);
    assert_eq!(shop.ledger("frontend-1").await, Vec::<serde_json::Value>::new());
    let buys = join_all((0..12).map(|n| shop.buy([1, 2, 5][n % 3]))).await;
    assert!(buys.iter().all(|answer| answer.text() == BOUGHT), "{buys:?}");
    for node in ["frontend-1", "order-1", "order-2"] {
        let ledger = eventually(&format!("{node} lists all orders"), || async {
            let ledger = shop.ledger(node).await;
            if ledger.len() == 12 { Ok(ledger) } else { Err(format!("{} orders", ledger.len())) }
        })
        .await;
        for buy in &buys {
            let id = buy.header("idempotency-key").expect("a buy has an id");
            let order = ledger.iter().find(|order| order["id"] == id).expect("the order is listed under its id");
            assert_eq!(order["lines"].as_array().map(Vec::len), Some(1), "{order}");
            let alone = shop.get_at(node, &format!("/v1/orders/{id}")).await.expect(200).json();
            assert_eq!(alone, *order);
        }
        let revisions: Vec<_> = ledger.iter().map(|order| order["revision"].as_u64()).collect();
        assert!(revisions.is_sorted(), "orders come as they were placed: {revisions:?}");
    }
}
