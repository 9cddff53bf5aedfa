//! The operator's program at work on a test's cluster: told what it says as it says it, and killed half-way if need be.
//! Must not know what its commands do.

use std::process::Stdio;

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::cluster::{TestCluster, binaries};

/// A command under way; killed when dropped.
#[derive(Debug)]
pub struct Operator {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    said: String,
}

impl Operator {
    /// Begins `cluster-config <arguments>` on the cluster.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn start(cluster: &TestCluster, arguments: &[&str]) -> Self {
        let program = binaries().expect("built programs").join("cluster-config");
        let run_dir = &cluster.cluster.run_dir;
        let child = Command::new(&program)
            .args(["-c", &cluster.cluster.selector, "--run-dir"])
            .arg(run_dir)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let lines = BufReader::new(child.stdout.take().expect("its output is piped")).lines();
        cluster.say(&format!("$ cluster-config {}", arguments.join(" ")));
        Self { child, lines, said: String::new() }
    }

    /// Reads on until it says `words`; false when it ends without.
    ///
    /// # Panics
    /// When what it says is no text.
    pub async fn says(&mut self, words: &str) -> bool {
        while let Some(line) = self.lines.next_line().await.expect("its output is text") {
            println!("    {line}");
            self.said += &line;
            self.said.push('\n');
            if line.contains(words) {
                return true;
            }
        }
        false
    }

    /// SIGKILL.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("a kill");
    }

    /// Waits for its end, and gives whether it succeeded, with all that it said.
    ///
    /// # Panics
    /// When what it says cannot be read.
    pub async fn end(mut self) -> (bool, String) {
        while self.says("\n").await {}
        let mut errors = String::new();
        let stderr = self.child.stderr.as_mut().expect("its errors are piped");
        stderr.read_to_string(&mut errors).await.expect("its errors are text");
        errors.lines().for_each(|line| println!("    {line}"));
        let status = self.child.wait().await.expect("it ends");
        (status.success(), self.said + &errors)
    }
}

impl TestCluster {
    /// Runs a command of the operator that must succeed, takes the layout as it is then, and gives what it said.
    ///
    /// # Panics
    /// When it fails.
    pub async fn operate(&mut self, arguments: &[&str]) -> String {
        let (succeeded, said) = Operator::start(self, arguments).end().await;
        self.reload_layout();
        assert!(succeeded, "{arguments:?} failed:\n{said}");
        said
    }

    /// Runs a command of the operator that must be refused, and gives what it said.
    ///
    /// # Panics
    /// When it succeeds.
    pub async fn is_refused(&self, arguments: &[&str]) -> String {
        let (succeeded, said) = Operator::start(self, arguments).end().await;
        assert!(!succeeded, "{arguments:?} was not refused:\n{said}");
        said
    }
}
