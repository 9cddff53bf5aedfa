//! The bytes of an entry: the commands' own, and those of the record in the log around them.

use catalog_raft::{
    raft::{Batch, Commands, Entry, LogId},
    storage::codec::{decode_entry, encode_entry},
};
use criterion::{Criterion, Throughput};
use openraft::{EntryPayload, entry::RaftEntry};

use crate::buys;

pub fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec");
    for count in [1, 64, 256] {
        let commands = Commands { time_ms: 1_700_000_000_000, commands: buys(count, 100, 1_000_000) };
        let batch = Batch::encode(&commands);
        let entry = Entry::new(LogId::new_term_index(3, 1_000_000), EntryPayload::Normal(batch.clone()));
        let record = encode_entry(&entry);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(format!("batch encode/{count} buys"), |b| b.iter(|| Batch::encode(&commands)));
        group.bench_function(format!("batch decode/{count} buys"), |b| b.iter(|| batch.decode().expect("it decodes")));
        group.bench_function(format!("record encode/{count} buys"), |b| b.iter(|| encode_entry(&entry)));
        group.bench_function(format!("record decode/{count} buys"), |b| {
            b.iter(|| decode_entry(&record).expect("it decodes"));
        });
    }
    group.finish();
}
