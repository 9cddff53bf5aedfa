//! `GET /v1/items` at a replica: its own state, unless the request asks for more.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use catalog_client::{
    items::{ItemPage, bad_request, etag, item_json, no_such_item, page_json, parse_number, parse_page, tags_match},
    problem::{self, Problem},
    protocol::{Data, Refusal, View},
};

use super::{Api, RETRY_AFTER, compat::read_at, compat::stamp, json};
use crate::reads::Parts;

type Parameters = Query<BTreeMap<String, String>>;

/// `GET /v1/items`
pub(super) async fn page(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    Query(query): Parameters,
) -> Result<Response, Refused> {
    known(&query, &["topic", "q", "limit", "after", "read"])?;
    let get = |name| query.get(name).map(String::as_str);
    let (topic, q, limit, after) = (get("topic"), get("q"), get("limit"), get("after"));
    let view = parse_page(ItemPage { topic, q, limit, after })?;
    let mut parts = api.parts(&headers, &query, &view).await?;
    let Some((Data::Items { items, more }, _)) = parts.next_part() else { return Err(strange()) };
    let response = json(StatusCode::OK, page_json(&items, more, parts.revision));
    Ok(stamp(response, parts.revision, api.reads.name()))
}

/// `GET /v1/items/{n}`
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    Path(number): Path<String>,
    headers: HeaderMap,
    Query(query): Parameters,
) -> Result<Response, Refused> {
    known(&query, &["read"])?;
    let missing = || Problem::new(404, "no-such-item", format!("there is no item {number:?}"));
    let number = parse_number(&number).map_err(|_| missing())?;
    let mut parts = api.parts(&headers, &query, &View::Item(number)).await?;
    let Some((Data::Item(item), _)) = parts.next_part() else { return Err(strange()) };
    let item = item.ok_or_else(|| no_such_item(number))?;
    let tag = etag(&item);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let mut response = if known.is_some_and(|known| tags_match(known, &tag)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        json(StatusCode::OK, item_json(&item))
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(stamp(response, parts.revision, api.reads.name()))
}

impl Api {
    async fn parts(
        &self,
        headers: &HeaderMap,
        query: &BTreeMap<String, String>,
        view: &View,
    ) -> Result<Parts, Refused> {
        let read = query.get("read").map(|value| format!("read={value}"));
        let at = read_at(headers, read.as_deref()).map_err(bad_request)?;
        Ok(self.reads.read(view, at, self.deadline).await?)
    }
}

fn known(query: &BTreeMap<String, String>, names: &[&str]) -> Result<(), Problem> {
    match query.keys().find(|name| !names.contains(&name.as_str())) {
        Some(name) => Err(bad_request(format!("there is no parameter {name:?} here"))),
        None => Ok(()),
    }
}

fn strange() -> Refused {
    Refused(Problem::new(503, "unavailable", "the view has no data: try again later"))
}

/// A refusal as RFC 9457 writes it.
pub(super) struct Refused(Problem);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self(Problem::new(503, "unavailable", refusal.to_string()))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        let content_type = HeaderValue::from_static(problem::CONTENT_TYPE);
        let mut response = (status, [(header::CONTENT_TYPE, content_type)], self.0.body()).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }
}
