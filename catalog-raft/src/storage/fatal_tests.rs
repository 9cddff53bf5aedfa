//! The end of the process when the disk fails it. Each test runs itself again as the process that ends.

use std::{
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;

use super::{
    LogStore,
    db::{Db, fatal},
    testing::{entry, ids, start_append},
};

/// Set in the process that ends; names its folder.
const CHILD: &str = "CATALOG_TEST_FOLDER";
/// Largest file that the process may write, in blocks of the shell (512 or 1024 bytes): its WAL grows beyond.
const FILE_BLOCKS: u32 = 2048;
/// Bytes of an entry.
const PAYLOAD: usize = 10_000;
/// The process reports so.
const ACKNOWLEDGED: &str = "acknowledged ";

/// Runs the test that calls this again, with files limited in size; a write beyond is an error, not a signal.
fn run_again(dir: &Path) -> Output {
    let name = std::thread::current().name().expect("a test's thread has its name").to_owned();
    let script = format!("trap '' XFSZ; ulimit -c 0; ulimit -f {FILE_BLOCKS}; exec \"$0\" \"$@\"");
    Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args([&name, "--exact", "--nocapture"])
        .env(CHILD, dir)
        .output()
        .unwrap()
}

#[test]
fn a_fatal_error_ends_the_process_with_one_line() {
    if std::env::var_os(CHILD).is_some() {
        fatal("a sync failed", &"no such luck");
    }
    let child = run_again(Path::new("unused"));
    assert!(!child.status.success());
    let said = String::from_utf8_lossy(&child.stderr);
    assert!(said.contains("catalog-raft: a sync failed: no such luck: this replica ends"), "{said}");
}

/// The disk takes no more: the process ends at the first write that fails, and what it acknowledged is there.
#[tokio::test]
async fn a_full_disk_ends_the_process_and_loses_nothing_acknowledged() {
    if let Some(dir) = std::env::var_os(CHILD) {
        let mut store = LogStore::open(Db::open(Path::new(&dir)).unwrap(), 0).unwrap();
        for index in 0.. {
            start_append(&mut store, vec![entry(1, index, PAYLOAD)]).await.await;
            println!("{ACKNOWLEDGED}{index}");
        }
    }
    let dir = TempDir::new().unwrap();
    let child = run_again(dir.path());
    let said = String::from_utf8_lossy(&child.stderr);
    assert!(!child.status.success() && said.contains("this replica ends"), "{said}");
    let out = String::from_utf8_lossy(&child.stdout);
    let last =
        out.lines().filter_map(|line| line.split_once(ACKNOWLEDGED)).next_back().expect("some were acknowledged");
    let last: u64 = last.1.parse().unwrap();
    assert!(last > 20, "only {last}");
    let mut store = LogStore::open(Db::open(dir.path()).unwrap(), 0).unwrap();
    let there = ids(&mut store, 0..u64::MAX).await.len() as u64;
    assert!(there > last, "{last} was acknowledged, {there} are there");
    start_append(&mut store, vec![entry(1, there, PAYLOAD)]).await.await;
}
