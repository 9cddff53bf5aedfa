//! The HTTP surface: which path is whose, and what holds for every request.
//!
//! Must not know how an answer is come by.

mod cluster;
mod compat;
mod health;
mod items;
mod openapi;
mod orders;
mod request;
mod watch;

use std::{future::Future, pin::Pin, sync::Arc};

use hyper::{Method, StatusCode, header::IF_NONE_MATCH};
use tokio::time::Instant;

use self::request::Incoming;
pub use self::request::Request;
use crate::{
    cache::Key,
    front::Front,
    metrics,
    page::Held,
    reply::{self, IDEMPOTENCY_KEY, MIN_REVISION, Reason, Refused, Reply, Surface},
    site,
    state::Lookup,
    upstream::{Ask, Source},
};

/// An answer on its way.
pub type Answering = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// Answers a plain `GET /lookup/{n}` or `GET /get_quantity/{n}` from the cache, if it can: no allocation but the
/// answer's headers, no await. Anything else is `None`, and takes the long way.
pub fn quick(front: &Front, request: &hyper::Request<hyper::body::Incoming>) -> Option<Reply> {
    if request.method() != Method::GET || request.uri().query().is_some() {
        return None;
    }
    let path = request.uri().path();
    let key = if let Some(number) = path.strip_prefix("/lookup/") {
        Key::Lookup(plain_number(number)?)
    } else {
        Key::Quantity(plain_number(path.strip_prefix("/get_quantity/")?)?)
    };
    if request.headers().contains_key(MIN_REVISION) {
        return None;
    }
    match front.state().lookup(&key, 0) {
        Lookup::Hit(Held::Page(page)) => Some(reply::page(&page, front.cache_status.of(Source::Hit))),
        _ => None,
    }
}

/// The number, if it is written in the one way that needs no second look.
fn plain_number(text: &str) -> Option<u64> {
    let plain = (1..=15).contains(&text.len()) && !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

/// The key of a plain `GET /lookup/{n}?read=linearizable`, as most ask for it.
fn plain_linearizable(request: &hyper::Request<hyper::body::Incoming>) -> Option<Key> {
    let plain = request.method() == Method::GET
        && request.uri().query() == Some("read=linearizable")
        && !request.headers().contains_key(MIN_REVISION);
    let number = request.uri().path().strip_prefix("/lookup/").filter(|_| plain)?;
    Some(Key::Lookup(plain_number(number)?))
}

/// The item of a plain `GET /buy/{n}`, as most ask for it.
fn plain_buy(request: &hyper::Request<hyper::body::Incoming>) -> Option<u64> {
    let plain = request.method() == Method::GET
        && request.uri().query().is_none()
        && !request.headers().contains_key(IDEMPOTENCY_KEY);
    plain_number(request.uri().path().strip_prefix("/buy/").filter(|_| plain)?)
}

async fn linearizable(front: &Front, key: Key) -> Result<Reply, Refused> {
    let ask = Ask { linearizable: true, min_revision: 0 };
    match front.upstream.page(key, ask, front.deadline()).await? {
        (Held::Page(page), source) => Ok(reply::page(&page, front.cache_status.of(source))),
        // Only lists are too long.
        (Held::TooLong, _) => Err(Refused::not_found()),
    }
}

/// Answers any request. What most ask for has a way of its own: the future of all other ways together is some
/// kilobytes, to be moved to the heap for each request.
pub fn answer(front: Arc<Front>, request: hyper::Request<hyper::body::Incoming>) -> Answering {
    if let Some(key) = plain_linearizable(&request) {
        return Box::pin(async move {
            let answered = linearizable(&front, key).await;
            reply_of(&front, answered, Surface::Compatible)
        });
    }
    if let Some(item) = plain_buy(&request) {
        return Box::pin(async move {
            let reply = compat::buy(&front, item).await;
            reply_of(&front, Ok(reply), Surface::Compatible)
        });
    }
    Box::pin(async move {
        let surface = Surface::of(request.uri().path());
        let request = Incoming::new(request, front.deadline());
        let answered = route(&front, request).await;
        reply_of(&front, answered, surface)
    })
}

fn reply_of(front: &Front, answered: Result<Reply, Refused>, surface: Surface) -> Reply {
    let reply = answered.unwrap_or_else(|refused| refused.into_reply(surface));
    if let Some(Reason(code)) = reply.extensions().get() {
        front.refusals.count(code);
    }
    reply
}

/// As [`answer`], with a line in the log.
pub async fn answer_and_log(front: Arc<Front>, request: hyper::Request<hyper::body::Incoming>) -> Reply {
    let begun = Instant::now();
    let line = format!("{} {}", request.method(), request.uri());
    let id = request::id_of(request.headers());
    let reply = match quick(&front, &request) {
        Some(reply) => reply,
        None => answer(front, request).await,
    };
    let ms = begun.elapsed().as_millis();
    tracing::info!(status = reply.status().as_u16(), ms, request = id, "{line}");
    reply
}

async fn route(front: &Arc<Front>, request: Incoming) -> Result<Reply, Refused> {
    let path = request.path().to_owned();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match segments[..] {
        [""] => only_get(&request, || site::index(request.header(IF_NONE_MATCH))),
        ["page", file] if site::has(file) => only_get(&request, || site::file(file, request.header(IF_NONE_MATCH))),
        ["livez"] => only_get(&request, health::alive),
        ["readyz"] => {
            only_get(&request, || ())?;
            Ok(health::ready(front, request.deadline()).await)
        }
        ["metrics"] => only_get(&request, || figures(front)),
        ["openapi.json"] => only_get(&request, || openapi::document(request.header(IF_NONE_MATCH))),
        ["v1", "items"] => items::collection(front, request).await,
        ["v1", "items:batch"] => items::batch(front, request).await,
        ["v1", "items", number] if !number.is_empty() => items::one(front, request, number).await,
        ["v1", "orders"] => orders::collection(front, request).await,
        ["v1", "orders:batch"] => orders::batch(front, request).await,
        ["v1", "orders", id] if !id.is_empty() => orders::one(front, request, id).await,
        ["v1", "watch"] => watch::stream(front, request).await,
        ["v1", "cluster"] => cluster::answer(front, &request),
        _ if Surface::of(&path) == Surface::V1 => Err(Refused::not_found()),
        _ => compat::answer(front, request).await,
    }
}

fn only_get<T>(request: &Incoming, answer: impl FnOnce() -> T) -> Result<T, Refused> {
    request.allow(&["GET", "HEAD"])?;
    Ok(answer())
}

fn figures(front: &Arc<Front>) -> Reply {
    let mut reply = reply::json(StatusCode::OK, metrics::text(front));
    reply.headers_mut().insert(hyper::header::CONTENT_TYPE, metrics::CONTENT_TYPE);
    reply
}
