//! Requests of `/v1/items`: arguments, bodies and conditions, and what is wrong with them.
//!
//! Nothing that is wrong in form gets beyond here.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Number;

use super::{DEFAULT_PAGE, MAX_PAGE, check_query};
use crate::{
    Action, ItemNumber, MAX_NUMBER, MAX_TITLE, MAX_TOPIC, Version, compat::MAX_BODY, problem::Problem, protocol::View,
};

/// The longest message about a body, in characters.
const MAX_MESSAGE: usize = 300;

/// Which items `GET /v1/items` asks for, as text of its query.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ItemPage<'a> {
    /// Only of this topic.
    pub topic: Option<&'a str>,
    /// Only titles with words that begin with each of these.
    pub q: Option<&'a str>,
    /// At most so many.
    pub limit: Option<&'a str>,
    /// Only numbers above this one.
    pub after: Option<&'a str>,
}

/// What [`ItemPage`] asks for.
///
/// # Errors
/// 400 with what is wrong.
pub fn parse_page(page: ItemPage<'_>) -> Result<View, Problem> {
    let limit = match page.limit {
        None => DEFAULT_PAGE,
        Some(text) => digits(text)
            .and_then(|limit| u32::try_from(limit).ok())
            .filter(|limit| (1..=MAX_PAGE).contains(limit))
            .ok_or_else(|| bad_request(format!("limit must be from 1 to {MAX_PAGE}")))?,
    };
    let after = match page.after {
        None => None,
        Some(text) => Some(
            digits(text)
                .filter(|number| *number <= MAX_NUMBER)
                .ok_or_else(|| bad_request("after must be the value of next in an earlier page"))?,
        ),
    };
    if page.topic.is_some_and(|topic| topic.len() > MAX_TOPIC) {
        return Err(bad_request(format!("topic is longer than {MAX_TOPIC} bytes")));
    }
    page.q.map_or(Ok(()), check_query).map_err(bad_request)?;
    Ok(View::Items { topic: page.topic.map(Into::into), words: page.q.map(Into::into), after, limit: Some(limit) })
}

/// The item number in a path.
///
/// # Errors
/// 400 unless it is an integer from 1 to [`MAX_NUMBER`].
pub fn parse_number(text: &str) -> Result<ItemNumber, Problem> {
    digits(text)
        .filter(|number| (1..=MAX_NUMBER).contains(number))
        .ok_or_else(|| bad_request(format!("an item number is an integer from 1 to {MAX_NUMBER}")))
}

fn digits(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
}

/// Checks the content type of a body.
///
/// # Errors
/// 415 unless it is JSON.
pub fn parse_content_type(content_type: Option<&str>) -> Result<(), Problem> {
    let essence = content_type.and_then(|text| text.split(';').next()).unwrap_or_default();
    if essence.trim().eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::new(415, "unsupported-media-type", "the content type must be application/json"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewItemBody {
    item_number: Option<Number>,
    title: String,
    topic: String,
    cost: Number,
    quantity: Number,
}

/// Reads and checks the body of `POST /v1/items`: `{"item_number"?, "title", "topic", "cost", "quantity"}`.
///
/// # Errors
/// 413 or 400 when it has another shape, 422 when a value is out of its range.
pub fn parse_new_item(body: &[u8]) -> Result<Action, Problem> {
    let body: NewItemBody = parse(body)?;
    let item_number = match body.item_number {
        None => None,
        Some(number) => Some(in_range("item_number", &number, 1)?),
    };
    Ok(Action::AddItem {
        item_number,
        title: title(body.title)?.into(),
        topic: topic(body.topic)?.into(),
        cost: in_range("cost", &body.cost, 0)?,
        quantity: in_range("quantity", &body.quantity, 0)?,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeBody {
    title: Option<String>,
    topic: Option<String>,
    cost: Option<Number>,
    add_quantity: Option<Number>,
}

/// Reads and checks the body of `PATCH /v1/items/{n}`: `{"title"?, "topic"?, "cost"?, "add_quantity"?}`, at least one.
///
/// # Errors
/// 413 or 400 when it has another shape, 422 when a value is out of its range.
pub fn parse_change(item_number: ItemNumber, if_match: Option<Version>, body: &[u8]) -> Result<Action, Problem> {
    let body: ChangeBody = parse(body)?;
    if body.title.is_none() && body.topic.is_none() && body.cost.is_none() && body.add_quantity.is_none() {
        return Err(bad_request("nothing to change: give title, topic, cost or add_quantity"));
    }
    let add_quantity = body.add_quantity.map(|number| {
        let delta = number.as_i64().filter(|delta| delta.unsigned_abs() <= MAX_NUMBER);
        delta.ok_or_else(|| invalid(format!("add_quantity must be an integer from -{MAX_NUMBER} to {MAX_NUMBER}")))
    });
    Ok(Action::ChangeItem {
        item_number,
        title: body.title.map(title).transpose()?.map(Into::into),
        topic: body.topic.map(topic).transpose()?.map(Into::into),
        cost: body.cost.map(|cost| in_range("cost", &cost, 0)).transpose()?,
        add_quantity: add_quantity.transpose()?,
        if_match,
    })
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    parse_within(MAX_BODY, body)
}

pub(super) fn parse_within<T: DeserializeOwned>(most: usize, body: &[u8]) -> Result<T, Problem> {
    if body.len() > most {
        return Err(too_large(most));
    }
    // serde alone would take an array for a struct.
    let is_object = body.trim_ascii_start().first() == Some(&b'{');
    let parsed = serde_json::from_slice(body);
    match parsed {
        Ok(value) if is_object => Ok(value),
        Ok(_) => Err(bad_request("the body must be a JSON object")),
        // The error may quote the body: what is said back stays a sentence.
        Err(e) => {
            Err(bad_request(format!("the body cannot be read: {e}").chars().take(MAX_MESSAGE).collect::<String>()))
        }
    }
}

pub(super) fn title(text: String) -> Result<String, Problem> {
    of_length("title", text, MAX_TITLE)
}

pub(super) fn topic(text: String) -> Result<String, Problem> {
    of_length("topic", text, MAX_TOPIC)
}

fn of_length(name: &str, text: String, max: usize) -> Result<String, Problem> {
    if (1..=max).contains(&text.len()) {
        Ok(text)
    } else {
        Err(invalid(format!("{name} must be 1 to {max} bytes long")))
    }
}

pub(super) fn in_range(name: &str, number: &Number, least: u64) -> Result<u64, Problem> {
    let number = number.as_u64().filter(|number| (least..=MAX_NUMBER).contains(number));
    number.ok_or_else(|| invalid(format!("{name} must be an integer from {least} to {MAX_NUMBER}")))
}

/// Reads `If-Match`: one entity tag, or `*`, which asks for no more than that the item exists.
///
/// # Errors
/// 400 when it is neither.
pub fn parse_if_match(header: Option<&str>) -> Result<Option<Version>, Problem> {
    // No change has this version, so a tag that no item ever had fails like one that an item has no longer.
    const NEVER: Version = Version { revision: 0, n: 0 };
    let Some(text) = header.map(str::trim).filter(|text| *text != "*") else { return Ok(None) };
    let (weak, tag) = text.strip_prefix("W/").map_or((false, text), |tag| (true, tag));
    let opaque = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).filter(|opaque| !opaque.contains('"'));
    let Some(opaque) = opaque else {
        return Err(bad_request("If-Match must be one entity tag, as in ETag, or *"));
    };
    // The comparison is the strong one (RFC 9110 section 13.1.1): a weak tag never matches.
    let version = opaque.parse::<Version>().ok().filter(|version| !weak && version.to_string() == opaque);
    Ok(Some(version.unwrap_or(NEVER)))
}

/// Whether an `If-None-Match` names `etag` (quotes included), by the weak comparison.
pub fn tags_match(header: &str, etag: &str) -> bool {
    header.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// 400 with what is wrong, in one sentence.
pub fn bad_request(detail: impl Into<String>) -> Problem {
    Problem::new(400, "bad-request", detail)
}

/// The body is longer than `most` bytes.
pub fn too_large(most: usize) -> Problem {
    Problem::new(413, "content-too-large", format!("the body is longer than {most} bytes"))
}

fn invalid(detail: String) -> Problem {
    Problem::new(422, "invalid-item", detail)
}
