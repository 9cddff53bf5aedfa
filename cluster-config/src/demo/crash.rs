//! One crash of the demo's story: kill a replica under load, sell on without it, restart it, and prove that it has
//! everything.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio::task::JoinHandle;

use super::{Stage, ms, shop::Shop};
use crate::{
    ask::{self, Deadline},
    commands::restart::caught_up,
};

/// The item that customers buy while a replica is down.
const SOLD: u64 = 3;
/// The item that they look up.
const SEEN: u64 = 2;
/// The item whose cost changes while a replica is down.
const REPRICED: u64 = 1;
/// How many are bought, at least, while a replica is down.
const BUYS: u32 = 20;
/// How long the front end may take to notice that a replica is gone or back.
const NOTICE_PATIENCE: Duration = Duration::from_secs(10);
/// How long replicas may take to agree once nothing is written any more.
const AGREE_PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks.
const POLL: Duration = Duration::from_millis(5);
/// Between two requests of a customer: the story needs no load.
const CUSTOMER_PAUSE: Duration = Duration::from_millis(10);

/// What customers met.
#[derive(Default)]
struct Met {
    buys: u32,
    lookups: u32,
    errors: Vec<String>,
    /// From the kill to the first buy that came back.
    first_buy: Option<Duration>,
}

/// Kills `victim` and brings it back; the cost of [`REPRICED`] is set to `cost` meanwhile. Returns the figures for the
/// summary.
pub async fn crash(stage: &mut Stage, victim: &str, cost: u64) -> anyhow::Result<[String; 10]> {
    let statuses = stage.ask.statuses(&stage.cluster).await;
    let (leader, _) = ask::leader(&statuses).context("there is no leader")?;
    let victim = if victim == "leader" { leader.to_owned() } else { victim.to_owned() };
    let status = statuses.get(&victim).with_context(|| format!("{victim} is no catalog that answers"))?;
    let (role, had) = (status.role.clone(), status.applied);

    let article = if role == "leader" { "the" } else { "a" };
    stage.story.title(&format!("{victim}, {article} {role}, is killed"));
    let stock = stage.shop.quantity(SOLD).await?;
    // Before, not after: an engine takes its time to say that a container is killed.
    let killed = Instant::now();
    stage.kill(&victim)?;
    let enough = Arc::new(AtomicBool::new(false));
    let buyer = buy_until(stage.shop.clone(), killed, enough.clone());
    until_seen(stage, &victim, false).await?;
    let noticed = killed.elapsed();
    stage.story.say(&format!("the front end noticed after {}", ms(noticed)));
    stage.story.say(&format!("meanwhile: {}", stage.shop.set_cost(REPRICED, cost).await?));
    enough.store(true, Ordering::Relaxed);
    let met = buyer.await.context("the customers' task panicked")?;
    let first_buy = met.first_buy.context("no buy came back")?;
    stage.story.say(&format!("the first buy after the kill came back after {}", ms(first_buy)));
    stage.story.say(&format!(
        "while it was down: {} buys of item {SOLD}, {} lookups, {} errors",
        met.buys,
        met.lookups,
        met.errors.len()
    ));
    ensure!(met.errors.is_empty(), "a client noticed: {}", met.errors[0]);
    let left = stage.shop.quantity(SOLD).await?;
    stage.story.say(&format!("stock of item {SOLD}: {stock}->{left}"));
    ensure!(left + u64::from(met.buys) == stock, "{} buys must have left {}", met.buys, stock - u64::from(met.buys));

    let (caught, applied) = bring_back(stage, &victim, cost, left).await?;
    let hash = agree(stage).await?;
    Ok([
        victim,
        role,
        ms(noticed),
        ms(first_buy),
        met.buys.to_string(),
        met.lookups.to_string(),
        met.errors.len().to_string(),
        ms(caught),
        applied.saturating_sub(had).to_string(),
        format!("equal ({hash})"),
    ])
}

/// Restarts `victim`. Returns how long it took to catch up, and what it had applied then.
async fn bring_back(stage: &mut Stage, victim: &str, cost: u64, left: u64) -> anyhow::Result<(Duration, u64)> {
    stage.story.title(&format!("{victim} is restarted on its own data"));
    let restarted = Instant::now();
    stage.start(victim)?;
    let status = caught_up(&stage.cluster, &stage.ask, victim).await?.context("it is no catalog")?;
    let caught = restarted.elapsed();
    stage.story.say(&format!("it serves and has caught up after {}, applied {}", ms(caught), status.applied));
    let own = stage.shop.at(stage.cluster.address(victim).context("it has no address")?);
    let (repriced, sold) = (own.lookup(REPRICED).await?, own.quantity(SOLD).await?);
    stage
        .story
        .say(&format!("asked directly: item {REPRICED} costs {}, {sold} of item {SOLD} in stock", repriced.cost));
    ensure!(repriced.cost == cost && sold == left, "it must answer what was written while it was down");
    let noticed = until_seen(stage, victim, true).await?;
    stage.story.say(&format!("it is in the front end's rotation again {} later", ms(noticed)));
    Ok((caught, status.applied))
}

/// A customer who buys and looks up by turns until told that it is `enough` and [`BUYS`] were made.
fn buy_until(shop: Shop, killed: Instant, enough: Arc<AtomicBool>) -> JoinHandle<Met> {
    tokio::spawn(async move {
        let mut met = Met::default();
        while met.errors.is_empty() && (met.buys < BUYS || !enough.load(Ordering::Relaxed)) {
            match shop.must_buy(SOLD).await {
                Ok(_) => {
                    met.buys += 1;
                    met.first_buy.get_or_insert_with(|| killed.elapsed());
                }
                Err(error) => met.errors.push(format!("{error:#}")),
            }
            match shop.lookup(SEEN).await {
                Ok(_) => met.lookups += 1,
                Err(error) => met.errors.push(format!("{error:#}")),
            }
            tokio::time::sleep(CUSTOMER_PAUSE).await;
        }
        met
    })
}

/// Waits until the front end counts `catalog` among the living, or no longer. Returns how long that took.
async fn until_seen(stage: &Stage, catalog: &str, active: bool) -> anyhow::Result<Duration> {
    let deadline = Deadline::within(NOTICE_PATIENCE);
    while stage.shop.sees_active(catalog).await? != active {
        let seconds = deadline.patience().as_secs();
        ensure!(
            !deadline.is_over(),
            "the front end has not noticed within {seconds} s that {catalog} is {}",
            if active { "back" } else { "gone" }
        );
        tokio::time::sleep(POLL).await;
    }
    Ok(deadline.elapsed())
}

/// Waits until all replicas have applied the same entries, and compares their states. Returns the hash.
async fn agree(stage: &mut Stage) -> anyhow::Result<String> {
    let deadline = Deadline::within(AGREE_PATIENCE);
    loop {
        let statuses = stage.ask.statuses(&stage.cluster).await;
        let all = statuses.len() == stage.cluster.layout.catalogs.len();
        let mut states = statuses.values().map(|status| (status.applied, &status.state_hash));
        if let Some((applied, hash)) = states.next().filter(|_| all)
            && states.clone().all(|(other, _)| other == applied)
        {
            ensure!(
                states.all(|(_, other)| other == hash),
                "replicas differ at the same applied {applied}: {statuses:?}"
            );
            stage.story.say(&format!("all replicas: applied {applied}, state hash {hash}"));
            return Ok(hash.clone());
        }
        ensure!(!deadline.is_over(), "replicas do not agree after {} s: {statuses:?}", deadline.patience().as_secs());
        tokio::time::sleep(POLL).await;
    }
}
