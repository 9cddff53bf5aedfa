//! B13: the same binaries run every layout, `-c N -i N`; and a layout of one replica works as one of three does.

use std::process::{Command, Output};

use futures::future::join_all;
use serde_json::json;
use tests::{Options, TestCluster, eventually};

use crate::shop::{BOUGHT, Shop};

fn run(cluster: &TestCluster, binary: &str, arguments: &[&str]) -> Output {
    let program = cluster.cluster.run_dir.join("bin").join(binary);
    let mut command = Command::new(program);
    // Where it is set, anyhow adds many lines to the one.
    command.env_remove("RUST_BACKTRACE");
    command.args(arguments).arg("--run-dir").arg(cluster.cluster.run_dir.join("other"));
    command.output().expect("the program can be run")
}

/// B13: what cannot be started says so in one sentence and ends with a status.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b13_layouts_and_instances_are_chosen_by_number() {
    let cluster = TestCluster::prepare("b13", &Options::single()).await;
    let layout = cluster.cluster.selector.as_str();
    for binary in ["catalog-raft", "order", "frontend"] {
        for arguments in [["-c", "9", "-i", "1"], ["-c", layout, "-i", "7"], ["-c", "/nowhere.toml", "-i", "1"]] {
            let output = run(&cluster, binary, &arguments);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success(), "{binary} {arguments:?}");
            assert!(said.contains(arguments[1]) && said.trim().lines().count() == 1, "{binary} {arguments:?}: {said}");
        }
        assert!(run(&cluster, binary, &["--version"]).status.success());
    }
    cluster.start_all().await.expect("the layout of one replica");
}

/// B13: one replica is a Raft group of one voter: it sells, and keeps what it sold when it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b13_one_replica_works_the_same_way() {
    let cluster = TestCluster::start("single", Options::single()).await;
    let shop = Shop::new(&cluster);
    let status = cluster.status("catalog-1").await;
    assert_eq!((status.role.as_str(), status.voters.as_slice(), status.items), ("leader", &[1][..], 7));
    let bought = join_all((0..20).map(|_| shop.buy(1))).await;
    assert!(bought.iter().all(|answer| answer.text() == BOUGHT), "{bought:?}");
    let hash = cluster.status("catalog-1").await.state_hash;
    cluster.kill("catalog-1").await;
    cluster.restart("catalog-1").await;
    assert_eq!(cluster.status("catalog-1").await.state_hash, hash);
    assert_eq!(shop.stock(1).await, 80);
    assert_eq!(shop.units_ordered(1).await, 20);
    let order = json!({"lines": [{"item_number": 2, "quantity": 3}]});
    assert_eq!(shop.post("/v1/orders", order).await.expect(201).json()["total"], 3 * 51);
}

/// Every server says that it lives and serves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_server_tells_its_health() {
    let cluster = tests::Shared::get().await;
    let shop = Shop::new(&cluster);
    for node in cluster.cluster.nodes() {
        shop.get_at(&node, "/livez").await.expect(200);
        shop.get_at(&node, "/readyz").await.expect(200);
    }
}

/// The cluster as the front end sees it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_document_names_all_servers() {
    let cluster = tests::Shared::get().await;
    let shop = Shop::new(&cluster);
    let view = eventually("every server is active", || async {
        let view = shop.get("/v1/cluster").await.expect(200).json();
        let inactive =
            |kind: &str| view[kind].as_array().is_some_and(|all| all.iter().any(|one| one["active"] != true));
        let leaders = view["catalogs"].as_array().map(|all| all.iter().filter(|one| one["role"] == "leader").count());
        // What it tells of a server is as old as its last look at it.
        let is_complete = !inactive("catalogs") && !inactive("orders") && leaders == Some(1);
        if is_complete { Ok(view) } else { Err(view.to_string()) }
    })
    .await;
    assert_eq!(view["frontend"]["node"], "frontend-1");
    assert_eq!(view["frontend"]["stream"], "live");
    assert!(view["frontend"]["position"].as_u64().is_some_and(|position| position > 0), "{view}");
    assert!(view["frontend"]["stream_age_ms"].as_u64().is_some_and(|age| age < 5_000), "{view}");
    assert_eq!(view["leader"], cluster.leader().await);
    for (kind, count) in [("catalogs", 3), ("orders", 2)] {
        let servers = view[kind].as_array().expect("an array");
        assert_eq!(servers.len(), count);
        for server in servers {
            let node = server["node"].as_str().expect("a name");
            assert_eq!(server["address"].as_str(), cluster.cluster.address(node));
        }
    }
}
