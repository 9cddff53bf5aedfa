//! The client against fake replicas: the leader is found, nothing is called refused that may have been done.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU64},
};

use tokio::task::JoinSet;

use super::{
    fake::{Fake, Reply, options, options_at},
    *,
};
use crate::{Action, CommandId, Item, KeyOrigin, Line, Outcome, Version};

mod members;
mod operate;
mod slow;

fn within(seconds: f64) -> Instant {
    Instant::now() + Duration::from_secs_f64(seconds)
}

fn order() -> Command {
    let lines = vec![Line { item_number: 1, quantity: 1 }];
    Command { id: CommandId::new(), origin: KeyOrigin::Made, born: 0, action: Action::PlaceOrder { lines } }
}

fn submitted(leader: NodeId, request: &Request) -> Reply {
    let Request::Submit { commands, .. } = request else { panic!("{request:?}") };
    let answer = Answer { version: Version { revision: 7, n: 0 }, outcome: Outcome::Withdrawn };
    Reply::one(Response::Submitted { leader, answers: vec![answer; commands.len()] })
}

fn refused(refusal: Refusal) -> Reply {
    Reply::one(Response::Refused(refusal))
}

fn item(item_number: u64) -> Item {
    let version = Version { revision: 1, n: 0 };
    Item { item_number, title: "t".into(), topic: "o".into(), cost: 1, quantity: 1, version }
}

fn items(from: u64, to: u64, last: bool) -> Response {
    let data = Data::Items { items: (from..to).map(item).collect(), more: last };
    Response::Read { revision: 5, data, last }
}

/// A follower that names `leader`.
async fn follower(id: NodeId, leader: Option<NodeId>) -> Fake {
    Fake::start(id, move |request| match request {
        Request::Status => Reply::status(id, 1, None),
        _ => refused(Refusal::NotLeader { leader }),
    })
    .await
}

/// Replica 1, which tells its status whatever it is asked, and how often it was asked.
async fn counting() -> (Fake, Arc<AtomicU64>) {
    let asked = Arc::new(AtomicU64::new(0));
    let counted = asked.clone();
    let replica = Fake::start(1, move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Reply::status(1, 1, None)
    })
    .await;
    (replica, asked)
}

async fn until(mut condition: impl FnMut() -> bool) {
    let deadline = within(20.0);
    while !condition() {
        assert!(Instant::now() < deadline, "waited for too long");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// An address where nobody listens.
async fn nowhere() -> std::net::SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_redirect_is_followed_and_remembered() {
    let asked = Arc::new(AtomicU64::new(0));
    let counted = asked.clone();
    let one = Fake::start(1, move |request| match request {
        Request::Status => Reply::status(1, 1, None),
        _ => {
            counted.fetch_add(1, Ordering::SeqCst);
            refused(Refusal::NotLeader { leader: Some(2) })
        }
    })
    .await;
    let two = Fake::start(2, |request| match request {
        Request::Status => Reply::status(2, 1, Some(2)),
        Request::ReadIndex { .. } => Reply::one(Response::ReadIndex(9)),
        request => submitted(2, &request),
    })
    .await;
    let catalog = Catalog::new(options(&[&one, &two]));
    for _ in 0..5 {
        let done = catalog.submit(vec![order(), order()], within(20.0)).await.unwrap();
        assert_eq!((done.leader, done.answers.len()), (2, 2));
    }
    assert!(asked.load(Ordering::SeqCst) <= 1, "the leader is remembered");
    assert_eq!(catalog.leader(), Some(2));
    assert_eq!(catalog.read_index(within(20.0)).await, Ok(9));
    assert!(catalog.submit(vec![], within(20.0)).await.is_err());
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_under_the_same_ids() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let tries = seen.clone();
    let leader = Fake::start(1, move |request| {
        let Request::Submit { commands, .. } = &request else { return Reply::status(1, 1, Some(1)) };
        let mut seen = tries.lock().unwrap();
        seen.push(commands[0].id);
        match seen.len() {
            1 => Reply::Close,
            2 => refused(Refusal::Unknown),
            3 => refused(Refusal::Overloaded),
            _ => submitted(1, &request),
        }
    })
    .await;
    let catalog = Catalog::new(options(&[&leader]));
    let command = order();
    let id = command.id;
    catalog.submit(vec![command], within(20.0)).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [id; 4]);
}

#[tokio::test]
async fn overload_is_told_at_once_unless_something_is_in_doubt() {
    let closed = Arc::new(AtomicBool::new(true));
    let once = closed.clone();
    let leader = Fake::start(1, move |request| match request {
        Request::Status => Reply::status(1, 1, Some(1)),
        _ if !once.swap(true, Ordering::SeqCst) => Reply::Close,
        _ => refused(Refusal::Overloaded),
    })
    .await;
    let catalog = Catalog::new(options(&[&leader]));
    let overloaded = Err(Error::Refused(Refusal::Overloaded));
    assert_eq!(catalog.submit(vec![order()], within(20.0)).await, overloaded);
    closed.store(false, Ordering::SeqCst);
    assert_eq!(catalog.submit(vec![order()], within(0.3)).await, Err(Error::Unknown));
}

#[tokio::test]
async fn unreached_is_refused_and_unanswered_is_unknown() {
    let catalog = Catalog::new(options_at([(1, nowhere().await), (2, nowhere().await)]));
    let began = Instant::now();
    let error = catalog.submit(vec![order()], within(0.3)).await.unwrap_err();
    assert!(matches!(&error, Error::Refused(Refusal::Unavailable(why)) if why.contains("catalog-")), "{error:?}");
    assert!(began.elapsed() >= Duration::from_millis(300), "it went on trying");
    assert!(!catalog.is_live(1));

    let silent = Fake::start(1, |_| Reply::Silence).await;
    let catalog = Catalog::new(options(&[&silent]));
    assert_eq!(catalog.submit(vec![order()], within(0.3)).await, Err(Error::Unknown));
    assert!(matches!(catalog.read_index(within(0.3)).await, Err(Error::Refused(Refusal::Unavailable(_)))));

    let unsure = Fake::start(1, |_| refused(Refusal::Unknown)).await;
    let catalog = Catalog::new(options(&[&unsure]));
    assert_eq!(catalog.submit(vec![order()], within(0.2)).await, Err(Error::Unknown));

    let (one, two) = (follower(1, None).await, follower(2, Some(1)).await);
    let catalog = Catalog::new(options(&[&one, &two]));
    let error = catalog.submit(vec![order()], within(0.2)).await;
    assert_eq!(error, Err(Error::Refused(Refusal::Unavailable("no leader was found".into()))));
}

#[tokio::test]
async fn a_leader_that_says_nothing_any_more_is_left_for_the_next_one() {
    // Leads in term 1; then it is stopped and answers nothing.
    let stopped = Fake::start(1, |_| Reply::Silence).await;
    let elected = Arc::new(AtomicBool::new(false));
    let now = elected.clone();
    let next = Fake::start(2, move |request| match (request, now.load(Ordering::SeqCst)) {
        (Request::Status, false) => Reply::status(2, 1, Some(1)),
        (Request::Status, true) => Reply::status(2, 2, Some(2)),
        (_, false) => refused(Refusal::NotLeader { leader: Some(1) }),
        (request, true) => submitted(2, &request),
    })
    .await;
    let catalog = Catalog::new(options(&[&stopped, &next]));
    until(|| catalog.leader() == Some(1)).await;
    let under_way = tokio::spawn({
        let catalog = catalog.clone();
        async move { catalog.submit(vec![order()], within(20.0)).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let began = Instant::now();
    elected.store(true, Ordering::SeqCst);
    assert_eq!(under_way.await.unwrap().unwrap().leader, 2);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    until(|| !catalog.is_live(1)).await;
}

#[tokio::test]
async fn a_replica_that_accepts_and_never_speaks_does_not_swallow_the_deadline() {
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let leader = Fake::start(2, |request| match request {
        Request::Status => Reply::status(2, 1, Some(2)),
        Request::Read { .. } => Reply::one(items(0, 1, true)),
        request => submitted(2, &request),
    })
    .await;
    let catalog = Catalog::new(options_at([(1, mute.local_addr().unwrap()), (2, leader.address)]));
    for _ in 0..4 {
        catalog.submit(vec![order()], within(3.0)).await.unwrap();
        catalog.read(None, &View::Item(1), ReadAt::Local, within(3.0)).await.unwrap();
    }
}

#[tokio::test]
async fn reads_go_round_and_over_to_the_next() {
    let mode = Arc::new(AtomicU64::new(0));
    let replica = |id| {
        let mode = mode.clone();
        Fake::start(id, move |request| match (request, mode.load(Ordering::SeqCst)) {
            (Request::Status, _) => Reply::status(id, 1, None),
            (_, 1) if id == 1 => refused(Refusal::Unavailable("not there yet".into())),
            (_, 2) if id == 1 => Reply::Close,
            (_, 3) if id == 1 => Reply::Silence,
            (_, 4) => refused(Refusal::Invalid("no".into())),
            _ => Reply::one(Response::Read { revision: 5, data: Data::Item(Some(item(id))), last: true }),
        })
    };
    let (one, two) = (replica(1).await, replica(2).await);
    let catalog = Catalog::new(options(&[&one, &two]));
    until(|| catalog.is_live(1) && catalog.is_live(2)).await;
    let read = |named| catalog.read(named, &View::Item(1), ReadAt::AtLeast(5), within(20.0));
    let mut served = [0; 3];
    for _ in 0..10 {
        let answer = read(None).await.unwrap();
        assert_eq!((answer.revision, answer.data), (5, Data::Item(Some(item(answer.replica)))));
        served[answer.replica as usize] += 1;
    }
    assert_eq!(served, [0, 5, 5]);
    for failing in 1..=3 {
        mode.store(failing, Ordering::SeqCst);
        for _ in 0..2 {
            assert_eq!(read(None).await.unwrap().replica, 2);
        }
    }
    mode.store(1, Ordering::SeqCst);
    until(|| catalog.is_live(1)).await;
    assert_eq!(read(Some(1)).await, Err(Error::Refused(Refusal::Unavailable("not there yet".into()))));
    assert_eq!(read(Some(2)).await.unwrap().replica, 2);
    assert!(matches!(read(Some(3)).await, Err(Error::Refused(Refusal::Invalid(_)))));
    mode.store(4, Ordering::SeqCst);
    assert_eq!(read(None).await, Err(Error::Refused(Refusal::Invalid("no".into()))));
}

#[tokio::test]
async fn lists_come_in_parts_whole_or_one_by_one() {
    const PARTS: u64 = 40;
    let replica = Fake::start(1, |request| match request {
        Request::Status => Reply::status(1, 1, None),
        Request::Read { view: View::Item(_), .. } => {
            Reply::one(Response::Read { revision: 5, data: Data::Item(None), last: true })
        }
        _ => Reply::Answer((0..PARTS).map(|part| items(part * 1000, part * 1000 + 1000, part == PARTS - 1)).collect()),
    })
    .await;
    let catalog = Catalog::new(options(&[&replica]));
    let all = View::Items { topic: None, words: None, after: None, limit: None };
    let whole = catalog.read(None, &all, ReadAt::Local, within(20.0)).await.unwrap();
    let expected: Vec<_> = (0..PARTS * 1000).map(item).collect();
    assert_eq!(whole.data, Data::Items { items: expected.clone(), more: true });

    let (first, mut parts) = catalog.read_parts(None, &all, ReadAt::Local, within(20.0)).await.unwrap();
    // Nobody reads the parts yet: that holds up nobody else.
    for _ in 0..10 {
        catalog.read(None, &View::Item(1), ReadAt::Local, within(20.0)).await.unwrap();
    }
    let Data::Items { items: mut got, .. } = first.data else { panic!("{first:?}") };
    while let Some(part) = parts.recv().await {
        let Data::Items { items, .. } = part.unwrap() else { panic!("not items") };
        got.extend(items);
    }
    assert_eq!(got, expected);
}

#[tokio::test]
async fn a_list_cut_short_ends_with_an_error() {
    let replica = Fake::start(1, |request| match request {
        Request::Status => Reply::status(1, 1, None),
        _ => Reply::Answer(vec![items(0, 1, false), refused_part()]),
    })
    .await;
    let catalog = Catalog::new(options(&[&replica]));
    let all = View::Items { topic: None, words: None, after: None, limit: None };
    let (_, mut parts) = catalog.read_parts(Some(1), &all, ReadAt::Local, within(20.0)).await.unwrap();
    assert_eq!(parts.recv().await, Some(Err(Error::Refused(Refusal::Unavailable("gone".into())))));
    assert_eq!(parts.recv().await, None);
}

fn refused_part() -> Response {
    Response::Refused(Refusal::Unavailable("gone".into()))
}

#[tokio::test]
async fn liveness_follows_the_replica_down_and_up_again() {
    let on_request = |_| Reply::status(1, 3, Some(1));
    let replica = Fake::start(1, on_request).await;
    let address = replica.address;
    let catalog = Catalog::new(options(&[&replica]));
    until(|| catalog.is_live(1)).await;
    until(|| catalog.leader() == Some(1)).await;
    assert_eq!(catalog.last_status(1).unwrap().term, 3);
    assert_eq!(catalog.status(1, within(20.0)).await.unwrap().node, "catalog-1");
    drop(replica);
    until(|| !catalog.is_live(1)).await;
    let _back = Fake::start_at(1, address, on_request).await;
    until(|| catalog.is_live(1)).await;
    assert_eq!((catalog.name_of(1), catalog.name_of(2), catalog.is_live(2)), ("catalog-1", "", false));
}

#[tokio::test]
async fn a_connection_given_up_tells_those_who_wait_and_is_made_anew() {
    let replica = Fake::start(1, |request| match request {
        Request::Status => Reply::status(1, 1, None),
        _ => Reply::Silence,
    })
    .await;
    let catalog = Catalog::new(options(&[&replica]));
    let link = catalog.0.shared.links.at(0);
    let connection = link.open().await.unwrap();
    let mut pending = connection.send(&Request::ReadIndex { wait_ms: 1 }).unwrap();
    connection.give_up();
    assert_eq!(pending.answer().await, None);
    assert!(connection.send(&Request::Status).is_err());
    until(|| link.opened().is_some_and(|anew| !Arc::ptr_eq(&anew, &connection))).await;
    until(|| catalog.is_live(1)).await;
}

#[tokio::test]
async fn a_replica_of_another_cluster_or_id_is_down() {
    let replica = Fake::start(1, |_| Reply::status(1, 1, None)).await;
    let other = options_at([(2, replica.address)]);
    let catalog = Catalog::new(other);
    assert!(catalog.status(2, within(20.0)).await.is_err());
    assert!(!catalog.is_live(2));
}

#[tokio::test]
async fn everything_stops_with_the_last_handle() {
    let (replica, asked) = counting().await;
    let catalog = Catalog::new(options(&[&replica]));
    until(|| asked.load(Ordering::SeqCst) > 0).await;
    let shared = Arc::downgrade(&catalog.0.shared);
    let link = Arc::downgrade(catalog.0.shared.links.at(0));
    drop(catalog);
    until(|| shared.upgrade().is_none() && link.upgrade().is_none()).await;
}

#[tokio::test]
async fn a_thousand_requests_share_one_connection() {
    let replica = Fake::start(1, |request| match request {
        Request::Status => Reply::status(1, 1, None),
        Request::Read { view: View::Item(n), .. } => {
            Reply::one(Response::Read { revision: n, data: Data::Item(Some(item(n))), last: true })
        }
        other => panic!("{other:?}"),
    })
    .await;
    let catalog = Catalog::new(options(&[&replica]));
    let mut reads = JoinSet::new();
    for n in 1..=1000 {
        let catalog = catalog.clone();
        reads.spawn(async move { (n, catalog.read(None, &View::Item(n), ReadAt::Local, within(20.0)).await) });
    }
    while let Some(read) = reads.join_next().await {
        let (n, answer) = read.unwrap();
        assert_eq!(answer.unwrap().data, Data::Item(Some(item(n))));
    }
}
