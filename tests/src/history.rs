//! What clients did and what they were told, and what the store held at the end: the facts that checks judge. Must not
//! know how either was learnt.

use std::{collections::BTreeMap, time::Duration};

use uuid::Uuid;

/// The number of an item.
pub type Item = u64;
/// A revision of the store.
pub type Revision = u64;

/// What a write asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// One unit, on the compatible surface.
    Buy(Item),
    /// An order of `/v1`: items and units, an item perhaps in several lines.
    Order(Vec<(Item, u64)>),
    /// A change of stock by a delta.
    AddStock(Item, i64),
    /// A new cost.
    SetCost(Item, u64),
}

/// What became of a write, as far as its client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect at this revision.
    Ok(Revision),
    /// The catalogue refused it at this revision, for want of stock.
    OutOfStock(Revision),
    /// A server refused it, and said that it did not and will not take effect: 429, or 503 but `outcome-unknown`.
    TurnedAway,
    /// Perhaps it took effect.
    Unknown,
}

/// One write: a command under one key, however often it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Its `Idempotency-Key`.
    pub key: Uuid,
    /// What was asked for.
    pub ask: Ask,
    /// When it was first sent, since the history began.
    pub start: Duration,
    /// When `outcome` was learnt, since the history began.
    pub end: Duration,
    /// How often it was sent.
    pub tries: u32,
    /// Through which front end `outcome` was learnt.
    pub front: usize,
    /// What became of it.
    pub outcome: Outcome,
}

/// A write that was sent again after its outcome was known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeat {
    /// Its `Idempotency-Key`.
    pub key: Uuid,
    /// To whom: `host:port`.
    pub server: String,
    /// What was answered this time.
    pub outcome: Outcome,
}

/// One look at an item through a front end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// Which.
    pub item: Item,
    /// When it was asked for, since the history began.
    pub start: Duration,
    /// When it was answered, since the history began.
    pub end: Duration,
    /// `X-Revision`.
    pub revision: Revision,
    /// Units in stock.
    pub quantity: i64,
    /// Cost.
    pub cost: u64,
    /// Through which front end.
    pub front: usize,
    /// Whether `read=linearizable` was asked for.
    pub linearizable: bool,
}

/// One look at several items at once through a front end: a list, or the items of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The items that belong in it: none is ever added or withdrawn.
    pub of: Vec<Item>,
    /// When it was asked for, since the history began.
    pub start: Duration,
    /// When it was answered, since the history began.
    pub end: Duration,
    /// `X-Revision`.
    pub revision: Revision,
    /// Items, their units in stock, their cost.
    pub books: Vec<(Item, i64, u64)>,
    /// Through which front end.
    pub front: usize,
    /// Whether `read=linearizable` was asked for.
    pub linearizable: bool,
}

/// What one follower of the changes was told, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// From here on everything is told: the position of the first stream, or of a new one after `compacted`.
    From(Revision),
    /// The changes of one revision: item, stock and cost after it.
    Changes(Revision, Vec<(Item, i64, u64)>),
    /// Everything up to here was told.
    Bookmark(Revision),
    /// The stream broke, and was resumed after this position.
    Resumed(Revision),
    /// The position is forgotten: nothing is promised until the next `From`.
    Compacted,
}

/// The hash of a replica's state at a moment of the trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The replica.
    pub name: String,
    /// Its revision.
    pub applied: Revision,
    /// The hash.
    pub state_hash: String,
}

/// All that clients did.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Every write that was sent.
    pub writes: Vec<Write>,
    /// Every read that was answered.
    pub reads: Vec<Read>,
    /// Every list that was answered.
    pub listings: Vec<Listing>,
    /// Every write that was repeated although its outcome was known.
    pub repeats: Vec<Repeat>,
    /// What each follower was told.
    pub told: Vec<Vec<Told>>,
    /// Hashes that were seen on the way.
    pub samples: Vec<Sample>,
    /// Answers that no client should ever see, each as a sentence; at most [`MAX_SURPRISES`] a client.
    pub surprises: Vec<String>,
    /// Servers that did not serve in time after the faults had ended, each as a sentence.
    pub unserved: Vec<String>,
    /// Answers with status 429 or 503 that were as they should be, and said that nothing was done.
    pub turned_away: u64,
    /// Answers that said `outcome-unknown`.
    pub unknown: u64,
}

/// The most surprises that one client keeps: the first ones tell the story.
pub const MAX_SURPRISES: usize = 5;

/// An order in a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerOrder {
    /// The key of the command that placed it.
    pub key: Uuid,
    /// Where it was placed.
    pub revision: Revision,
    /// Its lines: items and units.
    pub lines: Vec<(Item, u64)>,
}

/// What one replica holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Its name.
    pub name: String,
    /// Its revision.
    pub applied: Revision,
    /// The hash of its state, as it says.
    pub state_hash: String,
    /// Units in stock, read at the replica's own port.
    pub stock: BTreeMap<Item, i64>,
    /// Costs, likewise.
    pub costs: BTreeMap<Item, u64>,
    /// Its ledger, in order.
    pub ledger: Vec<LedgerOrder>,
}

/// What the store held before the history and after it.
#[derive(Debug, Clone, Default)]
pub struct Final {
    /// Stock before the first write; the ledger was empty then.
    pub initial: BTreeMap<Item, i64>,
    /// Costs before the first write.
    pub costs: BTreeMap<Item, u64>,
    /// The ledger as the front end pages it, in order.
    pub ledger: Vec<LedgerOrder>,
    /// All replicas.
    pub replicas: Vec<Replica>,
}

impl History {
    /// Adds what other clients did.
    pub fn merge(&mut self, more: Self) {
        self.writes.extend(more.writes);
        self.reads.extend(more.reads);
        self.listings.extend(more.listings);
        self.repeats.extend(more.repeats);
        self.told.extend(more.told);
        self.samples.extend(more.samples);
        self.unserved.extend(more.unserved);
        self.surprises.extend(more.surprises);
        self.turned_away += more.turned_away;
        self.unknown += more.unknown;
    }

    /// How much was asked for, each try that was turned away or not decided for itself.
    pub fn operations(&self) -> u64 {
        let answered = self.writes.len() + self.reads.len() + self.listings.len() + self.repeats.len();
        answered as u64 + self.turned_away + self.unknown
    }

    /// Every look at an item, those at lists included.
    pub fn looks(&self) -> impl Iterator<Item = Read> {
        self.reads.iter().copied().chain(self.listings.iter().flat_map(Listing::looks))
    }

    /// How many writes came to an end of this kind.
    pub fn count(&self, is: impl Fn(Outcome) -> bool) -> usize {
        self.writes.iter().filter(|write| is(write.outcome)).count()
    }
}

impl Listing {
    /// What it says of each of its items: all as of one revision.
    pub fn looks(&self) -> impl Iterator<Item = Read> {
        let Self { start, end, revision, front, linearizable, .. } = *self;
        let look =
            move |(item, quantity, cost)| Read { item, start, end, revision, quantity, cost, front, linearizable };
        self.books.iter().copied().map(look)
    }
}

impl Write {
    /// Units asked for, by item; none of a change of stock.
    pub fn units(&self) -> BTreeMap<Item, u64> {
        match &self.ask {
            Ask::Buy(item) => BTreeMap::from([(*item, 1)]),
            Ask::Order(lines) => added_up(lines),
            Ask::AddStock(..) | Ask::SetCost(..) => BTreeMap::new(),
        }
    }

    /// Whether it is an order.
    pub fn is_order(&self) -> bool {
        !matches!(self.ask, Ask::AddStock(..) | Ask::SetCost(..))
    }

    /// The revision at which the catalogue decided it, if it is known.
    pub fn decided_at(&self) -> Option<Revision> {
        match self.outcome {
            Outcome::Ok(revision) | Outcome::OutOfStock(revision) => Some(revision),
            Outcome::TurnedAway | Outcome::Unknown => None,
        }
    }

    /// The items that it names, each once.
    pub fn items(&self) -> Vec<Item> {
        match &self.ask {
            Ask::AddStock(item, _) | Ask::SetCost(item, _) => vec![*item],
            Ask::Buy(_) | Ask::Order(_) => self.units().into_keys().collect(),
        }
    }
}

/// Units by item, lines of one item added up.
pub fn added_up(lines: &[(Item, u64)]) -> BTreeMap<Item, u64> {
    let mut units = BTreeMap::new();
    for (item, more) in lines {
        *units.entry(*item).or_default() += more;
    }
    units
}
