//! Whom the client asks while replicas join and leave the group.

use crate::protocol::{Member, Members};

use super::*;

/// What each of a group of 1 and 4, led by 4, says. It began as 1 and 2.
fn said(id: NodeId, request: &Request, joined: (u64, String)) -> Reply {
    match request {
        Request::Status => Reply::status_in(id, 5, Some(4), &[1, 4]),
        Request::Members { of_leader: true } if id != 4 => refused(Refusal::NotLeader { leader: Some(4) }),
        Request::Members { .. } => {
            let member = |id, address| Member { id, name: format!("catalog-{id}"), address, incarnation: 1 };
            Reply::one(Response::Members(Box::new(Members {
                index: joined.0,
                voters: vec![1, 4],
                all: vec![member(1, "nowhere:1".to_owned()), member(4, joined.1)],
                client: format!("client-{id}:80"),
                ..Members::default()
            })))
        }
        Request::ChangeMembers { based_on: 9, .. } => Reply::one(Response::NotChanged("not now".to_owned())),
        request => submitted(4, request),
    }
}

#[tokio::test]
async fn one_that_joined_is_found_and_one_that_left_is_asked_no_more() {
    let address = Arc::new(Mutex::new(String::new()));
    let of_four = address.clone();
    let four = Fake::start(4, move |request| said(4, &request, (9, of_four.lock().unwrap().clone()))).await;
    *address.lock().unwrap() = four.address.to_string();
    let one = Fake::start(1, move |request| said(1, &request, (9, address.lock().unwrap().clone()))).await;
    let asked = Arc::new(AtomicU64::new(0));
    let counted = asked.clone();
    // It still runs, and does not know that it has left.
    let two = Fake::start(2, move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Reply::status_in(2, 4, Some(2), &[1, 2])
    })
    .await;
    let catalog = Catalog::new(options(&[&one, &two]));
    assert_eq!(catalog.replicas().map(|peer| peer.id).collect::<Vec<_>>(), [1, 2]);
    until(|| catalog.replicas().map(|peer| peer.id).eq([1, 4])).await;
    until(|| catalog.is_live(4) && catalog.client_address_of(4) == Some("client-4:80")).await;
    assert_eq!((catalog.name_of(4), catalog.name_of(2), catalog.is_live(2)), ("catalog-4", "catalog-2", false));
    assert_eq!(catalog.replicas().next().unwrap().address, one.address.to_string(), "the layout's way to it holds");
    assert_eq!(catalog.submit(vec![order()], within(20.0)).await.unwrap().leader, 4);
    let before = asked.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(asked.load(Ordering::SeqCst), before, "two health checks were due");
}

#[tokio::test]
async fn the_leader_says_who_belongs_to_the_group_and_why_it_does_not_change_it() {
    let four = Fake::start(4, |request| said(4, &request, (9, "nowhere:4".to_owned()))).await;
    let one = Fake::start(1, |request| said(1, &request, (9, "nowhere:4".to_owned()))).await;
    let catalog = Catalog::new(options(&[&one, &four]));
    assert_eq!(catalog.members(within(20.0)).await.unwrap().client, "client-4:80");
    let change = crate::protocol::MemberChange::Voters(vec![1]);
    assert_eq!(catalog.change_members(9, change, within(20.0)).await, Ok(Err("not now".to_owned())));
}
