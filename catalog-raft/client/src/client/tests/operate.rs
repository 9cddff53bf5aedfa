//! What an operator asks of replicas, whatever they answer.

use crate::protocol::SnapshotAsked;

use super::*;

/// What replica `id` says while the one in `leads` leads.
fn said(id: NodeId, request: &Request, leads: &AtomicU64) -> Reply {
    let leader = leads.load(Ordering::SeqCst);
    match request {
        Request::Status => Reply::status(id, 1, Some(leader)),
        Request::ReadIndex { .. } if id == leader => Reply::one(Response::ReadIndex(7)),
        _ => refused(Refusal::NotLeader { leader: Some(leader) }),
    }
}

#[tokio::test]
async fn a_snapshot_is_asked_of_the_one_that_is_named() {
    let one = Fake::start(1, |_| Reply::Silence).await;
    let two = Fake::start(2, |request| match request {
        Request::Snapshot => Reply::one(Response::SnapshotAsked(SnapshotAsked { snapshot: 3, applied: 9 })),
        _ => Reply::status(2, 1, None),
    })
    .await;
    let three = Fake::start(3, |request| match request {
        Request::Snapshot => refused(Refusal::Unavailable("its disk is full".to_owned())),
        _ => Reply::Close,
    })
    .await;
    let catalog = Catalog::new(options(&[&one, &two, &three]));
    let asked = catalog.snapshot(2, within(20.0)).await.unwrap();
    assert_eq!((asked.applied, asked.is_there()), (9, false));
    for (id, why) in [(1, "does not answer"), (3, "its disk is full"), (4, "replica 4")] {
        let error = catalog.snapshot(id, within(0.3)).await.unwrap_err().to_string();
        assert!(error.contains(why), "{error} does not say {why}");
    }
}

#[tokio::test]
async fn the_leader_is_found_and_hands_over_or_says_why_not() {
    let leads = Arc::new(AtomicU64::new(2));
    let (of_one, of_two) = (leads.clone(), leads.clone());
    let one = Fake::start(1, move |request| said(1, &request, &of_one)).await;
    let two = Fake::start(2, move |request| match request {
        Request::TransferLeader { to: Some(1) } => {
            of_two.store(1, Ordering::SeqCst);
            Reply::one(Response::Transferred(1))
        }
        Request::TransferLeader { .. } => Reply::one(Response::NotTransferred("not to that one".to_owned())),
        request => said(2, &request, &of_two),
    })
    .await;
    let catalog = Catalog::new(options(&[&one, &two]));
    let stays = catalog.transfer_leader(Some(3), within(20.0)).await;
    assert_eq!(stays, Ok(Err("not to that one".to_owned())));
    assert_eq!(catalog.transfer_leader(Some(1), within(20.0)).await, Ok(Ok(1)));
    assert_eq!(catalog.leader(), Some(1));
}

#[tokio::test]
async fn a_leader_that_hands_over_without_a_word_is_not_asked_to_do_it_twice() {
    let leads = Arc::new(AtomicU64::new(1));
    let asked = Arc::new(AtomicU64::new(0));
    let replica = |id: NodeId| {
        let (leads, asked) = (leads.clone(), asked.clone());
        move |request: Request| match request {
            Request::TransferLeader { .. } => {
                asked.fetch_add(1, Ordering::SeqCst);
                leads.store(3 - id, Ordering::SeqCst);
                Reply::Close
            }
            request => said(id, &request, &leads),
        }
    };
    let (one, two) = (Fake::start(1, replica(1)).await, Fake::start(2, replica(2)).await);
    let catalog = Catalog::new(options(&[&one, &two]));
    assert_eq!(catalog.transfer_leader(None, within(20.0)).await, Ok(Ok(2)));
    assert_eq!(catalog.transfer_leader(Some(1), within(20.0)).await, Ok(Ok(1)));
    assert_eq!(asked.load(Ordering::SeqCst), 2, "once for each");
}

#[tokio::test]
async fn without_a_leader_nothing_is_done_and_that_is_said() {
    let one = Fake::start(1, |request| match request {
        Request::TransferLeader { .. } => panic!("it does not lead"),
        Request::Status => Reply::status(1, 1, None),
        _ => refused(Refusal::NotLeader { leader: None }),
    })
    .await;
    let catalog = Catalog::new(options(&[&one]));
    assert!(matches!(catalog.transfer_leader(None, within(0.5)).await, Err(Error::Refused(_))));
}
