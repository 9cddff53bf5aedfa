//! Many orders in one request: the body of `POST /v1/orders:batch` of a front end, in and out. Each order is one of its
//! own, with a key of its own; what is wrong in form is refused for all of them.
//!
//! Must not know any HTTP library, nor how orders are placed.

use catalog_client::{Line, Revision, object::Object};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Key, LineBody, OrderView, Problem, bad_request, check_lines, json_only, not_an_order, not_placed, order_of,
    to_json, too_large,
};
use crate::{NotPlaced, Placed};

/// The most orders in one request.
pub const MAX_ORDERS: usize = 1_000;
/// The longest body, in bytes.
pub const MAX_ORDERS_BODY: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchBody {
    orders: Vec<Object<OneBody>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OneBody {
    lines: Vec<Object<LineBody>>,
    idempotency_key: Option<String>,
}

/// Reads and checks the body: `{"orders": [{"lines": [{"item_number", "quantity"}], "idempotency_key"}]}`, 1 to
/// [`MAX_ORDERS`] orders; one without a key gets a new one.
///
/// # Errors
/// For the whole of it, naming the `order` by its place from 0: 415 or 413 by content type and length, 400 when it has
/// another shape or a key is none, 422 when a number is out of its range.
pub fn parse_orders(content_type: Option<&str>, body: &[u8]) -> Result<Vec<(Key, Vec<Line>)>, Problem> {
    json_only(content_type)?;
    if body.len() > MAX_ORDERS_BODY {
        return Err(too_large(MAX_ORDERS_BODY));
    }
    let Object(body): Object<BatchBody> = serde_json::from_slice(body).map_err(|e| not_an_order(&e))?;
    if !(1..=MAX_ORDERS).contains(&body.orders.len()) {
        let detail = format!("a request has 1 to {MAX_ORDERS} orders, not {}", body.orders.len());
        return Err(Problem::new(422, "invalid-order", detail));
    }
    let one = |(n, Object(order)): (usize, Object<OneBody>)| {
        let key = Key::of_header(order.idempotency_key.as_deref().map(str::as_bytes));
        let key = key.map_err(|invalid| bad_request(invalid.to_string()));
        let lines = check_lines(order.lines.iter().map(|Object(line)| line));
        key.and_then(|key| Ok((key, lines?))).map_err(|problem| of_order(n, problem))
    };
    body.orders.into_iter().enumerate().map(one).collect()
}

fn of_order(n: usize, problem: Problem) -> Problem {
    let detail = format!("order {n}: {}; nothing of the request was done", problem.detail);
    Problem { detail, ..problem }.with("order", n)
}

#[derive(Serialize)]
struct BatchView<'a> {
    orders: Vec<EntryView<'a>>,
    revision: Revision,
}

#[derive(Serialize)]
struct EntryView<'a> {
    status: u16,
    idempotency_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<OrderView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Value>,
}

impl<'a> From<&'a (Key, Result<Placed, NotPlaced>)> for EntryView<'a> {
    fn from((key, result): &'a (Key, Result<Placed, NotPlaced>)) -> Self {
        let idempotency_key = key.text.as_str();
        let outcome = match result {
            Ok(placed) => order_of(&placed.answer.outcome),
            Err(why) => Err(not_placed(why, idempotency_key)),
        };
        match outcome {
            Ok(order) => Self { status: 201, idempotency_key, order: Some(order.into()), problem: None },
            Err(problem) => {
                Self { status: problem.status, idempotency_key, order: None, problem: Some(problem.value()) }
            }
        }
    }
}

/// What became of the orders, in their order: `{"orders": [{"status", "idempotency_key", "order" or "problem"}],
/// "revision"}`. The status and what follows are those of `POST /v1/orders` alone; the revision is the newest of them, 0
/// without an outcome.
pub fn batch_json(orders: &[(Key, Result<Placed, NotPlaced>)]) -> Vec<u8> {
    to_json(&BatchView { orders: orders.iter().map(Into::into).collect(), revision: newest(orders) })
}

/// The newest revision that an outcome of these was decided at; 0 without one.
pub fn newest(orders: &[(Key, Result<Placed, NotPlaced>)]) -> Revision {
    orders.iter().filter_map(|(_, result)| Some(result.as_ref().ok()?.answer.version.revision)).max().unwrap_or(0)
}

#[cfg(test)]
mod tests;
