//! The leadership given to another replica: before this one ends or leaves the group, while its disk is full, and when it
//! is asked to. Knows who is how far, and nothing of what is stored.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::bail;
use catalog_client::NodeId;
use openraft::{ServerState, async_runtime::watch::WatchReceiver, network::RaftNetworkFactory};
use tokio::time::{sleep, timeout};

use crate::{network::Network, raft::Raft, storage::Space};

/// How long a leader that goes waits for another one.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a leader without space looks for a replica that has some.
const LOOK: Duration = Duration::from_millis(500);
/// How long that one may take to say so.
const SAYS_WITHIN: Duration = Duration::from_millis(300);

/// Hands the leadership, if this replica has it, to the voter that is furthest on.
pub async fn before_the_end(raft: &Raft) {
    if let Some(successor) = voters(raft).into_iter().next() {
        transfer(raft, successor).await;
    }
}

/// Hands the leadership, if this replica has it, to the one of `successors` that is furthest on.
pub async fn to_one_of(raft: &Raft, successors: &BTreeSet<NodeId>) {
    if let Some(successor) = voters(raft).into_iter().find(|id| successors.contains(id)) {
        transfer(raft, successor).await;
    }
}

/// As long as this replica leads and its disk is full, looks for one with space to lead instead. Where all are full, the
/// leader stays and refuses: reads need one.
pub async fn when_full(raft: Raft, mut network: Network, space: Arc<Space>) {
    loop {
        sleep(LOOK).await;
        if !space.is_low() {
            continue;
        }
        for successor in voters(&raft) {
            // Asked before: a leader that has begun to hand over to one that does not take it leads no more.
            if has_space(&raft, &mut network, successor).await == Some(true) {
                tracing::warn!("{space}: replica {successor} shall lead");
                transfer(&raft, successor).await;
                break;
            }
        }
    }
}

/// Whether a replica's disk has space; `None` when it does not say so at once.
pub async fn has_space(raft: &Raft, network: &mut Network, replica: NodeId) -> Option<bool> {
    let metrics = raft.metrics().borrow_watched().clone();
    let peer = metrics.membership_config.membership().get_node(&replica)?;
    network.new_client(replica, peer).await.has_space(SAYS_WITHIN).await.ok()
}

/// The other voters if this replica leads, the one that is furthest on first.
fn voters(raft: &Raft) -> Vec<NodeId> {
    let metrics = raft.metrics().borrow_watched().clone();
    if metrics.state != ServerState::Leader {
        return Vec::new();
    }
    let mut voters: Vec<NodeId> = metrics.membership_config.voter_ids().filter(|id| *id != metrics.id).collect();
    let matched = |id: &NodeId| metrics.replication.as_ref().and_then(|all| all.get(id).copied().flatten());
    voters.sort_by_key(|id| std::cmp::Reverse(matched(id).map(|log_id| log_id.index)));
    voters
}

/// Has `successor` lead, waits until somebody else does, and gives who it is; `None` when nobody does in time.
pub async fn transfer(raft: &Raft, successor: NodeId) -> Option<NodeId> {
    tracing::info!("handing the leadership to replica {successor}");
    let own = *raft.node_id();
    let transferred = async {
        raft.trigger().transfer_leader(successor).await.map_err(anyhow::Error::from)?;
        let mut server = raft.server_metrics();
        loop {
            let leader = server.borrow_watched().current_leader;
            if let Some(leader) = leader.filter(|leader| *leader != own) {
                return Ok(leader);
            }
            if server.changed().await.is_err() {
                bail!("Raft has ended");
            }
        }
    };
    match timeout(PATIENCE, transferred).await {
        Ok(Ok(leader)) => return Some(leader),
        Ok(Err(error)) => tracing::warn!("the leadership could not be handed over: {error}"),
        Err(_) => tracing::warn!("nobody took the leadership within {PATIENCE:?}"),
    }
    None
}
