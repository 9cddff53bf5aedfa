//! The watch against fake replicas: no gap, no double, no stretch that does not join.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use proptest::prelude::*;

use super::*;
use crate::client::fake::{Fake, Script, options};

fn event(revision: Revision) -> Event {
    Event { revision, changes: vec![] }
}

fn stretch(prev: Revision, upto: Revision, events: &[Revision]) -> WatchFrame {
    WatchFrame::Events { prev, upto, events: events.iter().copied().map(event).collect() }
}

fn silent(frames: Vec<WatchFrame>) -> Script {
    Script { frames, close: false }
}

fn closing(frames: Vec<WatchFrame>) -> Script {
    Script { frames, close: true }
}

/// The next update that is about events or their end, with deadlines far beyond what it takes.
async fn news(watch: &mut Watch) -> Update {
    loop {
        let update = tokio::time::timeout(Duration::from_secs(20), watch.next()).await.expect("an update");
        if !matches!(update, Update::Connected { .. } | Update::Disconnected { .. }) {
            return update;
        }
    }
}

async fn until_live(catalog: &Catalog, ids: &[NodeId]) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !ids.iter().all(|id| catalog.is_live(*id)) {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_broken_stream_resumes_elsewhere_without_gap_or_double() {
    // Whatever a watcher asks for, it gets the next three revisions, then the replica goes away.
    let serve = |from: WatchFrom| {
        let after = from.after.unwrap_or(10);
        closing(vec![stretch(after, after + 1, &[after + 1]), stretch(after + 1, after + 3, &[after + 2, after + 3])])
    };
    let (one, two) = (Fake::watched(1, serve).await, Fake::watched(2, serve).await);
    let catalog = Catalog::new(options(&[&one, &two]));
    until_live(&catalog, &[1, 2]).await;
    let mut watch = Watch::new(catalog, None);
    assert_eq!(watch.position(), None);
    let (mut seen, mut replicas, mut connected) = (vec![], vec![], false);
    while seen.len() < 12 {
        match watch.next().await {
            Update::Connected { replica } => {
                assert!(!connected);
                connected = true;
                replicas.push(replica);
            }
            Update::Events { prev, upto, events } => {
                assert_eq!(prev, seen.last().copied().unwrap_or(10));
                seen.extend(events.iter().map(|event| event.revision));
                assert_eq!(watch.position(), Some(upto));
            }
            Update::Disconnected { replica, .. } => {
                assert_eq!(replicas.last(), Some(&replica));
                connected = false;
            }
            Update::Compacted { .. } => panic!("nothing is compacted"),
        }
    }
    assert_eq!(seen, (11..=22).collect::<Vec<_>>());
    assert!(replicas.windows(2).all(|pair| pair[0] != pair[1]), "{replicas:?}");
}

#[tokio::test]
async fn a_stretch_that_does_not_join_ends_the_stream() {
    let bad = [
        stretch(6, 7, &[7]),
        stretch(4, 7, &[7]),
        stretch(5, 4, &[]),
        stretch(5, 7, &[7, 6]),
        stretch(5, 7, &[6, 6]),
        stretch(5, 7, &[8]),
        stretch(5, 7, &[5]),
    ];
    let count = bad.len();
    let calls = AtomicUsize::new(0);
    let replica = Fake::watched(1, move |from| {
        assert_eq!(from, WatchFrom { after: Some(5) });
        match bad.get(calls.fetch_add(1, Ordering::SeqCst)) {
            Some(frame) => silent(vec![frame.clone()]),
            None => silent(vec![stretch(5, 6, &[6])]),
        }
    })
    .await;
    let mut watch = Watch::new(Catalog::new(options(&[&replica])), Some(5));
    for _ in 0..count {
        assert_eq!(watch.next().await, Update::Connected { replica: 1 });
        let update = watch.next().await;
        assert!(matches!(update, Update::Disconnected { replica: 1, .. }), "{update:?}");
        assert_eq!(watch.position(), Some(5));
    }
    assert_eq!(news(&mut watch).await, Update::Events { prev: 5, upto: 6, events: vec![event(6)] });
}

#[tokio::test]
async fn a_silent_replica_is_left() {
    let stopped = Fake::watched(1, |_| silent(vec![stretch(5, 5, &[])])).await;
    let other = Fake::watched(2, |from| {
        assert_eq!(from.after, Some(5));
        silent(vec![stretch(5, 6, &[6])])
    })
    .await;
    let mut watch = Watch::new(Catalog::new(options(&[&stopped, &other])), Some(5));
    while news(&mut watch).await != (Update::Events { prev: 5, upto: 6, events: vec![event(6)] }) {}
}

#[tokio::test]
async fn what_is_compacted_is_said_and_a_restart_goes_on() {
    let replica = Fake::watched(1, |from| match from.after {
        Some(after) if after < 100 => closing(vec![WatchFrame::Compacted { oldest: 100 }]),
        _ => silent(vec![stretch(150, 151, &[151])]),
    })
    .await;
    let mut watch = Watch::new(Catalog::new(options(&[&replica])), Some(7));
    assert_eq!(news(&mut watch).await, Update::Compacted { oldest: 100 });
    assert_eq!(watch.position(), Some(7));
    watch.restart(Some(150));
    assert_eq!(news(&mut watch).await, Update::Events { prev: 150, upto: 151, events: vec![event(151)] });
}

#[tokio::test]
async fn next_may_be_dropped_at_any_await() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    let replica = Fake::watched(1, move |from| {
        log.lock().unwrap().push(from.after);
        let frames = (0..200).map(|n| stretch(n, n + 1, &[n + 1])).collect();
        silent(frames)
    })
    .await;
    let mut watch = Watch::new(Catalog::new(options(&[&replica])), Some(0));
    let deadline = Instant::now() + Duration::from_secs(20);
    while watch.position() != Some(200) {
        // Dropped again and again, also while it connects.
        let hasty = tokio::time::timeout(Duration::from_micros(50), watch.next()).await;
        assert!(!matches!(hasty, Ok(Update::Disconnected { .. })), "{hasty:?}");
        assert!(Instant::now() < deadline);
    }
    assert_eq!(*asked.lock().unwrap(), [Some(0)], "one stream was enough");
}

proptest! {
    #[test]
    fn only_what_joins_passes(
        position in 0u64..6, prev in 0u64..6, upto in 0u64..8, revisions in prop::collection::vec(0u64..9, 0..4),
    ) {
        let events: Vec<_> = revisions.iter().copied().map(event).collect();
        let joins = prev == position
            && upto >= prev
            && revisions.iter().all(|revision| (prev + 1..=upto).contains(revision))
            && revisions.windows(2).all(|pair| pair[0] < pair[1]);
        prop_assert_eq!(check(Some(position), prev, upto, &events).is_ok(), joins);
    }
}
