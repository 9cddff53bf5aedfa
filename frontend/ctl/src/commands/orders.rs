//! Orders: placing one, and reading what was ordered.

use cluster_config::table::{Align, Columns};
use serde_json::json;

use super::Tools;
use crate::{
    cli::Line,
    failure::Failure,
    http::{Ask, Trouble, path_with},
    key,
    output::shown,
    wire::{Order, Orders},
};

/// Orders that are asked for at a time: each may have a hundred lines.
const PAGE: u64 = 200;

/// `buy`.
///
/// # Errors
/// Why nothing was bought, or that it may have been.
pub async fn buy(tools: &mut Tools, lines: &[Line], key: &str) -> Result<(), Failure> {
    let ask = Ask::post("/v1/orders", json!({ "lines": lines }).to_string(), key);
    let answer = tools.store.send(&ask).await.map_err(|trouble| not_bought(tools, trouble, key))?;
    print(tools, &answer.json()?)
}

/// Of orders the ledger knows for ever which were placed: asking again is safe whenever it is done.
fn not_bought(tools: &Tools, trouble: Trouble, key: &str) -> Failure {
    let (again, id) = (key::again(std::env::args(), key), key::order_id(key));
    let hint = format!(
        "ask again under the same key, and it is bought once: {again} - or see whether it was: catalogctl orders {id}"
    );
    tools.store.failed(trouble, Some(&hint))
}

/// `orders ID`.
///
/// # Errors
/// When there is none, or nobody answers.
pub async fn show(tools: &mut Tools, id: &str) -> Result<(), Failure> {
    let id: String = form_urlencoded::byte_serialize(id.as_bytes()).collect();
    let order: Order = tools.store.read(Ask::get(format!("/v1/orders/{id}"))).await?;
    print(tools, &order)
}

fn print(tools: &mut Tools, order: &Order) -> Result<(), Failure> {
    if tools.out.is_json() {
        return tools.out.json(order);
    }
    tools.out.line(format_args!("order {} of {}, total {}", order.id, order.time, order.total))?;
    let mut columns = Columns::new([
        ("ITEM", Align::Right),
        ("QUANTITY", Align::Right),
        ("UNIT COST", Align::Right),
        ("TITLE", Align::Left),
    ]);
    let rows = order.lines.iter().map(|line| {
        let title = shown(&line.title).into_owned();
        [line.item_number.to_string(), line.quantity.to_string(), line.unit_cost.to_string(), title]
    });
    tools.out.line(columns.part(&rows.collect::<Vec<_>>()))
}

/// `orders`.
///
/// # Errors
/// When a page cannot be had.
pub async fn list(tools: &mut Tools, limit: Option<u64>, after: Option<String>) -> Result<(), Failure> {
    let mut columns =
        Columns::new([("ORDER", Align::Left), ("TIME", Align::Left), ("TOTAL", Align::Right), ("ITEMS", Align::Left)]);
    let row = |order: &Order| {
        let items: Vec<String> =
            order.lines.iter().map(|line| format!("{}x{}", line.item_number, line.quantity)).collect();
        [order.id.clone(), order.time.clone(), order.total.to_string(), items.join(" ")]
    };
    let (mut after, mut left, mut count) = (after, limit, 0);
    loop {
        let limit = left.map_or(PAGE, |left| left.min(PAGE));
        let query = [("limit", Some(limit.to_string())), ("after", after)];
        let query = query.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let page: Orders = tools.store.read(Ask::get(path_with("/v1/orders", query))).await?;
        count += page.orders.len();
        if tools.out.is_json() {
            page.orders.iter().try_for_each(|order| tools.out.json(order))?;
        } else if !page.orders.is_empty() {
            tools.out.line(columns.part(&page.orders.iter().map(row).collect::<Vec<_>>()))?;
        }
        left = left.map(|left| left.saturating_sub(page.orders.len() as u64));
        after = page.next;
        if after.is_none() || left == Some(0) {
            break;
        }
    }
    if count == 0 && !tools.out.is_json() {
        tools.out.line("no orders")?;
    }
    Ok(())
}
