//! Replicas that cannot reach each other: halves, chains, rings, and links that carry bytes one way only.

use super::*;

/// The leader is alone: the others elect another. What the old one had accepted and not committed is never acknowledged,
/// and it does not answer reads from the past.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_in_the_minority_gives_way() {
    let mut story = Story::begin("minority-leader", Options::new()).await;
    for how in CUTS {
        let (old, term) = story.leader().await;
        story.net().part(slice::from_ref(&old), &story.others(&[&old]), how);
        story.cluster().say(&format!("{old} is cut from the other catalogs: {how:?}"));
        let new = story.other_leader(&old).await;
        story.buys(&format!("while {old} is cut off and {new} leads")).await;
        story.run().await;
        let now = story.leader().await.1;
        assert!(now > term && now <= term + FEW_TERMS, "term {now} after {term}");
        story.heal();
        story.buys("after that").await;
        eventually("the old leader follows", || async {
            let status = story.cluster().try_status(&old).await?;
            ensure!(status.leader == story.cluster().try_status(&new).await?.leader, "{status:?}");
            Ok(())
        })
        .await;
    }
    story.judge().await;
}

/// A follower is alone. It asks for votes and gets none; when it comes back its many elections must not have made a
/// term that unseats the leader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_in_the_minority_disturbs_nobody() {
    let mut story = Story::begin("minority-follower", Options::new()).await;
    for how in CUTS {
        let (leader, term) = story.leader().await;
        let lonely = story.others(&[&leader]).remove(0);
        story.net().part(slice::from_ref(&lonely), &story.others(&[&lonely]), how);
        story.cluster().say(&format!("{lonely} is cut from the other catalogs: {how:?}"));
        for _ in 0..3 {
            story.run().await;
        }
        story.buys(&format!("while {lonely} is cut off")).await;
        story.heal();
        story.run().await;
        let now = story.leader().await.1;
        assert!(now <= term + FEW_TERMS, "term {now} after {term}: the lonely one counted up");
    }
    story.judge().await;
}

/// Three replicas in a chain: two cannot see each other, the third sees both. One of the ends may not even know that the
/// middle is led by the other end; a majority exists, so buying goes on, and the leadership does not wander.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_of_three_goes_on_buying() {
    let mut story = Story::begin("chain", Options::new()).await;
    for leads in ["the middle", "an end"] {
        let (leader, term) = story.leader().await;
        let others = story.others(&[&leader]);
        let (one, other) = if leads == "an end" { (&leader, &others[0]) } else { (&others[0], &others[1]) };
        story.net().set_both(one, other, Link::cut(Cut::Silent));
        story.cluster().say(&format!("{one} and {other} cannot see each other; {leads} leads"));
        for _ in 0..3 {
            story.run().await;
        }
        story.buys(&format!("while {leads} of the chain leads")).await;
        let now = story.leader().await.1;
        assert!(now <= term + FEW_TERMS, "term {now} after {term}: the leadership wanders");
        story.heal();
        story.run().await;
    }
    story.judge().await;
}

/// Five replicas in a ring: each sees two neighbours, a majority with itself, and no two see the same one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_of_five_goes_on_buying() {
    let mut story = Story::begin("ring", Options::new().catalogs(5)).await;
    for how in CUTS {
        let ring = story.cluster().catalogs();
        for at in 0..ring.len() {
            story.net().set_both(&ring[at], &ring[(at + 2) % ring.len()], Link::cut(how));
        }
        story.cluster().say(&format!("each catalog sees its neighbours only: {how:?}"));
        for _ in 0..2 {
            story.run().await;
        }
        story.buys("in the ring").await;
        story.heal();
        story.run().await;
    }
    story.judge().await;
}

/// The leader hears and is not heard: its heartbeats and entries vanish. The others elect another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_not_heard_gives_way() {
    let mut story = Story::begin("unheard", Options::new()).await;
    let (old, _) = story.leader().await;
    story.set(slice::from_ref(&old), &story.others(&[&old]), Link::cut(Cut::Silent));
    story.cluster().say(&format!("nothing from {old} arrives at the other catalogs"));
    story.other_leader(&old).await;
    story.buys(&format!("while {old} is not heard")).await;
    story.run().await;
    story.judge().await;
}

/// The leader is heard and does not hear: its entries arrive and are never confirmed to it. It must not go on for ever
/// holding the others in obedience without being able to commit anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_does_not_hear_gives_way() {
    let mut story = Story::begin("deaf", Options::new()).await;
    let (old, _) = story.leader().await;
    story.set(&story.others(&[&old]), slice::from_ref(&old), Link::cut(Cut::Silent));
    story.cluster().say(&format!("nothing from the other catalogs arrives at {old}"));
    story.other_leader(&old).await;
    story.buys(&format!("while {old} does not hear")).await;
    story.run().await;
    story.judge().await;
}

/// A follower that is not heard, and one that does not hear: neither stops the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_on_a_one_way_link_stops_nobody() {
    let mut story = Story::begin("one-way", Options::new()).await;
    for hears in [true, false] {
        let (leader, term) = story.leader().await;
        let lame = story.others(&[&leader]).remove(0);
        let others = story.others(&[&lame]);
        let (from, to) = if hears { (vec![lame.clone()], others) } else { (others, vec![lame.clone()]) };
        story.set(&from, &to, Link::cut(Cut::Silent));
        story.cluster().say(&format!("{lame} {}", if hears { "hears and is not heard" } else { "does not hear" }));
        for _ in 0..2 {
            story.run().await;
        }
        story.buys("on").await;
        let now = story.leader().await.1;
        assert!(now <= term + FEW_TERMS, "term {now} after {term}");
        story.heal();
        story.run().await;
    }
    story.judge().await;
}
