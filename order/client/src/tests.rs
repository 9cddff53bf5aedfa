//! The client against order servers that misbehave.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::IntoResponse,
    routing::{get, post},
};
use catalog_client::{Command, CommandId, KeyOrigin, Line, Outcome, Version, frame};
use tokio::{net::TcpListener, time::Instant};

use super::*;

/// What a fake does with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Mode {
    Answer,
    Hang,
    Fail,
    Refuse,
    Overloaded,
    Unknown,
}

const MODES: [Mode; 6] = [Mode::Answer, Mode::Hang, Mode::Fail, Mode::Refuse, Mode::Overloaded, Mode::Unknown];

#[derive(Debug, Default)]
struct Fake {
    mode: AtomicU8,
    batches: Mutex<Vec<Vec<CommandId>>>,
}

impl Fake {
    async fn start(name: &str, mode: Mode) -> (Arc<Self>, Server) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server { name: name.to_owned(), address: listener.local_addr().unwrap().to_string() };
        (Self::serve(listener, mode), server)
    }

    fn serve(listener: TcpListener, mode: Mode) -> Arc<Self> {
        let fake = Arc::new(Self::default());
        fake.set(mode);
        let app = Router::new().route("/readyz", get(ready)).route(BATCH_PATH, post(batch)).with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        fake
    }

    fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
    }

    fn mode(&self) -> Mode {
        MODES[usize::from(self.mode.load(Ordering::SeqCst))]
    }

    fn batches(&self) -> Vec<Vec<CommandId>> {
        self.batches.lock().unwrap().clone()
    }
}

async fn ready(State(fake): State<Arc<Fake>>) -> StatusCode {
    match fake.mode() {
        Mode::Hang => std::future::pending().await,
        Mode::Refuse => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    }
}

async fn batch(State(fake): State<Arc<Fake>>, body: Bytes) -> impl IntoResponse {
    let batch: PlaceBatch = frame::decode(&body).unwrap();
    let ids: Vec<CommandId> = batch.commands.iter().map(|command| command.id).collect();
    fake.batches.lock().unwrap().push(ids);
    let answer = |command: Command| match fake.mode() {
        Mode::Overloaded => Err(NotPlaced::Overloaded),
        Mode::Unknown => Err(NotPlaced::Unknown),
        _ => Ok(placed(&command)),
    };
    match fake.mode() {
        Mode::Hang => std::future::pending().await,
        Mode::Fail => (StatusCode::INTERNAL_SERVER_ERROR, vec![]),
        Mode::Refuse => (StatusCode::SERVICE_UNAVAILABLE, vec![]),
        _ => {
            // Long enough for others to queue up behind.
            tokio::time::sleep(Duration::from_millis(5)).await;
            let answers = batch.commands.into_iter().map(answer).collect();
            (StatusCode::OK, frame::encode(&BatchAnswer { answers }))
        }
    }
}

/// An answer that can be told from that to any other command: it names the command's item.
fn placed(command: &Command) -> Placed {
    let Action::PlaceOrder { lines } = &command.action else { panic!("only orders are placed") };
    let outcome = Outcome::NoSuchItem { item_number: lines[0].item_number };
    Placed { leader: 1, answer: Answer { version: Version { revision: 7, n: 0 }, outcome } }
}

fn order(item_number: u64) -> Command {
    let action = Action::PlaceOrder { lines: vec![Line { item_number, quantity: 1 }] };
    Command { id: CommandId::new(), origin: KeyOrigin::Made, born: 1, action }
}

fn client(servers: &[&Server]) -> Orders {
    Orders::new("test".to_owned(), servers.iter().map(|&server| server.clone()).collect(), 10_000)
}

fn within(ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(ms)
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = within(20_000);
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn live(orders: &Orders) -> Vec<bool> {
    orders.servers().into_iter().map(|(_, live)| live).collect()
}

/// An address where nobody listens, until the caller does.
async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn buys_one_after_another_alternate_between_the_servers() {
    let (one, server_1) = Fake::start("order-1", Mode::Answer).await;
    let (two, server_2) = Fake::start("order-2", Mode::Answer).await;
    let orders = client(&[&server_1, &server_2]);
    until("both are live", || live(&orders) == [true, true]).await;
    for n in 1..=10 {
        let command = order(n);
        assert_eq!(orders.place(command.clone(), within(10_000)).await, Ok(placed(&command)));
    }
    assert_eq!((one.batches().len(), two.batches().len()), (5, 5));
}

#[tokio::test]
async fn buys_at_once_share_batches_and_each_gets_its_own_answer() {
    let (one, server_1) = Fake::start("order-1", Mode::Answer).await;
    let orders = client(&[&server_1]);
    let placing = (1..=3000).map(|n| {
        let (orders, command) = (orders.clone(), order(n));
        tokio::spawn(
            async move { assert_eq!(orders.place(command.clone(), within(20_000)).await, Ok(placed(&command))) },
        )
    });
    for place in placing.collect::<Vec<_>>() {
        place.await.unwrap();
    }
    let batches = one.batches();
    assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), 3000);
    assert!(batches.len() < 300, "{} batches", batches.len());
}

#[tokio::test]
async fn a_dead_server_is_masked_and_returns_to_the_rotation() {
    let (one, server_1) = Fake::start("order-1", Mode::Answer).await;
    let address = free_address().await;
    let server_2 = Server { name: "order-2".to_owned(), address: address.to_string() };
    let orders = client(&[&server_1, &server_2]);
    for n in 1..=10 {
        assert!(orders.place(order(n), within(10_000)).await.is_ok());
    }
    assert_eq!(one.batches().len(), 10);
    until("the dead one is seen", || live(&orders) == [true, false]).await;

    let two = Fake::serve(TcpListener::bind(address).await.unwrap(), Mode::Answer);
    until("it is back", || live(&orders) == [true, true]).await;
    for n in 1..=10 {
        assert!(orders.place(order(n), within(10_000)).await.is_ok());
    }
    assert_eq!(two.batches().len(), 5);
}

#[tokio::test]
async fn a_silent_server_does_not_swallow_the_deadline_and_the_id_stays() {
    let (one, server_1) = Fake::start("order-1", Mode::Answer).await;
    let (two, server_2) = Fake::start("order-2", Mode::Answer).await;
    let orders = client(&[&server_1, &server_2]);
    until("both are live", || live(&orders) == [true, true]).await;
    one.set(Mode::Hang);
    let (a, b) = (order(1), order(2));
    for command in [a.clone(), b.clone()] {
        assert_eq!(orders.place(command.clone(), within(20_000)).await, Ok(placed(&command)));
    }
    // One of the two went to the silent server first.
    let silent = one.batches().concat();
    assert_eq!(silent.len(), 1);
    assert_eq!(two.batches().concat(), [a.id, b.id]);
    until("the silent one is left out", || live(&orders) == [false, true]).await;
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_elsewhere() {
    for mode in [Mode::Fail, Mode::Refuse] {
        let (one, server_1) = Fake::start("order-1", mode).await;
        let (two, server_2) = Fake::start("order-2", mode).await;
        let orders = client(&[&server_1, &server_2]);
        let command = order(1);
        let place = tokio::spawn({
            let (orders, command) = (orders.clone(), command.clone());
            async move { orders.place(command, within(20_000)).await }
        });
        until("both were tried", || !one.batches().is_empty() && !two.batches().is_empty()).await;
        two.set(Mode::Answer);
        assert_eq!(place.await.unwrap(), Ok(placed(&command)));
        let all = [one.batches().concat(), two.batches().concat()].concat();
        assert!(all.iter().all(|id| *id == command.id));
    }
}

#[tokio::test]
async fn what_may_have_been_placed_is_unknown_and_what_was_not_is_unavailable() {
    let (_, fails) = Fake::start("order-1", Mode::Fail).await;
    let (_, hangs) = Fake::start("order-1", Mode::Hang).await;
    let (_, unknown) = Fake::start("order-1", Mode::Unknown).await;
    for server in [&fails, &hangs, &unknown] {
        assert_eq!(client(&[server]).place(order(1), within(400)).await, Err(NotPlaced::Unknown));
    }
    let nobody = Server { name: "order-9".to_owned(), address: free_address().await.to_string() };
    let (_, refuses) = Fake::start("order-2", Mode::Refuse).await;
    for servers in [&[][..], &[&nobody], &[&refuses], &[&nobody, &refuses]] {
        let result = client(servers).place(order(1), within(400)).await;
        assert!(matches!(result, Err(NotPlaced::Unavailable(_))), "{result:?}");
    }
    // One try that may have had an effect is enough.
    assert_eq!(client(&[&refuses, &fails]).place(order(1), within(400)).await, Err(NotPlaced::Unknown));
    assert_eq!(client(&[&fails, &nobody]).place(order(1), within(400)).await, Err(NotPlaced::Unknown));
}

#[tokio::test]
async fn a_broken_connection_leaves_the_outcome_unknown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server { name: "order-1".to_owned(), address: listener.local_addr().unwrap().to_string() };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.readable().await.unwrap();
        }
    });
    assert_eq!(client(&[&server]).place(order(1), within(400)).await, Err(NotPlaced::Unknown));
}

#[tokio::test]
async fn overload_is_said_at_once_but_only_when_no_server_has_room() {
    let (one, server_1) = Fake::start("order-1", Mode::Overloaded).await;
    let (two, server_2) = Fake::start("order-2", Mode::Overloaded).await;
    let orders = client(&[&server_1, &server_2]);
    until("both are live", || live(&orders) == [true, true]).await;
    let begun = Instant::now();
    assert_eq!(orders.place(order(1), within(60_000)).await, Err(NotPlaced::Overloaded));
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!((one.batches().len(), two.batches().len()), (1, 1));
    two.set(Mode::Answer);
    for n in 1..=4 {
        assert!(orders.place(order(n), within(10_000)).await.is_ok());
    }
}

#[tokio::test]
async fn a_full_queue_refuses_and_a_closed_client_finishes_what_it_has() {
    let (one, server_1) = Fake::start("order-1", Mode::Hang).await;
    let orders = Orders::new("test".to_owned(), vec![server_1], 1);
    let place = |deadline| {
        let orders = orders.clone();
        tokio::spawn(async move { orders.place(order(1), deadline).await })
    };
    let under_way = place(within(3000));
    until("it is under way", || one.batches().concat().len() == 1).await;
    let queued = place(within(1000));
    until("one waits", || orders.queued() == 1).await;
    assert_eq!(orders.place(order(1), within(60_000)).await, Err(NotPlaced::Overloaded));
    tokio::join!(orders.close(), async {
        assert_eq!(under_way.await.unwrap(), Err(NotPlaced::Unknown));
        assert!(matches!(queued.await.unwrap(), Err(NotPlaced::Unavailable(_))));
    });
    assert!(matches!(orders.place(order(1), within(60_000)).await, Err(NotPlaced::Unavailable(_))));
}

#[test]
fn a_batch_is_cut_by_lines_and_never_within_an_order() {
    let of_lines = |lines: usize| Command {
        action: Action::PlaceOrder { lines: vec![Line { item_number: 1, quantity: 1 }; lines] },
        ..order(1)
    };
    let commands: Vec<Command> = (0..400).map(|i| of_lines(1 + i % 100)).collect();
    let parts = parts_by_lines(commands.clone(), |command| command);
    let lines = |command: &Command| match &command.action {
        Action::PlaceOrder { lines } => lines.len(),
        _ => 0,
    };
    assert!(parts.iter().all(|part| part.iter().map(lines).sum::<usize>() <= MAX_BATCH_LINES));
    assert_eq!(parts.len(), 2);
    assert_eq!(parts.concat(), commands);
    assert!(parts_by_lines(Vec::new(), |command| command).is_empty());
}
