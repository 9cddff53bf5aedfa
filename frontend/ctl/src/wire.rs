//! What the store says over HTTP, member for member as it says it: `--output json` has the same names in the same order.
//!
//! Must not know how it is asked.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its number.
    pub item_number: u64,
    /// Its title.
    pub title: String,
    /// Its topic.
    pub topic: String,
    /// Unit price.
    pub cost: u64,
    /// Units in stock.
    pub quantity: u64,
    /// The revision of its last change.
    pub revision: u64,
}

/// A page of `GET /v1/items`.
#[derive(Debug, Deserialize)]
pub struct Items {
    /// By number.
    pub items: Vec<Item>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
    /// The state that it was read from.
    pub revision: u64,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its id.
    pub id: String,
    /// By item number.
    pub lines: Vec<OrderLine>,
    /// What it costs.
    pub total: u64,
    /// The revision at which it was placed.
    pub revision: u64,
    /// When, in UTC.
    pub time: String,
}

/// A line of an order, as it was then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderLine {
    /// Which item.
    pub item_number: u64,
    /// Its title.
    pub title: String,
    /// Units.
    pub quantity: u64,
    /// The price of one.
    pub unit_cost: u64,
}

/// A page of `GET /v1/orders`.
#[derive(Debug, Deserialize)]
pub struct Orders {
    /// In the order in which they were placed.
    pub orders: Vec<Order>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

/// The data of an event of `/v1/watch`: changes as they came, each with its own members.
#[derive(Debug, Deserialize)]
pub struct Event {
    /// At which revision.
    pub revision: u64,
    /// One an item.
    pub changes: Vec<Change>,
}

/// What became of an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Change {
    /// It is this now.
    Put {
        /// The item.
        #[serde(flatten)]
        item: Item,
        /// The place of the change in its revision.
        n: u32,
    },
    /// It is gone.
    Withdrawn {
        /// Its number.
        item_number: u64,
        /// The topic that it was in.
        topic: String,
        /// The revision of the event: of an item it stands there anyway.
        #[serde(default)]
        revision: u64,
        /// The place of the change in its revision.
        n: u32,
    },
}

impl Change {
    /// The change with the revision of its event.
    #[must_use]
    pub fn at(mut self, of_event: u64) -> Self {
        if let Self::Withdrawn { revision, .. } = &mut self {
            *revision = of_event;
        }
        self
    }
}

/// What became of a batch of items.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Added {
    /// Items that are new.
    pub added: u64,
    /// Items that were there and are now as in the batch, but for their stock.
    pub updated: u64,
    /// Items that were there and were left as they are.
    pub kept: u64,
    /// The revision at which it was done.
    pub revision: u64,
}

/// A refusal as RFC 9457 writes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// What kind: `out-of-stock`.
    pub code: String,
    /// One sentence.
    pub detail: String,
    /// All of its members.
    pub members: Value,
}

impl Problem {
    /// The problem that a body holds, if it holds one.
    pub fn parse(status: u16, body: &[u8]) -> Option<Self> {
        let members: Value = serde_json::from_slice(body).ok()?;
        let code = members.get("type")?.as_str()?.rsplit('/').next()?.to_owned();
        let detail = members.get("detail")?.as_str()?.to_owned();
        Some(Self { status, code, detail, members })
    }
}
