//! The first items: read from the layout's CSV, or the seven books; proposed by the first leader, decided by `apply`
//! to be loaded exactly once.
//!
//! Many rows go in parts, each an entry, in ascending order of numbers. Nothing else is executed before the last of
//! them (`Reads::loaded` refuses it), so a store that holds nothing but the first rows was interrupted, and whoever leads next
//! goes on. The rows are read again then, and not kept: a replica that never leads has no use for them.

use std::{path::Path, time::Duration};

use anyhow::{Context, bail, ensure};
use catalog_client::{
    Action, Command, CommandId, ItemNumber, KeyOrigin, MAX_NUMBER, MAX_TITLE, MAX_TOPIC, NewItem, Outcome,
};
use cluster_config::Layout;
use openraft::{ServerState, async_runtime::watch::WatchReceiver};
use serde::Deserialize;

use crate::{blocking, catalog::View, proposals::Proposals, raft::Raft, reads::Reads, storage::State};

/// The most rows that are loaded at the first start. A replica holds all items in memory, some hundred bytes each.
const MAX_ROWS: usize = 10_000_000;
/// The most bytes of their titles and topics.
const MAX_BYTES: usize = 2 << 30;
/// Rows of one part, at most: applied in some milliseconds, so that neither heartbeats nor watchers wait for it.
const PART_ROWS: usize = 10_000;
/// Bytes of titles and topics in one part, about: its entry and its event go into frames of 32 MiB.
const PART_BYTES: usize = 4 << 20;
/// Progress is told each time so many rows more are loaded.
const TOLD_EVERY: usize = 100_000;
/// Between two tries to have them loaded.
const PAUSE: Duration = Duration::from_millis(50);
/// How long one try may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The books of the original store.
const SEVEN_BOOKS: &str = include_str!("items/seven_books.csv");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CsvRow {
    item_number: ItemNumber,
    title: String,
    topic: String,
    cost: u64,
    quantity: u64,
}

/// Checks the items that a new group begins with, while there may still be some to load. Returns whether there are none.
///
/// # Errors
/// Names the file, the line, and what is wrong there.
pub fn check(layout: &Layout, state: &State) -> anyhow::Result<bool> {
    if state.orders_placed() > 0 {
        return Ok(true);
    }
    let rows = first(layout)?;
    let view = state.view()?;
    Ok(view.given() > 0 && interrupted_at(&view, &rows).is_none())
}

/// The items that a new group begins with, by number.
fn first(layout: &Layout) -> anyhow::Result<Vec<NewItem>> {
    match &layout.items {
        None => parse(SEVEN_BOOKS.as_bytes()).context("the seven books"),
        Some(path) => read(path).with_context(|| format!("the items of {}", path.display())),
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<NewItem>> {
    let file = std::fs::File::open(path).context("cannot be opened; correct `items` in the layout")?;
    parse(std::io::BufReader::new(file))
}

fn parse(source: impl std::io::Read) -> anyhow::Result<Vec<NewItem>> {
    let mut items = Vec::new();
    let mut bytes = 0;
    let mut rows = csv::Reader::from_reader(source);
    for row in rows.deserialize::<CsvRow>() {
        let row = row.context("the header is item_number,title,topic,cost,quantity")?;
        let n = row.item_number;
        ensure!((1..=MAX_NUMBER).contains(&n), "item {n}: a number is from 1 to 2^53");
        ensure!(!row.title.is_empty() && row.title.len() <= MAX_TITLE, "item {n}: a title has 1 to {MAX_TITLE} bytes");
        ensure!(!row.topic.is_empty() && row.topic.len() <= MAX_TOPIC, "item {n}: a topic has 1 to {MAX_TOPIC} bytes");
        ensure!(row.cost <= MAX_NUMBER && row.quantity <= MAX_NUMBER, "item {n}: cost and quantity are at most 2^53");
        bytes += row.title.len() + row.topic.len();
        if items.len() == MAX_ROWS || bytes > MAX_BYTES {
            bail!("more than {MAX_ROWS} rows or {MAX_BYTES} bytes of text: begin with fewer and add the others later");
        }
        let (title, topic) = (row.title.into(), row.topic.into());
        items.push(NewItem { item_number: n, title, topic, cost: row.cost, quantity: row.quantity });
    }
    items.sort_unstable_by_key(|item| item.item_number);
    if let Some(pair) = items.windows(2).find(|pair| pair[0].item_number == pair[1].item_number) {
        bail!("item {} stands there twice", pair[0].item_number);
    }
    Ok(items)
}

/// How many of `rows` are loaded already, when others are missing; `None` when none is to be loaded: all are, or the
/// store has begun to live.
fn interrupted_at(view: &View, rows: &[NewItem]) -> Option<usize> {
    let given = view.given();
    let is_loaded = |row: &NewItem| {
        view.item(row.item_number).is_some_and(|item| {
            (&item.title, &item.topic, item.cost, item.quantity) == (&row.title, &row.topic, row.cost, row.quantity)
        })
    };
    (given < rows.len() && rows[..given].iter().all(is_loaded)).then_some(given)
}

/// The rows of the next part, from `from` on.
fn part(rows: &[NewItem], from: usize) -> &[NewItem] {
    let mut bytes = 0;
    let fits = |row: &&NewItem| {
        let first = bytes == 0;
        bytes += row.title.len() + row.topic.len();
        first || bytes <= PART_BYTES
    };
    let rows = &rows[from..];
    &rows[..rows.iter().take(PART_ROWS).take_while(fits).count()]
}

/// While this replica leads and first items are missing, proposes them. Never returns unless Raft ends.
///
/// # Errors
/// That Raft has ended, or what is wrong with the items meanwhile.
pub async fn load_once(raft: &Raft, reads: &Reads, proposals: &Proposals, layout: &Layout) -> anyhow::Result<()> {
    let mut server = raft.server_metrics();
    while reads.loaded().is_err() {
        let leads = server.borrow_watched().state == ServerState::Leader;
        if !leads {
            server.changed().await.context("Raft has ended")?;
            continue;
        }
        // A leader has applied everything before its term once it answers a ReadIndex.
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let Ok(revision) = reads.confirmed(deadline).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let mut progress = reads.state().history().progress();
        progress.wait_for(|applied| *applied >= revision).await.context("the state has ended")?;
        if reads.state().orders_placed() > 0 || load(reads.state(), proposals, layout).await? {
            reads.set_loaded();
        } else {
            tokio::time::sleep(PAUSE).await;
        }
    }
    std::future::pending().await
}

/// Has all that are missing loaded. Returns whether none is missing now.
async fn load(state: &State, proposals: &Proposals, layout: &Layout) -> anyhow::Result<bool> {
    // A snapshot that is being installed says that another leads.
    let Ok(view) = state.view() else { return Ok(false) };
    let source = layout.clone();
    let (rows, from) = blocking::apart(move || {
        let rows = first(&source)?;
        let from = interrupted_at(&view, &rows).unwrap_or(rows.len());
        Ok::<_, anyhow::Error>((rows, from))
    })
    .await??;
    let (mut at, mut told) = (from, from);
    while at < rows.len() {
        let part = part(&rows, at);
        if !propose(proposals, part).await {
            return Ok(false);
        }
        at += part.len();
        if at == rows.len() || at - told >= TOLD_EVERY {
            tracing::info!("loaded {at} of {} items", rows.len());
            told = at;
        }
    }
    Ok(true)
}

/// Has one part loaded. Returns whether there is nothing left to do about it.
async fn propose(proposals: &Proposals, items: &[NewItem]) -> bool {
    let action = Action::LoadItems { items: items.to_vec() };
    let command = Command { id: CommandId::new(), origin: KeyOrigin::Made, born: 0, action };
    match proposals.submit(vec![command], PATIENCE).await.as_deref() {
        Ok([answer]) => match answer.outcome {
            Outcome::Loaded(_) => true,
            ref other => {
                tracing::error!("the first items were refused: {other:?}");
                true
            }
        },
        other => {
            tracing::info!("the first items are not loaded yet: {other:?}");
            false
        }
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seven_books_are_those_of_the_original() {
        let items = parse(SEVEN_BOOKS.as_bytes()).unwrap();
        assert_eq!(items.iter().map(|item| item.item_number).collect::<Vec<_>>(), (1..=7).collect::<Vec<_>>());
        assert_eq!(
            items.iter().map(|item| (item.cost, item.quantity)).collect::<Vec<_>>(),
            [(50, 100), (51, 101), (12, 100), (2, 10), (30, 100), (10, 100), (20, 100)]
        );
        assert_eq!(&*items[5].title, "Why theory classes are so hard.");
        assert_eq!(items.iter().filter(|item| &*item.topic == "Distributed_systems").count(), 3);
    }

    #[test]
    fn a_bad_row_is_named() {
        let header = "item_number,title,topic,cost,quantity\n";
        for (rows, expected) in [
            ("0,a,b,1,1\n", "from 1 to 2^53"),
            ("1,a,b,1,1\n1,c,d,1,1\n", "twice"),
            ("1,,b,1,1\n", "title"),
            ("1,a,b,-1,1\n", "header"),
            ("1,a,b,1\n", "header"),
        ] {
            let error = parse(format!("{header}{rows}").as_bytes()).unwrap_err();
            assert!(format!("{error:#}").contains(expected), "{error:#} does not say {expected}");
        }
    }

    fn rows(count: u64) -> Vec<NewItem> {
        let row = |item_number| NewItem { item_number, title: "T".into(), topic: "t".into(), cost: 1, quantity: 1 };
        (1..=count).map(row).collect()
    }

    #[test]
    fn parts_take_each_row_once_and_are_bounded() {
        let mut rows = rows(25_000);
        for row in &mut rows[..5_000] {
            row.title = "T".repeat(1_000).into();
        }
        let mut lengths = Vec::new();
        let mut at = 0;
        while at < rows.len() {
            let part = part(&rows, at);
            assert_eq!(part[0].item_number, at as u64 + 1);
            assert!(part.len() <= PART_ROWS && part.iter().map(|row| row.title.len() + 1).sum::<usize>() <= PART_BYTES);
            lengths.push(part.len());
            at += part.len();
        }
        assert_eq!((lengths.len(), at), (4, 25_000), "{lengths:?}");
    }

    #[test]
    fn a_load_goes_on_only_where_it_was_interrupted() {
        struct NoOrders;
        impl crate::catalog::Ledger for NoOrders {
            fn order(&self, _: CommandId) -> std::io::Result<Option<std::sync::Arc<catalog_client::Order>>> {
                Ok(None)
            }
        }
        let rows = rows(9);
        let mut catalog = crate::catalog::Catalog::new();
        let mut act = |index: u64, action| {
            let command = Command { id: CommandId(index.into()), origin: KeyOrigin::Made, born: 0, action };
            catalog.apply(index, 0, &[command], &NoOrders).unwrap();
            interrupted_at(catalog.items(), &rows)
        };
        assert_eq!(act(1, Action::LoadItems { items: rows[..4].to_vec() }), Some(4));
        assert_eq!(act(2, Action::LoadItems { items: rows[4..6].to_vec() }), Some(6));
        let withdraw = Action::WithdrawItem { item_number: 5, if_match: None };
        assert_eq!(act(3, withdraw), None, "a store that lives is left alone");
        assert_eq!(act(4, Action::LoadItems { items: rows[6..].to_vec() }), None);
    }
}
