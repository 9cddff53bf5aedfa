//! What makes a command one command, however often it is sent: its id, and where that comes from.
//!
//! Must not know what commands do.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What makes a command one command, however often it is sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CommandId(pub u128);

/// An `Idempotency-Key` that cannot be used, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Idempotency-Key must be 1 to 255 visible ASCII characters")]
pub struct InvalidKey;

impl CommandId {
    /// A new id (UUIDv7, RFC 9562 section 5.7).
    pub fn new() -> Self {
        Self(Uuid::now_v7().as_u128())
    }

    /// The id that stands for a client's own key: a UUID is itself, other text is named by UUIDv5.
    pub fn from_key(key: &str) -> Result<Self, InvalidKey> {
        if key.is_empty() || key.len() > 255 || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(InvalidKey);
        }
        let id = Uuid::try_parse(key).unwrap_or_else(|_| Uuid::new_v5(&Uuid::NAMESPACE_OID, key.as_bytes()));
        Ok(Self(id.as_u128()))
    }

    /// The id written as a hyphenated UUID, if `text` is one.
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(|id| Self(id.as_u128()))
    }
}

impl Default for CommandId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_u128(self.0).hyphenated().fmt(f)
    }
}

impl fmt::Debug for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a command's id comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyOrigin {
    /// Made at the edge, new: nothing older than the command's `born` can bear it.
    Made,
    /// The client's own: the order ledger is asked too, however old its order is.
    Client,
}
