//! What became of the servers: each look is compared with the one before.
//!
//! PURE: no clock, no I/O. A look sees what was true at its moment; what begins and ends between two is not seen.

use std::collections::BTreeMap;

use catalog_client::{Revision, protocol::Status};
use serde::Serialize;

/// The servers at one moment.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// The replicas with what those that answer say of themselves.
    pub replicas: Vec<(String, Option<Status>)>,
    /// The order servers and whether they answer.
    pub orders: Vec<(String, bool)>,
    /// Who leads, if it answers.
    pub leader: Option<String>,
    /// Whether the stream of changes is live.
    pub stream: bool,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// When it was seen: milliseconds since the front end began.
    pub at_ms: u64,
    /// To whom.
    pub node: String,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened. Numbers are those of log entries and milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum What {
    /// It no longer answers.
    Down {
        /// Whether it led.
        led: bool,
    },
    /// It answers again.
    Up {
        /// How long it did not.
        after_ms: u64,
        /// How many entries of the log it has still to apply.
        behind: u64,
    },
    /// It has applied what had been committed when it came back.
    CaughtUp {
        /// How many entries those were.
        entries: u64,
        /// How long that took.
        after_ms: u64,
    },
    /// It leads.
    Elected {
        /// In this term.
        term: u64,
        /// How long nobody had led, if that was seen.
        after_ms: Option<u64>,
    },
    /// It has a new snapshot.
    Snapshot {
        /// Of the state at this revision.
        revision: Revision,
    },
    /// The voters of the group are others than before.
    Voters {
        /// Their ids.
        voters: Vec<u64>,
    },
    /// The stream of changes broke.
    StreamCut,
    /// The stream of changes goes on.
    StreamLive,
}

/// The name under which the front end's own stream is told.
const STREAM: &str = "stream";

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Timeline {
    replicas: BTreeMap<String, Replica>,
    orders: BTreeMap<String, Seen>,
    leader: Option<(String, u64)>,
    /// Since when nobody leads.
    leaderless: Option<u64>,
    voters: Vec<u64>,
    stream: Seen,
}

#[derive(Debug, Default)]
struct Seen {
    /// Once it has answered for the first time.
    live: Option<bool>,
    changed_ms: u64,
}

#[derive(Debug, Default)]
struct Replica {
    seen: Seen,
    led: bool,
    snapshot: Option<Revision>,
    catching_up: Option<CatchUp>,
}

#[derive(Debug, Clone, Copy)]
struct CatchUp {
    from: Revision,
    target: Revision,
    since_ms: u64,
}

impl Seen {
    /// For how long it was otherwise, if it has changed. The first time that it answers is no change.
    fn change(&mut self, now_ms: u64, live: bool) -> Option<u64> {
        let before = self.live;
        if before == Some(live) || (before.is_none() && !live) {
            return None;
        }
        let since = std::mem::replace(&mut self.changed_ms, now_ms);
        self.live = Some(live);
        before.map(|_| now_ms - since)
    }
}

impl Timeline {
    /// What has happened up to this look.
    pub fn observe(&mut self, now_ms: u64, look: &Look) -> Vec<Event> {
        let mut events = Vec::new();
        let mut tell = |node: &str, what: What| events.push(Event { at_ms: now_ms, node: node.to_owned(), what });
        let committed = look.replicas.iter().filter_map(|(_, status)| Some(status.as_ref()?.committed)).max();
        for (name, status) in &look.replicas {
            let replica = self.replicas.entry(name.clone()).or_default();
            replica.observe(now_ms, status.as_ref(), committed.unwrap_or(0), |what| tell(name, what));
        }
        for (name, live) in &look.orders {
            if let Some(after_ms) = self.orders.entry(name.clone()).or_default().change(now_ms, *live) {
                tell(name, if *live { What::Up { after_ms, behind: 0 } } else { What::Down { led: false } });
            }
        }
        self.observe_leader(now_ms, look, &mut tell);
        if self.stream.change(now_ms, look.stream).is_some() {
            tell(STREAM, if look.stream { What::StreamLive } else { What::StreamCut });
        }
        events
    }

    fn observe_leader(&mut self, now_ms: u64, look: &Look, tell: &mut impl FnMut(&str, What)) {
        let status_of = |name: &String| look.replicas.iter().find(|(node, _)| node == name)?.1.as_ref();
        // Who is said to lead does so once it says so itself: its term is that of its election.
        let leader = look.leader.as_ref().and_then(|name| Some((name, status_of(name)?)));
        let Some((name, status)) = leader.filter(|(_, status)| status.role == "leader") else {
            if self.leader.is_some() {
                self.leaderless.get_or_insert(now_ms);
            }
            return;
        };
        let now = (name.clone(), status.term);
        let after_ms = self.leaderless.take().map(|since| now_ms - since);
        match &self.leader {
            Some(before) if *before == now => {}
            // A front end that has just begun has not seen an election.
            None => self.leader = Some(now),
            Some(_) => {
                tell(name, What::Elected { term: status.term, after_ms });
                self.leader = Some(now);
            }
        }
        if self.voters != status.voters {
            if !self.voters.is_empty() {
                tell(name, What::Voters { voters: status.voters.clone() });
            }
            self.voters.clone_from(&status.voters);
        }
    }
}

impl Replica {
    fn observe(&mut self, now_ms: u64, status: Option<&Status>, committed: Revision, mut tell: impl FnMut(What)) {
        let changed = self.seen.change(now_ms, status.is_some());
        let Some(status) = status else {
            if changed.is_some() {
                tell(What::Down { led: self.led });
            }
            (self.led, self.catching_up) = (false, None);
            return;
        };
        if let Some(after_ms) = changed {
            let (from, target) = (status.applied, committed.max(status.applied));
            tell(What::Up { after_ms, behind: target - from });
            self.catching_up = Some(CatchUp { from, target, since_ms: now_ms });
        }
        if let Some(CatchUp { from, target, since_ms }) = self.catching_up
            && status.applied >= target
        {
            self.catching_up = None;
            if target > from {
                tell(What::CaughtUp { entries: target - from, after_ms: now_ms - since_ms });
            }
        }
        if self.snapshot.is_some_and(|before| status.snapshot > before) {
            tell(What::Snapshot { revision: status.snapshot });
        }
        self.snapshot = Some(status.snapshot);
        self.led = status.role == "leader";
    }
}

#[cfg(test)]
mod tests;
