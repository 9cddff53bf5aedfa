//! Containers of this run: a Compose project of its own name, of images that hold the programs under test. Must not know what
//! is tested.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Instant,
};

use cluster_config::containers::{Compose, free_address, lacking};
use tests::{PATIENCE, TestCluster, cluster, try_eventually};
use tokio::sync::OnceCell;

use crate::guard::Guard;

/// Removes what the project `$1` has: containers, networks, volumes.
const REMOVE: &str = r#"of="label=com.docker.compose.project=$1"
docker ps -aq -f "$of" | xargs -r docker rm -f
docker network ls -q -f "$of" | xargs -r docker network rm
docker volume ls -q -f "$of" | xargs -r docker volume rm"#;
/// Removes the images of the tag `$1`, once no container needs them: another guard may be at work on those.
const REMOVE_IMAGES: &str = r#"for try in $(seq 30); do
    left=$(docker image ls -q -f "reference=catalog-store/*:$1" | sort -u)
    [ -n "$left" ] || break
    docker image ls --format '{{.Repository}}:{{.Tag}}' -f "reference=catalog-store/*:$1" | xargs -r docker rmi || sleep 1
done"#;
/// An image is smaller than this, in bytes.
const MAX_IMAGE: u64 = 100_000_000;
/// Lines of each log that a failed test prints.
const LOG_LINES: usize = 20;

/// The images of this run. The guard goes when this program does.
static IMAGES: OnceCell<(String, Guard)> = OnceCell::const_new();

/// A project. Dropping it removes all that it has.
#[derive(Debug)]
pub struct Project {
    /// The containers.
    pub compose: Compose,
    name: String,
    _guard: Guard,
}

impl Project {
    /// A project of which nothing is up yet; `None`, with a line that says why, where there can be none.
    pub async fn new(name: &str) -> Option<Self> {
        if let Some(why) = lacking() {
            println!("[{name}] skipped: {why}");
            return None;
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (tag, _) = IMAGES.get_or_init(images).await;
        let project = format!("cs{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let guard = Guard::new(REMOVE, &[&project]);
        let compose = Compose::new(&repository().join("compose.yaml"), &project, tag, &free_address().expect("a port"));
        Some(Self { compose, name: name.to_owned(), _guard: guard })
    }

    /// The servers where this machine finds them now.
    pub async fn seen(&self) -> TestCluster {
        let layout = self.compose.layout().and_then(|layout| self.compose.seen_from_here(layout));
        TestCluster::elsewhere(&self.name, layout.expect("the engine tells")).await
    }

    /// Starts what does not run, waits until all serve and a majority agrees on a leader, and gives them.
    pub async fn up(&self) -> TestCluster {
        let began = Instant::now();
        self.compose.up(&[]).unwrap_or_else(|error| panic!("{error:#}"));
        let cluster = self.seen().await;
        self.ready(&cluster, &cluster.cluster.nodes()).await;
        cluster.leader().await;
        cluster.say(&format!("the containers serve after {:.1} s", began.elapsed().as_secs_f64()));
        cluster
    }

    /// Waits until each of `nodes` says that it is ready.
    pub async fn ready(&self, cluster: &TestCluster, nodes: &[String]) {
        for node in nodes {
            let serves = try_eventually(&format!("{node} serves"), PATIENCE, || cluster.ready(node)).await;
            serves.unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for node in self.compose.layout().into_iter().flat_map(|layout| layout.names()) {
            let log = self.compose.log_end(&node, LOG_LINES).unwrap_or_else(|error| format!("{error:#}"));
            println!("--- [{}] the end of {node}'s log ---\n{log}", self.name);
        }
    }
}

/// The clone that the tests were built in.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").to_owned()
}

/// Builds the images as `make images` does, of the programs under test.
async fn images() -> (String, Guard) {
    let (began, tag) = (Instant::now(), format!("test-{}", std::process::id()));
    let guard = Guard::new(REMOVE_IMAGES, &[&tag]);
    let programs = cluster::binaries().expect("built programs");
    let mut command = Command::new(repository().join(".ci/images"));
    let output = command.arg(&tag).arg(programs).output().expect("a script of the repository");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "the images cannot be built: {said}");
    println!("{said}built in {:.1} s", began.elapsed().as_secs_f64());
    for image in ["catalog-raft", "order", "frontend"] {
        let image = format!("catalog-store/{image}:{tag}");
        let told = Command::new("docker").args(["image", "inspect", "--format", "{{.Size}}", &image]).output();
        let size = String::from_utf8_lossy(&told.expect("docker runs").stdout).trim().parse::<u64>().expect("a size");
        assert!(size < MAX_IMAGE, "{image} has {size} bytes");
    }
    (tag, guard)
}
