//! Customers that buy without a pause while something happens to the servers. Every answer must be a success.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use futures::future::join_all;

use super::{BOUGHT, Shop};
use crate::{Client, eventually};

/// Customers that buy and look at one item all the time, and what they saw.
#[derive(Debug)]
pub struct Customers {
    stop: AtomicBool,
    bought: AtomicU64,
    slowest_ms: AtomicU64,
}

impl Customers {
    /// `count` customers buy `item` until `story` has ended; every answer must be a success. Returns how many units
    /// they bought and the longest time of one request.
    ///
    /// # Panics
    /// When an answer is none.
    pub async fn while_story(
        shop: &Shop<'_>,
        item: u64,
        count: usize,
        story: impl Future<Output = ()>,
    ) -> (u64, Duration) {
        let all = Self { stop: AtomicBool::new(false), bought: AtomicU64::new(0), slowest_ms: AtomicU64::new(0) };
        let customers = join_all((0..count).map(|_| all.one(shop, item)));
        let told = async {
            story.await;
            all.stop.store(true, Ordering::Relaxed);
        };
        tokio::join!(customers, told);
        (all.bought.into_inner(), Duration::from_millis(all.slowest_ms.into_inner()))
    }

    async fn one(&self, shop: &Shop<'_>, item: u64) {
        let client = Client::new();
        let front = shop.cluster.front();
        let mut last_stock = u64::MAX;
        while !self.stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            let bought = client.get(format!("{front}/buy/{item}")).await;
            assert_eq!((bought.status, bought.text().as_str()), (200, BOUGHT), "{bought:?}");
            self.bought.fetch_add(1, Ordering::Relaxed);
            let read = client.get(format!("{front}/get_quantity/{item}")).await;
            assert_eq!(read.status, 200, "{read:?}");
            let stock = read.json()["quantity"].as_u64().expect("a quantity");
            assert!(stock < last_stock, "a customer who has bought sees {stock} left after {last_stock}");
            last_stock = stock;
            let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.slowest_ms.fetch_max(took, Ordering::Relaxed);
        }
    }
}

/// Waits until some buys have succeeded after now.
///
/// # Panics
/// When none do.
pub async fn some_buys(shop: &Shop<'_>, item: u64) {
    let before = shop.stock(item).await;
    eventually("buys go on", || async {
        let now = shop.stock(item).await;
        if now + 20 <= before { Ok(()) } else { Err(format!("{before} then {now}")) }
    })
    .await;
}
