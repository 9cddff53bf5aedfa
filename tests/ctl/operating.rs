//! What operators do: look, hand over, have snapshots written.

use serde_json::{Value, json};
use tests::{Options, TestCluster, eventually};

use crate::ctl;

fn names(servers: &Value) -> Vec<&str> {
    servers.as_array().expect("servers").iter().filter_map(|server| server["node"].as_str()).collect()
}

fn server<'a>(servers: &'a Value, node: &str) -> &'a Value {
    servers.as_array().expect("servers").iter().find(|server| server["node"] == node).expect("the server")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_is_seen_handed_over_and_snapshotted() {
    let cluster = TestCluster::start("ctl-operating", Options::new()).await;
    ctl(&cluster, &["buy", "1"]).await.expect(0);
    let leader = cluster.leader().await;
    let seen = ctl(&cluster, &["status", "-o", "json"]).await.expect(0).document();
    let all = ["catalog-1", "catalog-2", "catalog-3", "order-1", "order-2", "frontend-1"];
    assert_eq!(names(&seen), all);
    for node in all {
        assert_eq!(server(&seen, node)["state"], "up", "{seen}");
    }
    assert_eq!(server(&seen, &leader)["role"], "leader");
    // The same is known of a cluster of which there is an address alone.
    let front = cluster.cluster.address("frontend-1").expect("an address").to_owned();
    let by_address = {
        let program = tests::cluster::binaries().expect("programs").join("catalogctl");
        let output = std::process::Command::new(program).args(["-a", &front, "-o", "json", "status"]).output();
        serde_json::from_slice::<Value>(&output.expect("it runs").stdout).expect("JSON")
    };
    assert_eq!(names(&by_address), all);

    let to = cluster.followers().await.remove(0);
    let told = ctl(&cluster, &["transfer-leader", &to, "-o", "json"]).await.expect(0).document();
    assert_eq!(told, json!({"leader": to}));
    assert_eq!(cluster.leader().await, to);
    let told = ctl(&cluster, &["transfer-leader"]).await.expect(0).out;
    assert!(told.ends_with(" leads now\n") && !told.starts_with(&to), "{told}");
    let run = ctl(&cluster, &["transfer-leader", "catalog-9"]).await.expect(2);
    assert!(run.err.contains("catalog-1, catalog-2, catalog-3"), "{run:?}");

    let built = ctl(&cluster, &["snapshot", "-o", "json"]).await.expect(0).json();
    assert_eq!(built.len(), 3, "{built:?}");
    for built in &built {
        let node = built["node"].as_str().expect("a name");
        assert!(built["snapshot"].as_u64() > Some(0), "{built}");
        assert_eq!(Some(cluster.status(node).await.snapshot), built["snapshot"].as_u64());
    }
    assert!(ctl(&cluster, &["snapshot", "catalog-2"]).await.expect(0).out.contains("catalog-2: "));

    let follower = cluster.followers().await.remove(0);
    cluster.kill(&follower).await;
    let run = ctl(&cluster, &["snapshot", &follower, "--timeout", "1"]).await.expect(3);
    assert!(run.err.contains("catalogctl status"), "{run:?}");
    ctl(&cluster, &["transfer-leader", &follower, "--timeout", "30"]).await.expect(1);
    // The front end needs a moment to know.
    eventually("it is seen to be down", || async {
        let seen = ctl(&cluster, &["status", "-o", "json"]).await.expect(0).document();
        if server(&seen, &follower)["state"] == "down" { Ok(()) } else { Err(seen) }
    })
    .await;
    let table = ctl(&cluster, &["status"]).await.expect(0).out;
    let line = table.lines().find(|line| line.starts_with(&follower)).expect("its line");
    assert!(line.contains("down"), "{table}");
    for node in cluster.cluster.nodes() {
        if node != follower {
            cluster.kill(&node).await;
        }
    }
    ctl(&cluster, &["status"]).await.expect(3);
    ctl(&cluster, &["transfer-leader", "--timeout", "1"]).await.expect(3);
}
