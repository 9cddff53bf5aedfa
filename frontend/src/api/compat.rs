//! The compatible surface: lookups, lists, and writes as existing clients of the store speak them.

use bytes::Bytes;
use catalog_client::{
    Action, ItemNumber, Line, client,
    compat::{ListWriter, Operation, command_action, methods_of, parse_get, parse_post, write_body},
    protocol::Data,
};
use futures::{Stream, stream};
use hyper::{
    Method, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use order_client::view::{Key as CommandKey, not_placed};
use tokio::{sync::mpsc, time::Instant};

use super::request::Incoming;
use crate::{
    cache::Key,
    front::Front,
    page::Held,
    reply::{self, CACHE_STATUS, CutShort, IDEMPOTENCY_KEY, Refused, Reply, Surface},
};

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Answers a request whose path is not of `/v1`.
pub(super) async fn answer(front: &Front, mut request: Incoming) -> Result<Reply, Refused> {
    // Names alone are the catalogs' to answer.
    let methods = methods_of(request.path()).filter(|_| !request.path().starts_with("/get_name"));
    request.allow(methods.ok_or_else(Refused::not_found)?)?;
    let operation = if request.method() == Method::POST {
        let body = request.body().await?;
        parse_post(request.path(), request.content_type(), &body)
    } else {
        parse_get(request.path())
    };
    match operation.ok_or_else(Refused::not_found)?? {
        Operation::Invalidate(n) => Ok(invalidate(front, n)),
        Operation::Lookup(n) => read(front, &request, Key::Lookup(n)).await,
        Operation::Quantity(n) => read(front, &request, Key::Quantity(n)).await,
        Operation::List => read(front, &request, Key::List).await,
        Operation::Search(topic) => read(front, &request, Key::Search(topic.into())).await,
        Operation::Name(_) => Err(Refused::not_found()),
        write => {
            let action = command_action(&write).ok_or_else(Refused::not_found)?;
            let mut reply = match request.key() {
                Ok(key) => self::write(front, &write, action, &key, request.deadline()).await,
                Err(refused) => refused.into_reply(Surface::Compatible),
            };
            if request.method() != Method::POST {
                reply.headers_mut().insert(CACHE_CONTROL, NO_STORE);
            }
            Ok(reply)
        }
    }
}

/// A plain `GET /buy/{n}`.
pub(super) async fn buy(front: &Front, item_number: ItemNumber) -> Reply {
    let action = Action::PlaceOrder { lines: vec![Line { item_number, quantity: 1 }] };
    let (operation, key) = (Operation::Buy(item_number), CommandKey::made());
    let mut reply = write(front, &operation, action, &key, front.deadline()).await;
    reply.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    reply
}

fn invalidate(front: &Front, item: u64) -> Reply {
    front.state().drop_item(item);
    tracing::info!(item, "invalidated because somebody asked for it");
    let mut reply = reply::json(StatusCode::OK, format!("Invalidated entry for item {item}"));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(CACHE_CONTROL, NO_STORE);
    reply
}

async fn read(front: &Front, request: &Incoming, key: Key) -> Result<Reply, Refused> {
    let ask = request.compatible_ask()?;
    let (held, source) = front.upstream.page(key.clone(), ask, request.deadline()).await?;
    match held {
        Held::Page(page) => Ok(reply::page(&page, front.cache_status.of(source))),
        Held::TooLong => read_in_parts(front, request, key).await,
    }
}

/// A list too long to be held, as it comes.
async fn read_in_parts(front: &Front, request: &Incoming, key: Key) -> Result<Reply, Refused> {
    let ask = request.compatible_ask()?;
    let (first, rest, source) = front.upstream.stream(&key, ask, request.deadline()).await?;
    let writer = if key == Key::List { ListWriter::list() } else { ListWriter::search() };
    let served_by = front.catalog.name_of(first.replica);
    let mut reply = reply::parts(list_parts(writer, first.data, rest));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_STATUS, front.cache_status.of(source));
    reply::from_state(&mut reply, first.revision, served_by);
    Ok(reply)
}

type Parts = mpsc::Receiver<Result<Data, client::Error>>;

/// What is still to be sent of a list.
enum Left {
    Part(ListWriter, Data, Parts),
    Rest(ListWriter, Parts),
    Nothing,
}

fn list_parts(writer: ListWriter, first: Data, rest: Parts) -> impl Stream<Item = Result<Bytes, CutShort>> {
    stream::unfold(Left::Part(writer, first, rest), |left| async {
        let (writer, part, rest) = match left {
            Left::Part(writer, part, rest) => (writer, Some(Ok(part)), rest),
            Left::Rest(writer, mut rest) => {
                let part = rest.recv().await;
                (writer, part, rest)
            }
            Left::Nothing => return None,
        };
        Some(match part {
            Some(Ok(Data::Items { items, .. })) => {
                let mut writer = writer;
                let bytes = writer.part(&items);
                (Ok(bytes), Left::Rest(writer, rest))
            }
            Some(Ok(_)) => (Err(CutShort("a part of something else".to_owned())), Left::Nothing),
            Some(Err(error)) => (Err(CutShort(error.to_string())), Left::Nothing),
            None => (Ok(writer.end()), Left::Nothing),
        })
    })
}

async fn write(front: &Front, operation: &Operation, action: Action, key: &CommandKey, deadline: Instant) -> Reply {
    let mut reply = match front.writes.decide(action, key, deadline).await {
        Ok(decided) => {
            let (status, body) = write_body(operation, &decided.answer.outcome);
            let mut reply = reply::json(StatusCode::from_u16(status).unwrap_or(StatusCode::OK), body);
            let served_by = front.catalog.name_of(decided.leader);
            reply::from_state(&mut reply, decided.answer.version.revision, served_by);
            reply
        }
        Err(why) => Refused::from(not_placed(&why, &key.text)).into_reply(Surface::Compatible),
    };
    reply::put(&mut reply, IDEMPOTENCY_KEY, &key.text);
    reply
}
