//! The program itself against a store that does what a test says: loses answers, forgets keys, is busy, is not there.

mod commands;
mod imports;
mod requests;
mod shop;
mod usage;

use std::{
    io::Write,
    process::{Command, Output, Stdio},
    sync::Mutex,
    time::Duration,
};

use serde_json::Value;
use shop::Shop;

/// One program at a time: the machine may be small, and other tests run beside these.
static ONE: Mutex<()> = Mutex::new(());

/// What a run of the program came to.
#[derive(Debug)]
struct Run {
    status: i32,
    out: String,
    err: String,
}

impl Run {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        Self { status: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
    }

    #[track_caller]
    fn expect(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{self:#?}");
        self
    }

    #[track_caller]
    fn says(self, words: &str) -> Self {
        assert!(self.err.contains(words), "{words:?} is not said: {self:#?}");
        self
    }

    #[track_caller]
    fn json(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_catalogctl"));
    command.env_remove("CATALOG_STORE_ADDRESS").env_remove("CATALOG_STORE_CONFIG");
    command.current_dir(std::env::temp_dir());
    command
}

/// Runs it with nothing said about where the store is.
fn alone(arguments: &[&str]) -> Run {
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    Run::of(&program().args(arguments).stdin(Stdio::null()).output().expect("the program runs"))
}

/// Runs it against this shop.
fn ask(shop: &Shop, arguments: &[&str]) -> Run {
    alone(&[&["--address", &shop.address], arguments].concat())
}

/// As [`ask`], with something to read.
fn ask_with(shop: &Shop, arguments: &[&str], input: &str) -> Run {
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut command = program();
    command.args(["--address", &shop.address]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program runs");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    Run::of(&child.wait_with_output().expect("it ends"))
}

/// Waits until it is so.
#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "{what}: not so after 30 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}
