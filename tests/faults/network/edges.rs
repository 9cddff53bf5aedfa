//! Front ends that are cut from what keeps them fresh, order servers that are cut from what they serve.
//!
//! The load writes and reads through both front ends all the while, so the check of freshness sees every answer that is
//! older than the bound; what stands here makes sure that there were answers, or refusals, to judge.

use anyhow::Context;
use tests::{
    Answer, Client, Request,
    checks::freshness::BOUND,
    history::{Ask, Outcome},
    observe,
    trial::judge,
    workload::buyer::Buyer,
};
use tokio::time::Instant;
use uuid::Uuid;

use super::*;

/// What a front end answers to a default read, at any status.
async fn look(client: &Client, front: &str, item: u64) -> Answer {
    client.try_send(Request::get(format!("{front}/lookup/{item}"))).await.expect("an answer")
}

async fn hits_again(client: &Client, front: &str) {
    eventually("hits again", || async {
        let mut hits = false;
        for (item, _) in ITEMS {
            hits |= look(client, front, item).await.is_hit();
        }
        hits.then_some(()).context("none of the items is answered from the cache")
    })
    .await;
}

/// The stream of changes is cut, everything else works: what is in the cache may be shown for a second at most, and then
/// reads go on as linearizable ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_end_cut_from_its_stream_shows_no_past() {
    let mut story = Story::begin("cut-stream", Options::new().frontends(2)).await;
    let client = Client::new();
    for how in CUTS {
        let cut_off = story.cluster().url("frontend-1");
        hits_again(&client, &cut_off).await;
        for catalog in story.cluster().catalogs() {
            story.net().set_both("frontend-1/watch", &catalog, Link::cut(how));
        }
        story.cluster().say(&format!("frontend-1 is cut from its stream: {how:?}"));
        let mut answers = Vec::new();
        for _ in 0..3 {
            story.run().await;
            answers.push(look(&client, &cut_off, ITEMS[0].0).await.status);
        }
        assert!(answers.contains(&200), "reads end although only the stream is cut: {answers:?}");
        story.heal();
        hits_again(&client, &cut_off).await;
    }
    story.buys("with the stream back").await;
    story.judge().await;
}

/// A front end sees one replica alone, a leader that the others have deposed. Its stream looks alive and proves nothing:
/// past the bound the front end refuses rather than show the past.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_end_with_a_deposed_leader_shows_no_past() {
    let story = Story::begin("deposed-stream", Options::new().frontends(2)).await;
    let client = Client::new();
    let (stranded, other) = (story.cluster().url("frontend-1"), story.cluster().url("frontend-2"));
    let old = story.cluster().leader().await;
    hits_again(&client, &stranded).await;
    story.net().part(&[old.clone(), "frontend-1".to_owned()], &story.others(&[&old]), Cut::Silent);
    story.cluster().say(&format!("frontend-1 sees {old} alone, which the others do not see"));
    story.other_leader(&old).await;
    eventually("the stranded front end refuses to read", || async {
        let answer = look(&client, &stranded, ITEMS[0].0).await;
        ensure!(answer.status == 503 && answer.header("retry-after").is_some(), "{answer:?}");
        Ok(())
    })
    .await;
    story.run().await;
    let elsewhere = look(&client, &other, ITEMS[0].0).await;
    assert_eq!(elsewhere.status, 200, "the other one sees the majority: {elsewhere:?}");
    story.heal();
    hits_again(&client, &stranded).await;
    story.judge().await;
}

/// One order server is cut from the catalogs, then the other one from the front ends: writes are tried elsewhere or
/// refused, reads go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_servers_behind_cut_links_lose_nothing() {
    let mut story = Story::begin("cut-orders", Options::new()).await;
    let client = Client::new();
    for how in CUTS {
        story.net().part(&["order-1".to_owned()], &story.cluster().catalogs(), how);
        story.cluster().say(&format!("order-1 is cut from the catalogs: {how:?}"));
        story.run().await;
        story.net().part(&["order-2".to_owned()], &[tests::net::ANYBODY.to_owned()], how);
        story.cluster().say(&format!("order-2 is cut from the front end: {how:?}"));
        story.run().await;
        let answer = look(&client, &story.cluster().front(), ITEMS[0].0).await;
        assert_eq!(answer.status, 200, "reads need no order server: {answer:?}");
        story.heal();
        story.buys("after that").await;
        story.run().await;
    }
    story.judge().await;
}

/// A front end that reaches no catalog for longer than the freshness bound says so, and shows nothing of the past, though
/// its cache is full of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_end_cut_from_all_catalogs_shows_no_past() {
    let options = Options::new().frontends(2).proxied().set("deadline_ms", 1000);
    let cluster = TestCluster::start("cut-off", options).await;
    let (client, stranded) = (Client::new(), cluster.url("frontend-2"));
    hits_again(&client, &stranded).await;
    let before = look(&client, &stranded, 1).await.text();
    cluster.net().part(&["frontend-2".to_owned()], &cluster.catalogs(), Cut::Silent);
    let bought = client.get(&format!("{}/buy/1", cluster.front())).await;
    assert_eq!(bought.text(), "\"Record successfully bought\"");
    let acknowledged = Instant::now();
    // One second is the bound; what is asked within it may be answered a deadline later.
    let mut refused = 0;
    while acknowledged.elapsed() < Duration::from_secs(4) {
        let late = acknowledged.elapsed() > Duration::from_secs(1);
        let answer = look(&client, &stranded, 1).await;
        assert!(!late || answer.text() != before, "shown {:?} after it was sold: {answer:?}", acknowledged.elapsed());
        refused += usize::from(answer.status == 503);
        sleep(Duration::from_millis(50)).await;
    }
    assert!(refused > 0, "it never said that it could not know");
    cluster.net().heal();
    hits_again(&client, &stranded).await;
    assert_ne!(look(&client, &stranded, 1).await.text(), before);
}

/// A front end that is only read from, with all that is asked for in its cache, while its stream is cut. Writes and misses
/// would close the cache by themselves, since they tell of later revisions; here nothing but the bound does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_end_that_only_reads_shows_no_past_without_its_stream() {
    const PAUSE: Duration = Duration::from_millis(50);
    let item = ITEMS[0].0;
    let options = Options::new().frontends(2).proxied().items_csv(items_csv(&ITEMS));
    let cluster = TestCluster::start("cut-reader", options).await;
    let client = Client::new();
    let before = observe::books(&client, &cluster.front()).await.expect("the stock before the first write");
    let fronts: Vec<String> = cluster.cluster.layout.frontends.iter().map(|node| node.listen.clone()).collect();
    let began = Instant::now();
    let mut reader = Buyer::new(fronts.clone(), 0, began);
    let mut writer = Buyer::new(fronts, 1, began);
    for how in CUTS {
        let cut_off = cluster.url("frontend-1");
        eventually("the item is in the cache", || async {
            look(&client, &cut_off, item).await.is_hit().then_some(()).context("no hit")
        })
        .await;
        for catalog in cluster.catalogs() {
            cluster.net().set_both("frontend-1/watch", &catalog, Link::cut(how));
        }
        cluster.say(&format!("frontend-1, which is only read from, is cut from its stream: {how:?}"));
        let (cut, reads) = (Instant::now(), reader.history.reads.len());
        while cut.elapsed() < 3 * BOUND {
            let mut write = writer.begin(Uuid::new_v4(), Ask::Buy(item));
            while !writer.send(&mut write).await && cut.elapsed() < tests::PATIENCE {}
            writer.history.writes.push(write);
            reader.look(item, false).await;
            sleep(PAUSE).await;
        }
        let first = writer.history.writes.iter().filter(|write| write.start >= cut.duration_since(began));
        let first = first.filter(|write| matches!(write.outcome, Outcome::Ok(_))).map(|write| write.end).min();
        let due = first.expect("a buy while the stream is cut") + BOUND;
        let judged = reader.history.reads[reads..].iter().filter(|read| read.start > due).count();
        assert!(judged > 0, "no read was answered past the bound, though only the stream is cut");
        cluster.net().heal();
    }
    let mut history = reader.history;
    history.merge(writer.history);
    let report = judge(&cluster, &before, &history, began.elapsed()).await.expect("a cluster at rest can be read");
    let told: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    assert!(told.is_empty(), "promises were broken:\n{}", told.join("\n"));
}
