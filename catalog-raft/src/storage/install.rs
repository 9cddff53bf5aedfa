//! Replaces the state by a snapshot, atomically although it is too large for one write: a note on disk says that it
//! has begun and from which file; a restart that finds the note begins again. The last write removes it. What the file's rows
//! make is looked at before, so that a wrong one takes the place of nothing.

use std::io;

use rocksdb::WriteBatch;

use super::{
    codec::to_bytes,
    db::Db,
    keys::{CF_DEDUP, CF_ITEMS, CF_ORDER_IDS, CF_ORDERS, CF_STATE, STATE_APPLIED, STATE_INSTALLING},
    snapshot::{Header, SnapshotFile},
    state::{Applied, State, family, put_row},
};
use crate::catalog::{
    Catalog, Restore,
    rows::{Table, put_order_id, read_orders},
};

/// Rows go to the database in writes of about so many bytes.
const WRITE_BYTES: usize = 4 << 20;
/// Above every key of every table.
const LAST_KEY: [u8; 32] = [0xff; 32];

/// Replaces the state by `file`, which is whole and durable.
///
/// # Errors
/// As the file's; the state is then to be installed again.
pub(super) fn install(state: &State, file: &SnapshotFile) -> io::Result<Header> {
    state.set_installing(true);
    let (header, installed) = {
        // Whoever reads already finishes first; whoever comes later is turned away.
        drop(state.write_lock());
        replace(state.db(), file)?
    };
    let revision = installed.applied();
    let replaced = std::mem::replace(&mut *state.write_lock(), installed);
    // Not under the lock: a large catalogue takes a while to go.
    drop(replaced);
    state.history().restart(revision);
    state.set_installing(false);
    Ok(header)
}

/// Installs again what was being installed when the process ended.
///
/// # Errors
/// As the file's; `InvalidData` when the file is not there.
pub(super) fn resume(db: &Db, newest: Option<&SnapshotFile>) -> io::Result<()> {
    let Some(name) = db.raw().get_cf(db.cf(CF_STATE), STATE_INSTALLING).map_err(io::Error::other)? else {
        return Ok(());
    };
    // A newer one may have come while that one was being installed: names are in the order of indexes.
    match newest.filter(|file| file_name(file) >= &name[..]) {
        Some(file) => {
            tracing::info!("installing {} again: the process ended in the middle", file.path().display());
            replace(db, file).map(drop)
        }
        None => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the snapshot {} that was being installed is gone", String::from_utf8_lossy(&name)),
        )),
    }
}

fn replace(db: &Db, file: &SnapshotFile) -> io::Result<(Header, Catalog)> {
    // First of all: rows that do not make the state that they claim must not take the place of any.
    let catalog = restored(file)?;
    let mut batch = WriteBatch::default();
    batch.put_cf(db.cf(CF_STATE), STATE_INSTALLING, file_name(file));
    for name in [CF_ITEMS, CF_ORDERS, CF_ORDER_IDS, CF_DEDUP] {
        batch.delete_range_cf(db.cf(name), &[][..], &LAST_KEY[..]);
    }
    db.write(batch);

    let mut reader = file.read()?;
    let mut batch = WriteBatch::default();
    while let Some(rows) = reader.next_rows()? {
        let table = rows.table;
        for row in rows {
            let (key, value) = row?;
            if table == Table::Orders {
                for order in read_orders(&value)? {
                    put_row(db, &mut batch, &put_order_id(&order));
                }
            }
            batch.put_cf(db.cf(family(table)), &key, &value);
            if batch.size_in_bytes() >= WRITE_BYTES {
                db.write(std::mem::take(&mut batch));
            }
        }
    }
    let header = reader.header;
    let applied = Applied {
        last_log_id: header.last_log_id,
        membership_log_id: header.membership_log_id,
        membership: header.membership.clone(),
        state: header.state,
    };
    batch.put_cf(db.cf(CF_STATE), STATE_APPLIED, to_bytes(&applied));
    batch.delete_cf(db.cf(CF_STATE), STATE_INSTALLING);
    db.write(batch);
    // openraft purges the log behind an installed snapshot: the state must not be the one that is lost.
    db.sync();
    Ok((header, catalog))
}

/// The state that a file's rows make, which is the one that it claims.
fn restored(file: &SnapshotFile) -> io::Result<Catalog> {
    let mut reader = file.read()?;
    let mut restore = Restore::new(reader.header.state.horizon);
    while let Some(rows) = reader.next_rows()? {
        let table = rows.table;
        for row in rows {
            let (key, value) = row?;
            match table {
                Table::Items => restore.item(&key, &value)?,
                Table::Dedup => restore.dedup(&key, &value)?,
                Table::Orders => drop(restore.orders(&key, &value)?),
                Table::OrderIds => unreachable!("snapshots hold no rows of the index"),
            }
        }
    }
    let Header { last_log_id, state, .. } = &reader.header;
    restore.verified(last_log_id.map_or(0, |id| id.index), state)
}

fn file_name(file: &SnapshotFile) -> &[u8] {
    file.path().file_name().map_or(&[], |name| name.as_encoded_bytes())
}
