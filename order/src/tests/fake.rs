//! A catalog of one replica that keeps its state in a map.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use catalog_client::{
    Action, Answer, Command, CommandId, Order, OrderLine, Outcome, Version,
    frame::{Welcome, accept, answer_hello, decode, encode, write_frame},
    protocol::{Data, Envelope, RESPONSE, Refusal, Request, Response, Status, View},
};
use tokio::net::{TcpListener, TcpStream};

/// The revision before any order.
pub(super) const START: u64 = 10;

/// What the replica does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Answer,
    /// Orders are decided but their answers are lost.
    SilentSubmits,
    /// Orders are decided, and their answers wait for another mode.
    HoldSubmits,
    NoLeader,
}

/// A handle on the replica.
#[derive(Debug, Clone)]
pub(super) struct Fake {
    pub(super) address: String,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    revision: u64,
    stock: HashMap<u64, u64>,
    answers: HashMap<CommandId, (Action, Answer)>,
    orders: Vec<Order>,
    commands: Vec<Command>,
    submits: usize,
}

impl Fake {
    /// Three of item 1, ten of item 2, each at a cost of 10.
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let state = State {
            mode: Mode::Answer,
            revision: START,
            stock: HashMap::from([(1, 3), (2, 10)]),
            answers: HashMap::new(),
            orders: Vec::new(),
            commands: Vec::new(),
            submits: 0,
        };
        let fake = Self { address: listener.local_addr().unwrap().to_string(), state: Arc::new(Mutex::new(state)) };
        tokio::spawn({
            let state = fake.state.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, state.clone()));
                }
            }
        });
        fake
    }

    pub(super) fn set(&self, mode: Mode) {
        self.state.lock().unwrap().mode = mode;
    }

    /// All commands submitted, repeated ones too.
    pub(super) fn commands(&self) -> Vec<Command> {
        self.state.lock().unwrap().commands.clone()
    }

    pub(super) fn submits(&self) -> usize {
        self.state.lock().unwrap().submits
    }

    pub(super) fn stock(&self, item: u64) -> u64 {
        self.state.lock().unwrap().stock[&item]
    }
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    let Ok((hello, mut reader, mut writer)) = accept(stream).await else { return };
    let welcome = Welcome::Accepted { id: hello.receiver, incarnation: 1 };
    if answer_hello(&mut writer, &welcome).await.is_err() {
        return;
    }
    let writer = Arc::new(tokio::sync::Mutex::new(writer));
    while let Ok(Some(frame)) = reader.next().await {
        let Envelope { id, body } = decode(&frame.payload).unwrap();
        let held = matches!(body, Request::Submit { .. });
        let Some(body) = state.lock().unwrap().answer(body) else { continue };
        let (state, writer) = (state.clone(), writer.clone());
        tokio::spawn(async move {
            while held && state.lock().unwrap().mode == Mode::HoldSubmits {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // The asker may have gone.
            drop(write_frame(&mut *writer.lock().await, RESPONSE, &encode(&Envelope { id, body })).await);
        });
    }
}

impl State {
    fn answer(&mut self, request: Request) -> Option<Response> {
        let leads = self.mode != Mode::NoLeader;
        match request {
            Request::Status => Some(Response::Status(Box::new(self.status()))),
            Request::Read { view, .. } => Some(self.read(&view)),
            // Its group never changes.
            Request::Members { .. }
            | Request::ChangeMembers { .. }
            | Request::Snapshot
            | Request::TransferLeader { .. } => None,
            _ if !leads => Some(Response::Refused(Refusal::NotLeader { leader: None })),
            Request::ReadIndex { .. } => Some(Response::ReadIndex(self.revision)),
            Request::Submit { commands, .. } => {
                self.submits += 1;
                self.commands.extend(commands.iter().cloned());
                self.revision += 1;
                let answers = commands.into_iter().enumerate().map(|(n, command)| self.decide(n as u32, command));
                let answers = answers.collect();
                (self.mode != Mode::SilentSubmits).then_some(Response::Submitted { leader: 1, answers })
            }
        }
    }

    fn decide(&mut self, n: u32, command: Command) -> Answer {
        let version = Version { revision: self.revision, n };
        match self.answers.get(&command.id) {
            Some((action, answer)) if *action == command.action => return answer.clone(),
            Some(_) => return Answer { version, outcome: Outcome::KeyReused },
            None => {}
        }
        let answer = Answer { version, outcome: self.place(version, &command) };
        self.answers.insert(command.id, (command.action, answer.clone()));
        answer
    }

    fn place(&mut self, version: Version, command: &Command) -> Outcome {
        let Action::PlaceOrder { lines } = &command.action else { return Outcome::Invalid };
        for line in lines {
            match self.stock.get(&line.item_number) {
                None => return Outcome::NoSuchItem { item_number: line.item_number },
                Some(&left) if left < line.quantity => {
                    return Outcome::OutOfStock { item_number: line.item_number, wanted: line.quantity, left };
                }
                Some(_) => {}
            }
        }
        for line in lines {
            *self.stock.get_mut(&line.item_number).unwrap() -= line.quantity;
        }
        let line = |line: &catalog_client::Line| OrderLine {
            item_number: line.item_number,
            title: format!("Item {}", line.item_number).into(),
            quantity: line.quantity,
            unit_cost: 10,
        };
        let order = Order { id: command.id, version, time_ms: 0, lines: lines.iter().map(line).collect() };
        self.orders.push(order.clone());
        Outcome::Placed(Arc::new(order))
    }

    fn read(&self, view: &View) -> Response {
        let data = match view {
            View::Order(id) => Data::Order(self.orders.iter().find(|order| order.id == *id).cloned()),
            View::Orders { after, .. } => {
                let later = self.orders.iter().filter(|order| Some(order.version) > *after);
                Data::Orders { orders: later.cloned().collect(), more: false }
            }
            _ => Data::Item(None),
        };
        Response::Read { revision: self.revision, data, last: true }
    }

    fn status(&self) -> Status {
        let leads = self.mode != Mode::NoLeader;
        Status {
            node: "catalog-1".to_owned(),
            id: 1,
            role: if leads { "leader" } else { "candidate" }.to_owned(),
            leader: leads.then_some(1),
            term: 1,
            last_log: self.revision,
            committed: self.revision,
            applied: self.revision,
            snapshot: 0,
            purged: 0,
            state_hash: String::new(),
            items: 2,
            orders: self.orders.len() as u64,
            voters: vec![1],
            learners: vec![],
            durability: "fsync".to_owned(),
            version: "0".to_owned(),
        }
    }
}
