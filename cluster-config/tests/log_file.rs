//! The log that all servers share: its lines, panics in it, its rotation. One test, since a process has one log.

use cluster_config::server::{Args, LOG_FILE_BYTES, start_logging};

#[test]
fn a_log_has_time_level_thread_and_fields_keeps_panics_and_is_rotated() {
    let folder = tempfile::tempdir().expect("a folder");
    let run_dir = folder.path().join("run");
    let path = run_dir.join("order-1.log");
    let args = Args { config: "4".into(), instance: 1, run_dir: run_dir.clone(), log_stderr: false, check: false };
    let guard = start_logging(&args, "order-1").expect("a log");
    let seller = std::thread::Builder::new().name("seller".into()).spawn(|| {
        tracing::info!(request_id = "0190", "Bought book {}", "RPCs for Dummies");
        tracing::debug!("too much detail");
        panic!("the till is on fire");
    });
    assert!(seller.expect("a thread").join().is_err());
    let line = "x".repeat(1 << 20);
    for number in 0..=LOG_FILE_BYTES >> 20 {
        tracing::info!(number, "{line}");
    }
    drop(guard);

    let old = std::fs::read_to_string(path.with_extension("log.1")).expect("a file put aside");
    let mut shown = old.lines();
    let bought = shown.next().expect("a first line");
    let (time, rest) = bought.split_once(' ').expect("a time");
    assert!(time.len() == "2026-01-02T03:04:05.678Z".len() && time.ends_with('Z') && time.contains('T'), "{bought}");
    assert_eq!(rest.trim_start(), "INFO seller Bought book RPCs for Dummies request_id=\"0190\"");
    let panic = shown.next().expect("a second line");
    assert!(panic.contains("ERROR seller panicked at") && panic.ends_with("the till is on fire"), "{panic}");
    let now = std::fs::read_to_string(&path).expect("the log");
    assert!(now.contains("number=10") && !old.contains("number=10"));
}
