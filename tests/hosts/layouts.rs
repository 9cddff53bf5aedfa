//! Layouts 1 and 3 as they come, each server on a host of its own, started there as an operator would; and layouts with names
//! and IPv6 addresses.

use std::{path::Path, time::Duration};

use cluster_config::{Layout, launch::BINARIES};
use tests::{
    PATIENCE, TestCluster, cluster,
    shop::{Shop, client_flow},
    trial::Trial,
    try_eventually,
};
use tokio::time::sleep;

use crate::{
    lab::{self, Lab, Running},
    must_be_kept, stock_up, turn,
};

/// The host of the clients, which runs no server.
const CLIENT: &str = "client";
/// Its address among the examples of layouts 1 and 3.
const CLIENT_ADDRESS: &str = "192.0.2.99/24";
/// Clients of a trial.
const CLIENTS: u64 = 16;
/// How long the load runs before, between and after faults.
const STRETCH: Duration = Duration::from_millis(1500);
/// How long the first buy after a fault may take; a busy machine gets more than the two seconds that are aimed at.
const FIRST_BUY_PATIENCE: Duration = Duration::from_secs(10);

/// Says why there can be no hosts here, if so.
fn is_skipped(test: &str) -> bool {
    let lacking = lab::lacking();
    if let Some(why) = &lacking {
        println!("[{test}] skipped: {why}");
    }
    lacking.is_some()
}

/// Every server of a layout: its host, the program, and its instance.
fn servers(layout: &Layout) -> Vec<(String, &'static str, u64)> {
    let catalogs = layout.catalogs.iter().map(|node| (node.name.clone(), BINARIES[0], node.id));
    let orders = layout.orders.iter().map(|node| (node.name.clone(), BINARIES[1], node.id));
    let frontends = layout.frontends.iter().map(|node| (node.name.clone(), BINARIES[2], node.id));
    catalogs.chain(orders).chain(frontends).collect()
}

/// A host for each server, at the address that the layout has for it, and one for clients.
fn lab_of(layout: &Layout) -> Lab {
    let catalogs = layout.catalogs.iter().map(|node| (&node.name, &node.client));
    let edges = layout.orders.iter().chain(&layout.frontends).map(|node| (&node.name, &node.address));
    let address = |at: &String| format!("{}/24", at.rsplit_once(':').expect("a port").0);
    let hosts: Vec<(String, String)> = catalogs.chain(edges).map(|(name, at)| (name.clone(), address(at))).collect();
    let addresses: Vec<[&str; 1]> = hosts.iter().map(|(_, address)| [address.as_str()]).collect();
    let mut all: Vec<(&str, &[&str])> =
        hosts.iter().zip(&addresses).map(|((name, _), one)| (name.as_str(), one.as_slice())).collect();
    all.push((CLIENT, &[CLIENT_ADDRESS]));
    Lab::new(&all)
}

/// On each host, what its operator types there: `catalog-raft -c 3 -i 2`.
fn start_all(lab: &Lab, layout: &Layout, selector: &str) -> Vec<Running> {
    let programs = cluster::binaries().expect("built programs");
    let start = |(host, program, id): (String, &str, u64)| {
        lab.start(&host, &programs.join(program), &["-c", selector, "-i", &id.to_string()])
    };
    servers(layout).into_iter().map(start).collect()
}

/// The servers as the client's host sees them, once all say that they are ready.
async fn ready(test: &str, layout: Layout) -> TestCluster {
    let began = std::time::Instant::now();
    let cluster = TestCluster::elsewhere(test, layout).await;
    for node in cluster.cluster.nodes() {
        let serves = try_eventually(&format!("{node} serves"), PATIENCE, || cluster.ready(&node)).await;
        serves.unwrap_or_else(|error| panic!("{error}"));
    }
    let count = cluster.cluster.nodes().len();
    cluster.say(&format!("{count} hosts serve after {:.2} s", began.elapsed().as_secs_f64()));
    cluster
}

#[test]
fn layout_1_runs_on_three_hosts() {
    if is_skipped("layout-1") {
        return;
    }
    let layout = Layout::load("1").expect("layout 1");
    let lab = lab_of(&layout);
    lab.run_on(CLIENT, async {
        let _turn = turn().await;
        let _servers = start_all(&lab, &layout, "1");
        let cluster = ready("layout-1", layout.clone()).await;
        client_flow(&Shop::new(&cluster), 100).await;
        is_loud(&lab, &layout);
    });
}

/// Every server says in its log that its traffic is open to whoever is on the network.
fn is_loud(lab: &Lab, layout: &Layout) {
    for (host, program, _) in servers(layout) {
        let log = lab.log(&host);
        let lines = log.lines().filter(|line| line.contains("WARN") && line.contains("INSECURE")).count();
        let expected = if program == BINARIES[0] { 2 } else { 1 };
        assert!(lines >= expected, "{host} has {lines} lines of {expected} about its ports:\n{log}");
    }
}

/// Six hosts under the load of a seventh. The firewall of the leader's host drops everything, then that of an order server's;
/// each is healed, and every promise was kept.
#[test]
fn layout_3_keeps_its_promises_while_a_host_is_cut_off() {
    if is_skipped("layout-3") {
        return;
    }
    let layout = Layout::load("3").expect("layout 3");
    let lab = lab_of(&layout);
    lab.run_on(CLIENT, async {
        let _turn = turn().await;
        let _servers = start_all(&lab, &layout, "3");
        let cluster = ready("layout-3", layout.clone()).await;
        is_loud(&lab, &layout);
        stock_up(&Shop::new(&cluster)).await;
        let mut trial = Trial::begin(cluster, rand::random(), CLIENTS).await.expect("a cluster that serves");
        for victim in ["leader", "order-1"] {
            sleep(STRETCH).await;
            let before = trial.cluster.leader().await;
            let host = if victim == "leader" { before.clone() } else { victim.to_owned() };
            lab.cut(&host);
            trial.cluster.say(&format!("the firewall of {host} drops everything"));
            let took = trial.first_buy(FIRST_BUY_PATIENCE).await;
            let took = took.unwrap_or_else(|| panic!("no buy within {FIRST_BUY_PATIENCE:?} while {host} is cut off"));
            trial.cluster.say(&format!("first buy after {} ms", took.as_millis()));
            assert!(trial.cluster.ready(&host).await.is_err(), "{host} answers though it is cut off");
            if victim == "leader" {
                assert_ne!(trial.cluster.leader().await, before, "whoever is cut off cannot lead");
            }
            sleep(STRETCH).await;
            lab.heal(&host);
            trial.cluster.say(&format!("{host} is healed"));
            sleep(STRETCH).await;
        }
        trial.faults_ended().await;
        let (cluster, _history, report) = trial.judge().await.expect("a cluster at rest can be read");
        must_be_kept(&report);
        let shop = Shop::new(&cluster);
        client_flow(&shop, shop.stock(1).await).await;
    });
}

/// Addresses may be names, IPv4, and IPv6; a server may listen on every interface.
const MIXED: &str = r#"
insecure = true
[[catalog]]
id = 1
client = "store-1.example:50001"
peer = "store-1.example:51001"
[[catalog]]
id = 2
client = "[2001:db8::12]:50001"
peer = "[2001:db8::12]:51001"
[[catalog]]
id = 3
client = "store-3.example:50001"
peer = "store-3.example:51001"
listen_client = "[::]:50001"
listen_peer = "[::]:51001"
[[order]]
id = 1
address = "[2001:db8::21]:35301"
[[order]]
id = 2
address = "desk-2.example:35301"
listen = "0.0.0.0:35301"
[[frontend]]
id = 1
address = "[2001:db8::31]:35303"
"#;

/// What a name service would say: the first has IPv4 only, the second IPv6 only.
const NAMES: &str = "192.0.2.11 store-1.example\n2001:db8::13 store-3.example\n192.0.2.22 desk-2.example\n";

#[test]
fn names_and_ipv6_addresses_work() {
    if is_skipped("names") {
        return;
    }
    let layout = Layout::parse(MIXED, Path::new("mixed.toml")).expect("a good layout");
    let hosts = servers(&layout);
    let numbers = ["11", "12", "13", "21", "22", "31", "99"];
    let addresses: Vec<[String; 2]> =
        numbers.iter().map(|last| [format!("192.0.2.{last}/24"), format!("2001:db8::{last}/64")]).collect();
    let addresses: Vec<[&str; 2]> = addresses.iter().map(|both| both.each_ref().map(String::as_str)).collect();
    let names = hosts.iter().map(|(host, ..)| host.as_str()).chain([CLIENT]);
    let all: Vec<(&str, &[&str])> = names.zip(&addresses).map(|(host, both)| (host, both.as_slice())).collect();
    let lab = Lab::new(&all);
    for (host, ..) in &hosts {
        lab.set_names(host, NAMES);
    }
    let path = lab.folder(CLIENT).join("mixed.toml");
    std::fs::write(&path, MIXED).expect("a file");
    // The client's host has no names: it is told addresses, as they are.
    let numeric = NAMES.lines().filter_map(|line| line.split_once(' ')).fold(MIXED.to_owned(), |text, (ip, name)| {
        let ip = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
        text.replace(name, &ip)
    });
    let seen = Layout::parse(&numeric, Path::new("numeric.toml")).expect("a good layout");
    lab.run_on(CLIENT, async {
        let _turn = turn().await;
        let _servers = start_all(&lab, &layout, path.to_str().expect("its name is text"));
        let cluster = ready("names", seen).await;
        client_flow(&Shop::new(&cluster), 100).await;
        cluster.wait_equal_hashes().await;
        let programs = cluster::binaries().expect("built programs");
        for (host, program, id) in &hosts {
            let arguments = ["-c", path.to_str().expect("its name is text"), "-i", &id.to_string(), "--check"];
            let (well, said) = lab.output(host, &programs.join(program), &arguments);
            assert!(well, "{host} does not say that it is ready: {said}");
        }
    });
}
