//! The answering side: each connection is handed to Raft until it breaks.

use std::{io, path::Path, pin::pin, sync::Arc, time::Duration};

use catalog_client::{
    NodeId,
    frame::{Frame, FrameReader, Purpose, decode, encode, write_frame},
    net::{OwnedReadHalf, OwnedWriteHalf},
};
use futures::{StreamExt, stream};
use openraft::raft::TransferLeaderError;
use tokio::{
    io::AsyncWriteExt,
    sync::oneshot,
    time::{Instant, sleep_until, timeout},
};

use super::{
    owed::Owed,
    wire::{Append, Ballot, Cast, Installed, SnapshotBegin, Transfer, Transferred, kind},
};
use crate::{
    raft::{Raft, Snapshot, SnapshotMeta, StoredMembership},
    storage::{SnapshotReceiver, Space},
};

/// How long answers to a peer that has closed may still take. While a snapshot is being installed Raft answers nobody,
/// and a leader comes back for each heartbeat: what it left behind must not pile up.
const CLOSED_PATIENCE: Duration = Duration::from_secs(2);
/// How long the next bytes of a snapshot may take.
const CHUNK_PATIENCE: Duration = Duration::from_secs(30);
/// Answers that go out in one write.
const WRITE_TOGETHER: usize = 64;

/// Who this replica is.
#[derive(Debug)]
pub struct Identity {
    /// The cluster's name.
    pub cluster: String,
    /// `catalog-2`.
    pub name: String,
    /// Its id.
    pub id: NodeId,
    /// The incarnation of its disk.
    pub incarnation: u128,
}

/// Serves one Raft connection whose handshake has succeeded, until it closes.
///
/// # Errors
/// As the socket's, or `InvalidData`; the connection is closed in either case.
pub async fn serve_raft(
    raft: &Raft,
    snapshots: &Path,
    space: &Arc<Space>,
    purpose: Purpose,
    reader: FrameReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
) -> io::Result<()> {
    match purpose {
        Purpose::RaftData => serve_appends(raft, space, Owed::to_data(), reader, writer).await,
        Purpose::RaftHeartbeat => serve_appends(raft, space, Owed::to_heartbeats(), reader, writer).await,
        Purpose::RaftVote => serve_votes(raft, space, reader, writer).await,
        Purpose::RaftSnapshot => receive_snapshot(raft, snapshots, space, reader, writer).await,
        other => Err(invalid(format!("{other:?} is no purpose of Raft"))),
    }
}

async fn serve_appends(
    raft: &Raft,
    space: &Arc<Space>,
    mut owed: Owed,
    reader: FrameReader<OwnedReadHalf>,
    mut writer: OwnedWriteHalf,
) -> io::Result<()> {
    let space = space.clone();
    let (ended, has_ended) = oneshot::channel();
    let requests = stream::unfold((reader, ended, space), |(mut reader, ended, space)| async move {
        let next = reader.next().await.and_then(|frame| frame.map(request).transpose());
        match next.and_then(|request| storable(request, &space)) {
            Ok(Some(request)) => Some((request, (reader, ended, space))),
            end => {
                // Nobody waits for it when the answers have failed first.
                let _ = ended.send(end.map(drop));
                None
            }
        }
    });
    let mut answers = pin!(raft.stream_append(requests.boxed()).ready_chunks(WRITE_TOGETHER));
    let mut given_up = pin!(async {
        let end = has_ended.await.unwrap_or(Ok(()));
        tokio::time::sleep(CLOSED_PATIENCE).await;
        end
    });
    loop {
        let chunk = tokio::select! {
            chunk = answers.next() => match chunk {
                Some(chunk) => chunk,
                None => return Ok(()),
            },
            () = sleep_until(owed.due()), if !owed.is_empty() => Vec::new(),
            end = &mut given_up => return end,
        };
        for answer in chunk {
            owed.add(answer.map_err(io::Error::other)?.into(), Instant::now());
        }
        if owed.due() <= Instant::now() {
            writer.write_all(&owed.take()).await?;
        }
    }
}

/// Refuses entries for which there is no space by ending the connection: the leader comes back with them. Heartbeats
/// have a connection of their own, so this replica stays a follower.
fn storable(request: Option<Appends>, space: &Space) -> io::Result<Option<Appends>> {
    match request {
        Some(request) if !request.entries.is_empty() && space.is_out() => {
            Err(io::Error::new(io::ErrorKind::StorageFull, space.to_string()))
        }
        other => Ok(other),
    }
}

type Appends = openraft::raft::AppendEntriesRequest<crate::raft::TypeConfig>;

fn request(frame: Frame) -> io::Result<Appends> {
    match frame.kind {
        kind::APPEND => Append::decode(&frame.payload),
        other => Err(invalid(format!("an unexpected frame {other} among appends"))),
    }
}

async fn serve_votes(
    raft: &Raft,
    space: &Space,
    mut reader: FrameReader<OwnedReadHalf>,
    mut writer: OwnedWriteHalf,
) -> io::Result<()> {
    while let Some(frame) = reader.next().await? {
        match frame.kind {
            kind::VOTE => {
                let ballot: Ballot = decode(&frame.payload)?;
                let cast = Cast::from(raft.vote(ballot.into()).await.map_err(io::Error::other)?);
                write_frame(&mut writer, kind::CAST, &encode(&cast)).await?;
            }
            kind::PRE_VOTE => {
                let ballot: Ballot = decode(&frame.payload)?;
                let cast = Cast::from(raft.pre_vote(ballot.into()).await.map_err(io::Error::other)?);
                write_frame(&mut writer, kind::CAST, &encode(&cast)).await?;
            }
            kind::SPACE => write_frame(&mut writer, kind::HAS_SPACE, &encode(&!space.is_low())).await?,
            kind::TRANSFER => {
                let transfer: Transfer = decode(&frame.payload)?;
                let answer = match raft.handle_transfer_leader(transfer.into()).await.map_err(io::Error::other)? {
                    Ok(()) => Transferred::Accepted,
                    Err(TransferLeaderError::VoteChanged { expected, actual }) => {
                        Transferred::VoteChanged { expected: expected.into(), actual: actual.into() }
                    }
                    Err(TransferLeaderError::LogNotFlushed { expected, actual }) => Transferred::LogNotFlushed {
                        expected: expected.map(Into::into),
                        actual: actual.map(Into::into),
                    },
                };
                write_frame(&mut writer, kind::TRANSFERRED, &encode(&answer)).await?;
            }
            other => return Err(invalid(format!("an unexpected frame {other} among votes"))),
        }
    }
    Ok(())
}

async fn receive_snapshot(
    raft: &Raft,
    folder: &Path,
    space: &Space,
    mut reader: FrameReader<OwnedReadHalf>,
    mut writer: OwnedWriteHalf,
) -> io::Result<()> {
    let begin = match next_in_time(&mut reader).await? {
        Some(frame) if frame.kind == kind::SNAPSHOT_BEGIN => decode::<SnapshotBegin>(&frame.payload)?,
        _ => return Err(invalid("a snapshot that does not begin".to_owned())),
    };
    // Beside the file, its rows: both lie there until the file is followed by a newer one.
    if !space.has_room_for(begin.length.saturating_mul(2)) {
        tracing::warn!("a snapshot of {} bytes is not received: {space}", begin.length);
        return Err(io::Error::new(io::ErrorKind::StorageFull, space.to_string()));
    }
    let mut receiver = SnapshotReceiver::begin(folder, begin.length).await?;
    loop {
        match next_in_time(&mut reader).await? {
            Some(frame) if frame.kind == kind::SNAPSHOT_CHUNK => {
                receiver.take(frame.payload).await?;
                write_frame(&mut writer, kind::SNAPSHOT_TAKEN, &[]).await?;
            }
            Some(frame) if frame.kind == kind::SNAPSHOT_END => break,
            _ => return Err(invalid("a snapshot cut short".to_owned())),
        }
    }
    let last_log_id = begin.last_log_id.map(Into::into);
    let meta = SnapshotMeta {
        last_log_id,
        last_membership: StoredMembership::new(begin.membership_log_id.map(Into::into), begin.membership.into()),
    };
    let file = receiver.finish(&meta).await?;
    tracing::info!("received a snapshot of {} bytes up to {:?}", file.len(), begin.last_log_id);
    let snapshot = Snapshot { meta, snapshot: file };
    let response = raft.install_full_snapshot(begin.vote.into(), snapshot).await.map_err(io::Error::other)?;
    let installed = Installed { vote: response.vote.into() };
    write_frame(&mut writer, kind::SNAPSHOT_INSTALLED, &encode(&installed)).await
}

async fn next_in_time(reader: &mut FrameReader<OwnedReadHalf>) -> io::Result<Option<Frame>> {
    timeout(CHUNK_PATIENCE, reader.next())
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "the next part of a snapshot took too long")))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
