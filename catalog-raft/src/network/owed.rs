//! Answers to entries that are still to be sent, and when they must be.
//!
//! Each commit that comes alone is owed an answer which says what the one before said. The leader learns nothing from it, and
//! by itself it would cost a message and a wake-up: so it waits for one that tells of entries.
//! PURE but for the type of its instants.

use std::time::Duration;

use bytes::BytesMut;
use catalog_client::frame::{encode, put_frame};
use tokio::time::Instant;

use super::wire::{Appended, kind};

/// How long an answer that says nothing new waits at most: far less than a leader's patience, much more than the next
/// entry takes under load.
const HELD: Duration = Duration::from_millis(20);

/// The answers of one connection.
#[derive(Debug)]
pub(super) struct Owed {
    bytes: BytesMut,
    told: Option<Appended>,
    due: Instant,
    hold: Duration,
}

impl Owed {
    /// To appends of entries.
    pub fn to_data() -> Self {
        Self { bytes: BytesMut::new(), told: None, due: Instant::now(), hold: HELD }
    }

    /// To heartbeats: that one comes is what it says, so none waits.
    pub fn to_heartbeats() -> Self {
        Self { hold: Duration::ZERO, ..Self::to_data() }
    }

    /// One answer more, in their order.
    pub fn add(&mut self, answer: Appended, now: Instant) {
        if self.bytes.is_empty() {
            self.due = now + self.hold;
        }
        put_frame(&mut self.bytes, kind::APPENDED, &encode(&answer));
        if self.told.as_ref() != Some(&answer) {
            (self.told, self.due) = (Some(answer), now);
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// When what there is must be sent.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// All of them, as frames.
    pub fn take(&mut self) -> BytesMut {
        self.bytes.split()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::codec::StoredLogId;

    fn matching(index: u64) -> Appended {
        Appended::Matching(Some(StoredLogId { term: 1, index }))
    }

    /// How many answers there are in what is to be sent.
    fn count(mut bytes: BytesMut) -> usize {
        std::iter::from_fn(|| catalog_client::frame::take_frame(&mut bytes).unwrap()).count()
    }

    #[test]
    fn what_says_nothing_new_waits_for_what_does_but_not_for_ever() {
        let (mut owed, now) = (Owed::to_data(), Instant::now());
        owed.add(matching(1), now);
        assert_eq!((owed.due(), count(owed.take())), (now, 1), "the first is news");
        owed.add(matching(1), now);
        owed.add(matching(1), now + HELD / 2);
        assert_eq!(owed.due(), now + HELD, "the first that waits says how long");
        owed.add(matching(2), now + HELD / 2);
        assert_eq!((owed.due(), count(owed.take())), (now + HELD / 2, 3), "all go with the one that is news");
        owed.add(Appended::Conflict(StoredLogId { term: 1, index: 2 }), now);
        assert_eq!(owed.due(), now);
    }

    #[test]
    fn no_heartbeat_waits_for_its_answer() {
        let (mut owed, now) = (Owed::to_heartbeats(), Instant::now());
        for _ in 0..3 {
            owed.add(matching(1), now);
            assert_eq!((owed.due(), count(owed.take())), (now, 1));
        }
    }
}
