//! Refusals of the `/v1` surface as RFC 9457 writes them.
//!
//! Must not know any HTTP library, nor why something is refused.

use bytes::Bytes;
use serde_json::{Map, Value, json};

/// The content type of a [`Problem`]'s body.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// Why a request was refused, for programs and for people.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// What kind of problem, in lower case with hyphens, stable: `out-of-stock`. The `type` is `/problems/<code>`.
    pub code: &'static str,
    /// One sentence: what is wrong and, where it helps, what to do.
    pub detail: String,
    /// Further members, by name.
    pub members: Map<String, Value>,
}

impl Problem {
    /// A problem without further members.
    pub fn new(status: u16, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), members: Map::new() }
    }

    /// Adds a member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// The body: that of [`Problem::value`].
    pub fn body(&self) -> Bytes {
        self.value().to_string().into()
    }

    /// `type`, `title`, `status`, `detail`, then the further members.
    pub fn value(&self) -> Value {
        let mut body = json!({
            "type": format!("/problems/{}", self.code),
            "title": self.title(),
            "status": self.status,
            "detail": self.detail,
        });
        if let Value::Object(body) = &mut body {
            body.extend(self.members.clone());
        }
        body
    }

    /// The code as words: `Out of stock`.
    fn title(&self) -> String {
        let mut title = self.code.replace('-', " ");
        if let Some(first) = title.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        title
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_the_members_of_the_rfc_and_its_own() {
        let problem = Problem::new(409, "out-of-stock", "2 \"left\"").with("left", 2);
        let body: Value = serde_json::from_slice(&problem.body()).unwrap();
        let expected = json!({
            "type": "/problems/out-of-stock", "title": "Out of stock", "status": 409, "detail": "2 \"left\"", "left": 2,
        });
        assert_eq!(body, expected);
    }
}
