//! `/v1/orders`: several lines all or none, exactly once, listed.

use futures::future::join_all;
use serde_json::{Value, json};
use tests::{Options, Request, Shared, TestCluster, eventually};

use crate::shop::Shop;

fn lines(of: &[(u64, u64)]) -> Value {
    let lines: Vec<_> = of.iter().map(|(item, units)| json!({"item_number": item, "quantity": units})).collect();
    json!({ "lines": lines })
}

/// An order of several lines takes all of them; lines of one item are added up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_of_several_lines_takes_all() {
    let cluster = Shared::get().await;
    let shop = Shop::new(&cluster);
    let (one, two) = (shop.own_item(10, 5).await, shop.own_item(3, 5).await);
    for (node, left) in [("frontend-1", 2), ("order-1", 0)] {
        let body = lines(&[(two.number, 1), (one.number, 2), (two.number, 1)]);
        let body = if left == 0 { lines(&[(one.number, 2), (two.number, 1)]) } else { body };
        let placed = shop.post_at(node, "/v1/orders", body).await.expect(201);
        let order = placed.json();
        let id = placed.header("idempotency-key").expect("an id");
        assert_eq!((order["id"].as_str(), order["revision"].as_u64()), (Some(id), Some(placed.revision())));
        assert_eq!(placed.header("location"), Some(format!("/v1/orders/{id}").as_str()));
        assert!(order["time"].as_str().is_some_and(|time| time.starts_with("20") && time.ends_with('Z')), "{order}");
        let units = if node == "order-1" { [2, 1] } else { [2, 2] };
        assert_eq!(order["total"], units[0] * 10 + units[1] * 3);
        let expected = json!([
            {"item_number": one.number, "title": one.title, "quantity": units[0], "unit_cost": 10},
            {"item_number": two.number, "title": two.title, "quantity": units[1], "unit_cost": 3},
        ]);
        assert_eq!(order["lines"], expected);
        // One of them was placed elsewhere, as this front end sees it.
        assert_eq!(shop.get(&format!("/v1/orders/{id}?read=linearizable")).await.expect(200).json(), order);
    }
    assert_eq!((shop.stock(one.number).await, shop.stock(two.number).await), (1, 2));
    shop.withdraw(&one).await;
    shop.withdraw(&two).await;
}

/// When one line cannot be had, none is taken, and the refusal names the line and what is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_takes_all_lines_or_none() {
    let cluster = Shared::get().await;
    let shop = Shop::new(&cluster);
    let (plenty, scarce) = (shop.own_item(1, 50).await, shop.own_item(1, 3).await);
    for node in ["frontend-1", "order-2"] {
        let body = lines(&[(plenty.number, 5), (scarce.number, 4)]);
        let refused = shop.post_at(node, "/v1/orders", body).await.expect(409).json();
        let named = (refused["item_number"].as_u64(), refused["left"].as_u64());
        assert_eq!(named, (Some(scarce.number), Some(3)), "{refused}");
        assert!(refused["type"].as_str().is_some_and(|kind| kind.ends_with("out-of-stock")), "{refused}");
        let unknown = lines(&[(plenty.number, 5), (987_654_321, 1)]);
        shop.post_at(node, "/v1/orders", unknown).await.expect(404);
        let twice = lines(&[(scarce.number, 2), (scarce.number, 2)]);
        shop.post_at(node, "/v1/orders", twice).await.expect(409);
    }
    assert_eq!((shop.stock(plenty.number).await, shop.stock(scarce.number).await), (50, 3));
    let racing = (0..10).map(|_| shop.post("/v1/orders", lines(&[(plenty.number, 5), (scarce.number, 1)])));
    let placed = join_all(racing).await.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(placed, 3);
    assert_eq!((shop.stock(plenty.number).await, shop.stock(scarce.number).await), (35, 0));
    shop.withdraw(&plenty).await;
    shop.withdraw(&scarce).await;
}

/// The same key gets the same order through every server, also a refusal; another body under it is 422.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_placed_once_under_its_key() {
    let cluster = Shared::get().await;
    let shop = Shop::new(&cluster);
    let item = shop.own_item(4, 10).await;
    let nodes = ["frontend-1", "order-1", "order-2"];
    for key in [format!("order {}", item.number).replace(' ', "-"), uuid::Uuid::now_v7().to_string()] {
        let mut answers = Vec::new();
        for node in nodes {
            let body = lines(&[(item.number, 2)]);
            answers.push(shop.post_under(&key, node, "/v1/orders", body).await.expect(201));
        }
        assert!(answers.iter().all(|answer| answer.body == answers[0].body), "{answers:?}");
        for node in nodes {
            let refused = shop.post_under(&key, node, "/v1/orders", lines(&[(item.number, 3)])).await.expect(422);
            assert!(refused.text().contains("key-reused"), "{refused:?}");
        }
    }
    assert_eq!(shop.stock(item.number).await, 6);

    let key = format!("refused-{}", item.number);
    shop.post_under(&key, "order-1", "/v1/orders", lines(&[(item.number, 7)])).await.expect(409);
    shop.patch(&format!("/v1/items/{}", item.number), json!({"add_quantity": 10})).await.expect(200);
    let again = shop.post_under(&key, "order-2", "/v1/orders", lines(&[(item.number, 7)])).await;
    assert_eq!(again.status, 409, "the outcome of an id is its first, refusals too: {again:?}");
    assert_eq!(shop.stock(item.number).await, 16);
    shop.withdraw(&item).await;
}

/// A key on a cost update holds across the surfaces' servers too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_is_done_once_under_its_key() {
    let cluster = Shared::get().await;
    let shop = Shop::new(&cluster);
    let item = shop.own_item(4, 10).await;
    let key = format!("delta-{}", item.number);
    for node in ["frontend-1", "catalog-1", "catalog-2", "catalog-3"] {
        let get = Request::get(format!("{}/update_q/{}/5", cluster.url(node), item.number));
        shop.client.send(get.header("idempotency-key", &key)).await.expect(200);
    }
    assert_eq!(shop.stock(item.number).await, 15);
    shop.withdraw(&item).await;
}

/// The same key gets the same answer through another front end, another order server and another leader, after the
/// first of each has been killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_outlives_every_server_that_has_seen_it() {
    let cluster = TestCluster::start("key", Options::new().frontends(2)).await;
    let shop = Shop::new(&cluster);
    let order = || lines(&[(1, 2), (2, 1)]);
    let first = shop.post_under("my-order", "frontend-1", "/v1/orders", order()).await.expect(201);
    let (bought, gone) =
        (shop.post_under("my-buy", "frontend-1", "/buy/", json!({"item_number": 7})).await, "frontend-1");
    cluster.kill("leader").await;
    cluster.kill("order-1").await;
    cluster.kill(gone).await;
    let again = eventually("the other front end serves", || async {
        let answer = shop.post_under("my-order", "frontend-2", "/v1/orders", order()).await;
        if answer.status == 503 { Err(answer.text()) } else { Ok(answer) }
    })
    .await
    .expect(201);
    assert_eq!((again.body, again.headers.get("x-revision")), (first.body, first.headers.get("x-revision")));
    let again = shop.post_under("my-buy", "frontend-2", "/buy/", json!({"item_number": 7})).await.expect(200);
    assert_eq!((&again.body, again.revision()), (&bought.body, bought.revision()));
    shop.post_under("my-order", "frontend-2", "/v1/orders", lines(&[(1, 2)])).await.expect(422);
    for (item, left) in [(1, 98), (2, 100), (7, 99)] {
        let read = shop.client.get(format!("{}/v1/items/{item}?read=linearizable", cluster.url("frontend-2"))).await;
        assert_eq!(read.expect(200).json()["quantity"], left, "item {item}");
    }
}

/// Many orders in one request are decided each for itself, once under its key; what is wrong in form places none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_places_each_order_for_itself() {
    let cluster = Shared::get().await;
    let shop = Shop::new(&cluster);
    let item = shop.own_item(4, 5).await;
    let one = |units: u64, key: &str| {
        let mut order = lines(&[(item.number, units)]);
        order["idempotency_key"] = json!(format!("{key}-{}", item.number));
        order
    };
    let batch = json!({"orders": [one(2, "a"), one(4, "b"), one(1, "c"), lines(&[(987_654_321, 1)]), one(2, "a")]});
    let first = shop.post("/v1/orders:batch", batch.clone()).await.expect(200);
    let answer = first.json();
    let statuses: Vec<_> = answer["orders"].as_array().unwrap().iter().map(|order| order["status"].as_u64()).collect();
    assert_eq!(statuses, [201, 409, 201, 404, 201].map(Some), "{answer}");
    let orders = &answer["orders"];
    assert_eq!((&orders[1]["problem"]["left"], &orders[0]["order"]), (&json!(3), &orders[4]["order"]), "{answer}");
    assert_eq!((shop.stock(item.number).await, answer["revision"].as_u64()), (2, Some(first.revision())));
    let order = &orders[2]["order"];
    let path = format!("/v1/orders/{}?read=linearizable", order["id"].as_str().unwrap());
    assert_eq!(&shop.get(&path).await.expect(200).json(), order);

    // Asked again, each is answered again; a new one beside them is placed.
    let again = json!({"orders": [one(2, "a"), one(1, "c"), one(2, "d")]});
    let again = shop.post("/v1/orders:batch", again).await.expect(200).json();
    assert_eq!((&again["orders"][0]["order"], &again["orders"][1]["order"]), (&orders[0]["order"], order), "{again}");
    assert_eq!((&again["orders"][2]["status"], shop.stock(item.number).await), (&json!(201), 0));

    let wrong = json!({"orders": [lines(&[(item.number, 1)]), lines(&[(item.number, 0)])]});
    let refused = shop.post("/v1/orders:batch", wrong).await.expect(422).json();
    assert_eq!(refused["order"], 1, "{refused}");
    shop.get("/v1/orders:batch").await.expect(405);
    shop.withdraw(&item).await;
}
