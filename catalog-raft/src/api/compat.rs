//! The compatible surface at a replica: GET and POST of the operations that are the catalog's.

use std::{sync::Arc, time::Instant};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::Response,
};
use catalog_client::{
    Command, CommandId, Item, KeyOrigin, Revision,
    client::Error,
    compat::{self, BadRequest, ListWriter, Operation, command_action},
    protocol::{Data, ReadAt, Refusal, View},
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use super::{Api, IDEMPOTENCY_KEY, X_MIN_REVISION, X_REVISION, X_SERVED_BY, error, json};
use crate::reads::Parts;

/// Parts of a long list that wait for a slow client.
const PARTS_AHEAD: usize = 2;

/// Answers any path that is no route of its own.
pub(super) async fn answer(State(api): State<Arc<Api>>, request: Request) -> Response {
    let began = Instant::now();
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let mut key = None;
    let parsed = timeout(api.deadline, parse(&parts.method, &path, &parts.headers, body)).await;
    let response = match parsed {
        Err(_) => error(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"),
        Ok(Err(response)) => response,
        Ok(Ok(operation)) => match command_action(&operation) {
            Some(action) => {
                let (response, used) = api.write(&parts.method, &parts.headers, &operation, action).await;
                key = used;
                response
            }
            None => api.read(&parts.headers, parts.uri.query(), &operation).await,
        },
    };
    api.log(&parts.method, &path, &response, key.as_deref(), began);
    response
}

async fn parse(method: &Method, path: &str, headers: &HeaderMap, body: Body) -> Result<Operation, Response> {
    let methods = compat::methods_of(path).ok_or_else(|| error(StatusCode::NOT_FOUND, "there is nothing here"))?;
    if !methods.contains(&method.as_str()) {
        let allowed = methods.join(", ");
        let mut response = error(StatusCode::METHOD_NOT_ALLOWED, &format!("use {allowed}"));
        if let Ok(allowed) = HeaderValue::from_str(&allowed) {
            response.headers_mut().insert(header::ALLOW, allowed);
        }
        return Err(response);
    }
    let parsed = if method == Method::POST {
        let body = read_body(body).await?;
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        compat::parse_post(path, content_type, &body)
    } else {
        compat::parse_get(path)
    };
    match parsed {
        // Buying is the order servers', invalidating the front ends'.
        None | Some(Ok(Operation::Buy(_) | Operation::Invalidate(_))) => {
            Err(error(StatusCode::NOT_FOUND, "this is no operation of the catalog: ask a front end"))
        }
        Some(parsed) => parsed.map_err(|BadRequest { status, message }| {
            error(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), &message)
        }),
    }
}

async fn read_body(body: Body) -> Result<Bytes, Response> {
    // One byte more than is allowed, so that the parser sees that it is too long.
    let too_large = || error(StatusCode::PAYLOAD_TOO_LARGE, &format!("the body is longer than {}", compat::MAX_BODY));
    to_bytes(body, compat::MAX_BODY).await.map_err(|_| too_large())
}

impl Api {
    async fn write(
        &self,
        method: &Method,
        headers: &HeaderMap,
        operation: &Operation,
        action: catalog_client::Action,
    ) -> (Response, Option<String>) {
        let (id, origin, text) = match headers.get(IDEMPOTENCY_KEY) {
            None => {
                let id = CommandId::new();
                (id, KeyOrigin::Made, id.to_string())
            }
            Some(value) => {
                match value.to_str().map_err(|_| ()).and_then(|t| Ok((CommandId::from_key(t).map_err(|_| ())?, t))) {
                    Ok((id, text)) => (id, KeyOrigin::Client, text.to_owned()),
                    Err(()) => return (error(StatusCode::BAD_REQUEST, &catalog_client::InvalidKey.to_string()), None),
                }
            }
        };
        let command = Command { id, origin, born: self.reads.newest_known(), action };
        let deadline = tokio::time::Instant::now() + self.deadline;
        let mut response = match self.reads.peers().submit(vec![command], deadline).await {
            Ok(submitted) => {
                let (status, body, revision) = match submitted.answers.first() {
                    Some(answer) => {
                        let (status, body) = compat::write_body(operation, &answer.outcome);
                        (status, body, answer.version.revision)
                    }
                    None => (500, compat::error_body("the leader gave no answer"), 0),
                };
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                stamp(json(status, body), revision, self.reads.peers().name_of(submitted.leader))
            }
            Err(reason) => refused(&reason, &text),
        };
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().insert(IDEMPOTENCY_KEY, value);
        }
        if method == Method::GET {
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        (response, Some(text))
    }

    async fn read(&self, headers: &HeaderMap, query: Option<&str>, operation: &Operation) -> Response {
        let at = match read_at(headers, query) {
            Ok(at) => at,
            Err(message) => return error(StatusCode::BAD_REQUEST, &message),
        };
        let (topic, item) = match operation {
            Operation::Search(topic) => (Some(topic.clone()), None),
            Operation::Lookup(n) | Operation::Quantity(n) | Operation::Name(n) => (None, Some(*n)),
            _ => (None, None),
        };
        let view = match item {
            Some(item_number) => View::Item(item_number),
            None => View::Items { topic, words: None, after: None, limit: None },
        };
        let mut parts = match self.reads.read(&view, at, self.deadline).await {
            Ok(parts) => parts,
            Err(refusal) => return refused(&Error::Refused(refusal), ""),
        };
        let revision = parts.revision;
        let response = match parts.next_part() {
            Some((Data::Item(item), _)) => json(StatusCode::OK, item_body(operation, item.as_ref())),
            Some((Data::Items { items, .. }, last)) => list(operation, items, last, parts),
            _ => error(StatusCode::INTERNAL_SERVER_ERROR, "the view has no data"),
        };
        stamp(response, revision, self.reads.name())
    }
}

fn item_body(operation: &Operation, item: Option<&Item>) -> Bytes {
    match operation {
        Operation::Quantity(_) => compat::quantity_body(item),
        Operation::Name(_) => compat::name_body(item),
        _ => compat::lookup_body(item),
    }
}

/// A list in one piece if it is short, else part by part as the client takes it.
fn list(operation: &Operation, first: Vec<Item>, last: bool, mut rest: Parts) -> Response {
    let mut writer = match operation {
        Operation::Search(_) => ListWriter::search(),
        _ => ListWriter::list(),
    };
    let first = writer.part(&first);
    if last {
        let body = [first, writer.end()].concat();
        return json(StatusCode::OK, body.into());
    }
    let (sender, receiver) = mpsc::channel::<Bytes>(PARTS_AHEAD);
    tokio::spawn(async move {
        while let Some((Data::Items { items, .. }, _)) = rest.next_part() {
            if sender.send(writer.part(&items)).await.is_err() {
                return;
            }
        }
        // The client is gone if this fails.
        let _ = sender.send(writer.end()).await;
    });
    let stream = tokio_stream::once(first).chain(ReceiverStream::new(receiver)).map(Ok::<_, std::convert::Infallible>);
    let mut response = Response::new(Body::from_stream(stream));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The state that the request asks for: this replica's own, unless it says otherwise.
pub(super) fn read_at(headers: &HeaderMap, query: Option<&str>) -> Result<ReadAt, String> {
    match query {
        None | Some("") => {}
        Some("read=linearizable") => return Ok(ReadAt::Linearizable),
        Some(_) => return Err("the only parameter of a read is read=linearizable".to_owned()),
    }
    let Some(value) = headers.get(X_MIN_REVISION) else { return Ok(ReadAt::Local) };
    let revision = value.to_str().ok().and_then(|text| text.parse::<Revision>().ok());
    revision.map(ReadAt::AtLeast).ok_or_else(|| "X-Min-Revision must be a revision: a whole number".to_owned())
}

pub(super) fn stamp(mut response: Response, revision: Revision, node: &str) -> Response {
    response.headers_mut().insert(X_REVISION, revision.into());
    if let Ok(node) = HeaderValue::from_str(node) {
        response.headers_mut().insert(X_SERVED_BY, node);
    }
    response
}

fn refused(reason: &Error, key: &str) -> Response {
    match reason {
        Error::Refused(Refusal::Overloaded) => error(StatusCode::TOO_MANY_REQUESTS, "overloaded: come back later"),
        Error::Refused(refusal @ Refusal::Invalid(_)) => error(StatusCode::BAD_REQUEST, &refusal.to_string()),
        Error::Refused(refusal) => error(StatusCode::SERVICE_UNAVAILABLE, &refusal.to_string()),
        Error::Unknown => error(
            StatusCode::SERVICE_UNAVAILABLE,
            &format!("outcome-unknown: ask again with the Idempotency-Key {key} to learn what became of it"),
        ),
    }
}
