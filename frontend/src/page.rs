//! What the cache holds: an answer ready to be sent, headers included.
//!
//! Owns how data becomes an answer of its view. Must not know how the data was come by.

use std::sync::Arc;

use bytes::Bytes;
use catalog_client::{
    Item, Revision, compat, items,
    protocol::{Data, View},
};
use hyper::{StatusCode, header::HeaderValue};

use crate::cache::Key;

/// Lists of more items than this are streamed and not cached.
pub const MAX_CACHED_ITEMS: usize = 10_000;

/// An answer but for what depends on who asks. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Page {
    /// 200, or 404 for an unknown item on `/v1`.
    pub status: StatusCode,
    /// The body.
    pub body: Bytes,
    /// `X-Revision`.
    pub revision: HeaderValue,
    /// `X-Served-By`.
    pub served_by: HeaderValue,
    /// `ETag`, of an item on `/v1`.
    pub etag: Option<HeaderValue>,
}

/// What is known of a key.
#[derive(Debug, Clone)]
pub enum Held {
    /// The answer.
    Page(Arc<Page>),
    /// That the list has more than [`MAX_CACHED_ITEMS`] items.
    TooLong,
}

impl Page {
    /// The same answer, which is known to hold at `revision` too.
    #[must_use]
    pub fn holding_at(&self, revision: Revision) -> Self {
        let filled_at = self.revision.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        Self { revision: HeaderValue::from(revision.max(filled_at)), ..self.clone() }
    }
}

impl Held {
    /// About how many bytes it keeps.
    pub fn weight(&self) -> usize {
        /// What an entry costs beside its body: its headers, its place in the maps.
        const OVERHEAD: usize = 512;
        match self {
            Self::Page(page) => page.body.len() + OVERHEAD,
            Self::TooLong => OVERHEAD,
        }
    }

    /// The answer of `key`'s view that `data` makes; `None` when it is not that view's data.
    pub fn of(key: &Key, data: &Data, revision: Revision, served_by: HeaderValue) -> Option<Self> {
        let (body, etag, status) = match (key, data) {
            (Key::Lookup(_), Data::Item(item)) => (compat::lookup_body(item.as_ref()), None, StatusCode::OK),
            (Key::Quantity(_), Data::Item(item)) => (compat::quantity_body(item.as_ref()), None, StatusCode::OK),
            (Key::V1Item(n), Data::Item(item)) => v1_item(*n, item.as_ref()),
            (Key::List | Key::Search(_), Data::Items { items, more }) if *more || items.len() > MAX_CACHED_ITEMS => {
                return Some(Self::TooLong);
            }
            (Key::List, Data::Items { items, .. }) => (compat::list_body(items), None, StatusCode::OK),
            (Key::Search(_), Data::Items { items, .. }) => (compat::search_body(items), None, StatusCode::OK),
            _ => return None,
        };
        let revision = HeaderValue::from(revision);
        Some(Self::Page(Arc::new(Page { status, body, revision, served_by, etag })))
    }
}

fn v1_item(number: u64, item: Option<&Item>) -> (Bytes, Option<HeaderValue>, StatusCode) {
    match item {
        Some(item) => (items::item_json(item), HeaderValue::from_str(&items::etag(item)).ok(), StatusCode::OK),
        None => (items::no_such_item(number).body(), None, StatusCode::NOT_FOUND),
    }
}

/// What a replica is asked for to make the page of `key`.
pub fn view_of(key: &Key) -> View {
    // One item more than is cached tells a list that is too long from one that just fits.
    let list = |topic| View::Items { topic, words: None, after: None, limit: Some(MAX_CACHED_ITEMS as u32 + 1) };
    match key {
        Key::Lookup(n) | Key::Quantity(n) | Key::V1Item(n) => View::Item(*n),
        Key::List => list(None),
        Key::Search(topic) => list(Some(topic.to_string())),
    }
}

/// The same without a limit, for lists that are streamed.
pub fn whole_view_of(key: &Key) -> View {
    match view_of(key) {
        View::Items { topic, words, after, .. } => View::Items { topic, words, after, limit: None },
        other => other,
    }
}
