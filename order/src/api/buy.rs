//! `/buy` of the compatible surface.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{HeaderValue, Method, header},
    response::{IntoResponse, Response},
};
use catalog_client::compat::{self, BadRequest, MAX_BODY, Operation};
use order_client::view::Key;
use tokio::time::timeout_at;

use super::{
    Shop,
    answer::{IDEMPOTENCY_KEY, Refused, Surface, from_state, json, put},
};

/// Whether a path is `/buy` or below it.
pub(super) fn is_path(path: &str) -> bool {
    path.strip_prefix("/buy").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Buys one unit of one item.
pub(super) async fn buy(shop: &Shop, request: Request) -> Response {
    let mut response = match answer(shop, request).await {
        Ok(response) => response,
        Err(refused) => refused.into_response(),
    };
    // A GET that buys must not be answered from anybody's cache.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn answer(shop: &Shop, request: Request) -> Result<Response, Refused> {
    let key = Key::of_header(request.headers().get(IDEMPOTENCY_KEY).map(HeaderValue::as_bytes))
        .map_err(|invalid| BadRequest { status: 400, message: invalid.to_string() })?;
    let late = || BadRequest { status: 408, message: "the body did not arrive in time".to_owned() };
    let operation = timeout_at(shop.deadline(), operation(request)).await.map_err(|_| late())??;
    let no_write = || Refused::new(Surface::Compatible, 404, "not-found", "there is nothing at this path");
    let action = compat::command_action(&operation).ok_or_else(no_write)?;
    let placed = shop.place(action, &key).await;
    let placed = placed.map_err(|why| Refused::not_placed(Surface::Compatible, &why, &key.text))?;
    let (status, body) = compat::write_body(&operation, &placed.answer.outcome);
    let mut response = json(status, body);
    from_state(&mut response, placed.answer.version.revision, shop.checkout.catalog.name_of(placed.leader));
    put(&mut response, IDEMPOTENCY_KEY, &key.text);
    Ok(response)
}

async fn operation(request: Request) -> Result<Operation, Refused> {
    let path = request.uri().path().to_owned();
    let parsed = match *request.method() {
        Method::GET => compat::parse_get(&path),
        Method::POST => {
            let content_type = request.headers().get(header::CONTENT_TYPE).cloned();
            let body =
                Bytes::from_request(request, &()).await.map_err(|rejection| match rejection.status().as_u16() {
                    413 => BadRequest { status: 413, message: format!("the body is longer than {MAX_BODY} bytes") },
                    _ => BadRequest { status: 400, message: "the body did not arrive whole".to_owned() },
                })?;
            compat::parse_post(&path, content_type.as_ref().and_then(|text| text.to_str().ok()), &body)
        }
        _ => None,
    };
    let wrong_method = || {
        let methods = compat::methods_of(&path).unwrap_or_default();
        let detail = format!("this path has only {}", methods.join(" and "));
        Refused::new(Surface::Compatible, 405, "method-not-allowed", detail).allowing(methods)
    };
    Ok(parsed.ok_or_else(wrong_method)??)
}
