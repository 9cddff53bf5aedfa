//! The first start: one group is founded once, when all configured replicas are up and empty; and a disk that was
//! lost is told so instead of starting as a new one under an old id.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use catalog_client::{
    NodeId,
    frame::{self, Connected, FrameReader, Hello, Purpose, decode, encode, write_frame},
    net::{OwnedReadHalf, OwnedWriteHalf},
};
use cluster_config::Layout;
use openraft::async_runtime::watch::WatchReceiver;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::{
    network::Identity,
    raft::{Peer, Raft},
};

/// The kind of a frame that asks, and of its answer.
const PROBE: u8 = 30;
/// Between two rounds of asking.
const PAUSE: Duration = Duration::from_millis(100);
/// How long one replica may take to answer.
const PATIENCE: Duration = Duration::from_millis(500);
/// Rounds between two lines in the log about what is still missing.
const ROUNDS_A_LINE: u32 = 50;

/// What a replica says of itself. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Probed {
    /// Whether it has neither voted nor logged anything.
    empty: bool,
    /// The members that it knows, with the incarnations of their disks.
    members: BTreeMap<NodeId, u128>,
}

/// This disk must not be used under this id.
#[derive(Debug, thiserror::Error)]
#[error(
    "this disk is empty, but {name} has already been a member of the group with another disk, whose votes and entries \
     are lost with it: bring the old disk back, or have a replica with a new id take its place: make replace NODE={name}"
)]
pub struct DiskLost {
    name: String,
}

/// This id must not be used by this disk.
#[derive(Debug, thiserror::Error)]
#[error(
    "{name} has been a member of the group before, or was passed over: the group has greater ids, and an id is never used \
     again; have a replica join under a new one: make add"
)]
pub struct IdUsed {
    name: String,
}

/// Answers the probes of one connection.
pub async fn answer_probe(
    raft: &Raft,
    mut reader: FrameReader<OwnedReadHalf>,
    mut writer: OwnedWriteHalf,
) -> io::Result<()> {
    while let Some(frame) = reader.next().await? {
        if frame.kind != PROBE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("an unexpected frame {}", frame.kind)));
        }
        let probed = probe_self(raft).await.map_err(io::Error::other)?;
        write_frame(&mut writer, PROBE, &encode(&probed)).await?;
    }
    Ok(())
}

/// Returns when this replica belongs to a group: at once after a restart, else when the group has been founded.
///
/// # Errors
/// [`DiskLost`], [`IdUsed`], or that Raft has ended.
pub async fn join_or_found(raft: &Raft, identity: &Arc<Identity>, layout: &Layout) -> anyhow::Result<()> {
    let mut waited = 0;
    loop {
        if !probe_self(raft).await?.empty {
            return Ok(());
        }
        let (missing, members) = ask_all(identity, layout).await?;
        let founder = layout.catalogs.iter().map(|node| node.id).min();
        if missing.is_empty() && founder == Some(identity.id) {
            tracing::info!("all {} replicas are up and empty: founding the group", members.len());
            raft.initialize(members).await?;
            return Ok(());
        }
        if waited % ROUNDS_A_LINE == 0 {
            let reason = if missing.is_empty() { "the first replica".to_owned() } else { missing.join(", ") };
            tracing::info!("waiting to be founded or joined: for {reason}");
        }
        waited += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

/// Asks every configured replica: why the group cannot be founded yet, and with whom it would be.
async fn ask_all(identity: &Arc<Identity>, layout: &Layout) -> anyhow::Result<(Vec<String>, BTreeMap<NodeId, Peer>)> {
    let mut missing = Vec::new();
    let mut members = BTreeMap::new();
    for node in &layout.catalogs {
        let mut incarnation = identity.incarnation;
        if node.id != identity.id {
            match timeout(PATIENCE, ask(identity, node.id, &node.peer)).await {
                Ok(Ok((probed, its))) => {
                    let own = probed.members.get(&identity.id);
                    if own.is_some_and(|own| *own != identity.incarnation) {
                        return Err(DiskLost { name: identity.name.clone() }.into());
                    }
                    // Whoever joins has a greater id than all who have joined before.
                    if own.is_none() && probed.members.keys().any(|member| *member > identity.id) {
                        return Err(IdUsed { name: identity.name.clone() }.into());
                    }
                    if !probed.empty {
                        missing.push(format!("{} (already in a group)", node.name));
                    }
                    incarnation = its;
                }
                Ok(Err(error)) => missing.push(format!("{} ({error})", node.name)),
                Err(_) => missing.push(format!("{} (no answer)", node.name)),
            }
        }
        members.insert(node.id, Peer { name: node.name.clone(), address: node.peer.clone(), incarnation });
    }
    Ok((missing, members))
}

async fn ask(identity: &Arc<Identity>, id: NodeId, address: &str) -> io::Result<(Probed, u128)> {
    let hello = Hello {
        magic: frame::MAGIC,
        version: frame::VERSION,
        cluster: identity.cluster.clone(),
        sender: identity.name.clone(),
        sender_replica: Some((identity.id, identity.incarnation)),
        receiver: id,
        purpose: Purpose::Probe,
    };
    let Connected { incarnation, mut reader, mut writer, .. } = frame::connect(address, &hello, PATIENCE).await?;
    write_frame(&mut writer, PROBE, &[]).await?;
    match reader.next().await? {
        Some(frame) if frame.kind == PROBE => Ok((decode(&frame.payload)?, incarnation)),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

async fn probe_self(raft: &Raft) -> anyhow::Result<Probed> {
    let empty = !raft.is_initialized().await?;
    let metrics = raft.metrics().borrow_watched().clone();
    let members = metrics.membership_config.nodes().map(|(id, peer)| (*id, peer.incarnation)).collect();
    Ok(Probed { empty, members })
}

#[cfg(test)]
mod tests {
    #[test]
    fn fuzz_probes() {
        fuzzing::fuzz_encoded::<super::Probed>("probes");
    }
}
