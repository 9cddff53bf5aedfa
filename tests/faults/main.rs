//! Each kind of fault by name on real processes, and a short run of faults drawn from a seed.

mod clock;
mod damage;
mod disk;
mod full_disk;
mod hostile;
mod network;
mod overload;
mod seeded;

/// Resident memory of a process, in kilobytes; 0 once it has gone.
fn resident_kilobytes(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
