//! The first items: read from the layout's CSV, or the seven books; proposed by the first leader, decided by `apply`
//! to be loaded exactly once.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use catalog_client::{
    Action, Command, CommandId, ItemNumber, KeyOrigin, MAX_NUMBER, MAX_TITLE, MAX_TOPIC, NewItem, Outcome,
};
use cluster_config::Layout;
use openraft::{ServerState, async_runtime::watch::WatchReceiver};
use serde::Deserialize;

use crate::{proposals::Proposals, raft::Raft, reads::Reads};

/// The most rows that are loaded at the first start: they are one command, and so one log entry.
const MAX_ROWS: usize = 200_000;
/// The most bytes of their titles and topics.
const MAX_BYTES: usize = 16 << 20;
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

/// The items that a new group begins with.
///
/// # Errors
/// Names the file, the line, and what is wrong there.
pub fn first(layout: &Layout) -> anyhow::Result<Vec<NewItem>> {
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
    let mut numbers = BTreeSet::new();
    let mut items = Vec::new();
    let mut bytes = 0;
    let mut rows = csv::Reader::from_reader(source);
    for row in rows.deserialize::<CsvRow>() {
        let row = row.context("the header is item_number,title,topic,cost,quantity")?;
        let n = row.item_number;
        ensure!((1..=MAX_NUMBER).contains(&n), "item {n}: a number is from 1 to 2^53");
        ensure!(numbers.insert(n), "item {n} stands there twice");
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
    Ok(items)
}

/// While this replica leads and no item was ever given, proposes the first ones. Never returns unless Raft ends.
///
/// # Errors
/// That Raft has ended.
pub async fn load_once(
    raft: &Raft,
    reads: &Reads,
    proposals: &Proposals,
    items: Vec<NewItem>,
    loaded: &AtomicBool,
) -> anyhow::Result<()> {
    let mut server = raft.server_metrics();
    while !loaded.load(Ordering::Relaxed) {
        let leads = server.borrow_watched().state == ServerState::Leader;
        if !leads {
            server.changed().await.context("Raft has ended")?;
            continue;
        }
        // A leader has applied everything before its term once it answers a ReadIndex.
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let Ok(revision) = reads.read_index(deadline).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let mut progress = reads.state().history().progress();
        progress.wait_for(|applied| *applied >= revision).await.context("the state has ended")?;
        if reads.state().view().is_ok_and(|view| view.was_ever_filled()) || propose(proposals, &items).await {
            loaded.store(true, Ordering::Relaxed);
        } else {
            tokio::time::sleep(PAUSE).await;
        }
    }
    std::future::pending().await
}

async fn propose(proposals: &Proposals, items: &[NewItem]) -> bool {
    let action = Action::LoadItems { items: items.to_vec() };
    let command = Command { id: CommandId::new(), origin: KeyOrigin::Made, born: 0, action };
    match proposals.submit(vec![command], PATIENCE).await.as_deref() {
        Ok([answer]) => match answer.outcome {
            Outcome::Loaded(count) => {
                tracing::info!("loaded {count} items at revision {}", answer.version.revision);
                true
            }
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
}
