//! Follows the catalog's changes: one stream, resumed at another replica when it breaks.

use crate::{Event, NodeId, Revision, client::Catalog};

/// What a follower learns, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// A replica has accepted the stream.
    Connected {
        /// Which.
        replica: NodeId,
    },
    /// Everything that happened in `(prev, upto]`; `prev` is always the watch's position before.
    /// Without events it is a bookmark.
    Events {
        /// Where the stretch before ended.
        prev: Revision,
        /// Where this one ends: the new position.
        upto: Revision,
        /// In ascending order of revision.
        events: Vec<Event>,
    },
    /// The position is no longer kept. Call [`Watch::restart`] with a newer one before the next update.
    Compacted {
        /// The oldest revision that can be resumed from.
        oldest: Revision,
    },
    /// The stream broke; the next calls resume it at the same position elsewhere, after a pause.
    Disconnected {
        /// Which replica it was, or was tried.
        replica: NodeId,
        /// Why.
        reason: String,
    },
}

/// A stream of changes from a position on.
#[derive(Debug)]
pub struct Watch {
    catalog: Catalog,
    position: Option<Revision>,
}

impl Watch {
    /// Begins after `after`, or at the present of whichever replica answers first.
    pub fn new(catalog: Catalog, after: Option<Revision>) -> Self {
        Self { catalog, position: after }
    }

    /// Up to where everything has been seen.
    pub fn position(&self) -> Option<Revision> {
        self.position
    }

    /// Drops the stream and begins anew after `after`.
    pub fn restart(&mut self, after: Option<Revision>) {
        self.position = after;
    }

    /// The next update. May be dropped at any await and called again.
    pub async fn next(&mut self) -> Update {
        let _ = &self.catalog;
        todo!()
    }
}
