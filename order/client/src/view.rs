//! Orders over HTTP: the bodies of `/v1/orders` and of `/buy`, in and out. Shared by all servers that answer them,
//! so that they answer with the same bytes.
//!
//! Must not know any HTTP library, nor how an order is placed.

pub mod batch;
#[cfg(test)]
mod tests;

use std::time::{Duration, UNIX_EPOCH};

pub use catalog_client::problem::Problem;
use catalog_client::{
    CommandId, InvalidKey, KeyOrigin, Line, MAX_LINES, MAX_NUMBER, Order, OrderLine, Outcome, Revision, Version,
    compat::MAX_BODY, object::Object,
};
use serde::{Deserialize, Serialize};

use crate::NotPlaced;

/// How many seconds a client should wait after a 429 or 503: the value of `Retry-After`.
pub const RETRY_AFTER: &str = "1";
/// The most orders in one page of `GET /v1/orders`.
pub const MAX_PAGE: u32 = 1000;
/// The orders in one page when none is asked for.
pub const DEFAULT_PAGE: u32 = 100;
/// The last moment that RFC 3339 can write, in milliseconds since the Unix epoch.
const LAST_TIME_MS: u64 = 253_402_300_799_999;

/// What identifies a command: the client's `Idempotency-Key`, or an id made here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The id.
    pub id: CommandId,
    /// Who made it.
    pub origin: KeyOrigin,
    /// The header's text in the answer: the client's own, or the id.
    pub text: String,
}

impl Key {
    /// A new one.
    pub fn made() -> Self {
        let id = CommandId::new();
        Self { id, origin: KeyOrigin::Made, text: id.to_string() }
    }

    /// The key that the header gives, or a new one without a header.
    ///
    /// # Errors
    /// When the header's text cannot be a key.
    pub fn of_header(header: Option<&[u8]>) -> Result<Self, InvalidKey> {
        let Some(header) = header else { return Ok(Self::made()) };
        let text = std::str::from_utf8(header).map_err(|_| InvalidKey)?;
        Ok(Self { id: CommandId::from_key(text)?, origin: KeyOrigin::Client, text: text.to_owned() })
    }
}

#[derive(Serialize)]
struct OrderView<'a> {
    id: String,
    lines: Vec<LineView<'a>>,
    total: u64,
    revision: Revision,
    time: String,
}

#[derive(Serialize)]
struct LineView<'a> {
    item_number: u64,
    title: &'a str,
    quantity: u64,
    unit_cost: u64,
}

impl<'a> From<&'a Order> for OrderView<'a> {
    fn from(order: &'a Order) -> Self {
        let line = |line: &'a OrderLine| LineView {
            item_number: line.item_number,
            title: &line.title,
            quantity: line.quantity,
            unit_cost: line.unit_cost,
        };
        let time = UNIX_EPOCH + Duration::from_millis(order.time_ms.min(LAST_TIME_MS));
        Self {
            id: order.id.to_string(),
            lines: order.lines.iter().map(line).collect(),
            total: order.total(),
            revision: order.version.revision,
            time: humantime::format_rfc3339_millis(time).to_string(),
        }
    }
}

/// The body of an order: `{"id", "lines": [{"item_number", "title", "quantity", "unit_cost"}], "total", "revision",
/// "time"}`, the time in UTC with milliseconds.
pub fn order_json(order: &Order) -> Vec<u8> {
    to_json(&OrderView::from(order))
}

/// The body of a page of orders read at `revision`: `{"orders": […], "next": "<revision>.<n>" or null, "revision"}`.
/// `more`: whether there are orders after these.
pub fn orders_json(orders: &[Order], more: bool, revision: Revision) -> Vec<u8> {
    #[derive(Serialize)]
    struct Page<'a> {
        orders: Vec<OrderView<'a>>,
        next: Option<String>,
        revision: Revision,
    }
    to_json(&Page {
        orders: orders.iter().map(OrderView::from).collect(),
        next: orders.last().filter(|_| more).map(|last| last.version.to_string()),
        revision,
    })
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("structs of text and numbers are always JSON")
}

/// Which orders `GET /v1/orders` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageOf {
    /// Only those placed after this one.
    pub after: Option<Version>,
    /// At most so many, 1 to [`MAX_PAGE`].
    pub limit: u32,
}

/// Reads `limit` and `after` of `GET /v1/orders`.
///
/// # Errors
/// 400 when they are none.
pub fn parse_page(limit: Option<&str>, after: Option<&str>) -> Result<PageOf, Problem> {
    let limit = match limit {
        None => DEFAULT_PAGE,
        Some(text) => {
            let limit = digits(text).and_then(|limit| u32::try_from(limit).ok());
            limit
                .filter(|limit| (1..=MAX_PAGE).contains(limit))
                .ok_or_else(|| bad_request(format!("limit must be from 1 to {MAX_PAGE}")))?
        }
    };
    let cursor = |text: &str| {
        let (revision, n) = text.split_once('.')?;
        Some(Version { revision: digits(revision)?, n: u32::try_from(digits(n)?).ok()? })
    };
    let after = match after {
        None => None,
        Some(text) => Some(
            cursor(text).ok_or_else(|| bad_request("after must be the value of next in an earlier page".to_owned()))?,
        ),
    };
    Ok(PageOf { after, limit })
}

fn digits(text: &str) -> Option<u64> {
    let all = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| all)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OrderBody {
    lines: Vec<Object<LineBody>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LineBody {
    item_number: serde_json::Number,
    quantity: serde_json::Number,
}

/// Reads and checks the body of `POST /v1/orders`: `{"lines": [{"item_number", "quantity"}]}`.
///
/// # Errors
/// 415 or 413 by content type and length, 400 when it has another shape, 422 when a number is out of its range.
pub fn parse_order(content_type: Option<&str>, body: &[u8]) -> Result<Vec<Line>, Problem> {
    json_only(content_type)?;
    if body.len() > MAX_BODY {
        return Err(too_large(MAX_BODY));
    }
    let Object(body): Object<OrderBody> = serde_json::from_slice(body).map_err(|e| not_an_order(&e))?;
    check_lines(body.lines.iter().map(|Object(line)| line))
}

fn json_only(content_type: Option<&str>) -> Result<(), Problem> {
    let essence = content_type.and_then(|text| text.split(';').next()).unwrap_or_default();
    if essence.trim().eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::new(415, "unsupported-media-type", "the content type must be application/json"))
}

fn not_an_order(error: &serde_json::Error) -> Problem {
    // The error may quote the body: what is said back stays a sentence.
    bad_request(format!("the body is not an order: {error}").chars().take(300).collect())
}

/// The body is longer than `most` bytes.
pub fn too_large(most: usize) -> Problem {
    Problem::new(413, "content-too-large", format!("the body is longer than {most} bytes"))
}

/// 400 with what is wrong, in one sentence.
pub fn bad_request(detail: String) -> Problem {
    Problem::new(400, "bad-request", detail)
}

fn check_lines<'a>(raw: impl ExactSizeIterator<Item = &'a LineBody>) -> Result<Vec<Line>, Problem> {
    if !(1..=MAX_LINES).contains(&raw.len()) {
        return Err(bad_lines(format!("an order has 1 to {MAX_LINES} lines, not {}", raw.len())));
    }
    let in_range = |number: &serde_json::Number| {
        let number = number.as_u64();
        number.filter(|number| (1..=MAX_NUMBER).contains(number))
    };
    let mut lines: Vec<Line> = Vec::with_capacity(raw.len());
    for line in raw {
        let (Some(item_number), Some(quantity)) = (in_range(&line.item_number), in_range(&line.quantity)) else {
            return Err(bad_lines(format!("item_number and quantity must be integers from 1 to {MAX_NUMBER}")));
        };
        lines.push(Line { item_number, quantity });
        // At most MAX_LINES * MAX_NUMBER: far from overflow.
        let of_item = lines.iter().filter(|line| line.item_number == item_number);
        if of_item.map(|line| line.quantity).sum::<u64>() > MAX_NUMBER {
            return Err(bad_lines(format!("the lines of item {item_number} add up to more than {MAX_NUMBER}")));
        }
    }
    Ok(lines)
}

fn bad_lines(detail: String) -> Problem {
    Problem::new(422, "invalid-order", detail)
}

/// The order that an outcome holds, or why there is none.
///
/// # Errors
/// 409 or 404 for what the catalogue says, 422 for a key that cannot be used.
pub fn order_of(outcome: &Outcome) -> Result<&Order, Problem> {
    match outcome {
        Outcome::Placed(order) => Ok(order),
        Outcome::OutOfStock { item_number, wanted, left } => {
            let detail = format!("item {item_number}: {wanted} wanted, {left} left");
            Err(Problem::new(409, "out-of-stock", detail)
                .with("item_number", *item_number)
                .with("wanted", *wanted)
                .with("left", *left))
        }
        Outcome::NoSuchItem { item_number } => {
            let detail = format!("there is no item {item_number}");
            Err(Problem::new(404, "no-such-item", detail).with("item_number", *item_number))
        }
        Outcome::KeyReused => {
            let detail = "this Idempotency-Key was used before by a request with another content: use a new one";
            Err(Problem::new(422, "key-reused", detail))
        }
        Outcome::Expired => {
            let detail = "the request came so late that it can no longer be told from a repeated one, and nothing was done: send it again with a new Idempotency-Key";
            Err(Problem::new(422, "expired", detail))
        }
        Outcome::TooLarge => {
            let detail = format!("the order's total would pass {MAX_NUMBER}");
            Err(Problem::new(422, "too-large", detail))
        }
        _ => Err(bad_lines("the order cannot be carried out as it stands, and nothing was done".to_owned())),
    }
}

/// Status and sentence for an order without an answer, for the compatible surface. A 429 or 503 goes with
/// `Retry-After`: [`RETRY_AFTER`].
pub fn not_placed_message(why: &NotPlaced, key: &str) -> (u16, String) {
    let problem = not_placed(why, key);
    (problem.status, problem.to_string())
}

/// The problem of an order without an answer. A 429 or 503 goes with `Retry-After`: [`RETRY_AFTER`].
pub fn not_placed(why: &NotPlaced, key: &str) -> Problem {
    match why {
        NotPlaced::Overloaded => {
            Problem::new(429, "overloaded", "too many orders are waiting; nothing was done: try again later")
        }
        NotPlaced::Unavailable(why) => {
            Problem::new(503, "unavailable", format!("{why}; nothing was done: try again later"))
        }
        NotPlaced::Unknown => Problem::new(
            503,
            "outcome-unknown",
            format!("no answer came in time; ask again with Idempotency-Key {key}"),
        )
        .with("idempotency_key", key),
    }
}

/// The problem of an order that is not in the ledger.
pub fn no_such_order() -> Problem {
    Problem::new(404, "no-such-order", "there is no order with this id")
}
