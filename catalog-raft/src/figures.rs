//! What a replica counts, wherever it happens: one for each replica, shared by all its rooms. How it is told is
//! `metrics.rs`'s. Must not know what is done with the counts.

mod stages;

use catalog_client::protocol::Refusal;
use metrics::{Histogram, Kinds, Level};

pub use stages::{Micros, Point, Stages};

/// Why requests were refused.
const REASONS: [&str; 5] = ["not-leader", "overloaded", "unavailable", "outcome-unknown", "invalid"];

/// Counts since the start, and what there is now.
#[derive(Debug)]
pub struct Figures {
    /// Where the time of an entry goes.
    pub stages: Stages,
    /// Commands in each entry that this replica proposed.
    pub commands: Histogram,
    /// Those who follow the changes.
    pub watchers: Level,
    /// Connections of servers, whatever for.
    pub peers: Level,
    /// Connections of HTTP clients.
    pub clients: Level,
    /// Requests of servers that were refused.
    pub refusals: Kinds<{ REASONS.len() }>,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            stages: Stages::default(),
            commands: Histogram::sizes(),
            watchers: Level::default(),
            peers: Level::default(),
            clients: Level::default(),
            refusals: Kinds::new(REASONS),
        }
    }
}

impl Figures {
    /// Counts a request of a server that was refused.
    pub fn refused(&self, refusal: &Refusal) {
        let which = match refusal {
            Refusal::NotLeader { .. } => 0,
            Refusal::Overloaded => 1,
            Refusal::Unavailable(_) => 2,
            Refusal::Unknown => 3,
            Refusal::Invalid(_) => 4,
        };
        self.refusals.one(which);
    }
}
