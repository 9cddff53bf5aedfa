//! Links that work, badly: latency and jitter, loss, one narrow link.

use super::*;

/// Every link is a long one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn latency_and_jitter_break_no_promise() {
    let mut story = Story::begin("latency", Options::new()).await;
    let nodes = story.cluster().cluster.nodes();
    let link = Link { latency: Duration::from_millis(15), jitter: Duration::from_millis(20), ..Link::default() };
    story.set(&nodes, &nodes, link);
    story.cluster().say("15 to 35 ms on every link");
    for _ in 0..3 {
        story.run().await;
    }
    story.buys("over long links").await;
    story.judge().await;
}

/// Three of a hundred pieces are lost on every link between servers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loss_breaks_no_promise() {
    let story = Story::begin("loss", Options::new()).await;
    let nodes = story.cluster().cluster.nodes();
    story.set(&nodes, &nodes, Link { loss: 0.03, ..Link::default() });
    story.cluster().say("3 % are lost on every link");
    for _ in 0..4 {
        story.run().await;
    }
    story.judge().await;
}

/// One follower hangs on a link of 1 Mbit/s: it falls behind and stays a member, and nobody waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_on_a_narrow_link_holds_nobody_up() {
    let mut story = Story::begin("narrow", Options::new()).await;
    let (leader, term) = story.leader().await;
    let narrow = story.others(&[&leader]).remove(0);
    let link = Link { rate: Some(1_000_000 / 8), ..Link::default() };
    story.set(&story.others(&[&narrow]), slice::from_ref(&narrow), link);
    story.cluster().say(&format!("1 Mbit/s to {narrow}"));
    for _ in 0..4 {
        story.run().await;
    }
    story.buys(&format!("while {narrow} hangs on a narrow link")).await;
    let now = story.leader().await.1;
    assert!(now <= term + FEW_TERMS, "term {now} after {term}");
    story.judge().await;
}
