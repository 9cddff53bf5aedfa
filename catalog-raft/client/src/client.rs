//! The client of the catalog's peer ports: one multiplexed connection a replica, the leader followed, commands
//! retried under the same id until their deadline.
//!
//! Must not know HTTP, nor what an answer is used for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    Answer, Command, NodeId, Revision,
    deliveries::Deliveries,
    frame::{Hello, MAGIC, Purpose, VERSION},
    protocol::{Data, MAX_SUBMIT, ReadAt, Refusal, Request, Response, Status, View},
};

mod connection;
#[cfg(test)]
pub(crate) mod fake;
mod health;
mod leader;
mod link;
mod links;
mod members;
mod operate;
mod reads;
#[cfg(test)]
mod tests;

use leader::Leadership;
use link::Link;
pub(crate) use link::pause;
use links::Links;
pub use members::{incarnation_of, members_of};

/// The most replicas that a client may know: those of its layout, and those that take their place while it lives.
pub const MAX_REPLICAS: usize = 64;
/// The shortest and the longest pause before a request is tried again, in milliseconds.
const TRY_PAUSE_MS: std::ops::RangeInclusive<u64> = 3..=20;

/// Where a replica is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its id.
    pub id: NodeId,
    /// Its name, `catalog-1`.
    pub name: String,
    /// `host:port` of its peer port.
    pub address: String,
}

/// Who asks, and whom.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cluster's name.
    pub cluster: String,
    /// The asker's name, `order-1`.
    pub sender: String,
    /// All replicas of the layout, 1 to [`MAX_REPLICAS`]: who belongs to the group is learnt from them.
    pub replicas: Vec<Peer>,
}

/// What [`Catalog::submit`] brings back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// The leader that committed them.
    pub leader: NodeId,
    /// One answer a command, in order.
    pub answers: Vec<Answer>,
}

/// What [`Catalog::read`] brings back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadAnswer {
    /// The state it was read from.
    pub revision: Revision,
    /// The replica that served it.
    pub replica: NodeId,
    /// The data.
    pub data: Data,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing took effect, and nothing will.
    #[error("{0}")]
    Refused(Refusal),
    /// A try may have reached a leader; what became of it was not learnt by the deadline.
    #[error("outcome unknown: no answer by the deadline")]
    Unknown,
}

/// A handle on the whole catalog. Cheap to clone; connections are made when first used and made again when lost.
///
/// Until the last handle is dropped, each replica is asked for its status in the background: that is how a replica
/// that is back becomes live again, and that others belong to the group than the layout says.
#[derive(Debug, Clone)]
pub struct Catalog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    /// The background tasks, which end with the last handle.
    _health: AbortOnDropHandle<()>,
}

/// What handles and background tasks share.
#[derive(Debug)]
struct Shared {
    options: Options,
    links: Links,
    turns: AtomicUsize,
    leadership: watch::Sender<Leadership>,
    /// Told when somebody wants to know soon who leads.
    hurry: Notify,
    deliveries: Deliveries,
}

impl Catalog {
    /// A client; must be called within a tokio runtime.
    ///
    /// # Panics
    /// When `options` name no replica, or more than [`MAX_REPLICAS`].
    pub fn new(options: Options) -> Self {
        assert!((1..=MAX_REPLICAS).contains(&options.replicas.len()), "1 to {MAX_REPLICAS} replicas");
        let shared = Arc::new(Shared {
            links: Links::new(&options),
            turns: AtomicUsize::new(rand::random_range(0..MAX_REPLICAS)),
            leadership: watch::Sender::new(Leadership::default()),
            hurry: Notify::new(),
            deliveries: Deliveries::default(),
            options,
        });
        let health = health::start(&shared);
        Self(Arc::new(Inner { shared, _health: health }))
    }

    /// Who asks, and whom.
    pub fn options(&self) -> &Options {
        &self.0.shared.options
    }

    /// The replicas that belong to the group and vote, as far as is known: at first those of the layout.
    pub fn replicas(&self) -> impl Iterator<Item = &Peer> {
        let links = &self.0.shared.links;
        links.round(0).map(|index| &links.at(index).peer)
    }

    /// `host:port` at which a replica serves clients, if it is not of the layout and has said so.
    pub fn client_address_of(&self, id: NodeId) -> Option<&str> {
        self.link(id)?.client_address()
    }

    /// The name of a replica; empty for one that was never known.
    pub fn name_of(&self, id: NodeId) -> &str {
        self.link(id).map_or("", |link| &link.peer.name)
    }

    /// Whether the last exchange with this replica went well. Unknown replicas and those never tried: false.
    pub fn is_live(&self, id: NodeId) -> bool {
        self.link(id).is_some_and(|link| link.is_live())
    }

    /// Who leads, as far as answers have told.
    pub fn leader(&self) -> Option<NodeId> {
        self.0.shared.leader()
    }

    /// The last state that a replica has told, however long ago; while it is live, at most half a second or so.
    pub fn last_status(&self, id: NodeId) -> Option<Status> {
        self.link(id)?.last_status()
    }

    /// What was counted of [`Catalog::submit`].
    pub fn deliveries(&self) -> &Deliveries {
        &self.0.shared.deliveries
    }

    /// Has `commands` (1 to [`MAX_SUBMIT`]) committed, in order: finds the leader, follows redirects, and tries
    /// again under the same ids through elections and lost answers until `deadline`.
    ///
    /// # Errors
    /// [`Error::Refused`] only when no try can have taken effect; else [`Error::Unknown`].
    pub async fn submit(&self, commands: Vec<Command>, deadline: Instant) -> Result<Submitted, Error> {
        let count = commands.len();
        if !(1..=MAX_SUBMIT).contains(&count) {
            return Err(Error::Refused(Refusal::Invalid(format!("{count} commands, not 1 to {MAX_SUBMIT}"))));
        }
        self.deliveries().sizes.observe(count as u64);
        let mut request = Request::Submit { commands, wait_ms: 0 };
        match leader::ask(&self.0.shared, &mut request, deadline).await? {
            Response::Submitted { leader, answers } if answers.len() == count => Ok(Submitted { leader, answers }),
            // The leader has it, and says something that makes no sense.
            _ => Err(Error::Unknown),
        }
    }

    /// Reads a view from `replica`, asked once; or, without one, round robin over live replicas, failing over until
    /// `deadline`. Lists that come in parts are put together.
    ///
    /// # Errors
    /// [`Error::Refused`] with why.
    pub async fn read(
        &self,
        replica: Option<NodeId>,
        view: &View,
        at: ReadAt,
        deadline: Instant,
    ) -> Result<ReadAnswer, Error> {
        reads::read(&self.0.shared, replica, view, at, deadline).await
    }

    /// As [`Catalog::read`], but part by part, over a connection of its own: the first part has arrived when this
    /// returns; the others follow on the channel (of bounded size) and end with its close. A part that fails is an
    /// `Err`, the last one. `deadline` is for the first part.
    ///
    /// # Errors
    /// [`Error::Refused`] when no replica gave a first part.
    pub async fn read_parts(
        &self,
        replica: Option<NodeId>,
        view: &View,
        at: ReadAt,
        deadline: Instant,
    ) -> Result<(ReadAnswer, mpsc::Receiver<Result<Data, Error>>), Error> {
        reads::read_parts(&self.0.shared, replica, view, at, deadline).await
    }

    /// A revision that reflects every write acknowledged anywhere before the call.
    ///
    /// # Errors
    /// [`Error::Refused`] when there was no leader with a quorum by `deadline`.
    pub async fn read_index(&self, deadline: Instant) -> Result<Revision, Error> {
        let mut request = Request::ReadIndex { wait_ms: 0 };
        match leader::ask(&self.0.shared, &mut request, deadline).await {
            Ok(Response::ReadIndex(revision)) => Ok(revision),
            // Asking changes nothing, so nothing is in doubt.
            Ok(_) | Err(Error::Unknown) => {
                Err(Error::Refused(Refusal::Unavailable("no leader with a quorum answered in time".to_owned())))
            }
            Err(refused) => Err(refused),
        }
    }

    /// The state of one replica.
    ///
    /// # Errors
    /// [`Error::Refused`] when it does not answer by `deadline`.
    pub async fn status(&self, replica: NodeId, deadline: Instant) -> Result<Status, Error> {
        let link = self.link(replica).ok_or_else(|| Error::Refused(reads::no_such_replica(replica)))?;
        health::status(link, deadline)
            .await
            .map_err(|why| Error::Refused(Refusal::Unavailable(format!("{}: {why}", link.peer.name))))
    }

    /// What opens a connection to `receiver`.
    pub(crate) fn hello(&self, receiver: NodeId, purpose: Purpose) -> Hello {
        self.options().hello(receiver, purpose)
    }

    fn link(&self, id: NodeId) -> Option<&Arc<Link>> {
        let links = &self.0.shared.links;
        links.index_of(id).map(|index| links.at(index))
    }
}

impl Options {
    fn hello(&self, receiver: NodeId, purpose: Purpose) -> Hello {
        Hello {
            magic: MAGIC,
            version: VERSION,
            cluster: self.cluster.clone(),
            sender: self.sender.clone(),
            sender_replica: None,
            receiver,
            purpose,
        }
    }
}

impl Shared {
    fn index_of(&self, id: NodeId) -> Option<usize> {
        self.links.index_of(id)
    }

    /// The number of this turn: whoever has it is the first of [`Links::round`].
    fn turn(&self) -> usize {
        self.turns.fetch_add(1, Ordering::Relaxed)
    }
}

async fn pause_between_tries(deadline: Instant) {
    let pause = Duration::from_millis(rand::random_range(TRY_PAUSE_MS));
    sleep_until(deadline.min(Instant::now() + pause)).await;
}

/// What is left until `deadline`, as the wire says it.
fn millis_until(deadline: Instant) -> u32 {
    u32::try_from(deadline.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(u32::MAX)
}
