//! `/v1/items`: pages of items, one item, and the commands about items, one or many.

use std::mem;

use catalog_client::{
    Action, Item, ItemNumber, Outcome,
    items::{
        ItemPage, MAX_IMPORT_BODY, etag, import_json, item_json, page_json, parse_change, parse_content_type,
        parse_if_match, parse_import, parse_new_item, parse_number, parse_page, refusal_of, tags_match,
    },
    protocol::Data,
};
use hyper::{
    Method, StatusCode,
    header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, LOCATION},
};
use order_client::view::not_placed;

use super::request::Incoming;
use crate::{
    cache::Key,
    front::Front,
    page::{Held, Page},
    reply::{self, CACHE_STATUS, IDEMPOTENCY_KEY, REVISION, Refused, Reply, SERVED_BY},
    upstream::Source,
};

/// `/v1/items`
pub(super) async fn collection(front: &Front, request: Incoming) -> Result<Reply, Refused> {
    request.allow(&["GET", "HEAD", "POST"])?;
    if request.method() == Method::POST { add(front, request).await } else { page(front, &request).await }
}

/// `/v1/items:batch`: all rows or none.
pub(super) async fn batch(front: &Front, mut request: Incoming) -> Result<Reply, Refused> {
    request.allow(&["POST"])?;
    request.query(&[])?;
    parse_content_type(request.content_type())?;
    let action = parse_import(&request.body_within(MAX_IMPORT_BODY).await?)?;
    command(front, &request, action).await
}

/// `/v1/items/{n}`
pub(super) async fn one(front: &Front, request: Incoming, number: &str) -> Result<Reply, Refused> {
    request.allow(&["GET", "HEAD", "PATCH", "DELETE"])?;
    // What cannot be an item's number is no item's.
    let missing = || Refused::new(404, "no-such-item", format!("there is no item {number:?}"));
    let number = parse_number(number).map_err(|_| missing())?;
    match *request.method() {
        Method::PATCH => change(front, request, number).await,
        Method::DELETE => withdraw(front, request, number).await,
        _ => item(front, &request, number).await,
    }
}

async fn page(front: &Front, request: &Incoming) -> Result<Reply, Refused> {
    let query = request.query(&["topic", "q", "limit", "after", "read"])?;
    let ask = request.ask(query.get("read"))?;
    let (topic, q) = (query.get("topic"), query.get("q"));
    let view = parse_page(ItemPage { topic, q, limit: query.get("limit"), after: query.get("after") })?;
    let (answer, source) = front.upstream.read(&view, ask, request.deadline()).await?;
    let Data::Items { items, more } = &answer.data else { return Err(strange()) };
    let mut reply = reply::json(StatusCode::OK, page_json(items, *more, answer.revision));
    reply.headers_mut().insert(CACHE_STATUS, front.cache_status.of(source));
    reply::from_state(&mut reply, answer.revision, front.catalog.name_of(answer.replica));
    Ok(reply)
}

async fn item(front: &Front, request: &Incoming, number: ItemNumber) -> Result<Reply, Refused> {
    let query = request.query(&["read"])?;
    let ask = request.ask(query.get("read"))?;
    let (held, source) = front.upstream.page(Key::V1Item(number), ask, request.deadline()).await?;
    let Held::Page(page) = held else { return Err(strange()) };
    Ok(if is_known(request, &page) {
        not_modified(front, &page, source)
    } else {
        reply::page(&page, front.cache_status.of(source))
    })
}

/// Whether the client has this very version of the item.
fn is_known(request: &Incoming, page: &Page) -> bool {
    let etag = page.etag.as_ref().and_then(|etag| etag.to_str().ok());
    etag.zip(request.header(IF_NONE_MATCH)).is_some_and(|(etag, known)| tags_match(known, etag))
}

fn not_modified(front: &Front, page: &Page, source: Source) -> Reply {
    let mut headers = mem::take(reply::page(page, front.cache_status.of(source)).headers_mut());
    headers.remove(CONTENT_TYPE);
    let mut reply = reply::empty(StatusCode::NOT_MODIFIED);
    *reply.headers_mut() = headers;
    reply
}

async fn add(front: &Front, mut request: Incoming) -> Result<Reply, Refused> {
    request.query(&[])?;
    parse_content_type(request.content_type())?;
    let action = parse_new_item(&request.body().await?)?;
    command(front, &request, action).await
}

async fn change(front: &Front, mut request: Incoming, number: ItemNumber) -> Result<Reply, Refused> {
    request.query(&[])?;
    let if_match = parse_if_match(request.one_header(IF_MATCH)?)?;
    parse_content_type(request.content_type())?;
    let action = parse_change(number, if_match, &request.body().await?)?;
    command(front, &request, action).await
}

async fn withdraw(front: &Front, request: Incoming, item_number: ItemNumber) -> Result<Reply, Refused> {
    request.query(&[])?;
    let if_match = parse_if_match(request.one_header(IF_MATCH)?)?;
    command(front, &request, Action::WithdrawItem { item_number, if_match }).await
}

async fn command(front: &Front, request: &Incoming, action: Action) -> Result<Reply, Refused> {
    let key = request.key()?;
    let decided = front.writes.decide(action, &key, request.deadline()).await;
    let decided = decided.map_err(|why| Refused::from(not_placed(&why, &key.text)).with(IDEMPOTENCY_KEY, &key.text))?;
    let (revision, served_by) = (decided.answer.version.revision, front.catalog.name_of(decided.leader));
    let mut reply = match &decided.answer.outcome {
        Outcome::Added(item) => {
            let mut reply = with_item(StatusCode::CREATED, item);
            reply::put(&mut reply, LOCATION, &format!("/v1/items/{}", item.item_number));
            reply
        }
        Outcome::Changed(item) => with_item(StatusCode::OK, item),
        outcome => match refusal_of(outcome) {
            None => match import_json(outcome, revision) {
                Some(body) => reply::json(StatusCode::OK, body),
                None => reply::empty(StatusCode::NO_CONTENT),
            },
            Some(problem) => {
                let refused = Refused::from(problem).with(IDEMPOTENCY_KEY, &key.text);
                return Err(refused.with(REVISION, revision.to_string()).with(SERVED_BY, served_by));
            }
        },
    };
    reply::from_state(&mut reply, revision, served_by);
    reply::put(&mut reply, IDEMPOTENCY_KEY, &key.text);
    Ok(reply)
}

fn with_item(status: StatusCode, item: &Item) -> Reply {
    let mut reply = reply::json(status, item_json(item));
    reply::put(&mut reply, ETAG, &etag(item));
    reply
}

fn strange() -> Refused {
    Refused::new(503, "unavailable", "a replica answered something else than what was asked: try again later")
}
