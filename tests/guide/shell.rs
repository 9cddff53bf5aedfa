//! Runs commands as a reader's shell would, in a folder of their own. Must not know pages.

use std::{path::Path, process::Stdio, time::Duration};

use tempfile::TempDir;
use tokio::{process::Command, time::timeout};

/// How long a command may take: some wait for a deadline of the store, or for a replica.
const PATIENCE: Duration = Duration::from_secs(90);

/// A shell, and the folder in which commands leave files for later ones.
#[derive(Debug)]
pub struct Shell {
    folder: TempDir,
    prelude: String,
}

impl Shell {
    /// A new folder. `prelude` is run before each command.
    pub fn new(prelude: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("catalog-guide-").tempdir().expect("a folder");
        Self { folder, prelude: prelude.to_owned() }
    }

    /// Where commands are run.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What a command prints to its standard output. Its status says nothing: a stream is cut off when enough was seen.
    ///
    /// # Panics
    /// When it cannot be run, or does not end.
    pub async fn run(&self, command: &str) -> String {
        let child = Command::new("sh")
            .args(["-c", &format!("{}\n{command}", self.prelude)])
            .current_dir(self.folder.path())
            // Nothing of this machine's proxies: the store is here.
            .envs([("NO_PROXY", "*"), ("no_proxy", "*")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a shell");
        let done = timeout(PATIENCE, child.wait_with_output()).await;
        let done = done.unwrap_or_else(|_| panic!("does not end: {command}")).expect("its output");
        // Of curl only its progress comes here, since its output is no terminal.
        let said = String::from_utf8_lossy(&done.stderr);
        if done.stdout.is_empty() && !said.trim().is_empty() {
            println!("    {}", said.trim());
        }
        String::from_utf8_lossy(&done.stdout).into_owned()
    }
}

#[tokio::test]
async fn a_command_finds_what_an_earlier_one_has_left() {
    let shell = Shell::new("greet() { echo \"hello $1\"; }");
    assert_eq!(shell.run("greet you | tee greeting").await, "hello you\n");
    assert_eq!(shell.run("cat greeting; false").await, "hello you\n");
}
