//! The compatible HTTP surface, to the byte: arguments in, bodies out. Shared by every server that answers it.
//!
//! Pure: knows no HTTP library, no clock, no network. Bodies are those of Python's `json.dumps` defaults.

use bytes::Bytes;

use crate::{Item, ItemNumber, Outcome};

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

/// Parses the (percent-encoded) path of a GET. `None` when the path is no operation's at all (404).
pub fn parse_get(_path: &str) -> Option<Result<Operation, BadRequest>> {
    todo!()
}

/// Parses a POST: its path (with or without the trailing slash), content type and body.
pub fn parse_post(_path: &str, _content_type: Option<&str>, _body: &[u8]) -> Option<Result<Operation, BadRequest>> {
    todo!()
}

/// Body of `/list`.
pub fn list_body<'a>(_items: impl IntoIterator<Item = &'a Item>) -> Bytes {
    todo!()
}

/// Body of `/search`.
pub fn search_body<'a>(_items: impl IntoIterator<Item = &'a Item>) -> Bytes {
    todo!()
}

/// Body of `/lookup`; `null` for an unknown item.
pub fn lookup_body(_item: Option<&Item>) -> Bytes {
    todo!()
}

/// Body of `/get_quantity`.
pub fn quantity_body(_item: Option<&Item>) -> Bytes {
    todo!()
}

/// Body of `/get_name`.
pub fn name_body(_item: Option<&Item>) -> Bytes {
    todo!()
}

/// Status and body of a write's answer.
pub fn write_body(_operation: &Operation, _outcome: &Outcome) -> (u16, Bytes) {
    todo!()
}

/// `{"error": "…"}`.
pub fn error_body(_message: &str) -> Bytes {
    todo!()
}
