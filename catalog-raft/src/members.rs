//! Who belongs to the group, and how that changes: one change at a time, made by the leader, none that would cost the
//! quorum. Must not know who asks for a change, nor what the log holds.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use catalog_client::{
    NodeId,
    client::{Catalog, members_of},
    protocol::{MemberChange, Members, Progress, Refusal, Response},
};
use futures::future::join_all;
use openraft::{
    Instant as _,
    async_runtime::watch::WatchReceiver,
    error::{ClientWriteError, Fatal, RaftError},
};
use tokio::time::{sleep, timeout};

use crate::{
    handover,
    network::{Identity, Network},
    raft::Raft,
};

mod judge;

use judge::{Group, No, Verdict, judge, successors};

/// How long a change may take to be committed before its outcome counts as unknown.
const COMMIT_PATIENCE: Duration = Duration::from_secs(10);
/// How long a change waits for what may come by itself: a heartbeat's answer, the entries that a learner still lacks.
const READY_PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks whether it has come.
const LOOK: Duration = Duration::from_millis(50);
/// Between two looks whether this replica still belongs to the group.
const REMOVED_LOOK: Duration = Duration::from_millis(500);

/// This replica's place in the group, and its way to change the group.
#[derive(Debug)]
pub struct Membership {
    identity: Arc<Identity>,
    raft: Raft,
    network: Network,
    /// Where this replica serves clients.
    client: String,
}

/// This replica's disk belongs to the group no longer.
#[derive(Debug, thiserror::Error)]
#[error(
    "{name} belongs to the group no longer: replica {id} was replaced or removed (see the group of {told_by}), and its \
     id is never used again; keep its data folder aside or delete it, and add this machine as a new replica: make add"
)]
pub struct Removed {
    name: String,
    id: NodeId,
    told_by: String,
}

impl Membership {
    /// The group of `raft`, of which this replica is `identity` and serves clients at `client`.
    pub fn new(identity: Arc<Identity>, raft: Raft, network: Network, client: String) -> Self {
        Self { identity, raft, network, client }
    }

    /// Who belongs to the group, as it was last committed here.
    ///
    /// # Errors
    /// That Raft has ended.
    pub async fn members(&self) -> Result<Members, Fatal<crate::raft::TypeConfig>> {
        Ok(self.group().await?.members)
    }

    /// Answers a question for the members.
    pub async fn answer_members(&self, of_leader: bool) -> Response {
        if of_leader && !self.raft.is_leader() {
            return Response::Refused(self.not_leader());
        }
        match self.members().await {
            Ok(members) => Response::Members(Box::new(members)),
            Err(error) => Response::Refused(Refusal::Unavailable(error.to_string())),
        }
    }

    /// Makes a change, if this replica leads and nothing speaks against it.
    pub async fn change(&self, based_on: u64, change: &MemberChange) -> Response {
        let asked = Instant::now();
        loop {
            if !self.raft.is_leader() {
                return Response::Refused(self.not_leader());
            }
            let asked_ms = millis(asked.elapsed());
            let group = match self.group().await {
                Ok(group) => Group { asked_ms, ..group },
                Err(error) => return Response::Refused(Refusal::Unavailable(error.to_string())),
            };
            match judge(&group, based_on, change) {
                Ok(Verdict::Done) => return Response::Members(Box::new(group.members)),
                Ok(Verdict::HandOver(successors)) => {
                    handover::to_one_of(&self.raft, &successors).await;
                    return Response::Refused(self.not_leader());
                }
                Ok(Verdict::Make(changes)) => return self.make(changes, change).await,
                Ok(Verdict::Finish) => {
                    // No new voters: of two halves openraft makes the second.
                    let finished = self.make(judge::Changes::AddVoterIds(BTreeSet::new()), change).await;
                    return match finished {
                        Response::Members(_) => Response::NotChanged(
                            "a change that was half done was finished first: look again".to_owned(),
                        ),
                        other => other,
                    };
                }
                Err(No::NotYet(_)) if asked.elapsed() < READY_PATIENCE => sleep(LOOK).await,
                Err(No::NotYet(why) | No::Never(why)) => {
                    tracing::info!("not changed, {change:?}: {why}");
                    return Response::NotChanged(why);
                }
            }
        }
    }

    /// Hands the leadership over, if this replica has it and somebody can take it.
    pub async fn transfer(&self, to: Option<NodeId>) -> Response {
        let asked = Instant::now();
        loop {
            if !self.raft.is_leader() {
                return Response::Refused(self.not_leader());
            }
            let asked_ms = millis(asked.elapsed());
            let group = match self.group().await {
                Ok(group) => Group { asked_ms, ..group },
                Err(error) => return Response::Refused(Refusal::Unavailable(error.to_string())),
            };
            match successors(&group, to) {
                Ok(successors) => return self.hand_over(&group.members, successors).await,
                Err(No::NotYet(_)) if asked.elapsed() < READY_PATIENCE => sleep(LOOK).await,
                Err(No::NotYet(why) | No::Never(why)) => {
                    tracing::info!("not handed over to {to:?}: {why}");
                    return Response::NotTransferred(why);
                }
            }
        }
    }

    /// Hands over to the first of these that has space, for a leader without it would look for another one at once.
    async fn hand_over(&self, members: &Members, successors: Vec<NodeId>) -> Response {
        let mut full = Vec::new();
        for successor in successors {
            if handover::has_space(&self.raft, &mut self.network.clone(), successor).await == Some(true) {
                return match handover::transfer(&self.raft, successor).await {
                    Some(leader) => Response::Transferred(leader),
                    // It may take it yet, or an election may come: whoever asked looks who leads.
                    None => Response::Refused(Refusal::Unknown),
                };
            }
            full.push(judge::name(members, successor));
        }
        let full = full.join(", ");
        Response::NotTransferred(format!(
            "{full} could lead, but does not say that its disk has space for the log: see its log, make room, and try again"
        ))
    }

    async fn make(&self, changes: judge::Changes, change: &MemberChange) -> Response {
        tracing::info!("changing who belongs to the group: {change:?}");
        // Whoever ends to vote is a member no longer: a learner that nobody has asked for would be kept up for ever.
        let retain = false;
        match timeout(COMMIT_PATIENCE, self.raft.change_membership(changes, retain)).await {
            Ok(Ok(_)) => self.answer_members(false).await,
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => Response::Refused(self.not_leader()),
            Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error)))) => {
                Response::NotChanged(error.to_string())
            }
            Ok(Err(error)) => {
                tracing::warn!("a change of the group has an unknown outcome: {error}");
                Response::Refused(Refusal::Unknown)
            }
            Err(_) => Response::Refused(Refusal::Unknown),
        }
    }

    /// Returns when others say that this replica, which has been a member, is one no longer.
    pub async fn until_removed(&self, peers: &Catalog) -> anyhow::Result<Removed> {
        loop {
            sleep(REMOVED_LOOK).await;
            let own = self.identity.id;
            // Those that vote are asked for their status anyhow. What it says may not be committed, or old: then it is
            // looked at, with those that voted before, too.
            let mut statuses =
                peers.replicas().filter(|peer| peer.id != own).filter_map(|peer| peers.last_status(peer.id));
            let is_left_out = statuses.any(|status| {
                !status.voters.is_empty() && !status.voters.contains(&own) && !status.learners.contains(&own)
            });
            if !is_left_out || !self.raft.is_initialized().await? {
                continue;
            }
            let known = self.members().await?.index;
            let others = peers.options().replicas.iter().chain(peers.replicas()).filter(|peer| peer.id != own);
            let asked = others.map(|peer| async move { (peer, members_of(peers.options(), peer).await) });
            for (peer, answer) in join_all(asked).await {
                if answer.is_ok_and(|members| members.index > known && members.get(own).is_none()) {
                    return Ok(Removed { name: self.identity.name.clone(), id: own, told_by: peer.name.clone() });
                }
            }
        }
    }

    fn not_leader(&self) -> Refusal {
        let leader = self.raft.metrics().borrow_watched().current_leader;
        Refusal::NotLeader { leader: leader.filter(|leader| *leader != self.identity.id) }
    }

    async fn group(&self) -> Result<Group, Fatal<crate::raft::TypeConfig>> {
        let both = |state: &openraft::RaftState<_>| {
            let memberships = &state.membership_state;
            (memberships.committed().clone(), memberships.effective().clone())
        };
        let (committed, effective) = self.raft.with_raft_state(both).await?;
        let metrics = self.raft.metrics().borrow_watched().clone();
        let heard = |id: &NodeId| {
            let at = metrics.heartbeat.as_ref()?.get(id).copied().flatten()?.into_inner();
            Some(millis(at.elapsed()))
        };
        let matched = metrics.replication.iter().flatten();
        let progress = matched.map(|(id, log_id)| {
            let matched = log_id.map_or(0, |log_id| log_id.index);
            (*id, Progress { matched, heard_ms: heard(id) })
        });
        let is_joint = committed.membership().get_joint_config().len() > 1;
        let is_committed = committed.log_id() == effective.log_id();
        let members = Members {
            index: committed.log_id().map_or(0, |log_id| log_id.index),
            voters: committed.membership().voter_ids().collect(),
            all: committed.membership().nodes().map(|(id, peer)| peer.to_member(*id)).collect(),
            changing: is_joint || !is_committed,
            last_log: metrics.last_log_index.unwrap_or(0),
            progress: progress.collect(),
            client: self.client.clone(),
        };
        let configs: &Vec<BTreeSet<NodeId>> = committed.membership().get_joint_config();
        Ok(Group { own: self.identity.id, configs: configs.clone(), asked_ms: 0, is_committed, members })
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
