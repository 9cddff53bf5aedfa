//! The catalogue: what every replica makes of the same log. The only thing that decides.
//!
//! Owns the items, the count and hashes of the ledger, the window of remembered commands, and [`Catalog::apply`].
//! PURE: must not know tokio, openraft, RocksDB, a clock, or chance; equal logs give equal answers, equal rows and
//! equal hashes on every replica. What it decides is returned as data: answers, rows to write, an event for watchers.

mod dedup;
mod draft;
mod items;
mod orders;
mod pages;
mod restore;
pub mod rows;
mod search;
#[cfg(test)]
mod tests;
mod view;
mod writeback;

use std::{hint::black_box, io, sync::Arc};

use catalog_client::{
    Action, Answer, Command, Event, Item, KeyOrigin, Order, OrderId, Outcome, Revision, Version, mutant::Mutant,
};
use serde::{Deserialize, Serialize};

pub use dedup::{Limits, WINDOW, WINDOW_RECORDS};
pub use restore::Restore;
pub use view::View;

use dedup::Window;
use draft::Draft;
use orders::Body;
use rows::{DedupRecord, Hashes, Meta, Remembered, RowWrite};
use writeback::WriteBack;

/// What is stored under an item's number. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Row {
    /// The item.
    Live(Item),
    /// There was one. Its number is never given again.
    Withdrawn,
}

impl Row {
    /// The item, unless it is withdrawn.
    pub fn live(&self) -> Option<&Item> {
        match self {
            Self::Live(item) => Some(item),
            Self::Withdrawn => None,
        }
    }
}

/// The orders placed by all entries before the one that is being applied, also those not yet written to disk.
pub trait Ledger {
    /// The order of this id, if one was placed.
    ///
    /// # Errors
    /// The disk's. They end the process: the catalogue is then half-way through an entry.
    fn order(&self, id: OrderId) -> io::Result<Option<Arc<Order>>>;
}

const KEPT: &str = "a touched item has a row, and rows are never removed";

/// What became of one entry: all that is answered, written, and told.
#[derive(Debug)]
pub struct Applied {
    /// One a command, in order.
    pub answers: Vec<Answer>,
    /// What watchers are told; `None` when no item changed.
    pub event: Option<Event>,
    /// The orders that the entry placed, in order. They are among `rows`; the [`Ledger`] must know them from now on.
    pub placed: Vec<Arc<Order>>,
    /// To be written in this order, in one write with [`Catalog::meta`] and the applied log id. No key comes twice.
    pub rows: Vec<RowWrite>,
}

/// The catalogue at one revision.
#[derive(Debug)]
pub struct Catalog {
    view: View,
    window: Window,
    write_back: WriteBack,
    orders: u64,
    hashes: Hashes,
}

impl Default for Catalog {
    fn default() -> Self {
        Self::new()
    }
}

impl Catalog {
    /// An empty catalogue, at revision 0.
    pub fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    fn with_limits(limits: Limits) -> Self {
        let (window, write_back) = (Window::new(limits), WriteBack::default());
        Self { view: View::default(), window, write_back, orders: 0, hashes: Hashes::default() }
    }

    /// Applies the entry at `index`, proposed at `time_ms` (milliseconds since the Unix epoch, by the leader's clock).
    /// Every entry of the log comes here, in order; those of Raft's own have no commands.
    ///
    /// # Errors
    /// Those of the ledger. The catalogue must not be used after one.
    ///
    /// # Panics
    /// If `index` is not above the last one applied: applying twice would sell twice.
    pub fn apply(
        &mut self,
        index: Revision,
        time_ms: u64,
        commands: &[Command],
        ledger: &dyn Ledger,
    ) -> io::Result<Applied> {
        // The entry that founds a group stands at index 0 and carries no command: revision 0 before and after it.
        let founds = index == 0 && self.applied() == 0 && commands.is_empty();
        assert!(founds || index > self.applied(), "entry {index} after entry {} was applied", self.applied());
        self.look_ahead(commands);
        let mut draft = Draft::new(index, time_ms);
        let mut answers = Vec::with_capacity(commands.len());
        for (n, command) in (0..).zip(commands) {
            draft.version.n = n;
            answers.push(self.answer(&mut draft, command, ledger)?);
        }
        Ok(self.finish(draft, answers))
    }

    /// The revision: the index of the last entry applied.
    pub fn applied(&self) -> Revision {
        self.view.applied
    }

    /// The items, frozen as they are now.
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// The items as they are now, to read while no entry is applied.
    pub fn items(&self) -> &View {
        &self.view
    }

    /// How many orders the ledger has.
    pub fn orders(&self) -> u64 {
        self.orders
    }

    /// How many commands are remembered.
    pub fn remembered(&self) -> usize {
        self.window.len()
    }

    /// The hash over items, orders and dedup records: 32 hexadecimal digits.
    pub fn state_hash(&self) -> String {
        self.hashes.state_hash()
    }

    /// What is to be stored beside the rows.
    pub fn meta(&self) -> Meta {
        let remembered = self.window.len() as u64;
        Meta { horizon: self.window.horizon(), orders: self.orders, hashes: self.hashes, remembered }
    }

    /// Reads what the commands will need, and makes nothing of it. A shop of 100,000 items is out of the processor's cache, and
    /// so is the window: when one command at a time comes to memory, the others wait with it; here many are fetched at once.
    fn look_ahead(&self, commands: &[Command]) {
        let lines = commands.iter().filter_map(|command| match &command.action {
            Action::PlaceOrder { lines } => Some(lines),
            _ => None,
        });
        let seen = self.view.look_ahead(lines.flatten().map(|line| line.item_number));
        let known = commands.iter().filter(|command| self.window.get(command.id).is_some()).count();
        black_box((seen, known));
    }

    /// The answer to one command: the first one again, a refusal, or what becomes of it now.
    fn answer(&mut self, draft: &mut Draft, command: &Command, ledger: &dyn Ledger) -> io::Result<Answer> {
        let refuse = |outcome| Ok(Answer { version: draft.version, outcome });
        let body = Body::of(&command.action);
        if let Some((version, record)) = self.window.get(command.id)
            && !Mutant::DedupSkipped.is_on()
        {
            if record.fingerprint != body.fingerprint() {
                return refuse(Outcome::KeyReused);
            }
            let outcome = match &record.outcome {
                Remembered::Other(outcome) => (**outcome).clone(),
                Remembered::Placed => Outcome::Placed(placed(draft, command.id, *version, ledger)?),
            };
            return Ok(Answer { version: *version, outcome });
        }
        let expired = command.born < self.window.horizon();
        // The ledger's answer is not needed for an id that was made within the window: no order can be older than it.
        if (expired || command.origin == KeyOrigin::Client) && !Mutant::DedupSkipped.is_on() {
            match ledger.order(command.id)? {
                Some(order) if body.is_of(&order) => {
                    return Ok(Answer { version: order.version, outcome: Outcome::Placed(order) });
                }
                Some(_) => return refuse(Outcome::KeyReused),
                None => {}
            }
        }
        if expired {
            return refuse(Outcome::Expired);
        }
        // No honest edge knows a revision that is not yet committed. Executed now, such a command could be executed
        // again once its record is forgotten, for it would still not be expired.
        if command.born > draft.version.revision {
            return refuse(Outcome::Invalid);
        }
        let outcome = self.execute(draft, command, &body);
        if !Mutant::DedupSkipped.is_on() {
            self.remember(draft, command, &body, &outcome);
        }
        Ok(Answer { version: draft.version, outcome })
    }

    fn execute(&mut self, draft: &mut Draft, command: &Command, body: &Body) -> Outcome {
        let view = &mut self.view;
        match &command.action {
            Action::AddItem { item_number, title, topic, cost, quantity } => {
                items::add(view, draft, *item_number, title, topic, *cost, *quantity)
            }
            Action::ChangeItem { item_number, title, topic, cost, add_quantity, if_match } => {
                let change = items::ItemChange { title, topic, cost: *cost, add_quantity: *add_quantity };
                items::change(view, draft, *item_number, &change, *if_match)
            }
            Action::WithdrawItem { item_number, if_match } => items::withdraw(view, draft, *item_number, *if_match),
            Action::PlaceOrder { lines } => orders::place(view, draft, command.id, lines, body.lines()),
            Action::LoadItems { items } => items::load(view, draft, items),
            Action::ImportItems { items, existing } => items::import(view, draft, items, *existing),
        }
    }

    fn remember(&mut self, draft: &mut Draft, command: &Command, body: &Body, outcome: &Outcome) {
        let outcome = match outcome {
            Outcome::Placed(_) => Remembered::Placed,
            other => Remembered::Other(Box::new(other.clone())),
        };
        let record = DedupRecord { id: command.id, fingerprint: body.fingerprint(), outcome };
        if let Remembered::Other(_) = record.outcome {
            draft.others.push((draft.version.n, record.clone()));
        }
        let new = self.window.remember(draft.version, record);
        debug_assert!(new, "a remembered command is not executed");
    }

    /// Ends the entry: one change for each item that it touched, the rows of those that did more than sell, its orders, what
    /// it forgets, and the rows of items whose sales the ledger is about to be no longer read for.
    fn finish(&mut self, mut draft: Draft, answers: Vec<Answer>) -> Applied {
        let index = draft.version.revision;
        let (touched, rewritten) = (draft.take_touched(), draft.take_rewritten());
        let mut changes = Vec::with_capacity(touched.len());
        for (item_number, touched) in touched {
            let kept = self.view.kept_mut(item_number).expect(KEPT);
            let write = rows::put_item(item_number, &kept.row);
            changes.push(touched.change(item_number, &kept.row));
            let hash = write.hash();
            let before = std::mem::replace(&mut kept.hash, hash);
            self.hashes.items = self.hashes.items.wrapping_add(hash).wrapping_sub(before);
            if rewritten.binary_search(&item_number).is_ok() {
                kept.dirty_since = 0;
                draft.rows.push(write);
            } else if kept.dirty_since == 0 {
                kept.dirty_since = index;
                self.write_back.lacks(index, item_number);
            }
        }
        for write in rows::put_orders(&draft.placed) {
            self.hashes.orders = self.hashes.orders.wrapping_add(write.hash());
            draft.rows.push(write);
        }
        draft.rows.extend(draft.placed.iter().map(|order| rows::put_order_id(order)));
        self.orders += draft.placed.len() as u64;
        if !draft.others.is_empty() {
            let write = rows::put_dedup(index, &draft.others);
            let hash = write.hash();
            self.hashes.dedup = self.hashes.dedup.wrapping_add(hash);
            self.window.stored(index, hash);
            draft.rows.push(write);
        }
        for (revision, hash) in self.window.forget(index) {
            self.hashes.dedup = self.hashes.dedup.wrapping_sub(hash);
            draft.rows.push(rows::delete_dedup(revision));
        }
        while let Some((since, item_number)) = self.write_back.next_before(self.window.horizon()) {
            // Looked at first: to change it copies its page for whoever reads a frozen view.
            if self.view.kept(item_number).is_some_and(|kept| kept.dirty_since == since) {
                let kept = self.view.kept_mut(item_number).expect(KEPT);
                kept.dirty_since = 0;
                draft.rows.push(rows::put_item(item_number, &kept.row));
            }
        }
        self.view.applied = index;
        let event = (!changes.is_empty()).then_some(Event { revision: index, changes });
        Applied { answers, event, placed: draft.placed, rows: draft.rows }
    }
}

/// The order that was placed at `version`: by this very entry, or by one before.
fn placed(draft: &Draft, id: OrderId, version: Version, ledger: &dyn Ledger) -> io::Result<Arc<Order>> {
    if version.revision == draft.version.revision
        && let Ok(place) = draft.placed.binary_search_by_key(&version, |order| order.version)
    {
        return Ok(draft.placed[place].clone());
    }
    match ledger.order(id)? {
        Some(order) if order.version == version => Ok(order),
        _ => Err(rows::invalid(format!("the ledger lacks order {id}, which was placed at {version}"))),
    }
}
