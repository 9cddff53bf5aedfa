//! A thin HTTP client: one request, one answer with status, headers and the body's bytes. It never retries and
//! never follows a redirect, so that a test sees what a server said.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use reqwest::{Method, header::HeaderMap};
use serde_json::Value;

/// How long one request may take: well beyond the deadline of the servers, so that a server that hangs is noticed.
pub const REQUEST_PATIENCE: Duration = Duration::from_secs(20);

/// A client with connections of its own. Belongs to the runtime of the test that made it.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
}

/// What a server answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// A request with headers, to be sent by [`Client::send`].
#[derive(Debug, Clone)]
pub struct Request {
    method: Method,
    url: String,
    headers: Vec<(String, String)>,
    body: Option<Bytes>,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self { method, url: url.into(), headers: Vec::new(), body: None }
    }

    /// GET.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new(Method::GET, url)
    }

    /// POST of a JSON text.
    pub fn post(url: impl Into<String>, json: impl Into<Bytes>) -> Self {
        Self::new(Method::POST, url).json(json)
    }

    /// PATCH of a JSON text.
    pub fn patch(url: impl Into<String>, json: impl Into<Bytes>) -> Self {
        Self::new(Method::PATCH, url).json(json)
    }

    /// DELETE.
    pub fn delete(url: impl Into<String>) -> Self {
        Self::new(Method::DELETE, url)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// Sets the body, without a content type.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Some(body.into());
        self
    }

    fn json(self, json: impl Into<Bytes>) -> Self {
        self.header("content-type", "application/json").body(json)
    }
}

impl Client {
    /// A client that keeps its connections.
    pub fn new() -> Self {
        Self::with_idle_connections(usize::MAX)
    }

    /// A client that opens a connection for every request; it may be used from several runtimes.
    pub fn without_pool() -> Self {
        Self::with_idle_connections(0)
    }

    fn with_idle_connections(count: usize) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .pool_max_idle_per_host(count)
            .timeout(REQUEST_PATIENCE)
            .build()
            .expect("an HTTP client without TLS can always be made");
        Self { http }
    }

    /// The client below, for streams.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Sends a request once.
    ///
    /// # Errors
    /// When no whole answer came.
    pub async fn try_send(&self, request: Request) -> anyhow::Result<Answer> {
        let what = format!("{} {}", request.method, request.url);
        let mut out = self.http.request(request.method, &request.url);
        for (name, value) in &request.headers {
            out = out.header(name, value);
        }
        if let Some(body) = request.body {
            out = out.body(body);
        }
        let answer = out.send().await.with_context(|| format!("{what}: no answer"))?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.bytes().await.with_context(|| format!("{what}: a broken answer"))?;
        Ok(Answer { status, headers, body })
    }

    /// Sends a request once.
    ///
    /// # Panics
    /// When no whole answer came.
    pub async fn send(&self, request: Request) -> Answer {
        self.try_send(request).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// GET, once.
    ///
    /// # Panics
    /// When no whole answer came.
    pub async fn get(&self, url: impl Into<String>) -> Answer {
        self.send(Request::get(url)).await
    }

    /// POST of a JSON text, once.
    ///
    /// # Panics
    /// When no whole answer came.
    pub async fn post(&self, url: impl Into<String>, json: impl Into<Bytes>) -> Answer {
        self.send(Request::post(url, json)).await
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Answer {
    /// A header, if it is there once and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.get_all(name).iter();
        let first = all.next()?.to_str().ok()?;
        all.next().is_none().then_some(first)
    }

    /// The body as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }

    /// `X-Revision`.
    ///
    /// # Panics
    /// When it is missing or no number.
    pub fn revision(&self) -> u64 {
        let text = self.header("x-revision").unwrap_or_else(|| panic!("no X-Revision: {self:?}"));
        text.parse().unwrap_or_else(|error| panic!("X-Revision {text}: {error}"))
    }

    /// `X-Served-By`, empty when it is missing.
    pub fn served_by(&self) -> &str {
        self.header("x-served-by").unwrap_or_default()
    }

    /// What `Cache-Status` says after the cache's name: `hit`, `fwd=uri-miss`; empty when it is missing.
    pub fn cache(&self) -> &str {
        let text = self.header("cache-status").unwrap_or_default();
        text.split_once(';').map_or("", |(_, rest)| rest.trim())
    }

    /// Whether the cache answered.
    pub fn is_hit(&self) -> bool {
        self.cache() == "hit"
    }

    /// The answer itself when its status is `status`.
    ///
    /// # Panics
    /// When it is another.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}
