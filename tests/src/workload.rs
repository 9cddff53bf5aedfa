//! Clients that buy, order, change stock and look, each write under a key of its own that is sent again until its
//! outcome is known; and the history of it. Must not know processes, nor judge what the history shows.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use rand::{
    Rng, SeedableRng,
    rngs::StdRng,
    seq::{IndexedRandom, IteratorRandom},
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use uuid::Uuid;

use crate::history::{Ask, History, Item, Outcome, Write};

pub mod buyer;

use buyer::Buyer;

/// Between two tries of one write. `Retry-After` would be a second: the tests press harder.
const RETRY_PAUSE: Duration = Duration::from_millis(30);
/// How long the unknown outcomes may take to settle once all servers are up again.
const SETTLE_PATIENCE: Duration = Duration::from_secs(10);
/// One in so many writes whose outcome is known is sent again.
const REPEAT_ONE_IN: u32 = 20;
/// Orders that are sent again at the end.
const REPEATED_LAST: usize = 50;
/// Clients that settle unknown outcomes, or repeat, side by side.
const SETTLERS: usize = 8;

/// What the clients do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// `host:port` of each front end; clients are spread over them.
    pub fronts: Vec<String>,
    /// `host:port` of servers at which a buy may be repeated, order servers.
    pub orders: Vec<String>,
    /// Whether front ends may be killed: then a broken connection is no surprise.
    pub fronts_may_go: bool,
    /// Decides every choice that clients make.
    pub seed: u64,
    /// Clients, each with one request outstanding.
    pub clients: u64,
    /// Items; the first is bought about as often as all others together.
    pub items: Vec<Item>,
    /// Topics, and the items of each.
    pub topics: Vec<(String, Vec<Item>)>,
}

/// Clients at work.
#[derive(Debug)]
pub struct Workload {
    plan: Plan,
    began: Instant,
    enough: Arc<AtomicBool>,
    clients: Vec<JoinHandle<History>>,
    /// What [`Workload::first_buy`] did.
    extra: History,
}

impl Plan {
    fn buyer(&self, front: usize, began: Instant) -> Buyer {
        Buyer::new(self.fronts.clone(), front, began).where_servers_may_go(self.fronts_may_go)
    }

    /// A server that takes this write: a front end, or for a buy an order server too.
    fn any_server_for(&self, write: &Write, rng: &mut StdRng) -> &str {
        let edges = if matches!(write.ask, Ask::Buy(_)) { self.orders.len() } else { 0 };
        let server = self.fronts.iter().chain(&self.orders).nth(rng.random_range(0..self.fronts.len() + edges));
        server.expect("there is a front end")
    }
}

impl Workload {
    /// When the history began.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Puts the clients to work, in the present runtime.
    pub fn start(plan: Plan) -> Self {
        let (began, enough) = (Instant::now(), Arc::new(AtomicBool::new(false)));
        let clients = (0..plan.clients)
            .map(|at| {
                let rng = StdRng::seed_from_u64(plan.seed.wrapping_mul(1_000_003).wrapping_add(at));
                let buyer = plan.buyer(usize::try_from(at).unwrap_or(0), began);
                tokio::spawn(work(buyer, rng, plan.clone(), enough.clone()))
            })
            .collect();
        Self { plan, began, enough, clients, extra: History::default() }
    }

    /// Now, as the history counts time.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Sends a buy now and returns how long it took until it was acknowledged, however often it was turned away before.
    /// `None` when that did not come about within `patience`.
    pub async fn first_buy(&mut self, patience: Duration) -> Option<Duration> {
        self.first_buy_at(0, patience).await
    }

    /// As [`Workload::first_buy`], at one front end.
    pub async fn first_buy_at(&mut self, front: usize, patience: Duration) -> Option<Duration> {
        let mut buyer = self.plan.buyer(front, self.began);
        let asked = Instant::now();
        let mut write = buyer.begin(Uuid::new_v4(), Ask::Buy(self.plan.items[0]));
        while !buyer.send(&mut write).await && asked.elapsed() < patience {
            sleep(RETRY_PAUSE).await;
        }
        let took = matches!(write.outcome, Outcome::Ok(_)).then(|| asked.elapsed());
        buyer.history.writes.push(write);
        self.extra.merge(buyer.history);
        took
    }

    /// Lets every client finish the request that it has outstanding, settles what is unknown by asking again under the same
    /// key, and repeats some of the orders that were placed, however long ago. All servers should be up. What cannot be
    /// settled stays unknown.
    ///
    /// # Panics
    /// When a client panicked.
    pub async fn finish(self) -> History {
        self.enough.store(true, Ordering::Relaxed);
        let mut all = self.extra;
        for client in join_all(self.clients).await {
            all.merge(client.expect("a client does not panic"));
        }
        let mut all = settle(&self.plan, self.began, all).await;
        let more = repeat_at_the_end(&self.plan, self.began, &all).await;
        all.merge(more);
        all
    }
}

/// One client.
async fn work(mut buyer: Buyer, mut rng: StdRng, plan: Plan, enough: Arc<AtomicBool>) -> History {
    let items = &plan.items;
    while !enough.load(Ordering::Relaxed) {
        match rng.random_range(0..14) {
            0..3 => {
                buyer.look(pick(&mut rng, items), false).await;
                continue;
            }
            3 => {
                buyer.look(pick(&mut rng, items), true).await;
                continue;
            }
            4..6 => {
                let (topic, linearizable) = (plan.topics.choose(&mut rng), rng.random_ratio(1, 5));
                match topic.filter(|_| rng.random()) {
                    Some((topic, of)) => buyer.list(Some(topic), of, linearizable).await,
                    None => buyer.list(None, items, linearizable).await,
                }
                continue;
            }
            _ => {}
        }
        let ask = choose(&mut rng, items);
        let patient = rng.random_bool(0.7);
        let mut write = buyer.begin(Uuid::from_u128(rng.random()), ask);
        while !buyer.send(&mut write).await {
            // The impatient take a refusal at its word: it must then never take effect.
            let gives_up = !patient && write.outcome == Outcome::TurnedAway;
            if gives_up || enough.load(Ordering::Relaxed) {
                break;
            }
            if rng.random() {
                buyer.turn();
            }
            sleep(RETRY_PAUSE.mul_f64(rng.random_range(0.5..1.5))).await;
        }
        if write.decided_at().is_some() && rng.random_range(0..REPEAT_ONE_IN) == 0 {
            buyer.repeat(&write, plan.any_server_for(&write, &mut rng)).await;
        }
        buyer.history.writes.push(write);
    }
    buyer.history
}

fn pick(rng: &mut StdRng, items: &[Item]) -> Item {
    if rng.random() { items[0] } else { items[rng.random_range(0..items.len())] }
}

fn choose(rng: &mut StdRng, items: &[Item]) -> Ask {
    match rng.random_range(0..10) {
        0..5 => Ask::Buy(pick(rng, items)),
        5..8 => {
            let lines = rng.random_range(1..=4);
            Ask::Order((0..lines).map(|_| (pick(rng, items), rng.random_range(1..=3))).collect())
        }
        8 => Ask::SetCost(pick(rng, items), rng.random_range(1..1_000_000)),
        _ => {
            // Never zero, and a little more given than taken.
            let delta = [-4, -2, -1, 1, 2, 3, 6][rng.random_range(0..7)];
            Ask::AddStock(pick(rng, items), delta)
        }
    }
}

/// Asks again for every unknown outcome under the same key.
async fn settle(plan: &Plan, began: Instant, mut all: History) -> History {
    let unsettled: Vec<Write> = all.writes.extract_if(.., |write| write.outcome == Outcome::Unknown).collect();
    let give_up = Instant::now() + SETTLE_PATIENCE;
    let mut shares = vec![Vec::new(); SETTLERS];
    for (at, write) in unsettled.into_iter().enumerate() {
        shares[at % SETTLERS].push(write);
    }
    let settled = shares.into_iter().map(|share| async move {
        let mut buyer = plan.buyer(0, began);
        for mut write in share {
            while !buyer.send(&mut write).await && Instant::now() < give_up {
                buyer.turn();
                sleep(RETRY_PAUSE).await;
            }
            buyer.history.writes.push(write);
        }
        buyer.history
    });
    for history in join_all(settled).await {
        all.merge(history);
    }
    all
}

/// Sends orders that were placed once more, each to a server that is chosen anew: orders are remembered for ever.
async fn repeat_at_the_end(plan: &Plan, began: Instant, all: &History) -> History {
    let mut rng = StdRng::seed_from_u64(plan.seed);
    let placed = all.writes.iter().filter(|write| write.is_order() && matches!(write.outcome, Outcome::Ok(_)));
    let chosen = placed.choose_multiple(&mut rng, REPEATED_LAST);
    let give_up = Instant::now() + SETTLE_PATIENCE;
    let shares = chosen.chunks(REPEATED_LAST.div_ceil(SETTLERS)).map(|share| {
        let (mut buyer, mut rng) = (plan.buyer(0, began), StdRng::seed_from_u64(rng.random()));
        async move {
            for write in share {
                while !buyer.repeat(write, plan.any_server_for(write, &mut rng)).await {
                    if Instant::now() > give_up {
                        buyer.history.unserved.push(format!("nobody says again what became of {write:?}"));
                        break;
                    }
                    sleep(RETRY_PAUSE).await;
                }
            }
            buyer.history
        }
    });
    let mut repeated = History::default();
    for history in join_all(shares.collect::<Vec<_>>()).await {
        repeated.merge(history);
    }
    repeated
}
