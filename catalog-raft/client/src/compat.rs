//! The compatible HTTP surface, to the byte: arguments in, bodies out. Shared by every server that answers it.
//!
//! Pure: knows no HTTP library, no clock, no network. Bodies are those of Python's `json.dumps` defaults.
//!
//! A server asks [`parse_get`] or [`parse_post`]; on `None` it asks [`methods_of`], which tells a wrong method
//! (405) from a wrong path (404).

mod json;
mod parse;
#[cfg(test)]
mod tests;

use bytes::Bytes;

use self::json::Writer;
pub use self::parse::{methods_of, parse_get, parse_post};
use crate::{Action, Item, ItemNumber, Line, Outcome};

/// A request that is wrong in form: its status (400, 413 or 415) and what is wrong, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadRequest {
    /// 400, 413 or 415.
    pub status: u16,
    /// One sentence.
    pub message: String,
}

/// The longest request body, in bytes.
pub const MAX_BODY: usize = 64 << 10;

/// An operation of the surface with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// `/list`
    List,
    /// `/search/{topic}`
    Search(String),
    /// `/lookup/{n}`
    Lookup(ItemNumber),
    /// `/get_quantity/{n}`
    Quantity(ItemNumber),
    /// `/get_name/{n}`
    Name(ItemNumber),
    /// `/update_c/{n}/{cost}`
    SetCost(ItemNumber, u64),
    /// `/update_q/{n}/{delta}`
    ChangeStock(ItemNumber, i64),
    /// `/buy/{n}`
    Buy(ItemNumber),
    /// `/invalidate/{n}`
    Invalidate(ItemNumber),
}

/// What a write does to the catalogue; `None` for an operation that is not a write.
pub fn command_action(operation: &Operation) -> Option<Action> {
    let change = |item_number, cost, add_quantity| Action::ChangeItem {
        item_number,
        title: None,
        topic: None,
        cost,
        add_quantity,
        if_match: None,
    };
    match *operation {
        Operation::SetCost(item_number, cost) => Some(change(item_number, Some(cost), None)),
        Operation::ChangeStock(item_number, delta) => Some(change(item_number, None, Some(delta))),
        Operation::Buy(item_number) => Some(Action::PlaceOrder { lines: vec![Line { item_number, quantity: 1 }] }),
        Operation::List
        | Operation::Search(_)
        | Operation::Lookup(_)
        | Operation::Quantity(_)
        | Operation::Name(_)
        | Operation::Invalidate(_) => None,
    }
}

/// Which rows an array of items has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    List,
    Search,
}

/// A `/list` or `/search` body made part by part, for answers too long to be held whole.
#[derive(Debug)]
pub struct ListWriter {
    rows: Rows,
    /// What comes before the next item.
    lead: &'static str,
}

impl ListWriter {
    /// The body of `/list`.
    pub fn list() -> Self {
        Self::of(Rows::List)
    }

    /// The body of `/search`.
    pub fn search() -> Self {
        Self::of(Rows::Search)
    }

    fn of(rows: Rows) -> Self {
        Self { rows, lead: "[" }
    }

    /// The bytes of the next items.
    pub fn part<'a>(&mut self, items: impl IntoIterator<Item = &'a Item>) -> Bytes {
        let mut out = Writer::default();
        self.put(&mut out, items);
        out.finish()
    }

    /// The last bytes.
    pub fn end(self) -> Bytes {
        Bytes::from_static(self.tail().as_bytes())
    }

    fn put<'a>(&mut self, out: &mut Writer, items: impl IntoIterator<Item = &'a Item>) {
        for item in items {
            out.raw(std::mem::replace(&mut self.lead, ", "));
            out.raw("{\"item_number\": ");
            out.number(item.item_number);
            out.raw(", \"title\": ");
            out.string(&item.title);
            if self.rows == Rows::List {
                out.raw(", \"topic\": ");
                out.string(&item.topic);
                out.raw(", \"cost\": ");
                out.number(item.cost);
                out.raw(", \"quantity\": ");
                out.number(item.quantity);
            }
            out.raw("}");
        }
    }

    fn tail(&self) -> &'static str {
        if self.lead == "[" { "[]" } else { "]" }
    }
}

/// Body of `/list`.
pub fn list_body<'a>(items: impl IntoIterator<Item = &'a Item>) -> Bytes {
    array(Rows::List, items)
}

/// Body of `/search`.
pub fn search_body<'a>(items: impl IntoIterator<Item = &'a Item>) -> Bytes {
    array(Rows::Search, items)
}

fn array<'a>(rows: Rows, items: impl IntoIterator<Item = &'a Item>) -> Bytes {
    let (mut out, mut list) = (Writer::default(), ListWriter::of(rows));
    list.put(&mut out, items);
    out.raw(list.tail());
    out.finish()
}

/// Body of `/lookup`; `null` for an unknown item.
pub fn lookup_body(item: Option<&Item>) -> Bytes {
    or_null(item, |out, item| {
        out.raw("{\"title\": ");
        out.string(&item.title);
        out.raw(", \"cost\": ");
        out.number(item.cost);
        out.raw(", \"quantity\": ");
        out.number(item.quantity);
        out.raw("}");
    })
}

/// Body of `/get_quantity`; `null` for an unknown item.
pub fn quantity_body(item: Option<&Item>) -> Bytes {
    or_null(item, |out, item| {
        out.raw("{\"quantity\": ");
        out.number(item.quantity);
        out.raw("}");
    })
}

/// Body of `/get_name`; `null` for an unknown item.
pub fn name_body(item: Option<&Item>) -> Bytes {
    or_null(item, |out, item| {
        out.raw("{\"title\": ");
        out.string(&item.title);
        out.raw("}");
    })
}

fn or_null(item: Option<&Item>, put: impl FnOnce(&mut Writer, &Item)) -> Bytes {
    let Some(item) = item else {
        return Bytes::from_static(b"null");
    };
    let mut out = Writer::default();
    put(&mut out, item);
    out.finish()
}

/// Status and body of a write's answer.
pub fn write_body(operation: &Operation, outcome: &Outcome) -> (u16, Bytes) {
    match (operation, outcome) {
        (_, Outcome::KeyReused) => {
            (422, error_body("this Idempotency-Key was used before by a request with another content: use a new one"))
        }
        (_, Outcome::Expired) => (
            422,
            error_body(
                "expired: the request came so late that it can no longer be told from a repeated one, and nothing was done: send it again with a new Idempotency-Key",
            ),
        ),
        (Operation::SetCost(n, cost), Outcome::Changed(_)) => {
            (200, string_body(&format!("Cost of item :{n} successfully updated to:{cost}")))
        }
        (Operation::ChangeStock(n, delta), Outcome::Changed(_)) => {
            (200, string_body(&format!("Quantity of record {n} successfully changed by {delta}")))
        }
        (
            Operation::SetCost(..) | Operation::ChangeStock(..),
            Outcome::NoSuchItem { .. } | Outcome::BelowZero { .. } | Outcome::TooLarge,
        ) => (200, Bytes::from_static(b"\"error in update operation\"")),
        (Operation::Buy(_), Outcome::Placed(_)) => (200, Bytes::from_static(b"\"Record successfully bought\"")),
        (Operation::Buy(_), Outcome::OutOfStock { .. } | Outcome::NoSuchItem { .. }) => {
            (200, Bytes::from_static(b"\"Item is unavailable.\""))
        }
        _ => (422, error_body("the request cannot be carried out as it stands, and nothing was done")),
    }
}

/// `{"error": "…"}`.
pub fn error_body(message: &str) -> Bytes {
    let mut out = Writer::default();
    out.raw("{\"error\": ");
    out.string(message);
    out.raw("}");
    out.finish()
}

fn string_body(text: &str) -> Bytes {
    let mut out = Writer::default();
    out.string(text);
    out.finish()
}
