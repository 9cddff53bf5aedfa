//! What a read may be answered from: the position, the floor, and the proof of freshness.
//!
//! PURE: no tokio, no clock, no I/O; times are passed in. Owns the numbers and the rules over them. Must not know
//! the cache's entries, nor how a replica is asked.
//!
//! The promise (per item, through this front end): a default read is never older than a write of the item that was
//! acknowledged here, nor than anything that was answered here about the item, before the read began; and older
//! than a write made elsewhere by at most the freshness bound. Why it holds:
//!
//! 1. *A hit.* Every entry is what its view holds at all revisions from its fill up to `position` (`cache`).
//!    * What was answered earlier out of a replica's state `r` was held until `position >= r`, or `unused_until` was
//!      raised to `r` first; a hit needs `position >= unused_until`. So the entry is at least as new as `r`.
//!    * What was answered earlier out of the cache was true up to a position at most today's: the same.
//!    * An outcome decided at `w`, an acknowledgement or a refusal, told of items that may have changed up to `w`,
//!      which may be beyond the position. Before it is sent, every key that shows such an item is
//!      invalidated at `w`; what fills them again was read at `w` or later.
//!    * `proven` is a moment `t` such that a ReadIndex asked at `t` gave an `R <= position`: the entry shows all
//!      that was acknowledged anywhere before `t`, and `t` lies at most the bound in the past.
//! 2. *A miss* asks for `max(position, floor, X-Min-Revision)`. `floor` is at least every revision at which
//!    anything was acknowledged or answered here, raised before each answer is sent; `position` covers the hits and
//!    the proof. Who joins a call under way joins only one that asked for at least as much as it would ask itself.
//! 3. *Without proof of freshness* a read asks for a ReadIndex revision of its own, made after it began, as well.
//!
//! All numbers only grow. Each is stored before the answer that depends on it is sent, so whoever begins a read
//! after that answer sees it; `position` is stored after the cache has applied what it covers.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use catalog_client::{Revision, mutant::Mutant};

/// Microseconds since the front end's own beginning.
pub type Micros = u64;

/// What a default read may be answered from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The cache, if it has the entry.
    Cache,
    /// A replica: the cache is not as far as it must be.
    Replica,
    /// A replica, at a ReadIndex revision: nothing proves that the cache is fresh.
    Linearizable,
}

/// The numbers. Shared by all requests; none of them ever falls.
#[derive(Debug)]
pub struct Coherence {
    /// Every change up to here has been applied to the cache.
    position: AtomicU64,
    /// The greatest revision acknowledged or answered here.
    floor: AtomicU64,
    /// No hit until the position is here.
    unused_until: AtomicU64,
    /// The moment as of which the position is proven fresh, plus one; 0 before the first proof.
    proven: AtomicU64,
    bound: Micros,
}

impl Coherence {
    /// Nothing known, nothing proven. `bound` is how old a default read may be.
    pub fn new(bound: Micros) -> Self {
        Self {
            position: AtomicU64::new(0),
            floor: AtomicU64::new(0),
            unused_until: AtomicU64::new(0),
            proven: AtomicU64::new(0),
            bound,
        }
    }

    /// Every change up to here has been applied to the cache.
    pub fn position(&self) -> Revision {
        self.position.load(SeqCst)
    }

    /// The greatest revision acknowledged or answered here.
    pub fn floor(&self) -> Revision {
        self.floor.load(SeqCst)
    }

    /// What a read that begins at `now` may be answered from.
    pub fn verdict(&self, now: Micros, min_revision: Revision) -> Verdict {
        if !self.is_fresh(now) {
            return Verdict::Linearizable;
        }
        // The bar is loaded before the position: one that is raised in between belongs to an answer not yet sent.
        let bar = self.unused_until.load(SeqCst).max(min_revision);
        if self.position() < bar { Verdict::Replica } else { Verdict::Cache }
    }

    /// The least revision that a read which begins now must be answered from.
    pub fn need(&self, min_revision: Revision) -> Revision {
        self.position().max(self.floor()).max(min_revision)
    }

    /// Whether the position is proven to be at most the bound old.
    pub fn is_fresh(&self, now: Micros) -> bool {
        if Mutant::FreshnessIgnored.is_on() {
            return self.proven.load(SeqCst) > 0;
        }
        match self.proven.load(SeqCst).checked_sub(1) {
            Some(proven) => now.saturating_sub(proven) <= self.bound,
            None => false,
        }
    }

    /// How long before `now` the position was last proven fresh; `None` before the first proof.
    pub fn proof_age(&self, now: Micros) -> Option<Micros> {
        Some(now.saturating_sub(self.proven.load(SeqCst).checked_sub(1)?))
    }

    /// The cache has applied every change up to `upto`.
    pub fn advance(&self, upto: Revision) {
        self.position.fetch_max(upto, SeqCst);
    }

    /// Something decided or read at `revision` is about to be answered.
    pub fn raise_floor(&self, revision: Revision) {
        self.floor.fetch_max(revision, SeqCst);
    }

    /// Something read at `revision` is about to be answered although the position is not there.
    pub fn answer_beyond(&self, revision: Revision) {
        self.unused_until.fetch_max(revision, SeqCst);
    }

    /// A ReadIndex asked at `asked` gave `index`. Returns whether that proves the position fresh as of then.
    pub fn prove(&self, asked: Micros, index: Revision) -> bool {
        let proves = self.position() >= index;
        if proves {
            self.proven.fetch_max(asked + 1, SeqCst);
        }
        proves
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_fresh_before_the_first_proof() {
        let coherence = Coherence::new(1000);
        assert_eq!(coherence.verdict(0, 0), Verdict::Linearizable);
    }

    #[test]
    fn freshness_counts_from_the_moment_of_asking() {
        let coherence = Coherence::new(1000);
        assert!(!coherence.prove(50, 7), "the position is not there yet");
        coherence.advance(7);
        assert!(coherence.prove(50, 7));
        assert_eq!(coherence.verdict(1050, 0), Verdict::Cache);
        assert_eq!(coherence.verdict(1051, 0), Verdict::Linearizable);
        assert!(coherence.prove(20, 7), "a late answer to an earlier question takes nothing back");
        assert!(coherence.is_fresh(1050));
    }

    #[test]
    fn a_hit_waits_for_the_position() {
        let coherence = Coherence::new(1000);
        coherence.advance(5);
        assert!(coherence.prove(0, 5));
        assert_eq!(coherence.verdict(1, 6), Verdict::Replica);
        coherence.answer_beyond(8);
        assert_eq!(coherence.verdict(1, 0), Verdict::Replica);
        coherence.advance(8);
        assert_eq!(coherence.verdict(1, 6), Verdict::Cache);
    }

    #[test]
    fn a_miss_asks_for_all_that_is_known() {
        let coherence = Coherence::new(1000);
        coherence.advance(5);
        assert_eq!(coherence.need(0), 5);
        coherence.raise_floor(9);
        assert_eq!((coherence.need(0), coherence.need(11)), (9, 11));
    }
}
