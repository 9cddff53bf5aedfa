//! Leaders that change hands under load: by SIGTERM, by a sleep, in a rolling loop, by a cut from clients alone.

use std::time::Instant;

use tests::{Client, Request};

use super::*;

/// Each replica in turn is stopped and started, again and again: every stop of a leader is a transfer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolling_restarts_lose_nothing() {
    let mut story = Story::begin("rolling", Options::new()).await;
    let mut leaders = Vec::new();
    for _ in 0..2 {
        for catalog in story.cluster().catalogs() {
            leaders.push(story.cluster().leader().await);
            story.cluster().stop(&catalog).await;
            story.cluster().restart(&catalog).await;
        }
    }
    story.buys("after two rounds of restarts").await;
    assert!(distinct(&leaders) > 1, "the leadership never moved: {leaders:?}");
    story.judge().await;
}

/// A leader sleeps for less than an election takes, again and again, and now and then for longer. What it had under way
/// when it fell asleep is either acknowledged by a majority or never.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_nods_off_loses_nothing() {
    const SLEEPS: [u64; 6] = [60, 150, 250, 400, 700, 1500];
    let mut story = Story::begin("nods", Options::new()).await;
    for sleep_ms in SLEEPS {
        let sleeper = story.cluster().pause("leader").await;
        sleep(Duration::from_millis(sleep_ms)).await;
        story.cluster().resume(&sleeper);
        story.buys(&format!("after a sleep of {sleep_ms} ms")).await;
        sleep(STRETCH / 3).await;
    }
    story.judge().await;
}

/// SIGTERM of the leader while its link to one follower is slow: whom it hands over to must have everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_past_a_slow_follower_loses_nothing() {
    let mut story = Story::begin("transfer", Options::new()).await;
    for _ in 0..2 {
        let leader = story.cluster().leader().await;
        let slow = story.others(&[&leader]).remove(0);
        let link = Link { latency: Duration::from_millis(60), jitter: Duration::from_millis(60), ..Link::default() };
        story.net().set_both(&leader, &slow, link);
        story.run().await;
        story.cluster().stop(&leader).await;
        story.buys(&format!("after {leader} had gone, with a slow link to {slow}")).await;
        story.cluster().restart(&leader).await;
        story.heal();
    }
    story.judge().await;
}

/// Clients cannot reach the leader and its peers can, so nobody elects another. Until the deadline their requests wait for the
/// link to come back; beyond it they are refused, or told that the outcome is unknown. Nothing hangs, no read shows the
/// past, and all is well once the link is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_cut_from_clients_but_not_from_peers_breaks_no_promise() {
    let options = Options::new().frontends(2).set("deadline_ms", 1500);
    let mut story = Story::begin("cut-from-clients", options).await;
    let client = Client::new();
    for how in CUTS {
        let leader = story.cluster().leader().await;
        let clients = [servers(story.cluster(), "order"), servers(story.cluster(), "frontend")].concat();
        story.net().part(slice::from_ref(&leader), &clients, how);
        story.cluster().say(&format!("{leader} is cut from order servers and front ends: {how:?}"));
        let asked = Instant::now();
        let read = Request::get(format!("{}/lookup/1?read=linearizable", story.cluster().front()));
        let answer = client.try_send(read).await.expect("an answer by the deadline");
        assert!(answer.status == 503 && answer.header("retry-after").is_some(), "{answer:?}");
        story.cluster().say(&format!("a linearizable read was refused after {} ms", asked.elapsed().as_millis()));
        story.run().await;
        story.heal();
        story.buys("after that").await;
    }
    story.judge().await;
}
