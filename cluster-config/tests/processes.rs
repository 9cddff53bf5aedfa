//! Processes of a cluster, with a shell script in the place of each server: start, signals, pid files that lie.

use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, Instant},
};

use cluster_config::{
    Layout,
    launch::{Cluster, Process, State, free_addresses},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A cluster whose servers note their arguments and sleep.
fn cluster(folder: &Path, script: &str) -> Cluster {
    let layout = Layout::load("4").expect("layout 4");
    let path = folder.join("layout.toml");
    let addresses = free_addresses(layout.address_count()).expect("free ports");
    std::fs::write(&path, layout.moved_to(&addresses).expect("enough addresses")).expect("a file");
    let built = folder.join("built");
    std::fs::create_dir(&built).expect("a folder");
    for name in ["catalog-raft", "order", "frontend"] {
        let program = built.join(name);
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("a file");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("rights");
    }
    let selector = path.to_str().expect("UTF-8").to_owned();
    let layout = Layout::load(&selector).expect("a layout");
    let cluster = Cluster { layout, selector, run_dir: folder.join("run") };
    cluster.install_binaries(&built).expect("binaries");
    cluster
}

/// Kills what a test left running, also when it fails.
struct Cleanup<'a>(&'a Cluster);

impl Drop for Cleanup<'_> {
    fn drop(&mut self) {
        for node in self.0.nodes() {
            let _ = self.0.kill(&node);
        }
    }
}

#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}: not so after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn state(cluster: &Cluster, node: &str) -> Option<State> {
    cluster.process(node).and_then(Process::state)
}

const SLEEPER: &str = "echo \"$0 $@\"\nexec sleep 1000";

#[test]
fn a_node_is_started_once_and_told_who_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = cluster(folder.path(), SLEEPER);
    let _cleanup = Cleanup(&cluster);
    assert_eq!(cluster.nodes(), ["catalog-1", "catalog-2", "catalog-3", "order-1", "order-2", "frontend-1"]);
    assert_eq!(cluster.pid("catalog-2"), None);
    assert!(cluster.start("catalog-2").expect("a start"));
    assert!(cluster.start("order-2").expect("a start"));
    let pid = cluster.pid("catalog-2").expect("it runs");
    assert!(!cluster.start("catalog-2").expect("a start of what runs"));
    assert_eq!(cluster.pid("catalog-2"), Some(pid));
    for (node, binary) in [("catalog-2", "catalog-raft"), ("order-2", "order")] {
        let run = cluster.run_dir.display();
        let said = format!("{run}/bin/{binary} -c {} -i 2 --run-dir {run}\n", cluster.selector);
        let output = cluster.run_dir.join(format!("{node}.out"));
        until("it says its arguments", || std::fs::read_to_string(&output).is_ok_and(|text| text == said));
    }
}

#[test]
fn signals_reach_the_node() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = cluster(folder.path(), SLEEPER);
    let _cleanup = Cleanup(&cluster);
    cluster.start("frontend-1").expect("a start");
    cluster.pause("frontend-1").expect("a pause");
    until("it is paused", || state(&cluster, "frontend-1") == Some(State::Paused));
    assert!(!cluster.may_answer("frontend-1") && cluster.pid("frontend-1").is_some());
    cluster.resume("frontend-1").expect("a resume");
    until("it goes on", || state(&cluster, "frontend-1") == Some(State::Running));
    cluster.kill("frontend-1").expect("a kill");
    assert_eq!(cluster.pid("frontend-1"), None);

    cluster.start("frontend-1").expect("a second start");
    cluster.pause("frontend-1").expect("a pause");
    cluster.stop("frontend-1", PATIENCE).expect("a stop, though paused");
    assert_eq!(cluster.pid("frontend-1"), None);
}

#[test]
fn a_node_that_ignores_sigterm_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = cluster(folder.path(), "trap '' TERM\necho ready\nwhile :; do sleep 0.05; done");
    let _cleanup = Cleanup(&cluster);
    cluster.start("order-1").expect("a start");
    let output = cluster.run_dir.join("order-1.out");
    until("its trap is set", || std::fs::read_to_string(&output).is_ok_and(|text| text == "ready\n"));
    let error = cluster.stop("order-1", Duration::from_millis(50)).expect_err("it stays").to_string();
    assert!(error.contains("order-1") && error.contains("make kill NODE=order-1"), "{error}");
    assert!(cluster.pid("order-1").is_some());
}

#[test]
fn a_node_that_does_not_run_or_exist_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = cluster(folder.path(), SLEEPER);
    for result in [cluster.kill("catalog-1"), cluster.pause("catalog-1"), cluster.stop("catalog-1", PATIENCE)] {
        assert_eq!(result.expect_err("it does not run").to_string(), "catalog-1 is not running");
    }
    let error = cluster.start("catalog-9").expect_err("there is none").to_string();
    assert!(error.contains("catalog-9") && error.contains("catalog-3, order-1"), "{error}");
    std::fs::remove_file(cluster.run_dir.join("bin/order")).expect("it is there");
    let error = cluster.start("order-1").expect_err("no binary").to_string();
    assert!(error.contains("bin/order is missing"), "{error}");
}

#[test]
fn a_pid_file_that_lies_is_not_believed() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = cluster(folder.path(), SLEEPER);
    let _cleanup = Cleanup(&cluster);
    let pid_file = cluster.run_dir.join("catalog-1.pid");
    let own = Process::of(std::process::id()).expect("this process");
    let (pid, started) =
        own.to_string().split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())).expect("two numbers");
    let recycled = format!("{pid} {}", started.parse::<u64>().expect("a number") - 1);
    for lie in ["", "nonsense", "0 0", "-1 5", "4194304 5", &pid, &recycled] {
        std::fs::write(&pid_file, lie).expect("a file");
        assert_eq!(cluster.pid("catalog-1"), None, "{lie:?}");
        assert!(cluster.kill("catalog-1").is_err(), "{lie:?}");
    }
    assert!(cluster.start("catalog-1").expect("a start in spite of the stale file"));
    assert!(cluster.pid("catalog-1").is_some());
}

/// Seen once: whoever started it was killed before the pid file was written. The next start found the port taken, and no
/// command could end what had it.
#[test]
fn a_node_whose_start_was_killed_before_it_was_noted_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = cluster(folder.path(), "while :; do sleep 0.05; done");
    let _cleanup = Cleanup(&cluster);
    cluster.start("catalog-1").expect("a start");
    cluster.start("catalog-2").expect("a start");
    let pid = cluster.pid("catalog-1").expect("it runs");
    std::fs::remove_file(cluster.run_dir.join("catalog-1.pid")).expect("it is there");
    assert_eq!(cluster.pid("catalog-1"), Some(pid));
    assert!(!cluster.start("catalog-1").expect("a start of what runs"));
    cluster.kill("catalog-1").expect("a kill");
    assert_eq!((cluster.pid("catalog-1"), cluster.pid("catalog-3")), (None, None));
    assert!(cluster.start("catalog-1").expect("a start"));
}

#[test]
fn starts_at_the_same_time_make_one_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = cluster(folder.path(), SLEEPER);
    let _cleanup = Cleanup(&cluster);
    let started: Vec<bool> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| cluster.start("catalog-3"))).collect();
        starts.into_iter().map(|start| start.join().expect("no panic").expect("a start")).collect()
    });
    assert_eq!(started.iter().filter(|new| **new).count(), 1);
    let output = cluster.run_dir.join("catalog-3.out");
    until("it says its arguments", || std::fs::read_to_string(&output).is_ok_and(|text| !text.is_empty()));
    assert_eq!(std::fs::read_to_string(&output).expect("its output").lines().count(), 1);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = cluster(folder.path(), SLEEPER);
    let peer = &cluster.layout.catalogs[0].peer;
    let _listener = std::net::TcpListener::bind(peer).expect("a free port");
    let error = cluster.start("catalog-1").expect_err("the port is taken").to_string();
    let port = peer.rsplit_once(':').expect("a port").1;
    assert!(error.contains("catalog-1") && error.contains(&format!("port {port} is taken")), "{error}");
}

#[test]
fn free_addresses_differ() {
    let addresses = free_addresses(40).expect("free ports");
    let different: std::collections::BTreeSet<_> = addresses.iter().collect();
    assert_eq!(different.len(), 40);
}
