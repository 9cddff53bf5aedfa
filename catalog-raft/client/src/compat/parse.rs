//! Requests of the compatible surface: which operation a path or body is, and what is wrong with it.
//!
//! Nothing that is wrong in form gets beyond here. Must not know what an operation does.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned},
};

use super::{BadRequest, MAX_BODY, Operation};
use crate::{ItemNumber, MAX_NUMBER, MAX_TOPIC};

/// The longest message about a body, in characters.
const MAX_MESSAGE: usize = 300;

/// The operations, by the first word of their path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    List,
    Search,
    Lookup,
    Quantity,
    Name,
    SetCost,
    ChangeStock,
    Buy,
    Invalidate,
}

/// Which methods a path has; `None` when it is no operation's at all (404). HEAD is among them only where asking
/// changes nothing.
pub fn methods_of(path: &str) -> Option<&'static [&'static str]> {
    let (word, rest) = split(path)?;
    let (posts, writes) = (has_post(word), is_write(word));
    Some(match (posts && is_post_shape(rest), writes) {
        (true, true) => &["GET", "POST"],
        (true, false) => &["GET", "HEAD", "POST"],
        (false, true) => &["GET"],
        (false, false) => &["GET", "HEAD"],
    })
}

/// Parses the (percent-encoded) path of a GET. `None` when the path is no operation's at all (404).
pub fn parse_get(path: &str) -> Option<Result<Operation, BadRequest>> {
    let (word, rest) = split(path)?;
    Some(get(word, rest))
}

/// Parses a POST: its path (with or without the trailing slash), content type and body. `None` when nothing is
/// posted to this path: [`methods_of`] tells whether it exists.
pub fn parse_post(path: &str, content_type: Option<&str>, body: &[u8]) -> Option<Result<Operation, BadRequest>> {
    let (word, rest) = split(path)?;
    (has_post(word) && is_post_shape(rest)).then(|| post(word, content_type, body))
}

/// The operation's word, and what follows it: `None` without a slash after the word.
fn split(path: &str) -> Option<(Word, Option<&str>)> {
    let path = path.strip_prefix('/')?;
    let (word, rest) = match path.split_once('/') {
        Some((word, rest)) => (word, Some(rest)),
        None => (path, None),
    };
    let word = match word {
        "list" => Word::List,
        "search" => Word::Search,
        "lookup" => Word::Lookup,
        "get_quantity" => Word::Quantity,
        "get_name" => Word::Name,
        "update_c" => Word::SetCost,
        "update_q" => Word::ChangeStock,
        "buy" => Word::Buy,
        "invalidate" => Word::Invalidate,
        _ => return None,
    };
    Some((word, rest))
}

fn has_post(word: Word) -> bool {
    !matches!(word, Word::List | Word::Name | Word::Invalidate)
}

fn is_write(word: Word) -> bool {
    matches!(word, Word::SetCost | Word::ChangeStock | Word::Buy | Word::Invalidate)
}

fn is_post_shape(rest: Option<&str>) -> bool {
    rest.is_none_or(str::is_empty)
}

fn get(word: Word, rest: Option<&str>) -> Result<Operation, BadRequest> {
    let arguments: Vec<&str> = rest.map(|rest| rest.splitn(4, '/').collect()).unwrap_or_default();
    match (word, &arguments[..]) {
        (Word::List, []) => Ok(Operation::List),
        (Word::Search, [topic]) if !topic.is_empty() => {
            Ok(Operation::Search(check_topic(decode(topic)?.into_owned())?))
        }
        (Word::Lookup, [n]) => Ok(Operation::Lookup(item_number(decode(n)?.parse()?)?)),
        (Word::Quantity, [n]) => Ok(Operation::Quantity(item_number(decode(n)?.parse()?)?)),
        (Word::Name, [n]) => Ok(Operation::Name(item_number(decode(n)?.parse()?)?)),
        (Word::Buy, [n]) => Ok(Operation::Buy(item_number(decode(n)?.parse()?)?)),
        (Word::Invalidate, [n]) => Ok(Operation::Invalidate(item_number(decode(n)?.parse()?)?)),
        (Word::SetCost, [n, cost]) => {
            Ok(Operation::SetCost(item_number(decode(n)?.parse()?)?, check_cost(decode(cost)?.parse()?)?))
        }
        (Word::ChangeStock, [n, delta]) => {
            Ok(Operation::ChangeStock(item_number(decode(n)?.parse()?)?, check_delta(decode(delta)?.parse()?)?))
        }
        _ => Err(bad(format!("the path must be {}", shape(word)))),
    }
}

fn shape(word: Word) -> &'static str {
    match word {
        Word::List => "/list",
        Word::Search => "/search/<topic>",
        Word::Lookup => "/lookup/<item number>",
        Word::Quantity => "/get_quantity/<item number>",
        Word::Name => "/get_name/<item number>",
        Word::SetCost => "/update_c/<item number>/<cost>",
        Word::ChangeStock => "/update_q/<item number>/<change of quantity>",
        Word::Buy => "/buy/<item number>",
        Word::Invalidate => "/invalidate/<item number>",
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SearchBody {
    topic: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ItemBody {
    item_number: Integer,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CostBody {
    item_number: Integer,
    cost: Integer,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StockBody {
    item_number: Integer,
    quantity: Integer,
}

fn post(word: Word, content_type: Option<&str>, body: &[u8]) -> Result<Operation, BadRequest> {
    let essence = content_type.and_then(|text| text.split(';').next()).unwrap_or_default();
    if !essence.trim().eq_ignore_ascii_case("application/json") {
        return Err(BadRequest { status: 415, message: "the content type must be application/json".to_owned() });
    }
    if body.len() > MAX_BODY {
        return Err(BadRequest { status: 413, message: format!("the body is longer than {MAX_BODY} bytes") });
    }
    let item = |body: ItemBody| item_number(body.item_number);
    match word {
        Word::Search => Ok(Operation::Search(check_topic(object::<SearchBody>(body)?.topic)?)),
        Word::Lookup => Ok(Operation::Lookup(item(object(body)?)?)),
        Word::Quantity => Ok(Operation::Quantity(item(object(body)?)?)),
        Word::Buy => Ok(Operation::Buy(item(object(body)?)?)),
        Word::SetCost => {
            let body: CostBody = object(body)?;
            Ok(Operation::SetCost(item_number(body.item_number)?, check_cost(body.cost)?))
        }
        Word::ChangeStock => {
            let body: StockBody = object(body)?;
            Ok(Operation::ChangeStock(item_number(body.item_number)?, check_delta(body.quantity)?))
        }
        Word::List | Word::Name | Word::Invalidate => Err(bad("nothing is posted to this path".to_owned())),
    }
}

fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, BadRequest> {
    // serde would take an array for a struct too.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(bad("the body is not a JSON object".to_owned()));
    }
    // The error may quote the body: what is said back stays a sentence.
    serde_json::from_slice(body)
        .map_err(|e| bad(format!("the body is not the operation's: {e}").chars().take(MAX_MESSAGE).collect()))
}

/// An integer as far as the surface knows them; what is beyond becomes [`Integer::Beyond`], refused by every check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Integer {
    Is(i64),
    Beyond,
}

/// Not digits with or without a `-` in front.
struct NotAnInteger;

impl From<NotAnInteger> for BadRequest {
    fn from(_: NotAnInteger) -> Self {
        bad("a number in the path is not an integer".to_owned())
    }
}

impl FromStr for Integer {
    type Err = NotAnInteger;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NotAnInteger);
        }
        Ok(text.parse().map_or(Self::Beyond, Self::Is))
    }
}

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IntegerVisitor)
    }
}

/// Takes `1` and `"1"`.
struct IntegerVisitor;

impl de::Visitor<'_> for IntegerVisitor {
    type Value = Integer;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer or a string of digits")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Integer, E> {
        Ok(i64::try_from(number).map_or(Integer::Beyond, Integer::Is))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Integer, E> {
        Ok(Integer::Is(number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Integer, E> {
        text.parse().map_err(|NotAnInteger| E::invalid_value(de::Unexpected::Other("another string"), &self))
    }
}

fn item_number(n: Integer) -> Result<ItemNumber, BadRequest> {
    match n {
        Integer::Is(n) if n >= 1 && n.unsigned_abs() <= MAX_NUMBER => Ok(n.unsigned_abs()),
        _ => Err(bad(format!("an item number must be from 1 to {MAX_NUMBER}"))),
    }
}

fn check_cost(cost: Integer) -> Result<u64, BadRequest> {
    match cost {
        Integer::Is(cost) if cost >= 0 && cost.unsigned_abs() <= MAX_NUMBER => Ok(cost.unsigned_abs()),
        _ => Err(bad(format!("a cost must be from 0 to {MAX_NUMBER}"))),
    }
}

fn check_delta(delta: Integer) -> Result<i64, BadRequest> {
    match delta {
        Integer::Is(delta) if delta.unsigned_abs() <= MAX_NUMBER => Ok(delta),
        _ => Err(bad(format!("a change of quantity must be from -{MAX_NUMBER} to {MAX_NUMBER}"))),
    }
}

fn check_topic(topic: String) -> Result<String, BadRequest> {
    if topic.len() > MAX_TOPIC {
        return Err(bad(format!("a topic must not be longer than {MAX_TOPIC} bytes")));
    }
    Ok(topic)
}

/// Undoes percent-encoding (RFC 3986 section 2.1).
fn decode(segment: &str) -> Result<Cow<'_, str>, BadRequest> {
    if !segment.contains('%') {
        return Ok(segment.into());
    }
    let malformed = || bad("the path is not percent-encoded UTF-8".to_owned());
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    let hex = |rest: &mut std::str::Bytes<'_>| rest.next().and_then(|b| char::from(b).to_digit(16));
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => match (hex(&mut rest), hex(&mut rest)) {
                (Some(high), Some(low)) => (high << 4 | low) as u8,
                _ => return Err(malformed()),
            },
            byte => byte,
        });
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| malformed())
}

fn bad(message: String) -> BadRequest {
    BadRequest { status: 400, message }
}
