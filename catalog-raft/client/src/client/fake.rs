//! A replica made of a closure, for tests: it speaks the frames and does as it is told.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

use super::{Options, Peer};
use crate::{
    NodeId,
    frame::{FrameReader, Purpose, Welcome, accept, answer_hello, decode, encode, write_frame},
    protocol::{Envelope, RESPONSE, Request, Response, Status, WATCH, WatchFrame, WatchFrom},
};

/// What a fake replica does with a request.
pub(crate) enum Reply {
    /// Answers, in one frame or several.
    Answer(Vec<Response>),
    /// Says nothing, ever.
    Silence,
    /// Closes the connection.
    Close,
}

/// What a fake replica does with a watcher: sends these, then closes or falls silent.
pub(crate) struct Script {
    pub(crate) frames: Vec<WatchFrame>,
    pub(crate) close: bool,
}

type OnRequest = Arc<dyn Fn(Request) -> Reply + Send + Sync>;
type OnWatch = Arc<dyn Fn(WatchFrom) -> Script + Send + Sync>;

/// A fake replica: killed when dropped, with all its connections.
pub(crate) struct Fake {
    pub(crate) id: NodeId,
    pub(crate) address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl Fake {
    pub(crate) async fn start(id: NodeId, on_request: impl Fn(Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::run(id, listener, Arc::new(on_request), Arc::new(|_| Script { frames: vec![], close: true }))
    }

    pub(crate) async fn start_at(
        id: NodeId,
        address: SocketAddr,
        on_request: impl Fn(Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        Self::run(id, listener, Arc::new(on_request), Arc::new(|_| Script { frames: vec![], close: true }))
    }

    /// One that is live and follows, with a say on watches.
    pub(crate) async fn watched(id: NodeId, on_watch: impl Fn(WatchFrom) -> Script + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let on_request = move |request| match request {
            Request::Status => Reply::status(id, 1, None),
            _ => Reply::Silence,
        };
        Self::run(id, listener, Arc::new(on_request), Arc::new(on_watch))
    }

    fn run(id: NodeId, listener: TcpListener, on_request: OnRequest, on_watch: OnWatch) -> Self {
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(id, stream, on_request.clone(), on_watch.clone()));
            }
        });
        Self { id, address, _task: AbortOnDropHandle::new(task) }
    }
}

impl Reply {
    pub(crate) fn one(response: Response) -> Self {
        Self::Answer(vec![response])
    }

    pub(crate) fn status(id: NodeId, term: u64, leader: Option<NodeId>) -> Self {
        Self::status_in(id, term, leader, &[])
    }

    /// As one of `voters`.
    pub(crate) fn status_in(id: NodeId, term: u64, leader: Option<NodeId>, voters: &[NodeId]) -> Self {
        Self::one(Response::Status(Box::new(Status {
            node: format!("catalog-{id}"),
            id,
            role: if leader == Some(id) { "leader" } else { "follower" }.to_owned(),
            leader,
            term,
            last_log: 0,
            committed: 0,
            applied: 0,
            snapshot: 0,
            purged: 0,
            state_hash: String::new(),
            items: 0,
            orders: 0,
            voters: voters.to_vec(),
            learners: vec![],
            durability: "fsync".to_owned(),
            version: String::new(),
        })))
    }
}

/// Options that name these replicas.
pub(crate) fn options(fakes: &[&Fake]) -> Options {
    options_at(fakes.iter().map(|fake| (fake.id, fake.address)))
}

pub(crate) fn options_at(addresses: impl IntoIterator<Item = (NodeId, SocketAddr)>) -> Options {
    let peer =
        |(id, address): (NodeId, SocketAddr)| Peer { id, name: format!("catalog-{id}"), address: address.to_string() };
    Options {
        cluster: "test".to_owned(),
        sender: "tester".to_owned(),
        replicas: addresses.into_iter().map(peer).collect(),
    }
}

async fn serve(id: NodeId, stream: TcpStream, on_request: OnRequest, on_watch: OnWatch) -> io::Result<()> {
    let (hello, mut reader, mut writer) = accept(stream).await?;
    if (hello.receiver, hello.cluster.as_str()) != (id, "test") {
        return answer_hello(&mut writer, &Welcome::Refused("another replica was meant".to_owned())).await;
    }
    answer_hello(&mut writer, &Welcome::Accepted { id, incarnation: 1 }).await?;
    if hello.purpose == Purpose::Watch {
        let from = decode(&reader.next().await?.unwrap().payload)?;
        let script = on_watch(from);
        for frame in script.frames {
            write_frame(&mut writer, WATCH, &encode(&frame)).await?;
        }
        return if script.close { Ok(()) } else { until_closed(reader).await };
    }
    while let Some(frame) = reader.next().await? {
        let Envelope { id, body } = decode(&frame.payload)?;
        match on_request(body) {
            Reply::Answer(responses) => {
                for body in responses {
                    write_frame(&mut writer, RESPONSE, &encode(&Envelope { id, body })).await?;
                }
            }
            Reply::Silence => {}
            Reply::Close => return Ok(()),
        }
    }
    Ok(())
}

async fn until_closed<R: tokio::io::AsyncRead + Unpin>(mut reader: FrameReader<R>) -> io::Result<()> {
    while reader.next().await?.is_some() {}
    Ok(())
}
