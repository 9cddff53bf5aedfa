//! Commands, their outcomes, items, orders, and changes: the words that every server of the store shares.
//!
//! Enums here are stored in the Raft log and sent on the wire: **append variants and fields only at the end**,
//! and raise the format versions (`frame::VERSION`, the storage format) when the meaning of bytes changes.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

mod command_id;
mod text;

pub use command_id::{CommandId, InvalidKey, KeyOrigin};

/// The Raft log index of the last applied entry: the only clock of the system.
pub type Revision = u64;
/// The number of an item, from 1 to [`MAX_NUMBER`].
pub type ItemNumber = u64;
/// The id of a replica in its Raft group; never used again once removed.
pub type NodeId = u64;
/// An order is known by the id of the command that placed it.
pub type OrderId = CommandId;

/// The greatest item number, cost and stock: integers up to here survive every JSON reader.
pub const MAX_NUMBER: u64 = 1 << 53;
/// The most lines that an order may have.
pub const MAX_LINES: usize = 100;
/// The most rows that an import may have.
pub const MAX_IMPORT: usize = 1_000;
/// The most rows that a refused import names.
pub const MAX_NAMED_ROWS: usize = 100;
/// The longest topic, in bytes.
pub const MAX_TOPIC: usize = 256;
/// The longest title, in bytes.
pub const MAX_TITLE: usize = 1024;

/// One thing to do to the catalogue. Made at the edge, carried unchanged through every retry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Its identity; a repeated id gets the first outcome.
    pub id: CommandId,
    /// Who made the id.
    pub origin: KeyOrigin,
    /// The revision at which the id was made. Older than the dedup window: refused as [`Outcome::Expired`],
    /// unless the ledger knows the id.
    pub born: Revision,
    /// What to do.
    pub action: Action,
}

/// What a command does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Adds an item under its number, or under the next free one.
    AddItem {
        /// The number asked for; `None` takes the smallest above all ever given.
        item_number: Option<ItemNumber>,
        /// The title.
        title: Arc<str>,
        /// The topic.
        topic: Arc<str>,
        /// Unit price.
        cost: u64,
        /// Units in stock.
        quantity: u64,
    },
    /// Changes an item, all of it or nothing. A change of stock by a delta is `add_quantity` alone.
    ChangeItem {
        /// Which.
        item_number: ItemNumber,
        /// New title.
        title: Option<Arc<str>>,
        /// New topic.
        topic: Option<Arc<str>>,
        /// New cost.
        cost: Option<u64>,
        /// Delta of the stock.
        add_quantity: Option<i64>,
        /// Only if the item's last change is this one.
        if_match: Option<Version>,
    },
    /// Withdraws an item. Its number is never given again.
    WithdrawItem {
        /// Which.
        item_number: ItemNumber,
        /// Only if the item's last change is this one.
        if_match: Option<Version>,
    },
    /// Places an order: all lines or none. Lines of one item are added up.
    PlaceOrder {
        /// 1 to [`MAX_LINES`] lines.
        lines: Vec<Line>,
    },
    /// Loads the first items, or the next part of them. Does nothing unless all of its numbers are above every number that
    /// was ever given.
    LoadItems {
        /// The rows, their numbers distinct.
        items: Vec<NewItem>,
    },
    /// Adds many items, or changes those that there are: all rows or none.
    ImportItems {
        /// 1 to [`MAX_IMPORT`] rows, their numbers distinct.
        items: Vec<NewItem>,
        /// What becomes of a row whose number an item has.
        existing: Existing,
    },
}

impl Action {
    /// How much it counts for where commands go together: one for each item that it brings, so that what goes together is
    /// bounded in bytes too.
    pub fn weight(&self) -> usize {
        match self {
            Self::LoadItems { items } | Self::ImportItems { items, .. } => items.len().max(1),
            Self::AddItem { .. } | Self::ChangeItem { .. } | Self::WithdrawItem { .. } | Self::PlaceOrder { .. } => 1,
        }
    }
}

/// What becomes of a row of an import whose number an item has. One that was withdrawn is refused always. Append-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Existing {
    /// The whole import is refused.
    #[default]
    Refuse,
    /// The item stays as it is.
    Keep,
    /// Title, topic and cost become the row's. The stock stays: it moves by orders, and an import that is repeated must not
    /// give it back.
    Update,
}

/// One line of an order to place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Which item.
    pub item_number: ItemNumber,
    /// How many units, at least 1.
    pub quantity: u64,
}

/// One row of the first load, or of an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewItem {
    /// Its number.
    pub item_number: ItemNumber,
    /// Its title.
    #[serde(deserialize_with = "text::shared")]
    pub title: Arc<str>,
    /// Its topic.
    #[serde(deserialize_with = "text::shared")]
    pub topic: Arc<str>,
    /// Unit price.
    pub cost: u64,
    /// Units in stock.
    pub quantity: u64,
}

/// The place of a change: the revision and the command's place in its log entry. Written `<revision>.<n>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// Log index.
    pub revision: Revision,
    /// The command's place in its entry, from 0.
    pub n: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.revision, self.n)
    }
}

impl std::str::FromStr for Version {
    type Err = std::num::ParseIntError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let (revision, n) = s.split_once('.').unwrap_or((s, ""));
        Ok(Self { revision: revision.parse()?, n: n.parse()? })
    }
}

/// An item of the catalogue. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its number.
    pub item_number: ItemNumber,
    /// Its title.
    #[serde(deserialize_with = "text::shared")]
    pub title: Arc<str>,
    /// Its topic.
    #[serde(deserialize_with = "text::shared")]
    pub topic: Arc<str>,
    /// Unit price.
    pub cost: u64,
    /// Units in stock, never negative.
    pub quantity: u64,
    /// Its last change.
    pub version: Version,
}

/// An order in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The id of the command that placed it.
    pub id: OrderId,
    /// Where it was placed.
    pub version: Version,
    /// When it was proposed: milliseconds since the Unix epoch, by the leader's clock.
    pub time_ms: u64,
    /// Its lines, by item number.
    pub lines: Vec<OrderLine>,
}

impl Order {
    /// The sum over the lines of quantity times unit cost; `apply` keeps it within [`MAX_NUMBER`].
    pub fn total(&self) -> u64 {
        self.lines.iter().map(|line| line.quantity * line.unit_cost).sum()
    }
}

/// One line of a placed order, as it was at that moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderLine {
    /// Which item.
    pub item_number: ItemNumber,
    /// Its title then.
    #[serde(deserialize_with = "text::shared")]
    pub title: Arc<str>,
    /// Units bought.
    pub quantity: u64,
    /// The price of one unit then.
    pub unit_cost: u64,
}

/// What became of a command. Those of [`Outcome::took_effect`] took effect; the others changed nothing and never will.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The item as added.
    Added(Item),
    /// The item after the change.
    Changed(Item),
    /// Withdrawn.
    Withdrawn,
    /// The order as it stands in the ledger.
    Placed(Arc<Order>),
    /// How many items were loaded; 0 when items had been given before.
    Loaded(u64),
    /// Another item has, or had, this number.
    NumberTaken {
        /// The number.
        item_number: ItemNumber,
    },
    /// No such item.
    NoSuchItem {
        /// The number.
        item_number: ItemNumber,
    },
    /// The delta would take the stock below zero.
    BelowZero {
        /// The number.
        item_number: ItemNumber,
        /// Units in stock.
        left: u64,
    },
    /// A line of the order asks for more than there is.
    OutOfStock {
        /// The number.
        item_number: ItemNumber,
        /// Units asked for.
        wanted: u64,
        /// Units in stock.
        left: u64,
    },
    /// `if_match` names another change than the item's last.
    ChangedSince {
        /// The item's last change.
        version: Version,
    },
    /// A number would pass [`MAX_NUMBER`].
    TooLarge,
    /// The command is malformed; the edge should have refused it.
    Invalid,
    /// The id was used before by a command with another body.
    KeyReused,
    /// The id was made longer ago than outcomes are remembered, and the ledger does not know it.
    Expired,
    /// Every row of an import has its item now.
    Imported {
        /// Items that there were not before.
        added: u64,
        /// Items that are others than before.
        updated: u64,
        /// Items that are as they were.
        kept: u64,
    },
    /// Numbers of an import are others' items, or were: nothing of it was done.
    RowsTaken {
        /// How many rows.
        count: u64,
        /// The first [`MAX_NAMED_ROWS`] of them, in their order.
        rows: Vec<TakenRow>,
    },
}

/// A row of an import whose number cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenRow {
    /// Its place among the rows, from 0.
    pub index: u32,
    /// Whether the item of this number was withdrawn; else there is one.
    pub withdrawn: bool,
    /// Its number.
    pub item_number: ItemNumber,
}

impl Outcome {
    /// Whether the command took effect.
    pub fn took_effect(&self) -> bool {
        match self {
            Self::Added(_)
            | Self::Changed(_)
            | Self::Withdrawn
            | Self::Placed(_)
            | Self::Loaded(_)
            | Self::Imported { .. } => true,
            Self::NumberTaken { .. }
            | Self::NoSuchItem { .. }
            | Self::BelowZero { .. }
            | Self::OutOfStock { .. }
            | Self::ChangedSince { .. }
            | Self::TooLarge
            | Self::Invalid
            | Self::KeyReused
            | Self::Expired
            | Self::RowsTaken { .. } => false,
        }
    }
}

/// An outcome, and where it was decided: of a repeated command, where it was decided first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Revision and place in the entry.
    pub version: Version,
    /// What became of the command.
    pub outcome: Outcome,
}

/// What became of one item at one revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// The item as it stands at the revision.
    Put {
        /// The item.
        item: Item,
        /// The topic that it left, if it changed topic.
        old_topic: Option<Arc<str>>,
    },
    /// The item is gone.
    Withdrawn {
        /// Its number.
        item_number: ItemNumber,
        /// The topic that it was in.
        topic: Arc<str>,
        /// The command that did it.
        version: Version,
    },
}

impl Change {
    /// The item that changed.
    pub fn item_number(&self) -> ItemNumber {
        match self {
            Self::Put { item, .. } => item.item_number,
            Self::Withdrawn { item_number, .. } => *item_number,
        }
    }
}

/// All changes of one revision: for each item that changed, its state at that revision, by item number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The revision.
    pub revision: Revision,
    /// One change an item.
    pub changes: Vec<Change>,
}
