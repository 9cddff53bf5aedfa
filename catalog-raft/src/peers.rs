//! The peer port: handshakes, and the service that each connection is for. Only servers of this cluster come here.

mod refusals;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use bytes::BytesMut;
use catalog_client::{
    frame::{self, FrameReader, Hello, MAX_PAYLOAD, Purpose, Welcome, decode, encode, put_frame},
    net::{OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream},
    protocol::{Envelope, REQUEST, RESPONSE, Refusal, Request, Response, View},
};
use openraft::async_runtime::watch::WatchReceiver;
use tokio::{
    io::AsyncWriteExt,
    sync::{Semaphore, mpsc},
    time::{Instant, timeout},
};

pub use self::refusals::Refusals;
use crate::{
    founding,
    members::Membership,
    network::{Identity, serve_raft},
    proposals::Proposals,
    raft::Raft,
    reads::{Parts, Reads},
    snapshots::Snapshots,
    storage::Space,
    watch,
};

/// Connections open at once; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 1024;
/// Requests of one connection that are being answered at once; more wait in its socket.
const MAX_REQUESTS: usize = 1024;
/// Answers of one connection that wait to be written.
const MAX_ANSWERS: usize = 256;
/// Bytes that go out in one write.
const WRITE_TOGETHER: usize = 256 << 10;
/// How long the asker may take to read what goes out in one write.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// The longest name of a sender, in bytes.
const MAX_NAME: usize = 64;
/// The longest that a request may wait here, whatever it asks for.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Everything that a connection may be for.
#[derive(Debug)]
pub struct Peers {
    /// Who this replica is.
    pub identity: Arc<Identity>,
    /// The Raft group.
    pub raft: Raft,
    /// This replica's snapshots.
    pub snapshots: Snapshots,
    /// Where received snapshots go.
    pub received: PathBuf,
    /// The space on the disk.
    pub space: Arc<Space>,
    /// The way to the log.
    pub proposals: Proposals,
    /// The way to the state.
    pub reads: Reads,
    /// Who belongs to the group.
    pub membership: Arc<Membership>,
    /// What was told of refused connections.
    pub refusals: Refusals,
}

/// Accepts connections until the task is dropped.
pub async fn serve(peers: Arc<Peers>, listener: TcpListener) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let permit = permits.clone().acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let peers = peers.clone();
                tokio::spawn(async move {
                    if let Err(error) = peers.connection(stream).await {
                        tracing::debug!("a connection to the peer port ended: {error}");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: connections that end give some back.
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

impl Peers {
    async fn connection(&self, stream: TcpStream) -> io::Result<()> {
        let (hello, reader, mut writer) = frame::accept(stream).await?;
        if let Some(reason) = self.refusal(&hello) {
            if self.refusals.is_news(&hello.sender, &reason, Instant::now()) {
                tracing::warn!("refused a connection of {:?} for {:?}: {reason}", hello.sender, hello.purpose);
            }
            return frame::answer_hello(&mut writer, &Welcome::Refused(reason)).await;
        }
        let welcome = Welcome::Accepted { id: self.identity.id, incarnation: self.identity.incarnation };
        frame::answer_hello(&mut writer, &welcome).await?;
        let _one_more = self.reads.figures().peers.occupy();
        match hello.purpose {
            Purpose::Probe => founding::answer_probe(&self.raft, reader, writer).await,
            Purpose::Client => self.requests(reader, writer).await,
            Purpose::Watch => {
                let _one_more = self.reads.figures().watchers.occupy();
                watch::serve(self.reads.state().history(), reader, writer).await
            }
            purpose => serve_raft(&self.raft, &self.received, &self.space, purpose, reader, writer).await,
        }
    }

    /// Why a connection is refused: it was meant for another cluster or replica, does not say who makes it, or comes from
    /// a disk that is not the one that joined the group under this id. What a sender may do, once senders prove who they
    /// are, belongs here too: all that crosses a peer port has been through it.
    ///
    /// Not because the sender is no member yet: nobody is before the founding, and a replica that lags behind a change of
    /// membership must follow, and vote for, one that has joined meanwhile (Raft dissertation 4.1). It can know a wrong
    /// disk of a member, and one that is a member no longer, but not a stranger.
    fn refusal(&self, hello: &Hello) -> Option<String> {
        let own = &self.identity;
        if hello.cluster != own.cluster {
            return Some(format!("this is cluster {}, not {}", own.cluster, hello.cluster));
        }
        if hello.receiver != own.id {
            return Some(format!("this is replica {}, not {}", own.id, hello.receiver));
        }
        if !is_name(&hello.sender) {
            return Some("a connection must name its sender".to_owned());
        }
        let Some((id, incarnation)) = hello.sender_replica else {
            let asks_only = matches!(hello.purpose, Purpose::Client | Purpose::Watch | Purpose::Probe);
            return (!asks_only).then(|| "only a replica speaks Raft".to_owned());
        };
        if id == own.id {
            return Some(format!("replica {id} is this one: another must not run under its id"));
        }
        let metrics = self.raft.metrics().borrow_watched().clone();
        let membership = metrics.membership_config.membership();
        let Some(member) = membership.get_node(&id) else {
            // Whoever joins has a greater id than all members of that time: a smaller one was a member, and is gone.
            let is_gone = membership.nodes().any(|(member, _)| *member > id) && hello.purpose != Purpose::Probe;
            return is_gone.then(|| format!("replica {id} was removed from the group: add it under a new id"));
        };
        (member.incarnation != incarnation && hello.purpose != Purpose::Probe)
            .then(|| format!("replica {id} joined the group with another disk; start {} under a new id", member.name))
    }

    async fn requests(&self, mut reader: FrameReader<OwnedReadHalf>, writer: OwnedWriteHalf) -> io::Result<()> {
        let (answers, queue) = mpsc::channel(MAX_ANSWERS);
        let writing = tokio::spawn(write_answers(queue, writer));
        let permits = Arc::new(Semaphore::new(MAX_REQUESTS));
        while let Some(frame) = reader.next().await? {
            if frame.kind != REQUEST {
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("an unexpected frame {}", frame.kind)));
            }
            let Envelope { id, body } = decode::<Envelope<Request>>(&frame.payload)?;
            let answer = Answering { id, answers: answers.clone() };
            if let Some(parts) = self.at_once(&body) {
                if !answer.parts(counted(&self.reads, parts)).await {
                    break;
                }
                continue;
            }
            let permit = permits.clone().acquire_owned().await.expect("the semaphore is never closed");
            if let Request::Submit { .. } = body
                && self.raft.is_leader()
                && let Err(refusal) = self.reads.loaded()
            {
                // An item added before the first ones would keep them out for good.
                self.reads.figures().refused(&refusal);
                answer.send(Response::Refused(refusal)).await;
                continue;
            }
            let (proposals, reads) = (self.proposals.clone(), self.reads.clone());
            let (membership, snapshots) = (self.membership.clone(), self.snapshots.clone());
            tokio::spawn(async move {
                answer.request(&proposals, &reads, &membership, &snapshots, body).await;
                drop(permit);
            });
        }
        drop(answers);
        writing.await.map_err(io::Error::other)?
    }

    /// Most reads find their state there already: they are answered without a task of their own.
    fn at_once(&self, request: &Request) -> Option<Result<Parts, Refusal>> {
        match request {
            // A search by words may take long: not on the task that reads this connection.
            Request::Read { view: View::Items { words: Some(_), .. }, .. } => None,
            Request::Read { view, at, .. } => self.reads.read_now(view, *at),
            _ => None,
        }
    }
}

/// Whether a sender's name is one, and can stand in a line of the log.
fn is_name(sender: &str) -> bool {
    (1..=MAX_NAME).contains(&sender.len()) && sender.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

/// Counts what is refused.
fn counted<T>(reads: &Reads, result: Result<T, Refusal>) -> Result<T, Refusal> {
    result.inspect_err(|refusal| reads.figures().refused(refusal))
}

/// The way back of one request.
struct Answering {
    id: u64,
    answers: mpsc::Sender<Vec<u8>>,
}

impl Answering {
    async fn request(
        &self,
        proposals: &Proposals,
        reads: &Reads,
        membership: &Membership,
        snapshots: &Snapshots,
        request: Request,
    ) {
        let wait = |wait_ms: u32| Duration::from_millis(u64::from(wait_ms)).min(MAX_WAIT);
        let response = match request {
            Request::Submit { commands, wait_ms } => match proposals.submit(commands, wait(wait_ms)).await {
                Ok(answers) => Response::Submitted { leader: reads.id(), answers },
                Err(refusal) => Response::Refused(refusal),
            },
            Request::Read { view, at, wait_ms } => {
                let parts = reads.read(&view, at, wait(wait_ms)).await;
                self.parts(counted(reads, parts)).await;
                return;
            }
            Request::ReadIndex { wait_ms } => match reads.read_index(Instant::now() + wait(wait_ms)).await {
                Ok(revision) => Response::ReadIndex(revision),
                Err(refusal) => Response::Refused(refusal),
            },
            Request::Status => Response::Status(Box::new(reads.status())),
            Request::Members { of_leader } => membership.answer_members(of_leader).await,
            Request::ChangeMembers { based_on, change } => membership.change(based_on, &change).await,
            Request::Snapshot => match snapshots.ask() {
                Ok(asked) => Response::SnapshotAsked(asked),
                Err(refusal) => Response::Refused(refusal),
            },
            Request::TransferLeader { to } => membership.transfer(to).await,
        };
        if let Response::Refused(refusal) = &response {
            reads.figures().refused(refusal);
        }
        self.send(response).await;
    }

    /// Sends parts until the last one; false when the connection is gone.
    async fn parts(&self, parts: Result<Parts, Refusal>) -> bool {
        let mut parts = match parts {
            Ok(parts) => parts,
            Err(refusal) => return self.send(Response::Refused(refusal)).await,
        };
        while let Some((data, last)) = parts.next_part() {
            let response = Response::Read { revision: parts.revision, data, last };
            if !self.send(response).await {
                return false;
            }
        }
        true
    }

    async fn send(&self, body: Response) -> bool {
        let id = self.id;
        let mut bytes = encode(&Envelope { id, body });
        if bytes.len() > MAX_PAYLOAD {
            // The other side would drop the connection, and with it all that waits there.
            let refusal = Refusal::Unavailable("the answer is too long: ask for less at a time".to_owned());
            bytes = encode(&Envelope { id, body: Response::Refused(refusal) });
        }
        self.answers.send(bytes).await.is_ok()
    }
}

async fn write_answers(mut queue: mpsc::Receiver<Vec<u8>>, mut writer: OwnedWriteHalf) -> io::Result<()> {
    let mut bytes = BytesMut::new();
    while let Some(answer) = queue.recv().await {
        put_frame(&mut bytes, RESPONSE, &answer);
        while bytes.len() < WRITE_TOGETHER {
            let Ok(answer) = queue.try_recv() else { break };
            put_frame(&mut bytes, RESPONSE, &answer);
        }
        timeout(WRITE_PATIENCE, writer.write_all(&bytes))
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "the asker does not read")))?;
        bytes.clear();
    }
    Ok(())
}
