//! A request's way to the leader: who leads, as far as answers have told, redirects, pauses, and when to stop
//! waiting for a replica that holds the request and says nothing.
//!
//! Must not know what the request does: only whether a try may have reached a leader.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::{Error, Shared, connection::NotSent, millis_until, pause_between_tries};
use crate::{
    CommandId, NodeId,
    mutant::Mutant,
    protocol::{Refusal, Request, Response, Status},
};

/// How long an attempt to connect may hold up a request that could go elsewhere.
const CONNECT_PATIENCE: Duration = Duration::from_millis(300);
/// When a request has been with a replica for so long, it is asked for whether another leads by now.
const SUSPICIOUS: Duration = Duration::from_millis(300);
/// The pause between two such questions.
const PROBE_PAUSE: Duration = Duration::from_millis(100);
/// Redirects that are followed without a pause.
const MAX_HOPS: u32 = 3;

/// Who leads, as far as answers have told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Leadership {
    /// The highest term that a replica has reported.
    term: u64,
    /// The leader of that term.
    elected: Option<NodeId>,
    /// Where to go first: the elected one, or one that an answer has named since.
    leader: Option<NodeId>,
}

impl Shared {
    pub(super) fn leader(&self) -> Option<NodeId> {
        self.leadership.borrow().leader
    }

    /// Takes note of a leader that an answer has named, without its term.
    pub(super) fn set_leader(&self, leader: Option<NodeId>) {
        self.leadership.send_if_modified(|known| {
            let changed = known.leader != leader;
            known.leader = leader;
            changed
        });
    }

    /// Takes note of what a replica says about leadership; old news is ignored.
    pub(super) fn learn_leader(&self, status: &Status) {
        self.leadership.send_if_modified(|known| {
            let before = *known;
            if status.term > known.term {
                *known = Leadership { term: status.term, elected: status.leader, leader: status.leader };
            } else if status.term == known.term && status.leader.is_some() && status.leader != known.elected {
                known.elected = status.leader;
                known.leader = status.leader;
            }
            *known != before
        });
    }
}

/// Has the leader answer `request`, which is sent again to whoever may lead until `deadline`. The answer is never
/// a refusal.
///
/// # Errors
/// [`Error::Refused`] only when no try can have taken effect; else [`Error::Unknown`].
pub(super) async fn ask(shared: &Shared, request: &mut Request, deadline: Instant) -> Result<Response, Error> {
    let mut pursuit = Pursuit::new(shared, deadline);
    while Instant::now() < deadline {
        set_wait(request, millis_until(deadline));
        let begun = Instant::now();
        let tried = pursuit.attempt(request).await;
        if let Request::Submit { .. } = request {
            let answered = matches!(tried, Tried::Answered(Response::Submitted { .. }));
            shared.deliveries.tried(begun.elapsed(), answered);
        }
        match pursuit.judge(tried) {
            Next::Done(result) => return result,
            Next::Now(target) => pursuit.target = target,
            Next::AfterPause(target) => {
                pause_between_tries(deadline).await;
                pursuit.resume(target);
            }
        }
        if Mutant::RetryUnderNewId.is_on()
            && let Request::Submit { commands, .. } = request
        {
            commands.iter_mut().for_each(|command| command.id = CommandId::new());
        }
    }
    Err(pursuit.out_of_time())
}

fn set_wait(request: &mut Request, wait: u32) {
    match request {
        Request::Submit { wait_ms, .. } | Request::Read { wait_ms, .. } | Request::ReadIndex { wait_ms } => {
            *wait_ms = wait;
        }
        Request::Status
        | Request::Members { .. }
        | Request::ChangeMembers { .. }
        | Request::Snapshot
        | Request::TransferLeader { .. } => {}
    }
}

struct Pursuit<'a> {
    shared: &'a Shared,
    deadline: Instant,
    /// The replica to try, as an index.
    target: usize,
    /// Whether a try that had no answer may have reached a leader.
    maybe_reached: bool,
    hops: u32,
    /// Replicas in a row that were not reached.
    missed: usize,
    /// The replica that was not reached last.
    unreached: Option<usize>,
    why: String,
}

/// What became of one try.
enum Tried {
    Answered(Response),
    NotReached(String),
    TooLong(NotSent),
    /// It was sent, and the connection broke.
    Lost,
    /// It was sent, and another replica leads by now.
    Superseded(usize),
    OutOfTime,
}

enum Next {
    Done(Result<Response, Error>),
    Now(usize),
    AfterPause(usize),
}

impl<'a> Pursuit<'a> {
    fn new(shared: &'a Shared, deadline: Instant) -> Self {
        let leader = shared.leader().and_then(|id| shared.index_of(id));
        Self {
            shared,
            deadline,
            target: leader.unwrap_or_else(|| shared.links.turn(shared.turn())),
            maybe_reached: false,
            hops: 0,
            missed: 0,
            unreached: None,
            why: "no leader was found".to_owned(),
        }
    }

    async fn attempt(&mut self, request: &Request) -> Tried {
        let link = self.shared.links.at(self.target);
        let patience = self.deadline.min(Instant::now() + CONNECT_PATIENCE);
        let connection = match timeout_at(patience, link.open()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(why)) => return Tried::NotReached(why.to_string()),
            Err(_) => return Tried::NotReached("it does not answer".to_owned()),
        };
        let term = self.shared.leadership.borrow().term;
        let mut pending = match connection.send(request) {
            Ok(pending) => pending,
            Err(error @ NotSent::TooLong(_)) => return Tried::TooLong(error),
            Err(error) => return Tried::NotReached(error.to_string()),
        };
        tokio::select! {
            biased;
            answer = pending.answer() => answer.map_or(Tried::Lost, Tried::Answered),
            leader = self.superseded(term) => Tried::Superseded(leader),
            () = sleep_until(self.deadline) => Tried::OutOfTime,
        }
    }

    /// Returns when another replica than the target is known to have been elected in `term` or later. That may
    /// prove to be old news; then the request has come back to where it was, under the same ids.
    async fn superseded(&self, term: u64) -> usize {
        sleep(SUSPICIOUS).await;
        let mut leadership = self.shared.leadership.subscribe();
        loop {
            self.shared.hurry.notify_waiters();
            // Changed or not, it is looked at again.
            drop(timeout(PROBE_PAUSE, leadership.changed()).await);
            let known = *leadership.borrow_and_update();
            match known.elected.and_then(|id| self.shared.index_of(id)) {
                Some(leader) if known.term >= term && leader != self.target => return leader,
                _ => {}
            }
        }
    }

    fn judge(&mut self, tried: Tried) -> Next {
        if !matches!(tried, Tried::NotReached(_)) {
            self.missed = 0;
            self.unreached = self.unreached.filter(|unreached| *unreached != self.target);
        }
        match tried {
            Tried::Answered(Response::Refused(refusal)) => self.refused(refusal),
            Tried::Answered(response) => {
                self.shared.set_leader(Some(self.shared.links.at(self.target).peer.id));
                Next::Done(Ok(response))
            }
            Tried::NotReached(why) => {
                self.why = format!("{}: {why}", self.shared.links.at(self.target).peer.name);
                self.unreached = Some(self.target);
                self.missed += 1;
                let all_missed = self.missed.is_multiple_of(self.shared.links.count());
                if all_missed { Next::AfterPause(self.other()) } else { Next::Now(self.other()) }
            }
            Tried::TooLong(error) => Next::Done(Err(self.fail(Refusal::Invalid(error.to_string())))),
            Tried::Lost => {
                self.maybe_reached = true;
                Next::AfterPause(self.target)
            }
            Tried::Superseded(leader) => {
                self.maybe_reached = true;
                Next::Now(leader)
            }
            Tried::OutOfTime => {
                self.maybe_reached = true;
                Next::Done(Err(Error::Unknown))
            }
        }
    }

    fn refused(&mut self, refusal: Refusal) -> Next {
        match refusal {
            Refusal::NotLeader { leader } => self.redirected(leader),
            Refusal::Unavailable(why) => {
                self.why = why;
                Next::AfterPause(self.other())
            }
            Refusal::Overloaded if self.maybe_reached => Next::AfterPause(self.target),
            Refusal::Unknown => {
                self.maybe_reached = true;
                Next::AfterPause(self.target)
            }
            refusal @ (Refusal::Overloaded | Refusal::Invalid(_)) => Next::Done(Err(self.fail(refusal))),
        }
    }

    fn redirected(&mut self, leader: Option<NodeId>) -> Next {
        let named = leader.and_then(|id| self.shared.index_of(id));
        if leader.is_some() && named.is_none() {
            // One that has joined since: ask at once who belongs to the group.
            self.shared.hurry.notify_waiters();
        }
        // A replica that is told to lead and says that it does not, or one that has just not been reached, is no
        // leader to go to: the news is old.
        let Some(named) = named.filter(|named| *named != self.target && Some(*named) != self.unreached) else {
            if self.shared.leader() == Some(self.shared.links.at(self.target).peer.id) {
                self.shared.set_leader(None);
            }
            return Next::AfterPause(self.other());
        };
        self.shared.set_leader(leader);
        self.hops += 1;
        if self.hops.is_multiple_of(MAX_HOPS + 1) { Next::AfterPause(named) } else { Next::Now(named) }
    }

    /// The replica after the target.
    fn other(&self) -> usize {
        self.shared.links.after(self.target)
    }

    /// Goes on after a pause: at the leader, if another has become known meanwhile.
    fn resume(&mut self, target: usize) {
        let leader = self.shared.leader().and_then(|id| self.shared.index_of(id));
        self.target = match leader {
            Some(leader) if leader != self.target && Some(leader) != self.unreached => leader,
            _ => target,
        };
    }

    fn fail(&self, refusal: Refusal) -> Error {
        if self.maybe_reached { Error::Unknown } else { Error::Refused(refusal) }
    }

    fn out_of_time(self) -> Error {
        let why = Refusal::Unavailable(self.why.clone());
        self.fail(why)
    }
}
