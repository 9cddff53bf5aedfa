//! A catalog of one replica, made for tests: it does what it is told, when it is told.
//!
//! Owns a small shop and its history of changes, and gates on reads, on the stream and on the quorum. A small order
//! server goes with it.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use catalog_client::{
    Action, Answer, Change, Command, Event, Item, Order, OrderLine, Outcome, Revision, Version,
    frame::{FrameReader, Purpose, Welcome, accept, answer_hello, decode, encode, write_frame},
    protocol::{
        CHUNK, Data, Envelope, RESPONSE, ReadAt, Refusal, Request, Response, Status, View, WATCH, WatchFrame, WatchFrom,
    },
};
use http_body_util::{BodyExt, Full};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use order_client::{BATCH_PATH, BatchAnswer, PlaceBatch, Placed};
use tokio::{
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Notify, mpsc},
    time::sleep,
};

/// The shop and the gates.
#[derive(Debug)]
pub struct World {
    pub items: BTreeMap<u64, Item>,
    pub orders: Vec<Order>,
    pub revision: Revision,
    events: Vec<Event>,
    /// Reads are answered out of the state at which they arrived, but only once this is false.
    pub hold_reads: bool,
    /// Whether changes are sent.
    pub stream: bool,
    /// Whether a ReadIndex, a write, or a linearizable read is answered.
    pub quorum: bool,
    /// History before this is gone.
    pub oldest: Revision,
    /// Item and list reads that arrived.
    pub reads: usize,
}

/// A handle on the fake. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fake {
    world: Arc<Mutex<World>>,
    moved: Arc<Notify>,
}

impl Fake {
    /// Starts the replica and the order server. Returns their addresses.
    pub async fn start(items: Vec<Item>) -> (Self, String, String) {
        let world = World {
            items: items.into_iter().map(|item| (item.item_number, item)).collect(),
            orders: Vec::new(),
            revision: 5,
            events: Vec::new(),
            hold_reads: false,
            stream: true,
            quorum: true,
            oldest: 0,
            reads: 0,
        };
        let fake = Self { world: Arc::new(Mutex::new(world)), moved: Arc::new(Notify::new()) };
        let (replica, order) = (bind().await, bind().await);
        let addresses = [&replica, &order].map(|listener| listener.local_addr().unwrap().to_string());
        let serving = fake.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = replica.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        tokio::spawn(fake.clone().sell(order));
        let [replica, order] = addresses;
        (fake, replica, order)
    }

    /// Looks at the world, or changes it.
    pub fn with<T>(&self, f: impl FnOnce(&mut World) -> T) -> T {
        let result = f(&mut self.lock());
        self.moved.notify_waiters();
        result
    }

    /// A write made elsewhere.
    pub fn write(&self, action: Action) -> Answer {
        self.with(|world| world.apply(&[command(action)]).remove(0))
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    async fn until(&self, ready: impl Fn(&World) -> bool) {
        while !ready(&self.lock()) {
            // Woken by every change of the world, and by the clock should a change slip in between.
            let _ = tokio::time::timeout(Duration::from_millis(5), self.moved.notified()).await;
        }
    }

    async fn serve(self, stream: TcpStream) -> io::Result<()> {
        let (hello, mut reader, mut writer) = accept(stream).await?;
        answer_hello(&mut writer, &Welcome::Accepted { id: hello.receiver, incarnation: 1 }).await?;
        if hello.purpose == Purpose::Watch {
            return self.send_changes(reader, writer).await;
        }
        let (answers, mut outbox) = mpsc::unbounded_channel::<Envelope<Response>>();
        tokio::spawn(async move {
            while let Some(answer) = outbox.recv().await {
                write_frame(&mut writer, RESPONSE, &encode(&answer)).await?;
            }
            io::Result::Ok(())
        });
        while let Some(frame) = reader.next().await? {
            let Envelope { id, body } = decode(&frame.payload)?;
            let (fake, answers) = (self.clone(), answers.clone());
            tokio::spawn(async move {
                for body in fake.answer(body).await {
                    let _ = answers.send(Envelope { id, body });
                }
            });
        }
        Ok(())
    }

    async fn answer(&self, request: Request) -> Vec<Response> {
        match request {
            Request::Status => vec![Response::Status(Box::new(self.lock().status()))],
            Request::ReadIndex { .. } => {
                self.until(|world| world.quorum).await;
                vec![Response::ReadIndex(self.lock().revision)]
            }
            Request::Submit { commands, .. } => {
                self.until(|world| world.quorum).await;
                vec![Response::Submitted { leader: 1, answers: self.with(|world| world.apply(&commands)) }]
            }
            // Its group never changes.
            Request::Members { .. }
            | Request::ChangeMembers { .. }
            | Request::Snapshot
            | Request::TransferLeader { .. } => vec![],
            Request::Read { view, at, wait_ms } => {
                let parts = self.read(view, at);
                match tokio::time::timeout(Duration::from_millis(wait_ms.into()), parts).await {
                    Ok(parts) => parts,
                    Err(_) => vec![Response::Refused(Refusal::Unavailable("not there yet".to_owned()))],
                }
            }
        }
    }

    async fn read(&self, view: View, at: ReadAt) -> Vec<Response> {
        let least = if let ReadAt::AtLeast(least) = at { least } else { 0 };
        self.until(|world| world.revision >= least).await;
        let parts = self.with(|world| {
            world.reads += 1;
            world.read(&view)
        });
        self.until(|world| !world.hold_reads).await;
        parts
    }

    async fn send_changes(self, mut reader: FrameReader<OwnedReadHalf>, mut writer: OwnedWriteHalf) -> io::Result<()> {
        let Some(frame) = reader.next().await? else { return Ok(()) };
        let WatchFrom { after } = decode(&frame.payload)?;
        let mut prev = after.unwrap_or_else(|| self.lock().revision);
        loop {
            let frame = self.with(|world| world.stream.then(|| world.changes_after(prev)));
            match frame {
                // Cut: the connection is closed.
                None => return Ok(()),
                Some(frame) => {
                    write_frame(&mut writer, WATCH, &encode(&frame)).await?;
                    match frame {
                        WatchFrame::Events { upto, .. } => prev = upto,
                        WatchFrame::Compacted { .. } => return Ok(()),
                    }
                }
            }
            let moved = self.until(|world| !world.stream || world.revision > prev);
            let _ = tokio::time::timeout(Duration::from_millis(50), moved).await;
        }
    }

    async fn sell(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let fake = self.clone();
            let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                let fake = fake.clone();
                async move {
                    if request.uri().path() != BATCH_PATH {
                        return io::Result::Ok(hyper::Response::new(Full::<Bytes>::default()));
                    }
                    let body = request.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
                    let batch: PlaceBatch = decode(&body)?;
                    fake.until(|world| world.quorum).await;
                    let answers = fake.with(|world| world.apply(&batch.commands));
                    let answers = answers.into_iter().map(|answer| Ok(Placed { leader: 1, answer })).collect();
                    Ok(hyper::Response::new(Full::new(encode(&BatchAnswer { answers }).into())))
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    }
}

/// A command with a new id.
pub fn command(action: Action) -> Command {
    Command { id: Default::default(), origin: catalog_client::KeyOrigin::Made, born: 0, action }
}

async fn bind() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

impl World {
    /// Applies one entry of commands.
    fn apply(&mut self, commands: &[Command]) -> Vec<Answer> {
        self.revision += 1;
        let mut changes = Vec::new();
        let answers = commands.iter().zip(0..).map(|(command, n)| {
            let version = Version { revision: self.revision, n };
            Answer { version, outcome: self.decide(command, version, &mut changes) }
        });
        let answers = answers.collect();
        self.events.push(Event { revision: self.revision, changes });
        answers
    }

    fn decide(&mut self, command: &Command, version: Version, changes: &mut Vec<Change>) -> Outcome {
        match &command.action {
            Action::AddItem { item_number, title, topic, cost, quantity } => {
                let next = self.items.keys().last().map_or(1, |last| last + 1);
                let item_number = item_number.unwrap_or(next);
                if self.items.contains_key(&item_number) {
                    return Outcome::NumberTaken { item_number };
                }
                let (title, topic) = (title.clone(), topic.clone());
                let item = Item { item_number, title, topic, cost: *cost, quantity: *quantity, version };
                self.items.insert(item_number, item.clone());
                changes.push(Change::Put { item: item.clone(), old_topic: None });
                Outcome::Added(item)
            }
            Action::ChangeItem { item_number, title, topic, cost, add_quantity, if_match } => {
                let Some(item) = self.items.get_mut(item_number) else {
                    return Outcome::NoSuchItem { item_number: *item_number };
                };
                if if_match.is_some_and(|version| version != item.version) {
                    return Outcome::ChangedSince { version: item.version };
                }
                let Some(quantity) = item.quantity.checked_add_signed(add_quantity.unwrap_or(0)) else {
                    return Outcome::BelowZero { item_number: *item_number, left: item.quantity };
                };
                let old_topic = topic.as_ref().filter(|new| **new != item.topic).map(|_| item.topic.clone());
                (item.quantity, item.version) = (quantity, version);
                item.title = title.clone().unwrap_or_else(|| item.title.clone());
                item.topic = topic.clone().unwrap_or_else(|| item.topic.clone());
                item.cost = cost.unwrap_or(item.cost);
                changes.push(Change::Put { item: item.clone(), old_topic });
                Outcome::Changed(item.clone())
            }
            Action::WithdrawItem { item_number, .. } => match self.items.remove(item_number) {
                None => Outcome::NoSuchItem { item_number: *item_number },
                Some(item) => {
                    changes.push(Change::Withdrawn { item_number: *item_number, topic: item.topic, version });
                    Outcome::Withdrawn
                }
            },
            Action::PlaceOrder { lines } => self.sell(command, lines[0], version, changes),
            Action::ImportItems { items, .. } => {
                for new in items.iter().cloned() {
                    let catalog_client::NewItem { item_number, title, topic, cost, quantity } = new;
                    let item = Item { item_number, title, topic, cost, quantity, version };
                    self.items.insert(item_number, item.clone());
                    changes.push(Change::Put { item, old_topic: None });
                }
                Outcome::Imported { added: items.len() as u64, updated: 0, kept: 0 }
            }
            Action::LoadItems { .. } => Outcome::Invalid,
        }
    }

    /// An order of one line.
    fn sell(
        &mut self,
        command: &Command,
        line: catalog_client::Line,
        version: Version,
        changes: &mut Vec<Change>,
    ) -> Outcome {
        let Some(item) = self.items.get_mut(&line.item_number) else {
            return Outcome::NoSuchItem { item_number: line.item_number };
        };
        let (item_number, wanted, left) = (line.item_number, line.quantity, item.quantity);
        if left < wanted {
            return Outcome::OutOfStock { item_number, wanted, left };
        }
        (item.quantity, item.version) = (left - wanted, version);
        changes.push(Change::Put { item: item.clone(), old_topic: None });
        let title = item.title.clone();
        let line = OrderLine { item_number, title, quantity: wanted, unit_cost: item.cost };
        let order = Order { id: command.id, version, time_ms: 0, lines: vec![line] };
        self.orders.push(order.clone());
        Outcome::Placed(order.into())
    }

    fn changes_after(&self, prev: Revision) -> WatchFrame {
        if prev < self.oldest {
            return WatchFrame::Compacted { oldest: self.oldest };
        }
        let events = self.events.iter().filter(|event| event.revision > prev && !event.changes.is_empty());
        // A bookmark never goes back, also for one that is ahead.
        WatchFrame::Events { prev, upto: self.revision.max(prev), events: events.cloned().collect() }
    }

    fn read(&self, view: &View) -> Vec<Response> {
        let (revision, last) = (self.revision, true);
        let data = match view {
            View::Item(n) => Data::Item(self.items.get(n).cloned()),
            View::Items { topic, after, limit, .. } => {
                let wanted = self.items.values().filter(|item| {
                    item.item_number > after.unwrap_or(0) && topic.as_ref().is_none_or(|topic| **topic == *item.topic)
                });
                let mut items: Vec<Item> = wanted.cloned().collect();
                let limit = limit.map_or(usize::MAX, |limit| limit as usize);
                let more = items.len() > limit;
                items.truncate(limit);
                return in_parts(items, more, revision);
            }
            View::Order(id) => Data::Order(self.orders.iter().find(|order| order.id == *id).cloned()),
            View::Orders { .. } => Data::Orders { orders: self.orders.clone(), more: false },
        };
        vec![Response::Read { revision, data, last }]
    }

    fn status(&self) -> Status {
        Status {
            node: "catalog-1".to_owned(),
            id: 1,
            role: "leader".to_owned(),
            leader: Some(1),
            term: 1,
            last_log: self.revision,
            committed: self.revision,
            applied: self.revision,
            snapshot: 0,
            purged: 0,
            state_hash: String::new(),
            items: self.items.len() as u64,
            orders: self.orders.len() as u64,
            voters: vec![1],
            learners: vec![],
            durability: "fsync".to_owned(),
            version: String::new(),
        }
    }
}

fn in_parts(mut items: Vec<Item>, more: bool, revision: Revision) -> Vec<Response> {
    let mut parts = Vec::new();
    loop {
        let rest = items.split_off(items.len().min(CHUNK));
        let last = rest.is_empty();
        let data = Data::Items { items: std::mem::replace(&mut items, rest), more: more && last };
        parts.push(Response::Read { revision, data, last });
        if last {
            return parts;
        }
    }
}

/// Waits for a condition, and fails the test when it does not come.
pub async fn eventually(what: &str, mut ready: impl AsyncFnMut() -> bool) {
    let patience = tokio::time::Instant::now() + Duration::from_secs(20);
    while !ready().await {
        assert!(tokio::time::Instant::now() < patience, "waited in vain: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}
