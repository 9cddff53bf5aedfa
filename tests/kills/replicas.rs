//! Replicas are replaced, added and removed by the operator's program in the middle of load: nothing acknowledged is lost,
//! and whoever asks the catalogs follows the group.

use std::{collections::BTreeSet, path::Path, time::Duration};

use cluster_config::{
    Layout,
    launch::{Cluster, free_addresses},
};
use tests::{Operator, Options, TestCluster, eventually, try_eventually};

use crate::{
    STRETCH,
    trial::{Trial, items_csv, turn},
};

/// Logs this short make a newcomer begin with a snapshot.
fn short_logs() -> Options {
    Options::new().raft("snapshot_entries", 100).raft("log_kept_entries", 20)
}

/// Waits until the leader says that exactly these vote and nobody learns, and that each front end lists them.
async fn wait_group(cluster: &TestCluster, voters: &[u64]) {
    eventually("the group is as it must be", || async {
        let status = cluster.try_status(&cluster.leader().await).await?;
        let is = (status.voters.as_slice(), status.learners.is_empty());
        anyhow::ensure!(is == (voters, true), "voters {:?}, learners {:?}", status.voters, status.learners);
        anyhow::Ok(())
    })
    .await;
    let names: BTreeSet<String> = voters.iter().map(|id| format!("catalog-{id}")).collect();
    for front in &cluster.cluster.layout.frontends {
        eventually("the front end lists the group", || async {
            let view = tests::Client::new().get(format!("http://{}/v1/cluster", front.address)).await.json();
            let listed = view["catalogs"].as_array().into_iter().flatten();
            let listed = listed.map(|one| (one["node"].clone(), one["address"].clone(), one["active"].clone()));
            let listed: Vec<_> = listed.collect();
            let seen: BTreeSet<String> = listed.iter().filter_map(|one| one.0.as_str().map(str::to_owned)).collect();
            let whole = listed.iter().all(|(node, address, active)| {
                active == true && *address == cluster.cluster.address(node.as_str().unwrap_or_default()).unwrap_or("-")
            });
            if seen == names && whole { Ok(()) } else { Err(format!("{listed:?}")) }
        })
        .await;
    }
    let laid_out: Vec<u64> = cluster.cluster.layout.catalogs.iter().map(|node| node.id).collect();
    assert_eq!(laid_out, voters, "the layout follows");
}

/// Waits until `node` has ended and says `words` in its log behind `before` bytes.
async fn refused(cluster: &TestCluster, node: &str, before: usize, words: &str) {
    let what = format!("{node} ends and says why");
    let said = try_eventually(&what, Duration::from_secs(20), || async {
        let said = cluster.log(node)[before..].to_owned();
        if cluster.cluster.process(node).is_none() && said.contains(words) { Ok(said) } else { Err(said) }
    });
    let said = said.await.unwrap_or_else(|error| panic!("{error:#}"));
    cluster.say(said.lines().find(|line| line.contains(words)).unwrap_or_default());
}

/// Kills `node` and moves its data folder away, as if the disk were lost.
async fn lose_disk(cluster: &TestCluster, node: &str, kept: &Path) {
    cluster.kill(node).await;
    std::fs::rename(cluster.data(node), kept).expect("its data can be moved away");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_disk_is_replaced_under_load_and_refused_when_it_comes_back() {
    let mut trial = Trial::begin_with("replace", 32, short_logs()).await;
    let kept = trial.cluster().cluster.run_dir.join("lost-disk");
    let before = trial.cluster().cluster.layout.clone();
    trial.run_for(STRETCH).await;
    lose_disk(trial.cluster(), "catalog-2", &kept).await;
    let said = trial.cluster().log("catalog-2").len();
    trial.cluster().launch("catalog-2");
    refused(trial.cluster(), "catalog-2", said, "make replace NODE=catalog-2").await;
    trial.first_buy("catalog-2 has lost its disk").await;

    let said = trial.cluster_mut().operate(&["replace", "catalog-2"]).await;
    assert!(said.contains("catalog-4 has taken the place of catalog-2"), "{said}");
    wait_group(trial.cluster(), &[1, 3, 4]).await;
    trial.first_buy("catalog-4 has taken the place of catalog-2").await;
    let again = trial.cluster_mut().operate(&["replace", "catalog-2"]).await;
    assert!(again.contains("nothing was changed"), "{again}");

    // By today's layout the old id is retired; by an old one its disk finds out that it belongs to the group no longer.
    let cluster = trial.cluster();
    let run_dir = &cluster.cluster.run_dir;
    let program = run_dir.join("bin/catalog-raft");
    let by_new = std::process::Command::new(program)
        .args(["-c", &cluster.cluster.selector, "-i", "2", "--run-dir"])
        .arg(run_dir)
        .output()
        .expect("the program runs");
    let why = String::from_utf8_lossy(&by_new.stderr);
    assert!(!by_new.status.success() && why.contains("catalog-2 is retired"), "{why}");
    std::fs::remove_dir_all(cluster.data("catalog-2")).expect("what the refused start has made");
    std::fs::rename(&kept, cluster.data("catalog-2")).expect("the old disk is back");
    let old = with_old_layout(&before, run_dir);
    let said = cluster.log("catalog-2").len();
    assert!(old.start("catalog-2").expect("a start"));
    refused(cluster, "catalog-2", said, "belongs to the group no longer").await;

    // The order servers and front ends know the new replica: with another one down nobody can do without it.
    let other = cluster.kill("catalog-3").await;
    trial.first_buy("the kill of catalog-3").await;
    trial.cluster().restart(&other).await;
    trial.run_for(STRETCH).await;
    trial.judge().await;
}

/// The layout as it was, but for the addresses of catalog-2, which another replica has now.
fn with_old_layout(before: &Layout, run_dir: &Path) -> Cluster {
    let mut layout = before.clone();
    let free = free_addresses(2).expect("free ports");
    let lost = layout.catalogs.iter_mut().find(|node| node.id == 2).expect("it was there");
    (lost.client, lost.peer) = (free[0].clone(), free[1].clone());
    let nodes = layout.catalogs.iter().flat_map(|node| [node.client.clone(), node.peer.clone()]);
    let edges = layout.orders.iter().chain(&layout.frontends).map(|node| node.address.clone());
    let text = layout.moved_to(&nodes.chain(edges).collect::<Vec<_>>()).expect("a layout");
    let path = run_dir.join("old-layout.toml");
    std::fs::write(&path, text).expect("a file");
    let selector = path.to_str().expect("UTF-8").to_owned();
    Cluster { layout: Layout::load(&selector).expect("a layout"), selector, run_dir: run_dir.to_owned() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replacement_that_is_killed_at_each_step_goes_on_when_it_is_run_again() {
    let mut trial = Trial::begin_with("replace-killed", 32, short_logs()).await;
    trial.run_for(STRETCH).await;
    let kept = trial.cluster().cluster.run_dir.join("lost-disk");
    let leader = trial.cluster().leader().await;
    lose_disk(trial.cluster(), &leader, &kept).await;
    trial.first_buy(&format!("the leader {leader} has lost its disk")).await;
    let id = trial.cluster().cluster.layout.catalogs.iter().find(|node| node.name == leader).expect("it is there").id;
    // The replica may have been started before the first kill comes: then nobody says so any more.
    for step in ["stands in the place of", "answers at", "is a learner", "has caught up", "the voters are"] {
        let mut operator = Operator::start(trial.cluster(), &["replace", &leader]);
        assert!(operator.says(step).await, "it ended before {step}");
        operator.kill().await;
        trial.cluster().say(&format!("killed at: {step}"));
        trial.run_for(STRETCH / 4).await;
    }
    let said = trial.cluster_mut().operate(&["replace", &leader]).await;
    assert!(said.contains("catalog-4 votes already") && said.contains("nothing was changed"), "{said}");
    let voters: Vec<u64> = (1..=4).filter(|voter| *voter != id).collect();
    wait_group(trial.cluster(), &voters).await;
    trial.run_for(STRETCH).await;
    trial.judge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_would_cost_the_quorum_is_refused_and_changes_nothing() {
    let _turn = turn().await;
    let mut cluster = TestCluster::start("quorum", Options::new().items_csv(items_csv(&[(1, 100)]))).await;
    let layout = std::fs::read_to_string(&cluster.cluster.selector).expect("a layout");
    let said = cluster.is_refused(&["replace", "catalog-2"]).await;
    assert!(said.contains("catalog-2 runs") && said.contains("make remove NODE=catalog-2"), "{said}");

    let followers = cluster.followers().await;
    let (down, well) = (&followers[0], &followers[1]);
    cluster.kill(down).await;
    for victim in [well.as_str(), "leader"] {
        let said = cluster.is_refused(&["remove", victim]).await;
        assert!(said.contains("no quorum for it") && said.contains(&format!("{down} does not")), "{said}");
    }
    // Without the second disk there is no quorum at all.
    let kept = cluster.cluster.run_dir.join("lost-disk");
    lose_disk(&cluster, well, &kept).await;
    let said = cluster.is_refused(&["replace", well]).await;
    assert!(said.contains("quorum") && said.contains(down.as_str()), "{said}");
    assert_eq!(std::fs::read_to_string(&cluster.cluster.selector).expect("a layout"), layout, "nothing was changed");

    // What still has its disk is started first, as was said; then it is done.
    cluster.restart(down).await;
    cluster.operate(&["replace", well]).await;
    let mut voters: Vec<u64> = vec![1, 2, 3, 4];
    voters.retain(|id| *well != format!("catalog-{id}"));
    wait_group(&cluster, &voters).await;
    cluster.wait_equal_hashes().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_grow_to_five_and_shrink_back_under_load() {
    let mut trial = Trial::begin_with("grow", 32, short_logs()).await;
    for (voters, id) in [(4, 4), (5, 5)] {
        trial.run_for(STRETCH / 2).await;
        let said = trial.cluster_mut().operate(&["add"]).await;
        assert!(said.contains(&format!("catalog-{id} has caught up")), "{said}");
        assert_eq!(said.contains("add one more"), voters % 2 == 0, "{said}");
        wait_group(trial.cluster(), &(1..=voters).collect::<Vec<_>>()).await;
        trial.first_buy(&format!("catalog-{id} has joined")).await;
    }
    // Five spare two.
    let followers = trial.cluster().followers().await;
    trial.cluster().kill_at_once(&followers[..2]);
    trial.first_buy("the kill of two of five").await;
    for node in &followers[..2] {
        trial.cluster().restart(node).await;
    }
    trial.run_for(STRETCH / 2).await;

    let mut left: Vec<u64> = (1..=5).collect();
    let old = |cluster: &TestCluster| cluster.catalogs().into_iter().find(|name| name.as_str() < "catalog-4");
    for _ in 0..2 {
        // Whoever leads goes, of the first three: those that came stay.
        let leader = trial.cluster().leader().await;
        let victim = if leader.as_str() < "catalog-4" { "leader".into() } else { old(trial.cluster()).expect("one") };
        let gone = if victim == "leader" { leader } else { victim.clone() };
        let said = trial.cluster_mut().operate(&["remove", &victim]).await;
        assert_eq!(said.contains("hands over first"), victim == "leader", "{said}");
        left.retain(|id| gone != format!("catalog-{id}"));
        wait_group(trial.cluster(), &left).await;
        assert!(trial.cluster().cluster.process(&gone).is_none(), "{gone} runs");
        trial.first_buy(&format!("{gone} was removed")).await;
    }
    assert_eq!(trial.cluster().cluster.layout.retired.len(), 2);
    // Those that were there when order servers and front ends started are not enough by now.
    let last = trial.cluster().kill(&old(trial.cluster()).expect("one of the first three is left")).await;
    trial.first_buy(&format!("the kill of {last}, the last of the first three")).await;
    trial.cluster().restart(&last).await;
    let said = trial.cluster_mut().operate(&["add"]).await;
    assert!(said.contains("catalog-6 shall join"), "ids are never used again: {said}");
    trial.run_for(STRETCH / 2).await;
    trial.judge().await;
}
