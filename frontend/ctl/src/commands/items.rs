//! Items: lists, one, and what changes them.

use cluster_config::table::{Align, Columns};
use serde::Serialize;
use serde_json::json;

use super::{Tools, read_query};
use crate::{
    cli::{Add, Part},
    failure::Failure,
    http::{Answer, Ask, path_with},
    output::shown,
    wire::{Item, Items},
};

/// Items that are asked for at a time.
pub const PAGE: u64 = 1000;
/// The columns of a list. The title is last, so that a long one moves nothing.
const COLUMNS: [(&str, Align); 5] = [
    ("ITEM", Align::Right),
    ("COST", Align::Right),
    ("QUANTITY", Align::Right),
    ("TOPIC", Align::Left),
    ("TITLE", Align::Left),
];

fn row(item: &Item) -> [String; 5] {
    let (topic, title) = (shown(&item.topic).into_owned(), shown(&item.title).into_owned());
    [item.item_number.to_string(), item.cost.to_string(), item.quantity.to_string(), topic, title]
}

/// `list` and `search`: all of them, page by page, from states at least as new as that of the first page.
///
/// # Errors
/// When a page cannot be had.
pub async fn list(tools: &mut Tools, topic: Option<String>, words: Option<String>, part: &Part) -> Result<(), Failure> {
    let mut columns = Columns::new(COLUMNS);
    let (mut after, mut left, mut revision, mut count) = (part.after.map(|n| n.to_string()), part.limit, None, 0);
    loop {
        let limit = left.map_or(PAGE, |left| left.min(PAGE));
        let query =
            [("topic", topic.clone()), ("q", words.clone()), ("limit", Some(limit.to_string())), ("after", after)];
        let query = query.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let ask = Ask::get(path_with("/v1/items", query.chain(read_query(part.linearizable))));
        let ask = match revision {
            Some(revision) => ask.not_before(revision),
            None => ask,
        };
        let page: Items = tools.store.read(ask).await?;
        revision.get_or_insert(page.revision);
        count += page.items.len();
        if tools.out.is_json() {
            page.items.iter().try_for_each(|item| tools.out.json(item))?;
        } else if !page.items.is_empty() {
            tools.out.line(columns.part(&page.items.iter().map(row).collect::<Vec<_>>()))?;
        }
        left = left.map(|left| left.saturating_sub(page.items.len() as u64));
        after = page.next;
        if after.is_none() || left == Some(0) {
            break;
        }
    }
    if count == 0 && !tools.out.is_json() {
        tools.out.line("no items")?;
    }
    Ok(())
}

/// `show`.
///
/// # Errors
/// When there is none, or nobody answers.
pub async fn show(tools: &mut Tools, item_number: u64, linearizable: bool) -> Result<(), Failure> {
    let path = path_with(&format!("/v1/items/{item_number}"), read_query(linearizable));
    let item: Item = tools.store.read(Ask::get(path)).await?;
    print(tools, &item)
}

fn print(tools: &mut Tools, item: &Item) -> Result<(), Failure> {
    if tools.out.is_json() {
        return tools.out.json(item);
    }
    for (name, value) in [
        ("item", item.item_number.to_string()),
        ("title", shown(&item.title).into_owned()),
        ("topic", shown(&item.topic).into_owned()),
        ("cost", item.cost.to_string()),
        ("quantity", item.quantity.to_string()),
        ("revision", item.revision.to_string()),
    ] {
        tools.out.line(format_args!("{name:<10}{value}"))?;
    }
    Ok(())
}

/// `set-cost`.
///
/// # Errors
/// Why it was not done.
pub async fn set_cost(tools: &mut Tools, item_number: u64, cost: u64, key: &str) -> Result<(), Failure> {
    let ask = Ask::patch(format!("/v1/items/{item_number}"), json!({"cost": cost}).to_string(), key);
    let item: Item = write(tools, &ask, key).await?.json()?;
    print(tools, &item)
}

/// `add-stock`.
///
/// # Errors
/// Why it was not done.
pub async fn add_stock(tools: &mut Tools, item_number: u64, delta: i64, key: &str) -> Result<(), Failure> {
    let ask = Ask::patch(format!("/v1/items/{item_number}"), json!({"add_quantity": delta}).to_string(), key).once();
    let item: Item = write(tools, &ask, key).await?.json()?;
    print(tools, &item)
}

/// `add`.
///
/// # Errors
/// Why it was not done.
pub async fn add(tools: &mut Tools, new: &Add) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        item_number: Option<u64>,
        title: &'a str,
        topic: &'a str,
        cost: u64,
        quantity: u64,
    }
    let Add { title, topic, cost, quantity, number, key } = new;
    let body = Body { item_number: *number, title, topic, cost: *cost, quantity: *quantity };
    let body = serde_json::to_vec(&body).expect("a struct of text and numbers is always JSON");
    let key = key.get();
    // Without a number of its own it would be another item the second time.
    let item: Item = write(tools, &Ask::post("/v1/items", body, &key).once(), &key).await?.json()?;
    print(tools, &item)
}

/// `withdraw`.
///
/// # Errors
/// Why it was not done.
pub async fn withdraw(tools: &mut Tools, item_number: u64, key: &str) -> Result<(), Failure> {
    let answer = write(tools, &Ask::delete(format!("/v1/items/{item_number}"), key), key).await?;
    if tools.out.is_json() {
        #[derive(Serialize)]
        struct Withdrawn {
            item_number: u64,
            withdrawn: bool,
            revision: Option<u64>,
        }
        return tools.out.json(&Withdrawn { item_number, withdrawn: true, revision: answer.revision });
    }
    tools.out.line(format_args!("item {item_number} is withdrawn"))
}

async fn write(tools: &Tools, ask: &Ask, key: &str) -> Result<Answer, Failure> {
    tools.store.send(ask).await.map_err(|trouble| tools.not_written(trouble, key))
}
