//! Writes: each gets its command, goes to an order server or to the leader, and makes way in the cache for its
//! outcome before that is answered.
//!
//! Must not know HTTP.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use catalog_client::{
    Action, Command, ItemNumber, Line, Revision,
    batch::{Batcher, Limits, NoResult},
    client::{self, Catalog},
    protocol::Refusal,
};
use order_client::{NotPlaced, Orders, Placed, view::Key};
use tokio::time::Instant;

use crate::{
    invalidation::{items_named_by, items_told_of, tells_of_items},
    state::State,
};

/// Commands in one request to the leader, by their weight.
const BATCH: usize = 1024;
/// Requests to the leader under way.
const IN_FLIGHT: usize = 2;

/// What became of a write.
pub type Decided = Result<Placed, NotPlaced>;

/// Carries writes out. One for the process.
#[derive(Debug)]
pub struct Writes {
    orders: Orders,
    changes: Batcher<Command, Placed, client::Error>,
    state: Arc<State>,
}

impl Writes {
    /// `queue`: changes of items that may wait. Must be made within a tokio runtime.
    pub fn new(catalog: Catalog, orders: Orders, state: Arc<State>, queue: usize) -> Self {
        let limits = Limits { queued: queue, batch: BATCH, in_flight: IN_FLIGHT, gather: false, few: 0 };
        let changes = Batcher::new(limits, move |commands, deadline| {
            let catalog = catalog.clone();
            async move {
                let submitted = catalog.submit(commands, deadline).await?;
                let placed = |answer| Placed { leader: submitted.leader, answer };
                Ok(submitted.answers.into_iter().map(placed).collect())
            }
        });
        Self { orders, changes, state }
    }

    /// How many changes of items wait.
    pub fn changes_queued(&self) -> usize {
        self.changes.queued()
    }

    /// The order service.
    pub fn orders(&self) -> &Orders {
        &self.orders
    }

    /// Has `action` decided under `key`. What its outcome tells of is out of the cache when this returns.
    ///
    /// # Errors
    /// [`NotPlaced`] says whether it may have taken effect.
    pub async fn decide(&self, action: Action, key: &Key, deadline: Instant) -> Decided {
        if !self.state.wait_for_beginning(deadline).await {
            return Err(no_quorum_yet());
        }
        let born = self.state.coherence().need(0);
        let (named, is_order) = (items_named_by(&action), matches!(action, Action::PlaceOrder { .. }));
        let command = Command { id: key.id, origin: key.origin, born, action };
        let placed =
            if is_order { self.orders.place(command, deadline).await } else { self.change(command, deadline).await }?;
        let told = items_told_of(named, &placed.answer.outcome);
        self.state.answer(&told, placed.answer.version.revision);
        Ok(placed)
    }

    /// Has orders decided, each under its key and for itself. What their outcomes tell of is out of the cache when this
    /// returns.
    pub async fn decide_orders(&self, orders: Vec<(Key, Vec<Line>)>, deadline: Instant) -> Vec<(Key, Decided)> {
        if !self.state.wait_for_beginning(deadline).await {
            return orders.into_iter().map(|(key, _)| (key, Err(no_quorum_yet()))).collect();
        }
        let born = self.state.coherence().need(0);
        let commands = orders.iter().map(|(key, lines)| {
            let action = Action::PlaceOrder { lines: lines.clone() };
            Command { id: key.id, origin: key.origin, born, action }
        });
        let decided = self.orders.place_all(commands.collect(), deadline).await;
        self.make_way_of_all(&orders, &decided);
        orders.into_iter().map(|(key, _)| key).zip(decided).collect()
    }

    /// Takes no more, and returns when all that was taken has its outcome.
    pub async fn close(&self) {
        tokio::join!(self.orders.close(), self.changes.close());
    }

    /// One step of the cache for each revision, not for each order: an item's views go once.
    fn make_way_of_all(&self, orders: &[(Key, Vec<Line>)], decided: &[Decided]) {
        let mut told: BTreeMap<Revision, BTreeSet<ItemNumber>> = BTreeMap::new();
        for ((_, lines), decided) in orders.iter().zip(decided) {
            if let Ok(Placed { answer, .. }) = decided
                && tells_of_items(&answer.outcome)
            {
                told.entry(answer.version.revision).or_default().extend(lines.iter().map(|line| line.item_number));
            }
        }
        for (revision, items) in told {
            self.state.answer(&items.into_iter().collect::<Vec<_>>(), revision);
        }
    }

    async fn change(&self, command: Command, deadline: Instant) -> Result<Placed, NotPlaced> {
        let weight = command.action.weight();
        self.changes.run_weighing(weight, command, deadline).await.map_err(|no_result| match no_result {
            NoResult::Full => NotPlaced::Overloaded,
            NoResult::NotSent => NotPlaced::Unavailable("no leader with a quorum took it in time".to_owned()),
            NoResult::InFlight | NoResult::Failed(client::Error::Unknown) => NotPlaced::Unknown,
            NoResult::Failed(client::Error::Refused(refusal)) => not_placed(refusal),
            NoResult::Closed => NotPlaced::Unavailable("shutting down".to_owned()),
        })
    }
}

fn no_quorum_yet() -> NotPlaced {
    NotPlaced::Unavailable("no quorum of the catalog with its first items was found yet".to_owned())
}

fn not_placed(refusal: Refusal) -> NotPlaced {
    match refusal {
        Refusal::Overloaded => NotPlaced::Overloaded,
        Refusal::Unknown => NotPlaced::Unknown,
        Refusal::Unavailable(why) | Refusal::Invalid(why) => NotPlaced::Unavailable(why),
        Refusal::NotLeader { .. } => NotPlaced::Unavailable("no leader was found in time".to_owned()),
    }
}
