//! The batch route: many orders in one request, from front ends. Ids, origins and births are theirs.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::{HeaderValue, header},
    response::Response,
};
use catalog_client::{Action, Command, MAX_LINES, frame};
use order_client::{BATCH_CONTENT_TYPE, BatchAnswer, MAX_BATCH, PlaceBatch};
use tokio::time::Instant;

use super::{
    Shop,
    answer::{Refused, Surface},
};

/// `POST` [`order_client::BATCH_PATH`]
pub(super) async fn place(State(shop): State<Shop>, body: Result<Bytes, BytesRejection>) -> Result<Response, Refused> {
    let body = body.map_err(|rejection| {
        Refused::new(Surface::V1, rejection.status().as_u16(), "bad-request", rejection.body_text())
    })?;
    let batch: PlaceBatch = frame::decode(&body).map_err(|error| bad(error.to_string()))?;
    if batch.commands.len() > MAX_BATCH {
        return Err(bad(format!("{} commands, beyond {MAX_BATCH}", batch.commands.len())));
    }
    if !batch.commands.iter().all(is_order) {
        return Err(bad(format!("each command must place an order of 1 to {MAX_LINES} lines")));
    }
    let wait = Duration::from_millis(batch.wait_ms.into()).min(shop.deadline);
    let deadline = Instant::now() + wait;
    let answers = shop.checkout.place_all(batch.commands, deadline).await;
    let mut response = Response::new(frame::encode(&BatchAnswer { answers }).into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(BATCH_CONTENT_TYPE));
    Ok(response)
}

fn is_order(command: &Command) -> bool {
    matches!(&command.action, Action::PlaceOrder { lines } if (1..=MAX_LINES).contains(&lines.len()))
}

fn bad(detail: String) -> Refused {
    Refused::new(Surface::V1, 400, "bad-request", detail)
}
