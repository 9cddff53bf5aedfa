//! The command line against real servers: what each command does and prints, its exit statuses, and imports that are
//! interrupted while items are sold.
//!
//! `frontend/ctl/tests` has what needs a store that does what a test says.

mod imports;
mod operating;
mod shop;
mod watching;

use std::process::{Output, Stdio};

use serde_json::Value;
use tests::{TestCluster, cluster::binaries};
use tokio::process::{Child, Command};

/// What a run of the program came to.
#[derive(Debug)]
pub struct Run {
    /// The exit status; none when a signal ended it.
    pub status: Option<i32>,
    /// What it printed.
    pub out: String,
    /// What it said beside that.
    pub err: String,
}

impl Run {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("it prints text");
        Self { status: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Itself when it ended with this status.
    #[track_caller]
    pub fn expect(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{self:#?}");
        self
    }

    /// Each line as JSON.
    #[track_caller]
    pub fn json(&self) -> Vec<Value> {
        let parsed = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.out.lines().map(parsed).collect()
    }

    /// The line as JSON.
    #[track_caller]
    pub fn document(&self) -> Value {
        let mut documents = self.json();
        assert_eq!(documents.len(), 1, "{self:#?}");
        documents.remove(0)
    }
}

fn command(cluster: &TestCluster, arguments: &[&str]) -> Command {
    let mut command = Command::new(binaries().expect("built programs").join("catalogctl"));
    command.env_remove("CATALOG_STORE_ADDRESS").env_remove("CATALOG_STORE_CONFIG");
    command.args(["-c", &cluster.cluster.selector]).args(arguments);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs it on the cluster to its end.
pub async fn ctl(cluster: &TestCluster, arguments: &[&str]) -> Run {
    let output = command(cluster, arguments).output().await;
    Run::of(&output.unwrap_or_else(|error| panic!("catalogctl: {error}: build the programs first, or run make test")))
}

/// Begins a run on the cluster.
pub fn begin(cluster: &TestCluster, arguments: &[&str]) -> Child {
    let begun = command(cluster, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    begun.unwrap_or_else(|error| panic!("catalogctl: {error}: build the programs first, or run make test"))
}

/// Waits for the end of a run.
pub async fn end(run: Child) -> Run {
    Run::of(&run.wait_with_output().await.expect("its output can be read"))
}
