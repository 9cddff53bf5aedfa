//! Items over HTTP: the bodies, entity tags and conditions of `/v1/items` and `/v1/watch`, in and out. Shared by all
//! servers that answer them, so that they answer with the same bytes.
//!
//! Must not know any HTTP library, nor how a command is carried out.

mod import;
mod parse;
#[cfg(test)]
mod tests;
mod words;

use bytes::Bytes;
use serde::Serialize;

use crate::{Change, Event, Item, MAX_NUMBER, Outcome, Revision, problem::Problem};

pub use import::{MAX_IMPORT_BODY, import_json, parse_import};
pub use parse::{
    ItemPage, bad_request, parse_change, parse_content_type, parse_if_match, parse_new_item, parse_number, parse_page,
    tags_match, too_large,
};
pub use words::{MAX_QUERY, MAX_QUERY_WORDS, check_query, words};

/// The most items in one page of `GET /v1/items`.
pub const MAX_PAGE: u32 = 1000;
/// The items in one page when no limit is asked for.
pub const DEFAULT_PAGE: u32 = 100;

#[derive(Serialize)]
struct ItemView<'a> {
    item_number: u64,
    title: &'a str,
    topic: &'a str,
    cost: u64,
    quantity: u64,
    revision: Revision,
}

impl<'a> From<&'a Item> for ItemView<'a> {
    fn from(item: &'a Item) -> Self {
        Self {
            item_number: item.item_number,
            title: &item.title,
            topic: &item.topic,
            cost: item.cost,
            quantity: item.quantity,
            revision: item.version.revision,
        }
    }
}

/// The body of an item: `{"item_number", "title", "topic", "cost", "quantity", "revision"}`, the revision that of
/// its last change.
pub fn item_json(item: &Item) -> Bytes {
    to_json(&ItemView::from(item))
}

/// The entity tag of an item: `"<revision>.<n>"` of its last change, with its quotes.
pub fn etag(item: &Item) -> String {
    format!("\"{}\"", item.version)
}

/// The body of a page of items read at `revision`: `{"items": […], "next": "<item number>" or null, "revision"}`.
/// `more`: whether there are items after these.
pub fn page_json(items: &[Item], more: bool, revision: Revision) -> Bytes {
    #[derive(Serialize)]
    struct Page<'a> {
        items: Vec<ItemView<'a>>,
        next: Option<String>,
        revision: Revision,
    }
    to_json(&Page {
        items: items.iter().map(ItemView::from).collect(),
        next: items.last().filter(|_| more).map(|last| last.item_number.to_string()),
        revision,
    })
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum ChangeView<'a> {
    Put {
        #[serde(flatten)]
        item: ItemView<'a>,
        n: u32,
    },
    Withdrawn {
        item_number: u64,
        topic: &'a str,
        n: u32,
    },
}

impl<'a> From<&'a Change> for ChangeView<'a> {
    fn from(change: &'a Change) -> Self {
        match change {
            Change::Put { item, .. } => Self::Put { n: item.version.n, item: ItemView::from(item) },
            Change::Withdrawn { item_number, topic, version } => {
                Self::Withdrawn { item_number: *item_number, topic, n: version.n }
            }
        }
    }
}

/// The data of a watch event: `{"revision", "changes": [{"type": "put", the item's members, "n"}, {"type":
/// "withdrawn", "item_number", "topic", "n"}]}`.
pub fn event_json(event: &Event) -> Bytes {
    #[derive(Serialize)]
    struct EventView<'a> {
        revision: Revision,
        changes: Vec<ChangeView<'a>>,
    }
    let changes = event.changes.iter().map(ChangeView::from).collect();
    to_json(&EventView { revision: event.revision, changes })
}

fn to_json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("structs of text and numbers are always JSON").into()
}

/// There is no item of this number.
pub fn no_such_item(item_number: u64) -> Problem {
    Problem::new(404, "no-such-item", format!("there is no item {item_number}")).with("item_number", item_number)
}

/// Why a command about an item did not take effect; `None` when it did.
pub fn refusal_of(outcome: &Outcome) -> Option<Problem> {
    Some(match outcome {
        Outcome::Added(_)
        | Outcome::Changed(_)
        | Outcome::Withdrawn
        | Outcome::Placed(_)
        | Outcome::Loaded(_)
        | Outcome::Imported { .. } => return None,
        Outcome::RowsTaken { count, rows } => import::rows_taken(*count, rows),
        Outcome::NoSuchItem { item_number } => no_such_item(*item_number),
        Outcome::NumberTaken { item_number } => {
            let detail = format!("the number {item_number} is, or was, another item's");
            Problem::new(409, "number-taken", detail).with("item_number", *item_number)
        }
        Outcome::BelowZero { item_number, left } => {
            let detail = format!("the stock of item {item_number} would go below zero: {left} left");
            Problem::new(409, "below-zero", detail).with("item_number", *item_number).with("left", *left)
        }
        Outcome::ChangedSince { version } => {
            let detail = format!("the item's last change is {version}: read it again");
            Problem::new(412, "changed-since", detail).with("etag", format!("\"{version}\""))
        }
        Outcome::TooLarge => Problem::new(422, "too-large", format!("a number would pass {MAX_NUMBER}")),
        Outcome::KeyReused => {
            let detail = "this Idempotency-Key was used before by a request with another content: use a new one";
            Problem::new(422, "key-reused", detail)
        }
        Outcome::Expired => {
            let detail = "the request came so late that it can no longer be told from a repeated one, and nothing was done: send it again with a new Idempotency-Key";
            Problem::new(422, "expired", detail)
        }
        Outcome::OutOfStock { .. } | Outcome::Invalid => {
            Problem::new(422, "invalid", "the request cannot be carried out as it stands, and nothing was done")
        }
    })
}
