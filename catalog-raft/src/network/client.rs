//! The asking side: one [`Link`] a peer and purpose, made when first needed and kept while it works.
//!
//! After any error the link is dropped, because answers to what was in flight may still come on it.

use std::{io, sync::Arc, time::Duration};

use bytes::BytesMut;
use catalog_client::{
    NodeId,
    frame::{self, Connected, Frame, Hello, MAX_CHUNK, Purpose, decode, encode, put_frame},
};
use futures::{FutureExt, Stream, StreamExt, future::BoxFuture, stream, stream::BoxStream};
use openraft::{
    error::{RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::{RPCOption, RaftNetworkFactory, v2::RaftNetworkV2},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderError,
        TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use tokio::{
    io::AsyncWriteExt,
    time::{Instant, timeout, timeout_at},
};

use super::{
    server::Identity,
    wire::{Append, Appended, Ballot, Cast, Installed, SnapshotBegin, Transfer, Transferred, kind},
};
use crate::{
    raft::{Peer, Snapshot, TypeConfig, Vote},
    storage::SnapshotFile,
};

/// How long a connection and its handshake may take. Votes are asked over fresh connections, so this is well below
/// an election timeout.
const CONNECT: Duration = Duration::from_millis(150);
/// How long a follower may take to store what it was sent. A disk may stall for long and come back; a peer that is
/// gone is noticed by the heartbeats, not here.
const DATA_PATIENCE: Duration = Duration::from_secs(5);
/// How long a follower may take to install a snapshot that it has received whole.
const INSTALL_PATIENCE: Duration = Duration::from_secs(600);
/// How long it may take to store one chunk.
const CHUNK_PATIENCE: Duration = Duration::from_secs(30);

type RpcResult<T> = Result<T, RPCError<TypeConfig>>;
type Answers<'s> = BoxStream<'s, RpcResult<StreamAppendResult<TypeConfig>>>;

/// Makes links to the members of the group.
#[derive(Debug, Clone)]
pub struct Network(pub Arc<Identity>);

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: NodeId, node: &Peer) -> Link {
        Link::new(&self.0, target, node, Purpose::RaftData)
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, node: &Peer) -> Link {
        Link::new(&self.0, target, node, Purpose::RaftHeartbeat)
    }

    async fn new_snapshot_client(&mut self, target: NodeId, node: &Peer) -> Link {
        Link::new(&self.0, target, node, Purpose::RaftSnapshot)
    }
}

/// The way to one peer for one purpose.
#[derive(Debug)]
pub struct Link {
    own: Arc<Identity>,
    target: NodeId,
    peer: Peer,
    purpose: Purpose,
    connected: Option<(Purpose, Connected)>,
}

impl Link {
    fn new(own: &Arc<Identity>, target: NodeId, peer: &Peer, purpose: Purpose) -> Self {
        Self { own: own.clone(), target, peer: peer.clone(), purpose, connected: None }
    }

    /// The connection, out of its place: whoever ends well puts it back.
    async fn take(&mut self, purpose: Purpose) -> RpcResult<Connected> {
        match self.connected.take() {
            Some((made_for, connected)) if made_for == purpose => Ok(connected),
            _ => self.connect(purpose).await.map_err(unreachable),
        }
    }

    async fn connect(&self, purpose: Purpose) -> io::Result<Connected> {
        let hello = Hello {
            magic: frame::MAGIC,
            version: frame::VERSION,
            cluster: self.own.cluster.clone(),
            sender: self.own.name.clone(),
            sender_replica: Some((self.own.id, self.own.incarnation)),
            receiver: self.target,
            purpose,
        };
        let connected = frame::connect(&self.peer.address, &hello, CONNECT).await?;
        if connected.incarnation != self.peer.incarnation {
            // A disk that was lost may have voted: it must not vote again under the same id.
            let message = format!("{} answers with another disk than the one that joined the group", self.peer.name);
            tracing::warn!("{message}; replace it under a new id");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        Ok(connected)
    }

    /// One question, one answer, over the vote connection.
    async fn ask(&mut self, asks: u8, payload: &[u8], answers: u8, patience: Duration) -> RpcResult<Frame> {
        let exchange = async {
            let mut connected = self.take(Purpose::RaftVote).await?;
            frame::write_frame(&mut connected.writer, asks, payload).await.map_err(unreachable)?;
            let frame = read(&mut connected, answers).await.map_err(unreachable)?;
            self.connected = Some((Purpose::RaftVote, connected));
            Ok(frame)
        };
        timeout(patience, exchange).await.unwrap_or_else(|_| Err(unreachable(timed_out("a vote"))))
    }

    /// Whether the peer has space on its disk.
    ///
    /// # Errors
    /// When it does not say within `patience`.
    pub async fn has_space(&mut self, patience: Duration) -> io::Result<bool> {
        let frame = self.ask(kind::SPACE, &[], kind::HAS_SPACE, patience).await.map_err(io::Error::other)?;
        decode(&frame.payload)
    }

    async fn send_snapshot(&mut self, vote: Vote, snapshot: Snapshot) -> io::Result<Vote> {
        let mut connected = self.connect(Purpose::RaftSnapshot).await?;
        let began = Instant::now();
        let begin = SnapshotBegin {
            vote: vote.into(),
            last_log_id: snapshot.meta.last_log_id.map(Into::into),
            membership_log_id: snapshot.meta.last_membership.log_id().map(Into::into),
            membership: snapshot.meta.last_membership.membership().into(),
            length: snapshot.snapshot.len(),
        };
        frame::write_frame(&mut connected.writer, kind::SNAPSHOT_BEGIN, &encode(&begin)).await?;
        let mut at = 0;
        while at < snapshot.snapshot.len() {
            let chunk = snapshot.snapshot.read_at(at, MAX_CHUNK).await?;
            at += chunk.len() as u64;
            timeout(CHUNK_PATIENCE, frame::write_frame(&mut connected.writer, kind::SNAPSHOT_CHUNK, &chunk))
                .await
                .map_err(|_| timed_out("the sending of a chunk"))??;
            // The next chunk waits for this one, so that neither side holds more than one.
            timeout(CHUNK_PATIENCE, read(&mut connected, kind::SNAPSHOT_TAKEN))
                .await
                .map_err(|_| timed_out("a chunk of a snapshot"))??;
        }
        let (bytes, sent) = (snapshot.snapshot.len(), began.elapsed());
        tracing::info!("sent a snapshot of {bytes} bytes to {} in {} ms", self.peer.name, sent.as_millis());
        frame::write_frame(&mut connected.writer, kind::SNAPSHOT_END, &[]).await?;
        let frame = timeout(INSTALL_PATIENCE, read(&mut connected, kind::SNAPSHOT_INSTALLED))
            .await
            .map_err(|_| timed_out("the installation of a snapshot"))??;
        let installed = began.elapsed() - sent;
        tracing::info!("{} has installed it in another {} ms", self.peer.name, installed.as_millis());
        Ok(decode::<Installed>(&frame.payload)?.vote.into())
    }
}

impl RaftNetworkV2<TypeConfig> for Link {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<AppendEntriesResponse<TypeConfig>> {
        let sent_all = request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id);
        let mut answers = self.stream_append(stream::iter([request]), option).await?;
        match answers.next().await.unwrap_or_else(|| Err(unreachable(closed())))? {
            Ok(matching) if matching == sent_all => Ok(AppendEntriesResponse::Success),
            Ok(matching) => Ok(AppendEntriesResponse::PartialSuccess(matching)),
            Err(openraft::raft::StreamAppendError::Conflict(_)) => Ok(AppendEntriesResponse::Conflict),
            Err(openraft::raft::StreamAppendError::HigherVote(vote)) => Ok(AppendEntriesResponse::HigherVote(vote)),
        }
    }

    fn stream_append<'s, S>(&'s mut self, mut input: S, _option: RPCOption) -> BoxFuture<'s, RpcResult<Answers<'s>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        async move {
            // openraft sleeps its backoff inside the request stream. Connecting before the first request is pulled
            // would never reach that sleep, and a dead follower would keep the leader's core busy.
            let Some(first) = input.next().await else {
                return Ok(stream::empty().boxed());
            };
            let purpose = self.purpose;
            let connected = self.take(purpose).await?;
            let session = Session {
                link: self,
                connected,
                input: Some(input),
                first: Some(first),
                in_flight: 0,
                answer_by: Instant::now(),
            };
            Ok(stream::unfold(Some(session), |session| async move { session?.next().await }).boxed())
        }
        .boxed()
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<TypeConfig>> {
        let ballot = encode(&Ballot::from(request));
        let frame = self.ask(kind::VOTE, &ballot, kind::CAST, option.hard_ttl()).await?;
        decode::<Cast>(&frame.payload).map(Into::into).map_err(unreachable)
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<TypeConfig>> {
        let ballot = encode(&Ballot::from(request));
        let frame = self.ask(kind::PRE_VOTE, &ballot, kind::CAST, option.hard_ttl()).await?;
        decode::<Cast>(&frame.payload).map(Into::into).map_err(unreachable)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        tracing::info!("sending a snapshot of {} bytes to {}", snapshot.snapshot.len(), self.peer.name);
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = self.send_snapshot(vote, snapshot) => match sent {
                Ok(vote) => Ok(SnapshotResponse::new(vote)),
                Err(error) => {
                    tracing::warn!("sending a snapshot to {} failed: {error}", self.peer.name);
                    Err(StreamingError::Unreachable(Unreachable::new(&error)))
                }
            },
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<TransferLeaderResponse<TypeConfig>> {
        let transfer = encode(&Transfer::from(request));
        let frame = self.ask(kind::TRANSFER, &transfer, kind::TRANSFERRED, option.hard_ttl()).await?;
        Ok(match decode(&frame.payload).map_err(unreachable)? {
            Transferred::Accepted => Ok(()),
            Transferred::VoteChanged { expected, actual } => {
                Err(TransferLeaderError::VoteChanged { expected: expected.into(), actual: actual.into() })
            }
            Transferred::LogNotFlushed { expected, actual } => Err(TransferLeaderError::LogNotFlushed {
                expected: expected.map(Into::into),
                actual: actual.map(Into::into),
            }),
        })
    }
}

/// One run of pipelined appends: requests go out as they come, answers come back in order.
struct Session<'s, S> {
    link: &'s mut Link,
    connected: Connected,
    input: Option<S>,
    first: Option<AppendEntriesRequest<TypeConfig>>,
    in_flight: usize,
    /// When the oldest request in flight must be answered.
    answer_by: Instant,
}

type Step<'s, S> = Option<(RpcResult<StreamAppendResult<TypeConfig>>, Option<Session<'s, S>>)>;

impl<'s, S> Session<'s, S>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
{
    /// The next answer, and the session if it goes on. A session that is dropped takes its connection with it.
    async fn next(mut self) -> Step<'s, S> {
        match self.step().await {
            Ok(Some(answer)) => {
                let goes_on = answer.is_ok();
                Some((Ok(answer), goes_on.then_some(self)))
            }
            Ok(None) => {
                self.link.connected = Some((self.link.purpose, self.connected));
                None
            }
            Err(error) => Some((Err(unreachable(error)), None)),
        }
    }

    /// Sends what is to be sent until an answer comes; `None` when all is sent and answered.
    async fn step(&mut self) -> io::Result<Option<StreamAppendResult<TypeConfig>>> {
        if let Some(first) = self.first.take() {
            self.send(&first).await?;
        }
        loop {
            let Some(input) = &mut self.input else {
                if self.in_flight == 0 {
                    return Ok(None);
                }
                return self.answer().await.map(Some);
            };
            tokio::select! {
                biased;
                answer = read_in_time(&mut self.connected, self.answer_by), if self.in_flight > 0 => {
                    return self.newest(answer?).map(Some);
                }
                request = input.next() => match request {
                    Some(request) => self.send(&request).await?,
                    None => self.input = None,
                },
            }
        }
    }

    async fn answer(&mut self) -> io::Result<StreamAppendResult<TypeConfig>> {
        let frame = read_in_time(&mut self.connected, self.answer_by).await?;
        self.newest(frame)
    }

    /// Of answers that have come together the last one: it tells what those before told, and Raft takes some time over each.
    fn newest(&mut self, mut frame: Frame) -> io::Result<StreamAppendResult<TypeConfig>> {
        self.answer_by = Instant::now() + DATA_PATIENCE;
        loop {
            self.in_flight -= 1;
            let answer = decode::<Appended>(&frame.payload)?;
            if self.in_flight > 0
                && matches!(answer, Appended::Matching(_))
                && let Some(next) = self.connected.reader.next_buffered()?
            {
                frame = expected(next, kind::APPENDED)?;
            } else {
                return Ok(answer.into());
            }
        }
    }

    async fn send(&mut self, request: &AppendEntriesRequest<TypeConfig>) -> io::Result<()> {
        let mut bytes = BytesMut::new();
        put_frame(&mut bytes, kind::APPEND, &Append::encode(request));
        if self.in_flight == 0 {
            self.answer_by = Instant::now() + DATA_PATIENCE;
        }
        self.in_flight += 1;
        timeout(DATA_PATIENCE, self.connected.writer.write_all(&bytes))
            .await
            .unwrap_or_else(|_| Err(timed_out("the sending of entries")))
    }
}

async fn read_in_time(connected: &mut Connected, answer_by: Instant) -> io::Result<Frame> {
    timeout_at(answer_by, read(connected, kind::APPENDED))
        .await
        .unwrap_or_else(|_| Err(timed_out("the storing of entries")))
}

async fn read(connected: &mut Connected, kind: u8) -> io::Result<Frame> {
    expected(connected.reader.next().await?.ok_or_else(closed)?, kind)
}

fn expected(frame: Frame, kind: u8) -> io::Result<Frame> {
    if frame.kind == kind {
        Ok(frame)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("an unexpected frame {}", frame.kind)))
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the peer closed the connection")
}

fn timed_out(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{what} took too long"))
}

fn unreachable(error: io::Error) -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::new(&error))
}
