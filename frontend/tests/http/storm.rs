//! Many readers and writers at once, while the stream is cut, resumed and compacted: stock that only grows is never
//! seen to shrink, in whatever view.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use catalog_client::Action;
use reqwest::Method;
use tokio::time::{Instant, sleep};

use crate::shop::{Shop, book};

const LASTS: Duration = Duration::from_secs(3);

/// The stock of item 1 that an answer tells.
fn quantity(body: &str) -> Option<u64> {
    let text = body.split("\"quantity\":").nth(1)?;
    text.trim_start().split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn one_more() -> Action {
    let (title, topic, cost, if_match) = (None, None, None, None);
    Action::ChangeItem { item_number: 1, title, topic, cost, add_quantity: Some(1), if_match }
}

/// What has been told so far, and whether to go on.
#[derive(Default)]
struct Told {
    most: AtomicU64,
    hits: AtomicU64,
    over: AtomicBool,
}

async fn read(shop: Arc<Shop>, told: Arc<Told>, turn: usize) {
    let paths = ["/get_quantity/1", "/lookup/1", "/v1/items/1", "/list", "/v1/items?limit=1", "/get_quantity/1"];
    for path in paths.iter().cycle().skip(turn) {
        if told.over.load(SeqCst) {
            return;
        }
        let before = told.most.load(SeqCst);
        let reply = shop.get(path).await;
        let Some(now) = quantity(&reply.body) else { panic!("{path}: {reply:?}") };
        assert!(now >= before, "{path} went back from {before} to {now}: {reply:?}");
        told.most.fetch_max(now, SeqCst);
        told.hits.fetch_add(u64::from(reply.is_hit()), SeqCst);
    }
}

async fn write(shop: Arc<Shop>, told: Arc<Told>) {
    while !told.over.load(SeqCst) {
        let reply = shop.json(Method::PATCH, "/v1/items/1", r#"{"add_quantity": 1}"#).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        told.most.fetch_max(quantity(&reply.body).unwrap(), SeqCst);
        sleep(Duration::from_millis(7)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_sees_stock_go_back() {
    let shop = Arc::new(Shop::open_with("freshness_ms = 60000", vec![book(1, "x", 1)]).await);
    let told = Arc::new(Told::default());
    let mut tasks: Vec<_> = (0..6).map(|turn| tokio::spawn(read(shop.clone(), told.clone(), turn))).collect();
    tasks.extend((0..2).map(|_| tokio::spawn(write(shop.clone(), told.clone()))));
    let ends = Instant::now() + LASTS;
    let mut round = 0;
    while Instant::now() < ends {
        round += 1;
        shop.fake.write(one_more());
        shop.fake.with(|world| {
            world.hold_reads = round % 5 == 0;
            world.stream = round % 11 < 8;
            if round % 37 == 0 {
                world.oldest = world.revision;
            }
        });
        sleep(Duration::from_millis(3)).await;
    }
    shop.fake.with(|world| (world.hold_reads, world.stream) = (false, true));
    told.over.store(true, SeqCst);
    for task in tasks {
        task.await.unwrap();
    }
    assert!(told.hits.load(SeqCst) > 0, "without hits this shows nothing");
    shop.caught_up().await;
    let stock = shop.fake.with(|world| world.items[&1].quantity);
    assert_eq!(quantity(&shop.get("/get_quantity/1").await.body), Some(stock));
}
