//! Servers are killed, paused and stopped in the middle of load; afterwards nothing acknowledged is lost, nothing is
//! doubled, and all replicas agree. Real processes and SIGKILL; `KILLS_SEED` repeats a run's choices.

use std::{collections::HashSet, time::Duration};

use tests::{
    Client, Options, TestCluster, eventually,
    history::{Ask, History, Outcome},
    observe,
    trial::judge,
    workload::buyer::Buyer,
};
use tokio::time::Instant;
use trial::{Trial, items_csv, must_be_kept, turn};
use uuid::Uuid;

mod cpu;
mod replicas;
mod trial;

/// How long the load runs before, between and after faults.
const STRETCH: Duration = Duration::from_millis(1200);
/// Rounds of a fault in one trial.
const ROUNDS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_loses_nothing() {
    let mut trial = Trial::begin("kill-leader", 64).await;
    let mut leaders = HashSet::new();
    for round in 1..=ROUNDS {
        trial.run_for(STRETCH).await;
        let leader = trial.cluster().kill("leader").await;
        trial.first_buy(&format!("the kill of the leader {leader}, round {round}")).await;
        trial.run_for(STRETCH).await;
        trial.cluster().restart(&leader).await;
        leaders.insert(leader);
    }
    trial.run_for(STRETCH).await;
    trial.judge().await;
    assert!(leaders.len() > 1, "another replica must have led after a kill");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_follower_loses_nothing() {
    let mut trial = Trial::begin("kill-follower", 32).await;
    for round in 0..ROUNDS - 1 {
        trial.run_for(STRETCH).await;
        let followers = trial.cluster().followers().await;
        let follower = trial.cluster().kill(&followers[round % followers.len()]).await;
        trial.first_buy(&format!("the kill of the follower {follower}")).await;
        trial.run_for(STRETCH).await;
        trial.cluster().restart(&follower).await;
    }
    trial.run_for(STRETCH).await;
    trial.judge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_order_server_loses_nothing() {
    let mut trial = Trial::begin("kill-order", 32).await;
    for order in ["order-1", "order-2"] {
        trial.run_for(STRETCH).await;
        trial.cluster().kill(order).await;
        trial.first_buy(&format!("the kill of {order}")).await;
        trial.run_for(STRETCH).await;
        trial.cluster().restart(order).await;
    }
    trial.run_for(STRETCH).await;
    trial.judge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_catalogs_killed_at_once_lose_nothing() {
    let mut trial = Trial::begin("kill-all", 32).await;
    let catalogs = trial.cluster().catalogs();
    for _ in 1..ROUNDS {
        trial.run_for(STRETCH).await;
        trial.cluster().kill_at_once(&catalogs);
        for catalog in &catalogs {
            trial.cluster().launch(catalog);
        }
        trial.first_buy("the kill and the restart of all catalogs").await;
        trial.cluster().wait_serving(&catalogs).await.expect("all catalogs serve again");
    }
    trial.run_for(STRETCH).await;
    trial.judge().await;
}

/// A leader that sleeps for longer than an election takes finds another one when it wakes, and does not unseat it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_leader_loses_nothing_and_does_not_come_back_to_power() {
    let mut trial = Trial::begin("pause-leader", 32).await;
    trial.run_for(STRETCH).await;
    let before = trial.cluster().status(&trial.cluster().leader().await).await.term;
    let paused = Instant::now();
    let sleeper = trial.cluster().pause("leader").await;
    trial.first_buy("the pause of the leader").await;
    trial.run_for(Duration::from_millis(1500).saturating_sub(paused.elapsed())).await;
    let leader = trial.cluster().leader().await;
    let term = trial.cluster().status(&leader).await.term;
    assert!(leader != sleeper && term > before && term <= before + 3, "{leader} leads in term {term} after {before}");
    trial.cluster().resume(&sleeper);
    trial.first_buy("the end of the pause").await;
    trial.run_for(STRETCH).await;
    let status = trial.cluster().status(&leader).await;
    assert_eq!((status.role.as_str(), status.term), ("leader", term), "the leadership flapped: {status:?}");
    trial.judge().await;
}

/// SIGTERM hands the leadership over: clients see nothing but, at most, refusals that they may repeat.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_leader_hands_over() {
    let mut trial = Trial::begin("stop-leader", 64).await;
    for _ in 1..ROUNDS {
        trial.run_for(STRETCH).await;
        let stopping = Instant::now();
        let leader = trial.cluster().stop("leader").await;
        trial.cluster().say(&format!("{leader} was gone {} ms after SIGTERM", stopping.elapsed().as_millis()));
        trial.first_buy("the leader had gone").await;
        trial.run_for(STRETCH).await;
        trial.cluster().restart(&leader).await;
    }
    trial.judge().await;
}

/// With a deadline shorter than an election and queues shorter than the load, many writes are refused and many outcomes
/// stay unknown. What was refused must never take effect; what is unknown must settle under its key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_final_and_unknown_outcomes_settle() {
    let options = Options::new().set("deadline_ms", 150).set("queue", 24);
    let mut trial = Trial::begin_with("short-deadline", 64, options).await;
    for round in 1..=ROUNDS {
        trial.run_for(STRETCH).await;
        let leader = trial.cluster().kill("leader").await;
        trial.first_buy(&format!("the kill of the leader {leader}, round {round}")).await;
        trial.run_for(STRETCH / 2).await;
        trial.cluster().restart(&leader).await;
    }
    let order = trial.cluster().kill("order-1").await;
    trial.first_buy("the kill of order-1").await;
    trial.cluster().restart(&order).await;
    let history = trial.judge().await;
    assert!(history.turned_away > 0 && history.unknown > 0, "a deadline this short must leave refusals and doubts");
}

/// Replicas that were away for longer than the log is kept come back through a snapshot, and are killed again soon.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_between_snapshots_lose_nothing() {
    let options = Options::new().raft("snapshot_entries", 100).raft("log_kept_entries", 20);
    let mut trial = Trial::begin_with("kill-snapshots", 32, options).await;
    for round in 0..ROUNDS {
        trial.run_for(STRETCH).await;
        let victim = if round == 1 { "leader".to_owned() } else { trial.cluster().followers().await[0].clone() };
        let victim = trial.cluster().kill(&victim).await;
        trial.first_buy(&format!("the kill of {victim}")).await;
        let had = trial.cluster().status(&trial.cluster().leader().await).await.applied;
        let purged = eventually("the log purged beyond what the dead replica has", || async {
            let status = trial.cluster().try_status(&trial.cluster().leader().await).await?;
            anyhow::ensure!(status.purged > had, "purged up to {} and not {had}", status.purged);
            Ok::<u64, anyhow::Error>(status.purged)
        });
        let purged = purged.await;
        trial.cluster().launch(&victim);
        // The second life is short: the snapshot may or may not have been installed when it ends.
        trial.run_for(STRETCH / 6).await;
        trial.cluster().kill(&victim).await;
        trial.cluster().restart(&victim).await;
        trial.cluster().say(&format!("{victim} is back though the log began after {purged}"));
    }
    trial.judge().await;
}

/// A server that hangs without closing its connections is masked as one that is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_follower_and_a_paused_order_server_lose_nothing() {
    let mut trial = Trial::begin("pause-others", 32).await;
    for node in [trial.cluster().followers().await[0].as_str(), "order-1"] {
        trial.run_for(STRETCH).await;
        trial.cluster().pause(node).await;
        trial.first_buy(&format!("the pause of {node}")).await;
        trial.run_for(STRETCH).await;
        trial.cluster().resume(node);
        trial.run_for(STRETCH).await;
    }
    trial.judge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_clients_buy_exactly_the_five_hundred_there_are() {
    const STOCK: usize = 500;
    const CLIENTS: usize = 64;
    const BUYS_EACH: usize = 10;
    let _turn = turn().await;
    let cluster = TestCluster::start("sell-out", Options::new().items_csv(items_csv(&[(1, STOCK as u64)]))).await;
    let before = observe::books(&Client::new(), &cluster.front()).await.expect("the stock before the first write");
    let front = cluster.front().trim_start_matches("http://").to_owned();
    let began = Instant::now();
    let clients = (0..CLIENTS).map(|_| {
        let mut buyer = Buyer::new(vec![front.clone()], 0, began);
        tokio::spawn(async move {
            for _ in 0..BUYS_EACH {
                let mut write = buyer.begin(Uuid::new_v4(), Ask::Buy(1));
                while !buyer.send(&mut write).await && began.elapsed() < tests::PATIENCE {}
                buyer.history.writes.push(write);
            }
            buyer.history
        })
    });
    let clients: Vec<_> = clients.collect();
    let mut history = History::default();
    for client in clients {
        history.merge(client.await.expect("a client does not panic"));
    }
    must_be_kept(&judge(&cluster, &before, &history, began.elapsed()).await.expect("a cluster at rest can be read"));
    let sold = history.count(|outcome| matches!(outcome, Outcome::Ok(_)));
    let refused = history.count(|outcome| matches!(outcome, Outcome::OutOfStock(_)));
    assert_eq!((sold, refused), (STOCK, CLIENTS * BUYS_EACH - STOCK));
}

/// A leader that cannot reach a replica tries again and again, but not without pause; nor does anybody else spin.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_cluster_with_one_replica_dead_uses_little_cpu() {
    const WATCHED: Duration = Duration::from_secs(3);
    let _turn = turn().await;
    let cluster = TestCluster::start("idle", Options::new()).await;
    let followers = cluster.followers().await;
    let dead = cluster.kill(&followers[0]).await;
    let leader = cluster.leader().await;
    tokio::time::sleep(STRETCH).await;
    let alive: Vec<String> = cluster.cluster.nodes().into_iter().filter(|node| *node != dead).collect();
    let used = || alive.iter().map(|node| cpu::used(cluster.cluster.pid(node).expect("it runs"))).collect::<Vec<_>>();
    let (before, from) = (used(), Instant::now());
    tokio::time::sleep(WATCHED).await;
    let (after, took) = (used(), from.elapsed());
    for ((node, before), after) in alive.iter().zip(before).zip(after) {
        let share = (after - before).as_secs_f64() / took.as_secs_f64();
        let role = if *node == leader { " (leader)" } else { "" };
        cluster.say(&format!("{node}{role}: {:.1} % of a core while {dead} is dead", share * 100.0));
        assert!(share < 0.5, "{node} uses {:.0} % of a core and has nothing to do", share * 100.0);
    }
}
