//! What RocksDB is told: write buffers, levels, filters, threads. Must not know what the column families hold, beyond how it
//! is written and read.

use rocksdb::{BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, Env, LogLevel, MemtableFactory, Options};

use super::keys::{CF_ITEMS, CF_LOG, CF_ORDER_IDS};

/// Write buffer of the log, bytes: some seconds of full load, so that a flush writes one large file and what was
/// purged meanwhile is dropped without ever being written.
const LOG_WRITE_BUFFER: usize = 32 << 20;
/// Write buffers of the log: one that fills while two are being flushed, so that a slow disk does not stall appends.
const LOG_WRITE_BUFFERS: i32 = 3;
/// Write buffer of the items, bytes. Of an item that has several rows there only the last one goes on: a buffer that holds those
/// of half a minute is flushed as so many fewer.
const ITEMS_WRITE_BUFFER: usize = 64 << 20;
/// Write buffer of every other column family, bytes. What is rarely written is flushed early by
/// [`MAX_WAL`], whatever its size.
const WRITE_BUFFER: usize = 16 << 20;
/// Write buffers of every other column family.
const WRITE_BUFFERS: i32 = 2;
/// Total size of the WAL files, bytes. A column family that is rarely written (`meta`, `items`) would pin them for
/// ever; past this bound RocksDB flushes the ones that do. It is also what a restart replays at most: below a second.
const MAX_WAL: u64 = 128 << 20;
/// Files of the log that wait for a RocksDB compaction: purged entries are mostly gone before, and compacting the
/// others brings nothing, because log reads start from a known key. 8 files of 32 MB.
const LOG_COMPACTION_TRIGGER: i32 = 8;
/// Files of the log from which writes are slowed, then stopped: far above the trigger.
const LOG_SLOWDOWN: i32 = 32;
const LOG_STOP: i32 = 48;
/// Cache of blocks read from disk, shared by all column families, bytes.
const BLOCK_CACHE: usize = 64 << 20;
/// Bits a key of the filter on order ids: one false answer in a hundred.
const FILTER_BITS: f64 = 10.0;
/// The part of a write buffer of order ids that a filter on it takes: about 10 bits a key.
const BUFFER_FILTER: f64 = 0.02;
/// Threads for flushes and RocksDB compactions: the cores belong to Raft. Those that flush yield to every other.
const BACKGROUND_JOBS: i32 = 2;
/// Bytes of a table file after which its write-back is started, so that it does not pile up before a WAL sync.
const BYTES_PER_SYNC: u64 = 1 << 20;
/// Files kept open.
const MAX_OPEN_FILES: i32 = 512;
/// RocksDB's own log file: bytes of one, and how many.
const INFO_LOG_BYTES: usize = 4 << 20;
const INFO_LOGS: usize = 2;

/// A cache of blocks for all column families of a database.
pub(super) fn block_cache() -> Cache {
    Cache::new_lru_cache(BLOCK_CACHE)
}

/// What holds for the whole database.
///
/// # Errors
/// When RocksDB has no environment to give.
pub(super) fn of_database() -> Result<Options, rocksdb::Error> {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // Recovers to the last consistent point whatever a crash left behind it. It would also drop synced records after
    // damage in the middle, in silence: the mark (`mark.rs`) finds that out.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    // Finds WAL files that are missing or too short among the closed ones.
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_paranoid_checks(true);
    options.set_max_total_wal_size(MAX_WAL);
    // fdatasync is enough on Linux: it writes the size of the file too.
    options.set_use_fsync(false);
    // A recycled WAL file holds old records behind the end, which weakens the finding of the end.
    options.set_recycle_log_file_num(0);
    options.set_bytes_per_sync(BYTES_PER_SYNC);
    options.set_avoid_unnecessary_blocking_io(true);
    // There is one writer at a time, and vectors as write buffers ask for it.
    options.set_allow_concurrent_memtable_write(false);
    options.set_max_background_jobs(BACKGROUND_JOBS);
    // All replicas fill their buffers at the same time, and buys wait for two of them: of 64 clients one buy in a hundred
    // waited a fifth longer or more.
    let mut environment = Env::new()?;
    environment.lower_high_priority_thread_pool_cpu_priority();
    options.set_env(&environment);
    options.set_max_open_files(MAX_OPEN_FILES);
    options.set_log_level(LogLevel::Info);
    options.set_max_log_file_size(INFO_LOG_BYTES);
    options.set_keep_log_file_num(INFO_LOGS);
    options.set_stats_dump_period_sec(0);
    Ok(options)
}

/// What holds for the column family of that name.
pub(super) fn of_family(name: &str, cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    if name == CF_ORDER_IDS {
        // Most ids that are asked for are new: the filter answers without a read.
        blocks.set_bloom_filter(FILTER_BITS, false);
    }
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    // What is flushed lies at level 0 for a while only, and packing it would take the cores from buys for so long that
    // one in a hundred would see it.
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_compression_per_level(&[DBCompressionType::None, DBCompressionType::None, DBCompressionType::Lz4]);
    if name == CF_LOG {
        options.set_compression_per_level(&[DBCompressionType::None]);
        options.set_write_buffer_size(LOG_WRITE_BUFFER);
        options.set_max_write_buffer_number(LOG_WRITE_BUFFERS);
        options.set_level_zero_file_num_compaction_trigger(LOG_COMPACTION_TRIGGER);
        options.set_level_zero_slowdown_writes_trigger(LOG_SLOWDOWN);
        options.set_level_zero_stop_writes_trigger(LOG_STOP);
    } else {
        options.set_write_buffer_size(WRITE_BUFFER);
        options.set_max_write_buffer_number(WRITE_BUFFERS);
    }
    if name == CF_ORDER_IDS {
        // Ids that clients choose lie anywhere in the buffer, and each step on the way to one is a miss of the processor's cache.
        options.set_memtable_whole_key_filtering(true);
        options.set_memtable_prefix_bloom_ratio(BUFFER_FILTER);
    }
    if name == CF_ITEMS {
        // Read from end to end only, at a start and for a snapshot: it need not be in order before. To keep rows of items
        // bought at random in order was the dearest single part of an order.
        options.set_memtable_factory(MemtableFactory::Vector);
        options.set_write_buffer_size(ITEMS_WRITE_BUFFER);
    }
    options
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::storage::{Db, keys::CF_LOG};

    /// The nice values of the threads of this process that flush.
    fn nice_of_flushing_threads() -> Vec<i32> {
        let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
        let stat = |task: std::path::PathBuf| fs::read_to_string(task.join("stat")).ok();
        // `id (name) state ppid …`, nice as the 19th of all.
        let nice = |stat: String| {
            let (_, rest) = stat.split_once("(rocksdb:high) ")?;
            rest.split(' ').nth(16)?.parse().ok()
        };
        tasks.filter_map(stat).filter_map(nice).collect()
    }

    #[test]
    fn threads_that_flush_yield_to_all_others() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        db.raw().put_cf(db.cf(CF_LOG), b"key", b"value").unwrap();
        db.raw().flush_cf(db.cf(CF_LOG)).unwrap();
        let nice = nice_of_flushing_threads();
        // There may be others, of databases of other tests, that have not done anything yet.
        assert!(nice.contains(&19), "{nice:?}");
    }
}
