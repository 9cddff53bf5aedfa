//! Deliberately broken variants of the store, to test the tests: each breaks one promise in one place.
//!
//! Compiled in only with the feature `mutants`, which no shipped binary has; without it [`Mutant::is_on`] is a constant
//! `false` and leaves nothing behind. With it the environment variable [`VARIABLE`] chooses one variant, at start.

/// Which variant is on: one of [`Mutant::name`]s, or unset.
pub const VARIABLE: &str = "CATALOG_MUTANT";

/// A way in which the store is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// Appended entries count as durable before the fdatasync.
    AckBeforeFsync,
    /// A vote is answered before it is synced.
    VoteNotSynced,
    /// Remembered commands are not looked up: a repeated one takes effect again.
    DedupSkipped,
    /// An order of several lines takes the lines that are in stock and leaves the others.
    OrderLineByLine,
    /// A fill of the cache is taken although a later invalidation of its key was seen.
    StaleFillAccepted,
    /// A stretch of the watch's history claims to reach further than its events.
    BookmarkAhead,
    /// A replica answers a read without waiting for the minimum revision that it asks for.
    MinimumRevisionIgnored,
    /// Cached answers are given past the freshness bound.
    FreshnessIgnored,
    /// A snapshot's rows are newer than what its head says.
    SnapshotOlderMeta,
    /// The log is purged up to a snapshot that is not yet durable.
    PurgeBeforeSnapshot,
    /// `apply` stamps orders with the replica's own clock.
    ApplyReadsClock,
    /// A write that is tried again gets a new id.
    RetryUnderNewId,
}

impl Mutant {
    /// All variants.
    pub const ALL: [Self; 12] = [
        Self::AckBeforeFsync,
        Self::VoteNotSynced,
        Self::DedupSkipped,
        Self::OrderLineByLine,
        Self::StaleFillAccepted,
        Self::BookmarkAhead,
        Self::MinimumRevisionIgnored,
        Self::FreshnessIgnored,
        Self::SnapshotOlderMeta,
        Self::PurgeBeforeSnapshot,
        Self::ApplyReadsClock,
        Self::RetryUnderNewId,
    ];

    /// Its name, as [`VARIABLE`] has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AckBeforeFsync => "ack-before-fsync",
            Self::VoteNotSynced => "vote-not-synced",
            Self::DedupSkipped => "dedup-skipped",
            Self::OrderLineByLine => "order-line-by-line",
            Self::StaleFillAccepted => "stale-fill-accepted",
            Self::BookmarkAhead => "bookmark-ahead",
            Self::MinimumRevisionIgnored => "minimum-revision-ignored",
            Self::FreshnessIgnored => "freshness-ignored",
            Self::SnapshotOlderMeta => "snapshot-older-meta",
            Self::PurgeBeforeSnapshot => "purge-before-snapshot",
            Self::ApplyReadsClock => "apply-reads-clock",
            Self::RetryUnderNewId => "retry-under-new-id",
        }
    }

    /// Whether the store is broken in this way.
    #[cfg(not(feature = "mutants"))]
    #[inline(always)]
    pub const fn is_on(self) -> bool {
        false
    }

    /// Whether the store is broken in this way.
    ///
    /// # Panics
    /// When [`VARIABLE`] names no variant.
    #[cfg(feature = "mutants")]
    pub fn is_on(self) -> bool {
        static CHOSEN: std::sync::OnceLock<Option<Mutant>> = std::sync::OnceLock::new();
        let choose = || {
            let name = std::env::var(VARIABLE).ok().filter(|name| !name.is_empty())?;
            let known = Self::ALL.into_iter().find(|mutant| mutant.name() == name);
            Some(known.unwrap_or_else(|| panic!("{VARIABLE}={name} names no mutant")))
        };
        *CHOSEN.get_or_init(choose) == Some(self)
    }
}
