//! How a replica reads: its own state, a state at least as new as a revision, or one that reflects every write
//! acknowledged before. Must not know who asks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use catalog_client::{
    NodeId, Revision,
    client::Catalog,
    items::check_query,
    mutant::Mutant,
    protocol::{CHUNK, Data, ReadAt, Refusal, Status, View},
};
use openraft::{
    ReadPolicy, ServerState,
    async_runtime::watch::WatchReceiver,
    error::{LinearizableReadError, RaftError},
};
use tokio::time::{Instant, timeout_at};

use crate::{
    blocking, catalog,
    figures::Figures,
    raft::Raft,
    storage::{Installing, State},
};

/// Reads the state of this replica.
#[derive(Debug, Clone)]
pub struct Reads {
    name: Arc<str>,
    raft: Raft,
    state: Arc<State>,
    /// The way to the leader, for a follower that is asked for a linearizable read.
    peers: Catalog,
    /// Whether the first items are loaded, as far as this replica had to see to it.
    loaded: Arc<AtomicBool>,
}

/// What was read, part by part.
pub struct Parts {
    /// From which state.
    pub revision: Revision,
    next: Next,
}

enum Next {
    One(Data),
    Items { view: catalog::View, topic: Option<String>, words: Option<String>, after: Option<u64>, left: usize },
    Done,
}

impl Parts {
    /// The next part, and whether it is the last.
    pub fn next_part(&mut self) -> Option<(Data, bool)> {
        match std::mem::replace(&mut self.next, Next::Done) {
            Next::Done => None,
            Next::One(data) => Some((data, true)),
            Next::Items { view, topic, words, after, left } => {
                let look = || view.items(topic.as_deref(), words.as_deref(), after, left.min(CHUNK));
                // A search for words that never meet goes through all that have them: Raft's tasks go on elsewhere meanwhile.
                let (items, more) = if words.is_some() { blocking::in_place(look) } else { look() };
                let left = left - items.len();
                let last = !more || left == 0;
                if !last {
                    let after = items.last().map(|item| item.item_number);
                    self.next = Next::Items { view, topic, words, after, left };
                }
                Some((Data::Items { items, more }, last))
            }
        }
    }
}

impl Reads {
    /// Reads `state`, which `raft` applies to. `loaded`: whether its first items are known to be there.
    pub fn new(name: &str, raft: Raft, state: Arc<State>, peers: Catalog, loaded: bool) -> Self {
        Self { name: name.into(), raft, state, peers, loaded: Arc::new(loaded.into()) }
    }

    /// The first items are loaded.
    pub fn set_loaded(&self) {
        self.loaded.store(true, Ordering::Relaxed);
    }

    /// Of a leader: refuses while the first items are not known to be loaded.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`].
    pub fn loaded(&self) -> Result<(), Refusal> {
        if self.loaded.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(Refusal::Unavailable("the first items are being loaded".to_owned()))
    }

    /// The greatest revision that this replica knows to be committed anywhere: its own state may lag far behind.
    pub fn newest_known(&self) -> Revision {
        let others =
            self.peers.replicas().filter_map(|peer| self.peers.last_status(peer.id)).map(|status| status.applied);
        others.chain([self.state.applied()]).max().unwrap_or(0)
    }

    /// The name of this replica.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of this replica.
    pub fn id(&self) -> NodeId {
        *self.raft.node_id()
    }

    /// The way to all replicas, this one among them.
    pub fn peers(&self) -> &Catalog {
        &self.peers
    }

    /// The state.
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// What this replica counts.
    pub fn figures(&self) -> &Figures {
        self.state.db().figures()
    }

    /// Reads a view, waiting for the state that is asked for until the deadline.
    ///
    /// # Errors
    /// [`Refusal`]: the state was not reached in time, or there is no quorum.
    pub async fn read(&self, view: &View, at: ReadAt, wait: Duration) -> Result<Parts, Refusal> {
        let deadline = Instant::now() + wait;
        let revision = match at {
            ReadAt::AtLeast(_) if Mutant::MinimumRevisionIgnored.is_on() => 0,
            ReadAt::Local => 0,
            ReadAt::AtLeast(revision) => revision,
            ReadAt::Linearizable => self.read_index_anywhere(deadline).await?,
        };
        self.reach(revision, deadline).await?;
        self.parts(view)
    }

    /// Reads a view if its state is there already: without waiting for anything.
    pub fn read_now(&self, view: &View, at: ReadAt) -> Option<Result<Parts, Refusal>> {
        let reached = match at {
            ReadAt::AtLeast(_) if Mutant::MinimumRevisionIgnored.is_on() => true,
            ReadAt::Local => true,
            ReadAt::AtLeast(revision) => revision <= *self.state.history().progress().borrow(),
            ReadAt::Linearizable => false,
        };
        reached.then(|| self.parts(view))
    }

    /// A revision that reflects every write acknowledged before the call, and the first items.
    ///
    /// # Errors
    /// As [`Reads::confirmed`]; that the first items are being loaded: whoever begins with the present (a front end, a
    /// follower's `/readyz`) is not to begin with an empty store.
    pub async fn read_index(&self, deadline: Instant) -> Result<Revision, Refusal> {
        // Loaded before it asks: what is loaded meanwhile may be beyond the revision. Known to lead after it.
        let loaded = self.loaded();
        let revision = self.confirmed(deadline).await?;
        loaded.map(|()| revision)
    }

    /// A revision that reflects every write acknowledged before the call (ReadIndex: Raft dissertation, section 6.4).
    /// Never by lease: after a fast restart of a follower the lease does not hold.
    ///
    /// # Errors
    /// [`Refusal::NotLeader`], or that no quorum answered by the deadline.
    pub async fn confirmed(&self, deadline: Instant) -> Result<Revision, Refusal> {
        let asked = timeout_at(deadline, self.raft.get_read_log_id(ReadPolicy::ReadIndex)).await;
        let asked = asked.map_err(|_| Refusal::Unavailable("no quorum confirmed the leader in time".to_owned()))?;
        match asked {
            Ok((read_log_id, _)) => Ok(read_log_id.log_id().index),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                let leader = forward.leader_id.filter(|leader: &NodeId| *leader != *self.raft.node_id());
                Err(Refusal::NotLeader { leader })
            }
            Err(error) => Err(Refusal::Unavailable(error.to_string())),
        }
    }

    /// This replica's state, in full.
    pub fn status(&self) -> Status {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let (applied, state_hash, items, orders) = self.state.summary();
        let membership = metrics.membership_config.membership();
        let role = match metrics.state {
            ServerState::Leader => "leader",
            ServerState::Follower => "follower",
            ServerState::Candidate => "candidate",
            ServerState::Learner => "learner",
            ServerState::Shutdown => "shutdown",
        };
        Status {
            node: self.name.to_string(),
            id: *self.raft.node_id(),
            role: role.to_owned(),
            leader: metrics.current_leader,
            term: metrics.current_term,
            last_log: metrics.last_log_index.unwrap_or(0).max(applied),
            committed: metrics.local_committed.map_or(0, |id| id.index).max(applied),
            applied,
            snapshot: metrics.snapshot.map_or(0, |id| id.index),
            purged: metrics.purged.map_or(0, |id| id.index),
            state_hash,
            items,
            orders,
            voters: membership.voter_ids().collect(),
            learners: membership.learner_ids().collect(),
            durability: "fsync".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// As [`Reads::read_index`], asked of whoever leads.
    ///
    /// # Errors
    /// That no leader with a quorum answered by the deadline.
    pub async fn read_index_anywhere(&self, deadline: Instant) -> Result<Revision, Refusal> {
        match self.read_index(deadline).await {
            Err(Refusal::NotLeader { .. }) => self.peers.read_index(deadline).await.map_err(|error| match error {
                catalog_client::client::Error::Refused(refusal) => refusal,
                catalog_client::client::Error::Unknown => Refusal::Unavailable("no leader answered in time".to_owned()),
            }),
            result => result,
        }
    }

    async fn reach(&self, revision: Revision, deadline: Instant) -> Result<(), Refusal> {
        let mut progress = self.state.history().progress();
        let reached = timeout_at(deadline, progress.wait_for(|applied| *applied >= revision)).await;
        match reached {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Refusal::Unavailable("this replica is shutting down".to_owned())),
            Err(_) => {
                let applied = self.state.applied();
                Err(Refusal::Unavailable(format!("revision {revision} was not reached in time; applied is {applied}")))
            }
        }
    }

    fn parts(&self, view: &View) -> Result<Parts, Refusal> {
        let (revision, next) = match view {
            View::Item(item_number) => {
                let (revision, item) = self.state.item(*item_number).map_err(unavailable)?;
                (revision, Next::One(Data::Item(item)))
            }
            View::Items { topic, words, after, limit } => {
                words.as_deref().map_or(Ok(()), check_query).map_err(Refusal::Invalid)?;
                let view = self.state.view().map_err(unavailable)?;
                let left = limit.map_or(usize::MAX, |limit| limit as usize);
                let (topic, words) = (topic.clone(), words.clone());
                (view.applied(), Next::Items { view, topic, words, after: *after, left })
            }
            View::Order(id) => {
                let (revision, order) = self.state.order(*id).map_err(unavailable)?;
                (revision, Next::One(Data::Order(order.map(Arc::unwrap_or_clone))))
            }
            View::Orders { after, limit } => {
                let limit = (*limit as usize).min(CHUNK);
                let (revision, orders, more) = self.state.orders(*after, limit).map_err(unavailable)?;
                (revision, Next::One(Data::Orders { orders, more }))
            }
        };
        Ok(Parts { revision, next })
    }
}

fn unavailable(installing: Installing) -> Refusal {
    Refusal::Unavailable(installing.to_string())
}
