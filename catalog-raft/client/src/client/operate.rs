//! What an operator asks of replicas: a snapshot now, another leader.

use std::time::Duration;

use tokio::time::Instant;

use super::{Catalog, Error, health, pause_between_tries, reads};
use crate::{
    NodeId,
    protocol::{Refusal, Request, Response, SnapshotAsked},
};

/// How long a leader may take to hand over, or to say why not, before it is looked whether another leads.
const HANDS_OVER_WITHIN: Duration = Duration::from_secs(8);

impl Catalog {
    /// Has one replica build a snapshot, and returns at once. It is there when [`Catalog::status`] tells of a snapshot up to
    /// [`SnapshotAsked::applied`]; nothing is built where that is so already ([`SnapshotAsked::is_there`]).
    ///
    /// # Errors
    /// [`Error::Refused`] when it says why not, or does not answer by `deadline`. Then it may have begun all the same, which
    /// does no harm.
    pub async fn snapshot(&self, replica: NodeId, deadline: Instant) -> Result<SnapshotAsked, Error> {
        let link = self.link(replica).ok_or_else(|| Error::Refused(reads::no_such_replica(replica)))?;
        let why = match health::ask(link, &Request::Snapshot, deadline).await {
            Ok(Response::SnapshotAsked(asked)) => return Ok(asked),
            Ok(Response::Refused(refusal)) => return Err(Error::Refused(refusal)),
            Ok(_) => "it answered something else".to_owned(),
            Err(why) => why,
        };
        Err(Error::Refused(Refusal::Unavailable(format!("{}: {why}", link.peer.name))))
    }

    /// Has the leader hand over to the voter `to`, or to the one that is furthest on, and gives who leads then: another
    /// than `to` only when an election came between. `Ok(Err)` says in one sentence why the leader stays, and what to do.
    ///
    /// # Errors
    /// [`Error::Refused`] when no leader with a quorum was found by `deadline`, and nothing was done; [`Error::Unknown`] when it
    /// is not known who leads after a try.
    pub async fn transfer_leader(
        &self,
        to: Option<NodeId>,
        deadline: Instant,
    ) -> Result<Result<NodeId, String>, Error> {
        // The leader that has been asked, and may have handed over without a word.
        let mut in_doubt = None;
        let mut why = "no leader was found".to_owned();
        while Instant::now() < deadline {
            // Only one that has its quorum says so, and it has applied what came before its term.
            match self.read_index(deadline).await {
                Ok(_) => {}
                Err(_) if in_doubt.is_some() => return Err(Error::Unknown),
                Err(error) => return Err(error),
            }
            let Some(leader) = self.leader() else { continue };
            if in_doubt.is_some_and(|asked| asked != leader) && to.is_none_or(|to| to == leader) {
                return Ok(Ok(leader));
            }
            let Some(link) = self.link(leader) else { continue };
            let until = deadline.min(Instant::now() + HANDS_OVER_WITHIN);
            match health::ask(link, &Request::TransferLeader { to }, until).await {
                Ok(Response::Transferred(leader)) => {
                    self.0.shared.set_leader(Some(leader));
                    return Ok(Ok(leader));
                }
                Ok(Response::NotTransferred(why)) => return Ok(Err(why)),
                Ok(Response::Refused(Refusal::Unknown)) => in_doubt = Some(leader),
                // It did nothing: another leads, or will.
                Ok(Response::Refused(refusal)) => why = refusal.to_string(),
                Ok(_) => return Err(Error::Unknown),
                Err(lost) => {
                    in_doubt = Some(leader);
                    why = lost;
                }
            }
            pause_between_tries(deadline).await;
        }
        Err(if in_doubt.is_some() { Error::Unknown } else { Error::Refused(Refusal::Unavailable(why)) })
    }
}
