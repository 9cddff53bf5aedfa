//! What is measured of whom, with how many connections, and in which order. Must not know how.

use std::fmt;

use serde::Serialize;

use crate::system::Kind;

/// Orders in each request of [`Work::Batch`]: with 64 connections fewer wait than the front end lets wait by default.
pub const ORDERS: usize = 100;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// One item that is in the cache.
    Lookup,
    /// Items that are not, one after another.
    Miss,
    /// The cached item, with `read=linearizable`.
    Linearizable,
    /// Buys of one item, or what the peer has that is most like it.
    Hot,
    /// Buys of 100,000 items, each as often.
    Uniform,
    /// Buys of one item, [`ORDERS`] of them in each request.
    Batch,
    /// How many buys there are to one fdatasync of a replica.
    Syncs,
    /// Lookups of one cached item, as `Mixed` is driven.
    PlainLookup,
    /// 95 % lookups, 5 % buys, Zipf 1.0 over 10,000 items.
    Mixed,
    /// Syncing three files at once.
    ThreeFiles,
}

/// One figure of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Cell {
    /// Of whom.
    pub kind: Kind,
    /// What.
    pub work: Work,
    /// Connections, each with one request outstanding.
    pub connections: u32,
}

/// Parts of a run that can be chosen, and what each is about.
pub const PARTS: [(&str, &str); 12] = [
    ("lookup", "cached lookups, with nginx and bare axum"),
    ("miss", "lookups that ask a replica, with bare axum"),
    ("buy", "buys of one item, with nginx, etcd, PostgreSQL and Redis"),
    ("uniform", "buys over 100,000 items, with PostgreSQL"),
    ("batch", "buys of one item, 100 in a request"),
    ("alone", "one client, with etcd, and what the disk takes"),
    ("syncs", "buys to one fdatasync"),
    ("mixed", "lookups and buys together"),
    ("linearizable", "linearizable lookups"),
    ("failover", "the leader killed"),
    ("stop", "the leader stopped"),
    ("idle", "an idle cluster without one of its replicas"),
];

impl Cell {
    /// A cell.
    pub const fn new(kind: Kind, work: Work, connections: u32) -> Self {
        Self { kind, work, connections }
    }

    /// The parts of a run that need it.
    fn parts(self) -> &'static [&'static str] {
        use {Kind as K, Work as W};
        match (self.kind, self.work, self.connections) {
            (K::Ours, W::Lookup, 64) => &["lookup", "linearizable"],
            (K::Ours, W::Lookup, _) => &["lookup"],
            (K::Nginx, _, 64 | 256) => &["lookup", "buy"],
            (K::Nginx, ..) => &["lookup"],
            (K::Bare, _, 64) => &["lookup", "miss"],
            (K::Bare, ..) | (_, W::Lookup, _) => &["lookup"],
            (_, W::Miss, _) => &["miss"],
            (_, W::Linearizable, _) => &["linearizable"],
            (K::Ours, W::Hot, 64 | 256) => &["buy", "uniform"],
            (K::Ours | K::Etcd, W::Hot, 1) => &["buy", "alone"],
            (_, W::Hot, _) => &["buy"],
            (_, W::Uniform, _) => &["uniform"],
            (_, W::Batch, _) => &["batch"],
            (_, W::Syncs, _) => &["syncs"],
            (_, W::Mixed | W::PlainLookup, _) => &["mixed"],
            (_, W::ThreeFiles, _) => &["alone"],
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, work, connections } = self;
        let what = match (kind, work) {
            (Kind::Etcd, Work::Hot) => "puts of one key",
            (Kind::Postgres, Work::Hot) => "updates of one row",
            (Kind::Postgres, Work::Uniform) => "updates of 100,000 rows",
            (Kind::Redis, Work::Hot) => "decrements of one key",
            (_, Work::Lookup | Work::PlainLookup) => "cached lookup",
            (_, Work::Miss) => "lookup that misses",
            (_, Work::Linearizable) => "linearizable lookup",
            (_, Work::Hot) => "buy of one item",
            (_, Work::Uniform) => "buy over 100,000 items",
            (_, Work::Batch) => "buy of one item, 100 in a request",
            (_, Work::Syncs) => "buys to one fdatasync",
            (_, Work::Mixed) => "95 % lookups, 5 % buys",
            (_, Work::ThreeFiles) => "fdatasync of three files",
        };
        let by = if matches!(work, Work::Mixed | Work::PlainLookup) { " (by loadgen)" } else { "" };
        write!(f, "{kind}: {what}{by}, {connections}")
    }
}

/// The turns of one round: whom to start, and what to measure of it before it is stopped. Systems that are compared with
/// the same number of connections follow one another, so that a slow minute of the machine is every one's.
pub fn round(wanted: &dyn Fn(&str) -> bool, there: &dyn Fn(Kind) -> bool) -> Vec<(Kind, Vec<Cell>)> {
    let mut turns = Vec::new();
    for connections in [1, 64, 256, 1_024] {
        for kind in Kind::ALL.into_iter().filter(|kind| there(*kind)) {
            let works = works(kind, connections).iter();
            let cells = works.map(|work| Cell::new(kind, *work, connections));
            let cells: Vec<Cell> = cells.filter(|cell| cell.parts().iter().any(|part| wanted(part))).collect();
            if !cells.is_empty() {
                turns.push((kind, cells));
            }
        }
    }
    turns
}

fn works(kind: Kind, connections: u32) -> &'static [Work] {
    use {Kind as K, Work as W};
    match (kind, connections) {
        (K::Disk, 1) => &[W::ThreeFiles],
        (K::Ours, 1) => &[W::Lookup, W::Hot],
        (K::Ours, 64) => {
            &[W::Lookup, W::Linearizable, W::Hot, W::Uniform, W::Batch, W::Syncs, W::Miss, W::PlainLookup, W::Mixed]
        }
        (K::Ours, 256) => &[W::Lookup, W::Hot, W::Uniform, W::Syncs],
        (K::Ours | K::Redis, _) => &[W::Hot],
        (K::Bare | K::Nginx, 1..=256) => &[W::Lookup],
        (K::Etcd, 1..=256) => &[W::Hot],
        (K::Postgres, 1) => &[W::Hot],
        (K::Postgres, 64 | 256) => &[W::Hot, W::Uniform],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_measures_all_that_its_targets_compare() {
        let kinds = |part: &'static str| -> Vec<Kind> {
            round(&|wanted| wanted == part, &|_| true).into_iter().map(|(kind, _)| kind).collect()
        };
        assert_eq!(kinds("alone"), [Kind::Disk, Kind::Ours, Kind::Etcd]);
        assert_eq!(kinds("miss"), [Kind::Ours, Kind::Bare]);
        assert_eq!(kinds("uniform"), [Kind::Ours, Kind::Postgres, Kind::Ours, Kind::Postgres]);
        assert!(kinds("failover").is_empty());
        let buy = kinds("buy");
        for kind in [Kind::Ours, Kind::Nginx, Kind::Etcd, Kind::Postgres, Kind::Redis] {
            assert!(buy.contains(&kind), "{kind}");
        }
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        let turns = round(&|_| true, &|kind| kind != Kind::Etcd);
        assert!(!turns.is_empty() && turns.iter().all(|(kind, cells)| *kind != Kind::Etcd && !cells.is_empty()));
    }
}
