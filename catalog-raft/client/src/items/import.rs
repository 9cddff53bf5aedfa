//! Many items in one request: the body of `POST /v1/items:batch` of a front end, in and out. All rows or none; each that is
//! wrong is named by its place.
//!
//! Must not know any HTTP library, nor how items come to be.

use std::collections::HashMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value, json};

use super::{
    parse::{in_range, parse_within, title, topic},
    to_json,
};
use crate::{
    Action, Existing, ItemNumber, MAX_IMPORT, MAX_NAMED_ROWS, NewItem, Outcome, Revision, TakenRow, object::Object,
    problem::Problem,
};

/// The longest body, in bytes.
pub const MAX_IMPORT_BODY: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImportBody {
    items: Vec<Object<RowBody>>,
    #[serde(default)]
    existing: Existing,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RowBody {
    item_number: Number,
    title: String,
    topic: String,
    cost: Number,
    quantity: Number,
}

/// A row that cannot be done, as a refusal names it.
#[derive(Serialize)]
struct BadRow {
    index: usize,
    item_number: Value,
    why: String,
}

/// Reads and checks the body: `{"items": [{"item_number", "title", "topic", "cost", "quantity"}], "existing"?: "refuse",
/// "keep" or "update"}`, 1 to [`MAX_IMPORT`] items, their numbers distinct.
///
/// # Errors
/// 413 or 400 when it has another shape; 422 when rows are wrong, with the first [`MAX_NAMED_ROWS`] of them as `items` and how
/// many there are as `count`.
pub fn parse_import(body: &[u8]) -> Result<Action, Problem> {
    let body: ImportBody = parse_within(MAX_IMPORT_BODY, body)?;
    let count = body.items.len();
    if !(1..=MAX_IMPORT).contains(&count) {
        let detail = format!("a request has 1 to {MAX_IMPORT} items, not {count}; nothing was done");
        return Err(Problem::new(422, "invalid", detail));
    }
    let mut items = Vec::with_capacity(count);
    let mut places: HashMap<ItemNumber, usize> = HashMap::with_capacity(count);
    let mut bad = Vec::new();
    for (index, Object(row)) in body.items.into_iter().enumerate() {
        let number = row.item_number.clone();
        let checked = checked(row).and_then(|item| match places.insert(item.item_number, index) {
            Some(first) => Err(format!("row {first} has this number too")),
            None => Ok(item),
        });
        match checked {
            Ok(item) => items.push(item),
            Err(why) => bad.push(BadRow { index, item_number: number.into(), why }),
        }
    }
    match bad.first() {
        None => Ok(Action::ImportItems { items, existing: body.existing }),
        Some(BadRow { index, why, .. }) => {
            let detail = format!(
                "row {index}: {why}; {} of {count} rows are wrong, and nothing was done: correct them",
                bad.len()
            );
            Err(naming(Problem::new(422, "invalid", detail), bad.len() as u64, &bad[..bad.len().min(MAX_NAMED_ROWS)]))
        }
    }
}

fn checked(row: RowBody) -> Result<NewItem, String> {
    let item = || {
        Ok(NewItem {
            item_number: in_range("item_number", &row.item_number, 1)?,
            title: title(row.title)?.into(),
            topic: topic(row.topic)?.into(),
            cost: in_range("cost", &row.cost, 0)?,
            quantity: in_range("quantity", &row.quantity, 0)?,
        })
    };
    item().map_err(|problem: Problem| problem.detail)
}

/// Rows whose numbers cannot be had.
pub(super) fn rows_taken(count: u64, rows: &[TakenRow]) -> Problem {
    let named = |row: &TakenRow| BadRow {
        index: row.index as usize,
        item_number: row.item_number.into(),
        why: if row.withdrawn { "withdrawn" } else { "taken" }.to_owned(),
    };
    let detail = match rows.first() {
        Some(TakenRow { index, withdrawn, item_number }) => {
            let (is, then) = match withdrawn {
                true => ("was an item's that is withdrawn, and is never given again", "give it another number"),
                false => ("is another item's", "give it another number, or say what becomes of existing items"),
            };
            let others =
                if count > 1 { format!(" ({} rows more cannot have theirs)", count - 1) } else { String::new() };
            format!("row {index}: the number {item_number} {is}{others}; nothing was done: {then}")
        }
        None => "numbers are other items'; nothing was done".to_owned(),
    };
    naming(Problem::new(409, "number-taken", detail), count, &rows.iter().map(named).collect::<Vec<_>>())
}

fn naming(problem: Problem, count: u64, rows: &[BadRow]) -> Problem {
    problem.with("count", count).with("items", json!(rows))
}

/// The body of an import that was done, `{"added", "updated", "kept", "revision"}`, decided at `revision`; `None` of any
/// other outcome.
pub fn import_json(outcome: &Outcome, revision: Revision) -> Option<Bytes> {
    #[derive(Serialize)]
    struct Done {
        added: u64,
        updated: u64,
        kept: u64,
        revision: Revision,
    }
    match *outcome {
        Outcome::Imported { added, updated, kept } => Some(to_json(&Done { added, updated, kept, revision })),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
