//! Wall clocks that jump: nothing depends on them but the time that an order bears.

use std::time::Duration;

use tests::{
    Options, TestCluster,
    disk::Disk,
    trial::{ITEMS, Trial, items_csv},
};
use tokio::time::sleep;

const HOUR_MS: i64 = 3_600_000;
const STRETCH: Duration = Duration::from_millis(700);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wall_clock_that_jumps_an_hour_both_ways_breaks_nothing() {
    let options = Options::new().frontends(2).items_csv(items_csv(&ITEMS));
    let (cluster, disk) = TestCluster::start_after("clock", options, Disk::prepare).await;
    let disk = disk.expect("the layer can be compiled");
    let mut trial = Trial::begin(cluster, rand::random(), 16).await.expect("a cluster that serves");
    let leader = trial.cluster.leader().await;
    let term = trial.cluster.status(&leader).await.term;
    for off in [HOUR_MS, -HOUR_MS, 0] {
        sleep(STRETCH).await;
        disk.shift_clock(&leader, off);
        sleep(STRETCH).await;
        trial.cluster.catalogs().iter().for_each(|node| disk.shift_clock(node, -off));
    }
    sleep(STRETCH).await;
    let log = trial.cluster.log(&leader);
    trial.faults_ended().await;
    let (cluster, _, report) = trial.judge().await.expect("a cluster at rest can be read");
    let told: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    assert!(told.is_empty(), "promises were broken:\n{}", told.join("\n"));
    assert_eq!(cluster.status(&cluster.leader().await).await.term, term, "no election");
    // The layer did move the clock: a line of the log bears another hour, or an order another time.
    let orders = tests::Client::new().get(&format!("{}/v1/orders?limit=1000", cluster.front())).await.json();
    let times: Vec<String> = orders["orders"].as_array().into_iter().flatten().map(|o| o["time"].to_string()).collect();
    assert!(!times.is_empty() && !log.is_empty());
    cluster.say(&format!("orders from {} to {}", times.iter().min().unwrap(), times.iter().max().unwrap()));
}
