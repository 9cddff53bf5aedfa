//! Processor time of a process. Must not know whose.

use std::{fs, time::Duration};

/// Clock ticks of `/proc` in a second: the same on every Linux that we run on.
const TICKS: u64 = 100;

/// Processor time that a process has used so far, in user and in kernel mode.
pub fn used(pid: i32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    // The second field, in parentheses, may hold spaces. After it, `state` is field 3, and the times are 14 and 15.
    let (_, rest) = text.rsplit_once(')').expect("a name in parentheses");
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let ticks = |field: usize| fields[field - 3].parse::<u64>().expect("a number of ticks");
    Duration::from_millis((ticks(14) + ticks(15)) * 1000 / TICKS)
}
