//! Which refusals are worth a line in the log: whoever is refused comes back with each heartbeat, twenty times a second.
//!
//! Must not know why anything is refused.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The same refusal is told again after so long.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Refusals that are remembered; the one told longest ago makes way.
const REMEMBERED: usize = 16;

/// What was told lately.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<Vec<Told>>);

#[derive(Debug)]
struct Told {
    sender: String,
    reason: String,
    at: Instant,
}

impl Refusals {
    /// Whether the refusal is to be told now: then it counts as told.
    pub fn is_news(&self, sender: &str, reason: &str, now: Instant) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|told| now.saturating_duration_since(told.at) < AGAIN_AFTER);
        if told.iter().any(|told| told.sender == sender && told.reason == reason) {
            return false;
        }
        if told.len() >= REMEMBERED {
            told.remove(0);
        }
        told.push(Told { sender: sender.to_owned(), reason: reason.to_owned(), at: now });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_comes_back_with_each_heartbeat_is_told_of_every_ten_seconds() {
        let (refusals, begun) = (Refusals::default(), Instant::now());
        let heartbeat = Duration::from_millis(50);
        let told = |beat: &u32| refusals.is_news("catalog-1", "this is replica 4, not 1", begun + heartbeat * *beat);
        assert_eq!((0..500).filter(told).collect::<Vec<_>>(), [0, 200, 400]);
        assert!(refusals.is_news("catalog-2", "this is replica 4, not 1", begun + heartbeat * 500));
        assert!(refusals.is_news("catalog-1", "this is cluster a, not b", begun + heartbeat * 500));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        assert!((0..1000).all(|n| refusals.is_news(&format!("stranger-{n}"), "not here", now)));
        assert_eq!(refusals.0.lock().unwrap().len(), REMEMBERED);
        assert!(!refusals.is_news("stranger-999", "not here", now));
        assert!(refusals.is_news("stranger-0", "not here", now), "it has made way");
    }
}
