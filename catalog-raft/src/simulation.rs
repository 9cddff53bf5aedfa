//! How long a disk takes in a simulation: drawn for each use, from what its driver has set. Compiled in only with the
//! feature `simulation`, which no shipped binary has.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use rand::Rng;

/// What a sync takes where nothing else is set, in microseconds.
const SYNC_US: Range<u64> = 100..3_000;
/// What other work with files takes, in microseconds.
const WORK_US: Range<u64> = 20..2_000;

thread_local! {
    static SLOW: RefCell<BTreeMap<PathBuf, Duration>> = const { RefCell::new(BTreeMap::new()) };
}

/// From now on every sync of the replica in folder `dir` takes so much longer.
pub fn slow_syncs(dir: &Path, by: Duration) {
    SLOW.with_borrow_mut(|slow| slow.insert(dir.to_owned(), by));
}

/// Lets the time of a sync pass.
pub(crate) async fn sync_time(dir: &Path) {
    let slow = SLOW.with_borrow(|slow| slow.get(dir).copied().unwrap_or_default());
    let micros = rand::rng().random_range(SYNC_US);
    tokio::time::sleep(slow + Duration::from_micros(micros)).await;
}

/// Lets the time of some other work pass.
pub(crate) async fn work_time() {
    let micros = rand::rng().random_range(WORK_US);
    tokio::time::sleep(Duration::from_micros(micros)).await;
}

/// By a throw of a coin.
pub(crate) fn either() -> bool {
    rand::random()
}
