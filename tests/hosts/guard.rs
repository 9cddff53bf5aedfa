//! Removes what a test has made outside its process, however the test ends: a shell that waits for its standard input to end.

use std::{
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
};

/// Runs a script once this is dropped, or once the process that has it is gone.
#[derive(Debug)]
pub struct Guard(Child);

impl Guard {
    /// `script` with `arguments` as `$1` and so on.
    pub fn new(script: &str, arguments: &[&str]) -> Self {
        let child = Command::new("sh")
            .args(["-c", &format!("cat >/dev/null\n{script}"), "guard"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A signal to the test's group must not end it first.
            .process_group(0)
            .spawn();
        Self(child.expect("there is a shell"))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
