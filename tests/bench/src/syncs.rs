//! Counts the fdatasyncs of processes: from their own metrics where they have any, else by the kernel's tracepoint (perf),
//! else by strace, which slows them down. Must not know what makes them sync.

use std::{future::Future, process::Stdio};

use ::tests::{Client, Request};
use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    time::{Duration, sleep},
};

use crate::process::find;

/// What perf counts.
const TRACEPOINT: &str = "syscalls:sys_enter_fdatasync";
/// How long a counter takes to attach to its process.
const ATTACH: Duration = Duration::from_millis(500);

/// A process whose syncs are counted.
#[derive(Debug, Clone)]
pub struct Counted {
    /// `http://host:port` of its metrics, if it has any.
    pub url: String,
    /// Its process id.
    pub pid: i32,
}

/// How they are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    Metrics,
    Perf,
    Strace,
}

/// Does something, and says how many fdatasyncs each of the processes made meanwhile, with the means of counting.
///
/// # Errors
/// When there is no means, or what is done fails.
pub async fn during<T>(
    processes: &[Counted],
    done: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<(T, Vec<u64>, &'static str)> {
    let http = Client::without_pool();
    let (means, name) = means(&http, processes).await?;
    if means == Means::Metrics {
        let before = all_metrics(&http, processes).await?;
        let value = done.await?;
        let after = all_metrics(&http, processes).await?;
        return Ok((
            value,
            after.iter().zip(before).map(|(after, before)| after.saturating_sub(before)).collect(),
            name,
        ));
    }
    let counters: anyhow::Result<Vec<Child>> = processes.iter().map(|process| attach(means, process.pid)).collect();
    let counters = counters?;
    sleep(ATTACH).await;
    let value = done.await?;
    let mut counts = Vec::new();
    for counter in counters {
        counts.push(detach(means, counter).await?);
    }
    Ok((value, counts, name))
}

async fn means(http: &Client, processes: &[Counted]) -> anyhow::Result<(Means, &'static str)> {
    if all_metrics(http, processes).await.is_ok() {
        return Ok((Means::Metrics, "/metrics"));
    }
    if find("perf").is_some() {
        let tried = Command::new("perf").args(["stat", "-e", TRACEPOINT, "true"]).output().await?;
        if tried.status.success() {
            return Ok((Means::Perf, "perf"));
        }
    }
    ensure!(find("strace").is_some(), "nothing here counts fdatasyncs: no metrics, no perf, no strace");
    Ok((Means::Strace, "strace"))
}

async fn all_metrics(http: &Client, processes: &[Counted]) -> anyhow::Result<Vec<u64>> {
    let mut counts = Vec::new();
    for process in processes {
        let answer = http.try_send(Request::get(format!("{}/metrics", process.url))).await?;
        ensure!(answer.status == 200, "{}", answer.status);
        counts.push(count_in_metrics(&answer.text()).context("no fdatasyncs among its metrics")?);
    }
    Ok(counts)
}

/// The number of measurements of a histogram of fdatasyncs, in Prometheus' text.
fn count_in_metrics(text: &str) -> Option<u64> {
    let lines = text.lines().filter_map(|line| line.rsplit_once(' '));
    let counts = lines.filter(|(name, _)| {
        let name = name.split('{').next().unwrap_or_default();
        name.ends_with("fdatasync_seconds_count")
    });
    let numbers: Vec<f64> = counts.filter_map(|(_, number)| number.parse().ok()).collect();
    (!numbers.is_empty()).then(|| numbers.iter().sum::<f64>() as u64)
}

fn attach(means: Means, pid: i32) -> anyhow::Result<Child> {
    let pid = pid.to_string();
    let mut command = match means {
        Means::Strace => {
            let mut command = Command::new("strace");
            command.args(["-f", "-c", "-e", "trace=fdatasync", "-p", &pid]);
            command
        }
        Means::Perf | Means::Metrics => {
            let mut command = Command::new("perf");
            command.args(["stat", "-x,", "-e", TRACEPOINT, "-p", &pid]);
            command
        }
    };
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    command.spawn().context("cannot count fdatasyncs")
}

/// Ends a counter and reads what it counted.
async fn detach(means: Means, counter: Child) -> anyhow::Result<u64> {
    let pid = counter.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)).context("a counter has ended")?;
    kill_process(pid, Signal::INT)?;
    let said = counter.wait_with_output().await?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let count = if means == Means::Strace { count_of_strace(&said) } else { count_of_perf(&said) };
    count.with_context(|| format!("no count: {said}"))
}

fn count_of_perf(said: &str) -> Option<u64> {
    said.lines().find(|line| line.contains(TRACEPOINT))?.split(',').next()?.parse().ok()
}

fn count_of_strace(said: &str) -> Option<u64> {
    let line = said.lines().find(|line| line.trim_end().ends_with(" fdatasync"));
    // A process that did not sync has no line.
    line.map_or(Some(0), |line| line.split_whitespace().nth(3)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_each_means_says() {
        assert_eq!(count_of_perf("# started\n\n417,,syscalls:sys_enter_fdatasync,1,100.00,,\n"), Some(417));
        assert_eq!(count_of_perf("<not counted>,,syscalls:sys_enter_fdatasync,0\n"), None);
        let table = "% time     seconds  usecs/call     calls    errors syscall\n\
                     ------ ----------- ----------- --------- --------- ----------------\n\
                     100.00    0.051712         155       333           fdatasync\n";
        assert_eq!(count_of_strace(table), Some(333));
        assert_eq!(count_of_strace("strace: Process 7 attached\n"), Some(0));
        let metrics = "# TYPE catalog_fdatasync_seconds histogram\ncatalog_fdatasync_seconds_bucket{le=\"1\"} 9\n\
                       catalog_fdatasync_seconds_sum 1.5\ncatalog_fdatasync_seconds_count 12\n\
                       catalog_writes_per_fdatasync_count 12\nraft_term 3\n";
        assert_eq!(count_in_metrics(metrics), Some(12));
        assert_eq!(count_in_metrics("raft_term 3\n"), None);
    }
}
