//! A snapshot on its way over a link that is narrow, and cut in the middle.

use super::*;

/// A follower that was away for longer than the log is kept gets a snapshot over a narrow link that is cut again and
/// again while chunks are on their way. It comes back whole, or not yet: never with a part of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_over_a_link_that_breaks_arrives_whole() {
    const BREAKS: u32 = 6;
    let options = Options::new().raft("snapshot_entries", 100).raft("log_kept_entries", 20);
    let mut story = Story::begin("broken-snapshot", options).await;
    let leader = story.cluster().leader().await;
    let away = story.others(&[&leader]).remove(0);
    story.net().part(slice::from_ref(&away), &story.others(&[&away]), Cut::Silent);
    let had = story.cluster().status(&away).await.last_log;
    story.buys(&format!("while {away} is away")).await;
    let purged = eventually("the log purged beyond what the absent replica has", || async {
        let status = story.cluster().try_status(&story.cluster().leader().await).await?;
        ensure!(status.purged > had, "purged up to {} and not {had}", status.purged);
        Ok(status.purged)
    })
    .await;
    story.cluster().say(&format!("the log begins after {purged}, {away} has {had}"));
    let narrow = Link { rate: Some(1_000_000 / 8), ..Link::default() };
    for round in 0..BREAKS {
        for other in story.others(&[&away]) {
            story.net().set_both(&other, &away, narrow);
        }
        // Long enough for some chunks, or for none.
        sleep(Duration::from_millis(80 * u64::from(round + 1))).await;
        story.net().part(slice::from_ref(&away), &story.others(&[&away]), CUTS[round as usize % 2]);
        sleep(Duration::from_millis(100)).await;
    }
    story.heal();
    let back = eventually("the replica back through a snapshot", || async {
        let status = story.cluster().try_status(&away).await?;
        ensure!(status.snapshot > had && status.applied > purged, "{status:?}");
        Ok(status)
    })
    .await;
    story.cluster().say(&format!("{away} is back: snapshot {}, applied {}", back.snapshot, back.applied));
    story.judge().await;
}
