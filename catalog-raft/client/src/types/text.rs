//! Reads a text that is shared from where it lies: serde's own way makes a `String` of it first, and every bought item
//! brings its title and topic to each who hears of it.

use std::{fmt, sync::Arc};

use serde::{Deserializer, de};

/// For `#[serde(deserialize_with = …)]`.
pub(super) fn shared<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    struct Shared;
    impl de::Visitor<'_> for Shared {
        type Value = Arc<str>;

        fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
            formatter.write_str("a text")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Arc<str>, E> {
            Ok(text.into())
        }
    }
    deserializer.deserialize_str(Shared)
}
