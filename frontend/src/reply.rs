//! Answers and refusals as HTTP: headers, bodies, and the two forms that errors have.
//!
//! Must not know what was asked, nor where data comes from.

use bytes::Bytes;
use catalog_client::{
    Revision,
    compat::{BadRequest, error_body},
    problem::{self, Problem},
    protocol::Refusal,
};
use futures::{Stream, TryStreamExt};
use http_body_util::{BodyExt, Either, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Response, StatusCode,
    body::Frame,
    header::{ALLOW, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, RETRY_AFTER},
};
use order_client::view::RETRY_AFTER as RETRY_SECONDS;

use crate::{page::Page, upstream::Source};

/// `X-Revision`
pub const REVISION: HeaderName = HeaderName::from_static("x-revision");
/// `X-Served-By`
pub const SERVED_BY: HeaderName = HeaderName::from_static("x-served-by");
/// `Cache-Status`, RFC 9211
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// `Idempotency-Key`
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// `X-Min-Revision`
pub const MIN_REVISION: HeaderName = HeaderName::from_static("x-min-revision");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: HeaderValue = HeaderValue::from_static(problem::CONTENT_TYPE);

/// Why a body ended before its end: the connection is cut, so that nobody takes it for whole.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CutShort(pub String);

/// A body: whole, or one that comes in parts.
pub type Body = Either<Full<Bytes>, UnsyncBoxBody<Bytes, CutShort>>;
/// An answer.
pub type Reply = Response<Body>;

/// Whose form an answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// `{"error": …}`
    Compatible,
    /// `application/problem+json`
    V1,
}

impl Surface {
    /// The surface that a path belongs to.
    pub fn of(path: &str) -> Self {
        if path == "/v1" || path.starts_with("/v1/") { Self::V1 } else { Self::Compatible }
    }
}

/// `Cache-Status` as this front end says it.
#[derive(Debug)]
pub struct CacheStatus {
    hit: HeaderValue,
    miss: HeaderValue,
    bypass: HeaderValue,
    stale: HeaderValue,
}

impl CacheStatus {
    /// Of a front end with this name.
    pub fn new(node: &str) -> Self {
        let value = |status: &str| {
            HeaderValue::from_str(&format!("{node}; {status}")).unwrap_or(HeaderValue::from_static("frontend"))
        };
        Self { hit: value("hit"), miss: value("fwd=uri-miss"), bypass: value("fwd=bypass"), stale: value("fwd=stale") }
    }

    /// The header's value.
    pub fn of(&self, source: Source) -> HeaderValue {
        match source {
            Source::Hit => self.hit.clone(),
            Source::Miss => self.miss.clone(),
            Source::Bypass => self.bypass.clone(),
            Source::Stale => self.stale.clone(),
        }
    }
}

/// An answer with a JSON body.
pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Either::Left(Full::new(body.into())));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, JSON);
    reply
}

/// An answer without a body.
pub fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Either::Left(Full::default()));
    *reply.status_mut() = status;
    reply
}

/// An answer whose body comes in parts.
pub fn parts<S>(parts: S) -> Reply
where
    S: Stream<Item = Result<Bytes, CutShort>> + Send + 'static,
{
    let body = StreamBody::new(parts.map_ok(Frame::data));
    Response::new(Either::Right(body.boxed_unsync()))
}

/// An answer of ready-made bytes.
pub fn page(page: &Page, cache_status: HeaderValue) -> Reply {
    let mut reply = Response::new(Either::Left(Full::new(page.body.clone())));
    *reply.status_mut() = page.status;
    let headers = reply.headers_mut();
    headers.reserve(8);
    headers.insert(CONTENT_TYPE, if page.status == StatusCode::OK { JSON } else { PROBLEM });
    headers.insert(REVISION, page.revision.clone());
    headers.insert(SERVED_BY, page.served_by.clone());
    headers.insert(CACHE_STATUS, cache_status);
    if let Some(etag) = &page.etag {
        headers.insert(ETAG, etag.clone());
    }
    reply
}

/// Names the state that an answer comes from, and who gave it.
pub fn from_state(reply: &mut Reply, revision: Revision, served_by: &str) {
    reply.headers_mut().insert(REVISION, HeaderValue::from(revision));
    put(reply, SERVED_BY, served_by);
}

/// Sets a header, unless its text cannot stand in one.
pub fn put(reply: &mut Reply, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        reply.headers_mut().insert(name, value);
    }
}

/// A refusal on its way out: the front end's one error. It gets its form where the surface is known.
#[derive(Debug)]
pub struct Refused {
    problem: Problem,
    /// Further headers.
    headers: Vec<(HeaderName, String)>,
}

impl Refused {
    /// A refusal.
    pub fn new(status: u16, code: &'static str, detail: impl Into<String>) -> Self {
        Problem::new(status, code, detail).into()
    }

    /// Nothing is at this path.
    pub fn not_found() -> Self {
        Self::new(404, "not-found", "there is nothing at this path")
    }

    /// Something is, but not for this method.
    pub fn wrong_method(method: &hyper::Method, allowed: &[&str]) -> Self {
        let detail = format!("{method} is not among the methods of this path");
        Self::new(405, "method-not-allowed", detail).with(ALLOW, allowed.join(", "))
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The answer, in the form of its surface. 429 and 503 say when to come back.
    pub fn into_reply(self, surface: Surface) -> Reply {
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        let mut reply = match surface {
            Surface::V1 => {
                let mut reply = json(status, self.problem.body());
                reply.headers_mut().insert(CONTENT_TYPE, PROBLEM);
                reply
            }
            // A mistake in form is one sentence; what is nobody's mistake opens with its code.
            Surface::Compatible if self.problem.status < 429 => json(status, error_body(&self.problem.detail)),
            Surface::Compatible => json(status, error_body(&self.problem.to_string())),
        };
        if matches!(self.problem.status, 429 | 503) {
            reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
        }
        for (name, value) in self.headers {
            put(&mut reply, name, &value);
        }
        reply.extensions_mut().insert(Reason(self.problem.code));
        reply
    }
}

/// The code of a refusal, beside the answer that tells it.
#[derive(Debug, Clone, Copy)]
pub struct Reason(pub &'static str);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self { problem, headers: Vec::new() }
    }
}

impl From<BadRequest> for Refused {
    fn from(bad: BadRequest) -> Self {
        Self::new(bad.status, "bad-request", bad.message)
    }
}

/// A read that was not done.
impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Overloaded => Self::new(429, "overloaded", "too many reads are under way: try again later"),
            Refusal::Invalid(why) => Self::new(400, "bad-request", why),
            Refusal::Unavailable(why) => Self::new(503, "unavailable", format!("{why}: try again later")),
            Refusal::NotLeader { .. } | Refusal::Unknown => {
                Self::new(503, "unavailable", "the catalog did not answer in time: try again later")
            }
        }
    }
}
