//! `/v1/orders`: placing an order, and reading the ledger through the catalog.

use axum::{
    body::Bytes,
    extract::{
        FromRequest, Path, Query, Request, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use catalog_client::{
    Action, CommandId, Revision,
    client::ReadAnswer,
    compat::MAX_BODY,
    protocol::{Data, ReadAt, View},
};
use order_client::view::{
    Key, Problem, bad_request, no_such_order, order_json, order_of, orders_json, parse_order, parse_page, too_large,
};
use serde::Deserialize;
use tokio::time::timeout_at;

use super::{
    Shop,
    answer::{IDEMPOTENCY_KEY, Refused, Surface, from_state, json, put},
};

/// `POST /v1/orders`
pub(super) async fn place(State(shop): State<Shop>, request: Request) -> Result<Response, Refused> {
    let key = Key::of_header(request.headers().get(IDEMPOTENCY_KEY).map(HeaderValue::as_bytes))
        .map_err(|invalid| bad_request(invalid.to_string()))?;
    let content_type = request.headers().get(header::CONTENT_TYPE).cloned();
    let late = |_| Problem::new(408, "request-timeout", "the body did not arrive in time");
    let body = timeout_at(shop.deadline(), Bytes::from_request(request, &())).await.map_err(late)?;
    let body = body.map_err(|rejection| match rejection.status().as_u16() {
        413 => too_large(MAX_BODY),
        _ => bad_request("the body did not arrive whole".to_owned()),
    })?;
    let lines = parse_order(content_type.as_ref().and_then(|text| text.to_str().ok()), &body)?;
    let placed = shop.place(Action::PlaceOrder { lines }, &key).await;
    let placed = placed.map_err(|why| Refused::not_placed(Surface::V1, &why, &key.text))?;
    let mut response = match order_of(&placed.answer.outcome) {
        Ok(order) => {
            let mut response = json(201, order_json(order));
            put(&mut response, header::LOCATION, &format!("/v1/orders/{}", order.id));
            put(&mut response, IDEMPOTENCY_KEY, &key.text);
            response
        }
        Err(problem) => axum::response::IntoResponse::into_response(Refused::from(problem).under(&key.text)),
    };
    from_state(&mut response, placed.answer.version.revision, shop.checkout.catalog.name_of(placed.leader));
    Ok(response)
}

/// `GET /v1/orders/{id}`
pub(super) async fn one(
    State(shop): State<Shop>,
    headers: HeaderMap,
    id: Result<Path<String>, PathRejection>,
    query: Result<Query<OneQuery>, QueryRejection>,
) -> Result<Response, Refused> {
    let Query(query) = query.map_err(|_| bad_request("the query may have read, once".to_owned()))?;
    let at = read_at(&shop, &headers, query.read.as_deref())?;
    let id = id.ok().and_then(|Path(id)| CommandId::parse(&id)).ok_or_else(no_such_order)?;
    let read = read(&shop, &View::Order(id), at).await?;
    let Data::Order(order) = &read.data else { return Err(strange(&shop, &read)) };
    let order = order.as_ref().ok_or_else(no_such_order)?;
    Ok(answer(&shop, &read, order_json(order)))
}

/// The query of `GET /v1/orders`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    limit: Option<String>,
    after: Option<String>,
    read: Option<String>,
}

/// The query of `GET /v1/orders/{id}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OneQuery {
    read: Option<String>,
}

/// `GET /v1/orders`
pub(super) async fn page(
    State(shop): State<Shop>,
    headers: HeaderMap,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Response, Refused> {
    let Query(query) =
        query.map_err(|_| bad_request("the query may have limit, after and read, once each".to_owned()))?;
    let page = parse_page(query.limit.as_deref(), query.after.as_deref())?;
    let at = read_at(&shop, &headers, query.read.as_deref())?;
    let read = read(&shop, &View::Orders { after: page.after, limit: page.limit }, at).await?;
    let Data::Orders { orders, more } = &read.data else { return Err(strange(&shop, &read)) };
    Ok(answer(&shop, &read, orders_json(orders, *more, read.revision)))
}

/// The state that is asked for: never older than what this server has answered.
fn read_at(shop: &Shop, headers: &HeaderMap, read: Option<&str>) -> Result<ReadAt, Problem> {
    match read {
        None => {}
        Some("linearizable") => return Ok(ReadAt::Linearizable),
        Some(_) => return Err(bad_request("the only value of read is linearizable".to_owned())),
    }
    let own = shop.checkout.revision().unwrap_or(0);
    let Some(asked) = headers.get("x-min-revision") else { return Ok(ReadAt::AtLeast(own)) };
    let asked = asked.to_str().ok().and_then(|text| text.parse::<Revision>().ok());
    let asked = asked.ok_or_else(|| bad_request("X-Min-Revision must be a revision: a whole number".to_owned()))?;
    Ok(ReadAt::AtLeast(own.max(asked)))
}

async fn read(shop: &Shop, view: &View, at: ReadAt) -> Result<ReadAnswer, Refused> {
    let read = shop.checkout.catalog.read(None, view, at, shop.deadline()).await;
    read.map_err(|error| Problem::new(503, "unavailable", format!("{error}: try again later")).into())
}

fn answer(shop: &Shop, read: &ReadAnswer, body: Vec<u8>) -> Response {
    let mut response = json(200, body);
    from_state(&mut response, read.revision, shop.checkout.catalog.name_of(read.replica));
    response
}

fn strange(shop: &Shop, read: &ReadAnswer) -> Refused {
    let replica = shop.checkout.catalog.name_of(read.replica);
    tracing::warn!("{replica} answered something else than what was asked");
    Problem::new(503, "unavailable", format!("{replica} answered something else: try again later")).into()
}
