//! Nothing lost, nothing doubled, nothing called unsent that was sent.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use proptest::prelude::*;
use tokio::{sync::mpsc, task::JoinSet};

use super::*;

const LIMITS: Limits = Limits { queued: 100, batch: 64, in_flight: 1, gather: false, few: 0 };

/// A call under the test's control: the items it got, their deadline, and where to put its result.
type Call = (Vec<u32>, Instant, oneshot::Sender<Result<Vec<u32>, String>>);

fn controlled(limits: Limits) -> (Batcher<u32, u32, String>, mpsc::UnboundedReceiver<Call>) {
    let (calls, seen) = mpsc::unbounded_channel();
    let batcher = Batcher::new(limits, move |items, deadline| {
        let (reply, result) = oneshot::channel();
        calls.send((items, deadline, reply)).unwrap();
        async move { result.await.unwrap() }
    });
    (batcher, seen)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

async fn queued(batcher: &Batcher<u32, u32, String>, items: usize) {
    while batcher.queued() != items {
        tokio::task::yield_now().await;
    }
}

fn spawn_run(batcher: &Batcher<u32, u32, String>, item: u32) -> tokio::task::JoinHandle<Result<u32, NoResult<String>>> {
    let batcher = batcher.clone();
    tokio::spawn(async move { batcher.run(item, soon()).await })
}

#[tokio::test]
async fn what_waits_while_a_batch_is_in_flight_goes_together() {
    let (batcher, mut calls) = controlled(LIMITS);
    let first = spawn_run(&batcher, 1000);
    let (items, _, reply) = calls.recv().await.unwrap();
    assert_eq!(items, [1000]);
    let mut others = Vec::new();
    for item in 0..50 {
        others.push(spawn_run(&batcher, item));
    }
    queued(&batcher, 50).await;
    reply.send(Ok(vec![1])).unwrap();
    assert_eq!(first.await.unwrap(), Ok(1));
    let (items, _, reply) = calls.recv().await.unwrap();
    assert_eq!(items, (0..50).collect::<Vec<_>>());
    reply.send(Ok(items)).unwrap();
    for (item, other) in others.into_iter().enumerate() {
        assert_eq!(other.await.unwrap(), Ok(item as u32));
    }
}

#[tokio::test]
async fn a_full_queue_refuses_and_a_dropped_waiter_frees_its_place() {
    let (batcher, mut calls) = controlled(Limits { queued: 2, ..LIMITS });
    let first = spawn_run(&batcher, 0);
    let (_, _, reply) = calls.recv().await.unwrap();
    let second = spawn_run(&batcher, 1);
    let third = spawn_run(&batcher, 2);
    queued(&batcher, 2).await;
    assert_eq!(batcher.run(3, soon()).await, Err(NoResult::Full));
    second.abort();
    queued(&batcher, 1).await;
    let fourth = spawn_run(&batcher, 4);
    queued(&batcher, 2).await;
    reply.send(Ok(vec![0])).unwrap();
    let (items, _, reply) = calls.recv().await.unwrap();
    assert_eq!(items, [2, 4]);
    reply.send(Err("lost".into())).unwrap();
    assert_eq!(first.await.unwrap(), Ok(0));
    assert_eq!(third.await.unwrap(), Err(NoResult::Failed("lost".into())));
    assert_eq!(fourth.await.unwrap(), Err(NoResult::Failed("lost".into())));
}

#[tokio::test]
async fn a_deadline_tells_sent_from_never_sent() {
    let (batcher, mut calls) = controlled(LIMITS);
    let near = Instant::now() + Duration::from_millis(300);
    let sent = tokio::spawn({
        let batcher = batcher.clone();
        async move { batcher.run(1, near).await }
    });
    let (_, deadline, reply) = calls.recv().await.unwrap();
    assert_eq!(deadline, near);
    assert_eq!(batcher.run(2, near).await, Err(NoResult::NotSent));
    assert_eq!(sent.await.unwrap(), Err(NoResult::InFlight));
    assert_eq!(batcher.queued(), 0);

    let later = [spawn_run(&batcher, 3), spawn_run(&batcher, 4)];
    queued(&batcher, 2).await;
    reply.send(Ok(vec![1])).unwrap();
    let (items, deadline, reply) = calls.recv().await.unwrap();
    assert_eq!(items, [3, 4]);
    assert!(deadline > near, "the latest of the deadlines counts");
    reply.send(Ok(items)).unwrap();
    for (later, item) in later.into_iter().zip([3, 4]) {
        assert_eq!(later.await.unwrap(), Ok(item));
    }
}

#[tokio::test]
async fn close_waits_for_everything_taken() {
    let (batcher, mut calls) = controlled(LIMITS);
    let first = spawn_run(&batcher, 1);
    let (items, _, reply) = calls.recv().await.unwrap();
    let second = spawn_run(&batcher, 2);
    queued(&batcher, 1).await;
    let closing = tokio::spawn({
        let batcher = batcher.clone();
        async move { batcher.close().await }
    });
    while batcher.run(3, Instant::now()).await != Err(NoResult::Closed) {
        tokio::task::yield_now().await;
    }
    reply.send(Ok(items)).unwrap();
    assert_eq!(first.await.unwrap(), Ok(1));
    assert!(!closing.is_finished());
    let (items, _, reply) = calls.recv().await.unwrap();
    reply.send(Ok(items)).unwrap();
    assert_eq!(second.await.unwrap(), Ok(2));
    closing.await.unwrap();
    assert!(calls.recv().await.is_none(), "the task has gone");
}

#[tokio::test]
async fn a_call_that_panics_leaves_its_items_unknown_and_the_batcher_alive() {
    let (batcher, mut calls) = controlled(LIMITS);
    let first = spawn_run(&batcher, 1);
    drop(calls.recv().await.unwrap());
    assert_eq!(first.await.unwrap(), Err(NoResult::InFlight));
    let second = spawn_run(&batcher, 2);
    let (items, _, reply) = calls.recv().await.unwrap();
    reply.send(Ok(items)).unwrap();
    assert_eq!(second.await.unwrap(), Ok(2));
    batcher.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn no_item_is_lost_or_doubled(
        queued in 1usize..60, batch in 1usize..20, in_flight in 1usize..4,
        // Whether the waiter is patient, in a hurry, or gone at once.
        waiters in prop::collection::vec(0u8..3, 1..120),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async move {
            let times_sent: Arc<Vec<AtomicUsize>> = Arc::new(waiters.iter().map(|_| AtomicUsize::new(0)).collect());
            let sent = times_sent.clone();
            let batcher = Batcher::new(Limits { queued, batch, in_flight, gather: false, few: 0 }, move |items: Vec<usize>, _| {
                assert!((1..=batch).contains(&items.len()));
                for item in &items {
                    sent[*item].fetch_add(1, Ordering::SeqCst);
                }
                async move {
                    tokio::time::sleep(Duration::from_micros(300)).await;
                    Ok::<_, ()>(items)
                }
            });
            let mut running = JoinSet::new();
            for (item, kind) in waiters.iter().copied().enumerate() {
                let batcher = batcher.clone();
                let patience = Duration::from_micros(if kind == 1 { 500 } else { 20_000_000 });
                let handle = running.spawn(async move { (item, batcher.run(item, Instant::now() + patience).await) });
                if kind == 2 {
                    handle.abort();
                }
            }
            let mut taken = Vec::new();
            while let Some(ended) = running.join_next().await {
                let Ok((item, result)) = ended else { continue };
                let times = times_sent[item].load(Ordering::SeqCst);
                match result {
                    Ok(answered) => assert_eq!((answered, times), (item, 1)),
                    // Taken; the call may be about to begin.
                    Err(NoResult::InFlight) => taken.push(item),
                    Err(NoResult::Full | NoResult::NotSent) => assert_eq!(times, 0),
                    Err(other) => panic!("{other:?}"),
                }
            }
            batcher.close().await;
            assert_eq!(batcher.queued(), 0);
            assert!(taken.iter().all(|item| times_sent[*item].load(Ordering::SeqCst) == 1));
            assert!(times_sent.iter().all(|times| times.load(Ordering::SeqCst) <= 1));
        });
    }
}

#[tokio::test]
async fn a_batch_is_bounded_by_weight_and_a_heavier_item_goes_alone() {
    let (batcher, mut calls) = controlled(Limits { queued: 10, batch: 4, in_flight: 1, gather: false, few: 0 });
    let weigh = |weight, item| {
        let batcher = batcher.clone();
        tokio::spawn(async move { batcher.run_weighing(weight, item, soon()).await })
    };
    let first = weigh(1, 0);
    let (_, _, busy) = calls.recv().await.unwrap();
    let mut waiting = 0;
    let mut others = Vec::new();
    for (item, weight) in [(1, 3), (2, 1), (3, 1), (4, 6)] {
        others.push(weigh(weight, item));
        waiting += weight;
        queued(&batcher, waiting).await;
    }
    assert_eq!(batcher.run(5, soon()).await, Err(NoResult::Full), "{waiting} wait, where 10 may");
    busy.send(Ok(vec![0])).unwrap();
    assert_eq!(first.await.unwrap(), Ok(0));
    for expected in [vec![1, 2], vec![3], vec![4]] {
        let (items, _, reply) = calls.recv().await.unwrap();
        assert_eq!(items, expected);
        reply.send(Ok(items)).unwrap();
    }
    for (other, item) in others.into_iter().zip(1..) {
        assert_eq!(other.await.unwrap(), Ok(item));
    }
    assert_eq!(batcher.queued(), 0);
}

/// Two groups that take turns become one: a batch waits for those who have just had their results.
#[tokio::test]
async fn who_comes_again_at_once_is_waited_for() {
    let (batcher, mut calls) = controlled(Limits { gather: true, ..LIMITS });
    let first: Vec<_> = (0..3).map(|item| spawn_run(&batcher, item)).collect();
    let (items, _, reply) = calls.recv().await.unwrap();
    assert_eq!(items, [0, 1, 2]);
    let others: Vec<_> = (10..15).map(|item| spawn_run(&batcher, item)).collect();
    queued(&batcher, 5).await;
    // So long may the next one wait, or the most that any may.
    tokio::time::sleep(Duration::from_millis(50)).await;
    reply.send(Ok(items)).unwrap();
    let again: Vec<_> = (20..23).map(|item| spawn_run(&batcher, item)).collect();
    let (items, _, reply) = calls.recv().await.unwrap();
    assert_eq!(items, [10, 11, 12, 13, 14, 20, 21, 22]);
    reply.send(Ok(items)).unwrap();
    for client in first.into_iter().chain(others).chain(again) {
        client.await.unwrap().unwrap();
    }
}

/// Who does not come again holds nobody up for ever.
#[tokio::test]
async fn who_does_not_come_again_is_not_waited_for_long() {
    let (batcher, mut calls) = controlled(Limits { gather: true, ..LIMITS });
    let mut running = vec![spawn_run(&batcher, 0)];
    for item in 1..10 {
        let (items, _, reply) = calls.recv().await.unwrap();
        running.push(spawn_run(&batcher, item));
        queued(&batcher, 1).await;
        reply.send(Ok(items)).unwrap();
    }
    let (items, _, reply) = calls.recv().await.unwrap();
    assert_eq!(items, [9]);
    reply.send(Ok(items)).unwrap();
    for client in running {
        client.await.unwrap().unwrap();
    }
}
