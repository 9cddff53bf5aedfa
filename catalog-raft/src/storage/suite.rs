//! openraft's own suite for a log store and a state machine, on ours.

use openraft::{
    StorageError,
    testing::log::{StoreBuilder, Suite},
};
use tempfile::TempDir;

use super::{LogStore, StateMachine, db::Db};
use crate::raft::TypeConfig;

/// Holds all that the suite appends.
const TAIL_BYTES: usize = 1 << 20;
/// Holds nothing, so that every read goes to disk.
const NO_TAIL: usize = 0;

struct Builder {
    tail_bytes: usize,
}

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<TypeConfig>> {
        let dir = TempDir::new().expect("a folder for the test");
        let db = Db::open(dir.path()).expect("a fresh database opens");
        let store = LogStore::open(db.clone(), self.tail_bytes).expect("a fresh log opens");
        let state_machine = StateMachine::open(db).expect("a fresh state opens");
        Ok((dir, store, state_machine))
    }
}

#[tokio::test]
async fn openraft_accepts_the_storage_that_reads_from_memory() {
    Suite::test_all(Builder { tail_bytes: TAIL_BYTES }).await.unwrap();
}

#[tokio::test]
async fn openraft_accepts_the_storage_that_reads_from_disk() {
    Suite::test_all(Builder { tail_bytes: NO_TAIL }).await.unwrap();
}
