//! A request as the handlers see it: path, query, headers, a bounded body, a deadline.
//!
//! Must not know what any path does.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use bytes::Bytes;
use catalog_client::{Revision, compat::MAX_BODY, items};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{
    HeaderMap, Method,
    body::Body as _,
    header::{CONTENT_TYPE, EXPECT, HeaderName},
    http::request::Parts,
};
use order_client::view::{Key, too_large};
use tokio::time::{Instant, timeout_at};

use crate::{
    reply::{IDEMPOTENCY_KEY, MIN_REVISION, Refused},
    upstream::Ask,
};

/// The header with a client's own id of a request, for the log.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Bytes that are taken in of a body that is refused.
const MAX_DISCARDED: usize = 16 << 20;

/// What hyper brings.
pub type Request = hyper::Request<hyper::body::Incoming>;

/// A request on its way in.
#[derive(Debug)]
pub(super) struct Incoming {
    head: Parts,
    body: hyper::body::Incoming,
    deadline: Instant,
}

impl Incoming {
    pub(super) fn new(request: Request, deadline: Instant) -> Self {
        let (head, body) = request.into_parts();
        Self { head, body, deadline }
    }

    pub(super) fn method(&self) -> &Method {
        &self.head.method
    }

    pub(super) fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// When it must be answered.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Refuses all methods but these.
    pub(super) fn allow(&self, methods: &[&str]) -> Result<(), Refused> {
        if methods.contains(&self.method().as_str()) {
            return Ok(());
        }
        Err(Refused::wrong_method(self.method(), methods))
    }

    /// A header's text, if it has one that is text.
    pub(super) fn header(&self, name: HeaderName) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    /// The text of a header that decides what is done: what cannot be read must not be taken for absent.
    pub(super) fn one_header(&self, name: HeaderName) -> Result<Option<&str>, Refused> {
        let mut values = self.head.headers.get_all(&name).iter();
        match (values.next().map(|value| value.to_str()), values.next()) {
            (None, _) => Ok(None),
            (Some(Ok(text)), None) => Ok(Some(text)),
            _ => Err(items::bad_request(format!("the header {name} must be there once, as plain text")).into()),
        }
    }

    pub(super) fn content_type(&self) -> Option<&str> {
        self.header(CONTENT_TYPE)
    }

    /// The command's key: the client's `Idempotency-Key`, or a new one.
    pub(super) fn key(&self) -> Result<Key, Refused> {
        let header = self.one_header(IDEMPOTENCY_KEY)?;
        let key = Key::of_header(header.map(str::as_bytes));
        key.map_err(|invalid| items::bad_request(invalid.to_string()).into())
    }

    /// The query, of which only `known` arguments may be there, each once.
    pub(super) fn query(&self, known: &[&str]) -> Result<Query, Refused> {
        let mut arguments = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(self.head.uri.query().unwrap_or_default().as_bytes()) {
            if !known.contains(&&*name) {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let detail = format!("there is no argument {name:?} here; known are: {known}");
                return Err(items::bad_request(detail).into());
            }
            if arguments.insert(name.to_string(), value.into_owned()).is_some() {
                return Err(items::bad_request(format!("the argument {name} is there twice")).into());
            }
        }
        Ok(Query(arguments))
    }

    /// What a read of the compatible surface asks for. Arguments that it does not know pass, as they always did.
    pub(super) fn compatible_ask(&self) -> Result<Ask, Refused> {
        let query = self.head.uri.query().unwrap_or_default();
        let mut reads = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "read");
        self.ask(reads.next().as_ref().map(|(_, value)| &**value))
    }

    /// What a read asks for, given its `read` argument.
    pub(super) fn ask(&self, read: Option<&str>) -> Result<Ask, Refused> {
        let linearizable = match read {
            None => false,
            Some("linearizable") => true,
            Some(_) => return Err(items::bad_request("read can only be linearizable").into()),
        };
        let min_revision = match self.one_header(MIN_REVISION)? {
            None => 0,
            Some(text) => revision(text, "X-Min-Revision")?,
        };
        Ok(Ask { linearizable, min_revision })
    }

    /// The whole body, of at most [`MAX_BODY`] bytes.
    pub(super) async fn body(&mut self) -> Result<Bytes, Refused> {
        self.body_within(MAX_BODY).await
    }

    /// The whole body, of at most `most` bytes.
    pub(super) async fn body_within(&mut self, most: usize) -> Result<Bytes, Refused> {
        if self.body.size_hint().lower() > most as u64 {
            // Who asks first whether to send it does not.
            if !self.head.headers.contains_key(EXPECT) {
                self.discard().await;
            }
            return Err(too_large(most).into());
        }
        match timeout_at(self.deadline, Limited::new(&mut self.body, most).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                self.discard().await;
                Err(too_large(most).into())
            }
            Ok(Err(_)) => Err(items::bad_request("the body did not arrive whole").into()),
            Err(_) => Err(Refused::new(408, "request-timeout", "the body did not arrive in time")),
        }
    }

    /// Takes in what is left of a body, up to a bound and until the deadline: a client that is cut off while it sends is told of
    /// a broken connection instead of what is wrong.
    async fn discard(&mut self) {
        let mut left = MAX_DISCARDED;
        let rest = async {
            while let Some(Ok(frame)) = self.body.frame().await {
                let length = frame.data_ref().map_or(0, Bytes::len);
                let Some(less) = left.checked_sub(length) else { return };
                left = less;
            }
        };
        let _ = timeout_at(self.deadline, rest).await;
    }
}

/// The arguments of a query.
#[derive(Debug)]
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// A revision given by a client.
pub(super) fn revision(text: &str, name: &str) -> Result<Revision, Refused> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let revision = text.parse().ok().filter(|_| digits);
    revision.ok_or_else(|| items::bad_request(format!("{name} must be a revision, a decimal number")).into())
}

/// The client's own id of a request, or the next number.
pub(super) fn id_of(headers: &HeaderMap) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let own = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| id.len() <= 128);
    own.map_or_else(|| NEXT.fetch_add(1, Relaxed).to_string(), ToOwned::to_owned)
}
