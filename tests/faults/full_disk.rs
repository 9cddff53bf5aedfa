//! Disks without space: writes are refused with a clear error, reads go on, no process ends, and all of it passes by
//! itself once there is space again. Each replica has a small disk of its own, which the test fills up.

use std::time::{Duration, Instant};

use tests::{
    Client, Options, Request, TestCluster,
    disk::Volume,
    eventually,
    trial::{ITEMS, Trial, items_csv},
};
use tokio::{sync::Mutex, time::sleep};

/// What a replica needs for itself, and a stretch of load.
const MEGABYTES: u64 = 420;
/// How long the load runs before and after a disk is filled.
const STRETCH: Duration = Duration::from_millis(700);
/// How long the disk stays full.
const FULL: Duration = Duration::from_secs(4);
/// How long it may take until writes are taken again after space has returned; RocksDB itself looks every 5 s.
const RECOVERS_WITHIN: Duration = Duration::from_secs(30);
const CLIENTS: u64 = 16;

/// A cluster each takes much memory: they take turns.
static TURN: Mutex<()> = Mutex::const_new(());

/// A cluster under load whose replicas have small disks; `None` where there can be none.
async fn begin(name: &str) -> Option<(Trial, Vec<Volume>)> {
    if let Some(lacking) = Volume::lacking() {
        println!("[{name}] skipped: {lacking}");
        return None;
    }
    let options = Options::new().frontends(2).items_csv(items_csv(&ITEMS));
    let (cluster, volumes) = TestCluster::start_after(name, options, |cluster| {
        let mount = |node: &String| Volume::mount(&cluster.data(node), MEGABYTES);
        cluster.catalogs().iter().map(mount).collect::<anyhow::Result<Vec<_>>>().expect("tmpfs can be mounted")
    })
    .await;
    let trial = Trial::begin(cluster, rand::random(), CLIENTS).await.expect("a cluster that serves");
    Some((trial, volumes))
}

fn place(trial: &Trial, node: &str) -> usize {
    trial.cluster.catalogs().iter().position(|one| one == node).expect("a replica")
}

fn all_run(trial: &Trial) {
    for node in trial.cluster.catalogs() {
        assert!(trial.cluster.cluster.process(&node).is_some(), "{node} ended: {}", trial.cluster.log(&node));
    }
}

async fn buys_again(trial: &mut Trial) {
    let took = trial.first_buy(RECOVERS_WITHIN).await.expect("a buy is acknowledged once there is space");
    trial.cluster.say(&format!("bought {} ms after space had returned", took.as_millis()));
}

async fn all_is_kept(mut trial: Trial, volumes: Vec<Volume>) {
    trial.faults_ended().await;
    let (cluster, _history, report) = trial.judge().await.expect("a cluster at rest can be read");
    let told: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    // The folder of the cluster cannot go while something is mounted in it.
    drop(volumes);
    drop(cluster);
    assert!(told.is_empty(), "promises were broken:\n{}", told.join("\n"));
}

/// Reads of every kind are answered.
async fn reads_go_on(cluster: &TestCluster) {
    let client = Client::new();
    for path in ["/lookup/1", "/lookup/1?read=linearizable", "/v1/items?limit=3"] {
        let answer = client.get(cluster.front() + path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
    for node in cluster.catalogs() {
        let answer = client.get(format!("{}/v1/items/1", cluster.url(&node))).await;
        assert_eq!(answer.status, 200, "{node}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_all_disks_are_full_writes_are_refused_and_reads_go_on() {
    let _turn = TURN.lock().await;
    let Some((mut trial, volumes)) = begin("full-all").await else { return };
    for round in 0..2 {
        sleep(STRETCH).await;
        // Who fills a disk while its replica writes would take what the replica lets go in the middle of it; with not a byte
        // left on two of three disks nobody can vote, and there are no reads.
        volumes.iter().for_each(|volume| _ = volume.fill_what_is_free().expect("it fills"));
        let refused = eventually("a write is refused for the full disk", || async {
            // More than there is: taken by mistake, it would still change nothing.
            let order = r#"{"lines": [{"item_number": 2, "quantity": 900000000}]}"#;
            let request = Request::post(format!("{}/v1/orders", trial.cluster.front()), order);
            let answer = Client::new().try_send(request).await?;
            anyhow::ensure!(answer.status == 503 && answer.text().contains("the disk is full"), "{}", answer.text());
            Ok(answer)
        })
        .await;
        let text = refused.text();
        assert!(refused.header("retry-after").is_some() && text.contains("catalog-"), "{text}");
        trial.cluster.say(&text);
        let began = Instant::now();
        while began.elapsed() < FULL {
            reads_go_on(&trial.cluster).await;
            all_run(&trial);
        }
        volumes.iter().for_each(|volume| volume.clear().expect("it is cleared"));
        buys_again(&mut trial).await;
        trial.cluster.say(&format!("round {round} is over"));
    }
    all_run(&trial);
    all_is_kept(trial, volumes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_is_full_hands_over() {
    let _turn = TURN.lock().await;
    let Some((mut trial, volumes)) = begin("full-leader").await else { return };
    sleep(STRETCH).await;
    let leader = trial.cluster.leader().await;
    let volume = &volumes[place(&trial, &leader)];
    volume.fill().expect("it fills");
    eventually("another leads", || async {
        let now = trial.cluster.leader().await;
        if now == leader { Err(format!("{leader} still leads")) } else { Ok(()) }
    })
    .await;
    buys_again(&mut trial).await;
    sleep(FULL).await;
    all_run(&trial);
    volume.clear().expect("it is cleared");
    sleep(STRETCH).await;
    trial.cluster.wait_caught_up().await;
    all_is_kept(trial, volumes).await;
}

/// Whoever fills the disk takes what the replica lets go, too: not a byte is left for seconds. It waits, and is a
/// follower all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_without_a_byte_left_waits_and_catches_up() {
    let _turn = TURN.lock().await;
    let Some((mut trial, volumes)) = begin("full-follower").await else { return };
    sleep(STRETCH).await;
    let term = trial.cluster.status(&trial.cluster.leader().await).await.term;
    let follower = trial.cluster.followers().await[0].clone();
    let volume = &volumes[place(&trial, &follower)];
    let began = Instant::now();
    while began.elapsed() < FULL {
        volume.fill().expect("it fills");
        trial.first_buy(RECOVERS_WITHIN).await.expect("the others go on");
    }
    all_run(&trial);
    assert_eq!(trial.cluster.status(&trial.cluster.leader().await).await.term, term, "it caused an election");
    volume.clear().expect("it is cleared");
    sleep(STRETCH).await;
    trial.cluster.wait_caught_up().await;
    all_is_kept(trial, volumes).await;
}

/// Killed, and its disk is filled before it comes back: it has what it had set aside to start with, and where that is taken
/// too it waits for space instead of ending.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_started_on_a_full_disk_waits_for_space() {
    let _turn = TURN.lock().await;
    let Some((mut trial, volumes)) = begin("full-start").await else { return };
    sleep(STRETCH).await;
    let follower = trial.cluster.followers().await[0].clone();
    let volume = &volumes[place(&trial, &follower)];
    trial.cluster.kill(&follower).await;
    let reserve = trial.cluster.data(&follower).join("reserve");
    assert!(reserve.exists(), "nothing was set aside in {}", reserve.display());
    std::fs::remove_file(&reserve).expect("it can be removed");
    volume.fill().expect("it fills");
    trial.cluster.launch(&follower);
    eventually("it says why it waits", || async {
        let log = trial.cluster.log(&follower);
        anyhow::ensure!(log.contains("starts once there is space"), "{log}");
        Ok(())
    })
    .await;
    trial.first_buy(RECOVERS_WITHIN).await.expect("the others go on");
    all_run(&trial);
    volume.clear().expect("it is cleared");
    trial.cluster.wait_caught_up().await;
    all_is_kept(trial, volumes).await;
}

/// The leader told to end while all disks are full, so that it can hand over to nobody and a write may wait for space: it
/// ends all the same, and nothing that was acknowledged is lost. Found by a run drawn from a seed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_stopped_on_a_full_disk_ends() {
    let _turn = TURN.lock().await;
    let Some((mut trial, volumes)) = begin("full-stop").await else { return };
    sleep(STRETCH).await;
    let fill = || volumes.iter().for_each(|volume| _ = volume.fill().expect("it fills"));
    let leader = trial.cluster.leader().await;
    fill();
    sleep(STRETCH).await;
    fill();
    let filling = async {
        loop {
            fill();
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        _ = trial.cluster.stop(&leader) => {}
        () = filling => {}
    }
    volumes.iter().for_each(|volume| volume.clear().expect("it is cleared"));
    trial.cluster.launch(&leader);
    buys_again(&mut trial).await;
    trial.cluster.wait_caught_up().await;
    all_is_kept(trial, volumes).await;
}

/// The same everywhere: whatever becomes of the processes, nothing that was acknowledged is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn not_a_byte_left_anywhere_loses_nothing() {
    let _turn = TURN.lock().await;
    let Some((mut trial, volumes)) = begin("full-greedy").await else { return };
    for _ in 0..3 {
        sleep(STRETCH).await;
        let began = Instant::now();
        while began.elapsed() < FULL {
            volumes.iter().for_each(|volume| _ = volume.fill().expect("it fills"));
            sleep(Duration::from_millis(20)).await;
        }
        all_run(&trial);
        volumes.iter().for_each(|volume| volume.clear().expect("it is cleared"));
        buys_again(&mut trial).await;
    }
    all_is_kept(trial, volumes).await;
}
