//! Answers and refusals in the form that their surface asks for.
//!
//! Must not know what was asked.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use catalog_client::{
    Revision,
    compat::{BadRequest, error_body},
    problem,
};
use order_client::{
    NotPlaced,
    view::{Problem, RETRY_AFTER, not_placed},
};

pub(super) const REVISION: HeaderName = HeaderName::from_static("x-revision");
pub(super) const SERVED_BY: HeaderName = HeaderName::from_static("x-served-by");
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Whose form an answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Surface {
    /// `{"error": …}`
    Compatible,
    /// `application/problem+json`
    V1,
}

impl Surface {
    pub(super) fn of(path: &str) -> Self {
        if path.starts_with("/v1/") { Self::V1 } else { Self::Compatible }
    }
}

/// A refusal on its way out: the server's one error.
#[derive(Debug)]
pub(super) struct Refused {
    surface: Surface,
    problem: Problem,
    key: Option<String>,
    allow: Option<String>,
}

impl Refused {
    pub(super) fn new(surface: Surface, status: u16, code: &'static str, detail: impl Into<String>) -> Self {
        Self { surface, problem: Problem::new(status, code, detail), key: None, allow: None }
    }

    pub(super) fn not_placed(surface: Surface, why: &NotPlaced, key: &str) -> Self {
        Self { surface, problem: not_placed(why, key), key: Some(key.to_owned()), allow: None }
    }

    /// Names the key that the command had.
    pub(super) fn under(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// Names the methods that the path has.
    pub(super) fn allowing(mut self, methods: &[&str]) -> Self {
        self.allow = Some(methods.join(", "));
        self
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self { surface: Surface::V1, problem, key: None, allow: None }
    }
}

impl From<BadRequest> for Refused {
    fn from(bad: BadRequest) -> Self {
        Self::new(Surface::Compatible, bad.status, "bad-request", bad.message)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = self.problem.status;
        let mut response = match self.surface {
            Surface::V1 => {
                let mut response = json(status, self.problem.body());
                let content_type = HeaderValue::from_static(problem::CONTENT_TYPE);
                response.headers_mut().insert(header::CONTENT_TYPE, content_type);
                response
            }
            // A mistake in form is one sentence; what is nobody's mistake opens with its code.
            Surface::Compatible if status < 429 => json(status, error_body(&self.problem.detail)),
            Surface::Compatible => json(status, error_body(&self.problem.to_string())),
        };
        if matches!(status, 429 | 503) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
        }
        if let Some(key) = &self.key {
            put(&mut response, IDEMPOTENCY_KEY, key);
        }
        if let Some(methods) = &self.allow {
            put(&mut response, header::ALLOW, methods);
        }
        response
    }
}

/// A JSON answer.
pub(super) fn json(status: u16, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Names the state that an answer comes from, and who gave it.
pub(super) fn from_state(response: &mut Response, revision: Revision, served_by: &str) {
    response.headers_mut().insert(REVISION, HeaderValue::from(revision));
    put(response, SERVED_BY, served_by);
}

/// Sets a header, unless its text cannot stand in one.
pub(super) fn put(response: &mut Response, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        response.headers_mut().insert(name, value);
    }
}
