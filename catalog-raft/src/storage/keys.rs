//! The names of all column families and the encodings of all keys. Integers are big-endian, so that RocksDB's order
//! is theirs. Changing any of this raises [`FORMAT`].

/// The version of everything on disk, checked at open.
pub const FORMAT: u32 = 3;
/// The oldest version that is read, and becomes [`FORMAT`] then: in 2 every row of an item is as the item is.
pub const OLDEST_FORMAT: u32 = 2;

/// Single values: [`META_FORMAT`], [`META_INCARNATION`], [`META_VOTE`], [`META_PURGED`], [`META_COMMITTED`].
pub const CF_META: &str = "meta";
/// The Raft log: index to entry.
pub const CF_LOG: &str = "log";
/// The catalogue: item number to row.
pub const CF_ITEMS: &str = "items";
/// The order ledger: revision and place to order.
pub const CF_ORDERS: &str = "orders";
/// Order id to revision and place.
pub const CF_ORDER_IDS: &str = "order_ids";
/// Outcomes remembered: revision and place to record.
pub const CF_DEDUP: &str = "dedup";
/// Single values of the state machine: [`STATE_APPLIED`], [`STATE_INSTALLING`].
pub const CF_STATE: &str = "state";

/// All column families.
pub const ALL: [&str; 7] = [CF_META, CF_LOG, CF_ITEMS, CF_ORDERS, CF_ORDER_IDS, CF_DEDUP, CF_STATE];

/// The format version, u32.
pub const META_FORMAT: &[u8] = b"format";
/// The disk's incarnation, u128.
pub const META_INCARNATION: &[u8] = b"incarnation";
/// The vote.
pub const META_VOTE: &[u8] = b"vote";
/// The last log id purged.
pub const META_PURGED: &[u8] = b"purged";
/// The last log id known to be committed: a hint, never synced for its own sake.
pub const META_COMMITTED: &[u8] = b"committed";
/// Applied log id, membership, state hash and counts: written with every batch of changes.
pub const STATE_APPLIED: &[u8] = b"applied";

/// The name of the snapshot file that is being installed; absent otherwise.
pub const STATE_INSTALLING: &[u8] = b"installing";

/// The key of a log entry.
pub fn log_key(index: u64) -> [u8; 8] {
    index.to_be_bytes()
}

/// The index that a log key stands for; `None` when it is not 8 bytes long.
pub fn log_index(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}
