//! The log store: an append alone, and one with its fdatasync, on the disk that holds cargo's target folder.

use catalog_raft::{
    raft::{Batch, Commands, Entry, LogId, TypeConfig},
    storage::{Db, LogStore},
};
use criterion::{Criterion, Throughput};
use openraft::{
    EntryPayload,
    entry::RaftEntry,
    storage::{IOFlushed, RaftLogStorage},
    type_config::TypeConfigExt,
};

use crate::buys;

/// Bytes of the newest entries in memory, as in the default layout.
const TAIL_BYTES: usize = 64 << 20;
/// The log is purged behind the last so many entries, as behind a snapshot.
const KEPT: u64 = 10_000;

pub fn bench(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let mut store = LogStore::open(Db::open(dir.path()).expect("a database"), TAIL_BYTES).expect("a log");
    let mut next = 1;
    let mut group = c.benchmark_group("log store");
    for count in [1, 64, 256] {
        let batch = Batch::encode(&Commands { time_ms: 1_700_000_000_000, commands: buys(count, 100, 1) });
        group.throughput(Throughput::Elements(count as u64));
        let mut one_more = || {
            let entry = Entry::new(LogId::new_term_index(1, next), EntryPayload::Normal(batch.clone()));
            next += 1;
            entry
        };
        group.bench_function(format!("append and fdatasync/{count} buys"), |b| {
            b.iter(|| {
                runtime.block_on(async {
                    let (callback, done) = TypeConfig::oneshot();
                    store.append([one_more()], IOFlushed::signal(callback)).await.expect("it is appended");
                    done.await.expect("it is told").expect("it is synced");
                });
            });
        });
        group.bench_function(format!("append/{count} buys"), |b| {
            b.iter(|| {
                runtime.block_on(async {
                    let entry = one_more();
                    let index = entry.log_id.index;
                    store.append([entry], IOFlushed::noop()).await.expect("it is appended");
                    if index % KEPT == 0 {
                        store.purge(LogId::new_term_index(1, index - KEPT / 2)).await.expect("it is purged");
                    }
                });
            });
        });
    }
    group.finish();
}
