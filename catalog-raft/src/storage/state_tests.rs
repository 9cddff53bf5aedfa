//! The state machine on real disks: snapshots built, installed, interrupted; pages that would not fit a frame.

use std::{fs::File, path::Path, time::Duration};

use catalog_client::{Action, Command, CommandId, KeyOrigin, Line, NewItem};
use futures::stream;
use openraft::{EntryPayload, RaftSnapshotBuilder, entry::RaftEntry, storage::RaftStateMachine};
use rocksdb::WriteBatch;

use super::snapshot::{SnapshotFile, SnapshotWriter};
use super::{
    SNAPSHOTS, StateMachine,
    db::Db,
    keys::{CF_ITEMS, CF_STATE, STATE_INSTALLING},
};
use crate::{
    catalog::{
        Row,
        rows::{Table, item_key, put_item, read_item},
    },
    raft::{Batch, Commands, Entry, LogId, Snapshot},
};

fn open(dir: &Path) -> StateMachine {
    StateMachine::open(Db::open(dir).unwrap()).unwrap()
}

fn command(born: u64, action: Action) -> Command {
    Command { id: CommandId::new(), origin: KeyOrigin::Made, born, action }
}

async fn apply(machine: &mut StateMachine, index: u64, commands: Vec<Command>) {
    let batch = Batch::encode(&Commands { time_ms: index, commands });
    let entry = Entry::new(LogId::new_term_index(1, index), EntryPayload::Normal(batch));
    machine.apply(stream::iter([Ok((entry, None))])).await.unwrap();
}

/// 100 items with long titles at entry 1.
async fn stocked(dir: &Path) -> StateMachine {
    let mut machine = open(dir);
    let item = |item_number| NewItem {
        item_number,
        title: "t".repeat(1000).into(),
        topic: "topic".into(),
        cost: 1,
        quantity: 1_000_000,
    };
    apply(&mut machine, 1, vec![command(0, Action::LoadItems { items: (1..=100).map(item).collect() })]).await;
    machine
}

async fn order_everything(machine: &mut StateMachine, index: u64) {
    let lines = (1..=100).map(|item_number| Line { item_number, quantity: 1 }).collect();
    apply(machine, index, vec![command(index - 1, Action::PlaceOrder { lines })]).await;
}

async fn snapshot(machine: &mut StateMachine) -> Snapshot {
    machine.get_snapshot_builder().await.build_snapshot().await.unwrap()
}

/// Copies a snapshot's file to where a receiver would have put it.
fn received(snapshot: &Snapshot, dir: &Path) {
    let folder = dir.join(SNAPSHOTS);
    std::fs::create_dir_all(&folder).unwrap();
    let path = snapshot.snapshot.path();
    std::fs::copy(path, folder.join(path.file_name().unwrap())).unwrap();
}

/// Writes a snapshot again, each row with the value that `change` gives, where a receiver would have put it.
fn rewritten(snapshot: &Snapshot, dir: &Path, change: impl Fn(Table, &[u8], &[u8]) -> Vec<u8>) -> SnapshotFile {
    let mut rows = snapshot.snapshot.read().unwrap();
    let mut writer = SnapshotWriter::begin(&dir.join(SNAPSHOTS), rows.header.clone()).unwrap();
    while let Some(of_table) = rows.next_rows().unwrap() {
        let table = of_table.table;
        for row in of_table {
            let (key, value) = row.unwrap();
            writer.row(table, &key, &change(table, &key, &value)).unwrap();
        }
    }
    writer.finish().unwrap()
}

#[tokio::test]
async fn an_installed_state_equals_the_one_it_was_taken_from() {
    let (near, far) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut machine = stocked(near.path()).await;
    order_everything(&mut machine, 2).await;
    let (snapshot, taken) = (snapshot(&mut machine).await, machine.state().summary());
    // What is applied later is not in it.
    order_everything(&mut machine, 3).await;

    let mut other = open(far.path());
    apply(&mut other, 1, vec![command(0, Action::LoadItems { items: vec![] })]).await;
    other.install_snapshot(&snapshot.meta, snapshot.snapshot).await.unwrap();
    assert_eq!(other.state().summary(), taken);
    order_everything(&mut other, 3).await;
    let (_, orders, _) = other.state().orders(None, 10).unwrap();
    assert_eq!(orders.len(), 2);
    assert_eq!(machine.state().summary().2, other.state().summary().2);
    drop((machine, other));
    for dir in [near, far] {
        let again = open(dir.path()).state();
        assert_eq!((again.summary().3, again.item(7).unwrap().1.unwrap().quantity), (2, 999_998), "after a restart");
    }
}

/// The state machine held the file itself, so it went at once, and whoever synced another file meanwhile waited.
#[tokio::test]
async fn a_snapshot_that_an_installation_replaces_is_freed_in_pieces() {
    let (near, far) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut machine = stocked(near.path()).await;
    order_everything(&mut machine, 2).await;
    let newer = snapshot(&mut machine).await;
    let mut other = open(far.path());
    apply(&mut other, 1, vec![command(0, Action::LoadItems { items: vec![] })]).await;
    let older = snapshot(&mut other).await.snapshot.path().to_owned();
    // As long as a large one, and seen by a handle that keeps nobody from removing it.
    let seen = File::options().write(true).open(&older).unwrap();
    seen.set_len(64 << 20).unwrap();
    let received = rewritten(&newer, far.path(), |_, _, value| value.to_vec());
    other.install_snapshot(&newer.meta, received).await.unwrap();
    let is_freed = async {
        while older.exists() || seen.metadata().unwrap().len() > 8 << 20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), is_freed).await.expect("it goes, piece by piece");
}

/// The row of item 7, when one more is sold of it.
fn one_more_sold(row: &[u8]) -> Vec<u8> {
    let Row::Live(mut item) = read_item(row).unwrap() else { unreachable!("nothing was withdrawn") };
    item.quantity -= 1;
    put_item(7, &Row::Live(item)).value().unwrap().to_vec()
}

/// Found in review: what the rows make was only looked at when they had taken the place of the others.
#[tokio::test]
async fn a_snapshot_that_is_not_what_it_claims_takes_the_place_of_nothing() {
    let (near, far) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut machine = stocked(near.path()).await;
    order_everything(&mut machine, 2).await;
    let good = snapshot(&mut machine).await;
    let mut other = stocked(far.path()).await;
    let before = other.state().summary();
    // The same but for one item, of which one more is sold; every checksum fits.
    let spoilt = rewritten(&good, far.path(), |table, key, value| {
        let is_spoilt = table == Table::Items && key == item_key(7);
        if is_spoilt { one_more_sold(value) } else { value.to_vec() }
    });
    let error = other.install_snapshot(&good.meta, spoilt).await.unwrap_err();
    assert!(error.to_string().contains("hash"), "{error}");
    drop(other);
    assert_eq!(open(far.path()).state().summary(), before);
}

/// Found in review: a newer snapshot that had been received while one was being installed made the restart refuse,
/// because the file that the note on disk names was removed as the older one before it was looked for.
#[tokio::test]
async fn an_interrupted_installation_is_finished_from_its_file_or_a_newer_one() {
    let near = tempfile::tempdir().unwrap();
    let mut machine = stocked(near.path()).await;
    order_everything(&mut machine, 2).await;
    let older = snapshot(&mut machine).await;
    for newer_came in [false, true] {
        let far = tempfile::tempdir().unwrap();
        received(&older, far.path());
        if newer_came {
            order_everything(&mut machine, 3).await;
            received(&snapshot(&mut machine).await, far.path());
        }
        {
            // As a crash leaves it in the middle: the note is there, the tables are not whole.
            let db = Db::open(far.path()).unwrap();
            let mut batch = WriteBatch::default();
            let name = older.snapshot.path().file_name().unwrap().as_encoded_bytes();
            batch.put_cf(db.cf(CF_STATE), STATE_INSTALLING, name);
            batch.put_cf(db.cf(CF_ITEMS), 7u64.to_be_bytes(), b"half");
            db.write(batch);
            db.sync();
        }
        let resumed = open(far.path()).state().summary();
        assert_eq!(resumed.0, if newer_came { 3 } else { 2 });
        assert_eq!((resumed.2, resumed.3), (100, resumed.0 - 1), "100 items, an order for each entry after the first");
    }
}

/// Found in review: a page of 1,000 orders of 100 lines each was longer than a frame, and took the whole connection
/// with it.
#[tokio::test]
async fn a_page_of_long_orders_ends_early_and_loses_none() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = stocked(dir.path()).await;
    for index in 2..202 {
        order_everything(&mut machine, index).await;
    }
    let (mut after, mut seen, mut pages) = (None, 0, 0);
    loop {
        let (_, orders, more) = machine.state().orders(after, 1000).unwrap();
        let bytes = catalog_client::frame::encode(&orders).len();
        assert!(bytes < catalog_client::frame::MAX_PAYLOAD / 4, "{bytes} bytes in one page");
        seen += orders.len();
        pages += 1;
        after = orders.last().map(|order| order.version);
        if !more {
            break;
        }
    }
    assert_eq!(seen, 200);
    assert!(pages > 1);
}
