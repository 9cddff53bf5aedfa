//! Write-back: which items differ from their rows on disk, and when their rows are written.
//!
//! An item that only sells needs no row of its own for each sale: the ledger has the sale, in the same write. So a row on
//! disk may be older than its item. What it lacks are exactly the orders after the row's version, and all of them stand
//! in the ledger at or above the horizon ([`super::dedup`]), where a start reads the ledger anyway, for what it remembers:
//!
//! * Whatever changes an item and is no order writes its row, with all sales up to there.
//! * A row that lacks a sale at a revision is written in the very entry by which the horizon passes that revision.
//!
//! A shop of 100,000 items that all sell writes about an eighth of the rows that it would write otherwise, and a database pays by
//! the row: each is logged, kept, and sorted among the others. This is the redo of ARIES (Mohan et al., 1992): the ledger is
//! the log, an item's row is a page, its version is the page's LSN, and what the log has beyond that is done again.
//! Must not know what rows are made of.

use std::collections::VecDeque;

use catalog_client::{ItemNumber, Revision};

/// The items whose rows lack sales, by the first revision that the row lacks.
#[derive(Debug, Default)]
pub(super) struct WriteBack {
    /// Items whose rows were written meanwhile stand here too.
    dirty: VecDeque<(Revision, ItemNumber)>,
}

impl WriteBack {
    /// Notes that the row of an item lacks what was sold at `revision`, the newest one, and nothing before.
    pub fn lacks(&mut self, revision: Revision, item_number: ItemNumber) {
        debug_assert!(self.dirty.back().is_none_or(|(last, _)| *last <= revision), "sales come in order");
        self.dirty.push_back((revision, item_number));
    }

    /// The next item that stands here since before the horizon, and since when. Its row is due if it still lacks what
    /// it lacked then.
    pub fn next_before(&mut self, horizon: Revision) -> Option<(Revision, ItemNumber)> {
        let is_before = self.dirty.front().is_some_and(|(since, _)| *since < horizon);
        if is_before { self.dirty.pop_front() } else { None }
    }

    /// Puts those that were noted order by order in the order in which they are noted entry by entry, so that a replica that
    /// was started anew writes what others do, and gives all.
    pub fn sorted(&mut self) -> &[(Revision, ItemNumber)] {
        let dirty = self.dirty.make_contiguous();
        dirty.sort_unstable();
        dirty
    }
}
