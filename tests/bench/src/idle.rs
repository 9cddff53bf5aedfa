//! What a cluster costs that does nothing while one of its replicas is dead. Must not know why a server would be busy.

use std::{fs, time::Instant};

use ::tests::TestCluster;
use anyhow::Context;
use tokio::time::{Duration, sleep};

/// From the replica's death until its leader has settled.
const SETTLE: Duration = Duration::from_secs(3);

/// The leader's share of one core, in percent, over so many seconds.
///
/// # Errors
/// When the system does not say.
pub async fn leader_cpu(cluster: &TestCluster, seconds: u32) -> anyhow::Result<f64> {
    let dead = cluster.followers().await.pop().context("no follower runs")?;
    cluster.kill(&dead).await;
    sleep(SETTLE).await;
    let leader = cluster.leader().await;
    let pid = cluster.cluster.pid(&leader).context("the leader has gone")?;
    let (before, began) = (ticks(pid)?, Instant::now());
    sleep(Duration::from_secs(seconds.into())).await;
    let used = (ticks(pid)? - before) as f64 / rustix::param::clock_ticks_per_second() as f64;
    let share = used / began.elapsed().as_secs_f64() * 100.0;
    cluster.restart(&dead).await;
    Ok(share)
}

/// Clock ticks that a process has used, in user and kernel mode.
fn ticks(pid: i32) -> anyhow::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    read_ticks(&stat).context("an odd line of /proc/PID/stat")
}

fn read_ticks(stat: &str) -> Option<u64> {
    // The name, in brackets, may hold anything. Fields 14 and 15, the third being the first behind it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn reads_user_and_kernel_time() {
        let stat = "417 (a (strange) name) S 1 417 417 0 -1 4194560 99 0 0 0 1200 345 7 8 20 0 12 0 3000 1 2";
        assert_eq!(super::read_ticks(stat), Some(1_545));
        assert_eq!(super::read_ticks("417 (a) S 1"), None);
    }
}
