//! Bytes that flip on a disk at rest: the replica refuses to start, or ends at the first read of the damage, saying what
//! and what to do; or the byte meant nothing, and its state is right. It never serves what is damaged.

use std::{fs, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tests::{
    Client, Options, TestCluster,
    disk::damage::{FILES, copy, files, flip},
    eventually,
    trial::{ITEMS, Trial, items_csv},
    try_eventually,
};

/// Flips of each kind of file.
const FLIPS: usize = 6;
/// How long a replica may take to serve or to end.
const DECIDES_WITHIN: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_byte_is_refused_or_meant_nothing_and_is_never_served() {
    // Snapshots are made, and the log is short, so that each kind of file matters.
    let options =
        Options::new().raft("snapshot_entries", 100).raft("log_kept_entries", 50).items_csv(items_csv(&ITEMS));
    let cluster = TestCluster::start("flip", options).await;
    let seed = std::env::var("FAULTS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random::<u64>);
    cluster.say(&format!("FAULTS_SEED={seed}"));
    let mut rng = StdRng::seed_from_u64(seed);
    let trial = Trial::begin(cluster, seed, 8).await.expect("a cluster that serves");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (cluster, _, report) = trial.judge().await.expect("a cluster at rest can be read");
    assert!(report.violations.is_empty(), "{:?}", report.violations);
    let (client, front) = (Client::new(), cluster.front());
    let (mut refused, mut harmless) = (0, 0);
    for kind in FILES {
        let what = kind.0;
        for round in 0..FLIPS {
            // So that the log has something in it that a flip can hit.
            for _ in 0..20 {
                client.get(&format!("{front}/buy/1")).await;
            }
            let victim = cluster.followers().await[round % 2].clone();
            cluster.kill(&victim).await;
            let (data, backup) = (cluster.data(&victim), cluster.cluster.run_dir.join("backup"));
            let _ = fs::remove_dir_all(&backup);
            copy(&data, &backup).expect("its folder can be copied");
            let candidates = files(&data, kind);
            if candidates.is_empty() {
                cluster.restart(&victim).await;
                continue;
            }
            let path = &candidates[rng.random_range(0..candidates.len())];
            let at = flip(path, &mut rng).expect("a bit can be flipped").expect("something was written");
            let told_before = cluster.log(&victim).len();
            cluster.launch(&victim);
            let outcome = try_eventually("it serves or has ended", DECIDES_WITHIN, || async {
                match cluster.cluster.process(&victim) {
                    None => Ok(false),
                    Some(_) => cluster.ready(&victim).await.map(|()| true),
                }
            });
            let mut serves = outcome.await.unwrap_or_else(|error| panic!("{what}, byte {at} of {path:?}: {error}"));
            if serves {
                // What it serves must be right; a read of the damage may still end it.
                eventually("it has caught up, or ended", || async {
                    let Ok(status) = cluster.try_status(&victim).await else {
                        serves_no_more(&cluster, &victim)?;
                        return Ok(());
                    };
                    let leader =
                        cluster.try_status(&cluster.leader().await).await.map_err(|error| error.to_string())?;
                    if status.applied != leader.applied {
                        return Err(format!("{} of {}", status.applied, leader.applied));
                    }
                    assert_eq!(status.state_hash, leader.state_hash, "{what}, byte {at} of {path:?} was served");
                    Ok(())
                })
                .await;
                serves = cluster.cluster.process(&victim).is_some();
            }
            if serves {
                harmless += 1;
                cluster.kill(&victim).await;
            } else {
                refused += 1;
                let log = cluster.log(&victim);
                let told = &log[told_before.min(log.len())..];
                let says_what_to_do = told.contains("new id") || told.contains("this replica ends");
                assert!(says_what_to_do, "{what}, byte {at} of {path:?}: it ended and says only: {told:.1500}");
            }
            fs::remove_dir_all(&data).expect("the damaged folder");
            fs::rename(&backup, &data).expect("the copy");
            cluster.restart(&victim).await;
        }
        assert!(refused + harmless > 0, "there is nothing to flip: {what}");
        cluster.say(&format!("{what}: so far {refused} refused, {harmless} meant nothing"));
    }
    assert!(refused >= FLIPS, "{refused} flips were noticed: none hits what matters");
    cluster.wait_equal_hashes().await;
}

fn serves_no_more(cluster: &TestCluster, node: &str) -> Result<(), String> {
    if cluster.cluster.process(node).is_none() { Ok(()) } else { Err("it does not answer".to_owned()) }
}
