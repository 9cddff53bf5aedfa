//! The kinds of faults, how often each is drawn, and how long it lasts.

use std::time::Duration;

use serde::Serialize;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// SIGKILL of a catalog, restarted at the end.
    KillOne,
    /// SIGKILL of two catalogs at once.
    KillTwo,
    /// SIGKILL of all catalogs at once.
    KillAll,
    /// SIGKILL of an order server.
    KillOrder,
    /// SIGKILL of a front end.
    KillFront,
    /// SIGTERM of a catalog; a leader hands over.
    Stop,
    /// SIGTERM and restart of each catalog in turn; each counts.
    Rolling,
    /// SIGSTOP and SIGCONT of a catalog.
    PauseCatalog,
    /// SIGSTOP and SIGCONT of an order server or a front end.
    PauseEdge,
    /// Catalogs split in two: a minority around the victim, and the rest.
    Halves,
    /// Each catalog sees its neighbours alone; of three, two do not see each other.
    Ring,
    /// What the victim sends to other catalogs vanishes.
    Unheard,
    /// What other catalogs send to the victim vanishes.
    Deaf,
    /// A catalog is cut from order servers and front ends, but not from its peers.
    CutFromClients,
    /// A front end is cut from its stream of changes alone.
    CutStream,
    /// A front end sees the victim alone, and the victim no other catalog.
    Strand,
    /// An order server is cut from the catalogs.
    CutOrder,
    /// Latency and jitter on every link.
    Delay,
    /// Loss on every link.
    Loss,
    /// One megabit a second, or less, to a catalog.
    Narrow,
    /// Power fails at a catalog: what it has not synced is gone or torn.
    PowerOne,
    /// Power fails at all catalogs at once.
    PowerAll,
    /// Syncs of a catalog take long.
    SlowDisk,
    /// Syncs of a catalog fail, and what they should have made durable is gone.
    SyncFails,
    /// The wall clock of a catalog jumps by up to an hour and back.
    ClockJump,
    /// A catalog dies at a step of making or installing a snapshot, with its power or without.
    SnapshotDeath,
    /// A bit flips on the disk of a catalog that is down; it is tried whether it starts, heard by nobody, and the disk of
    /// before is put back.
    Flip,
    /// The disk of a catalog is full.
    FullOne,
    /// The disks of all catalogs are full.
    FullAll,
    /// Strangers send garbage to every port, or connect and say nothing.
    Strangers,
    /// Many more clients ask for what is refused in the end.
    Overload,
}

/// What a kind of fault needs of the disks; no episode has both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// The layer between servers and libc.
    Layer,
    /// Disks that are small enough to be filled: a mount.
    SmallDisks,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 31] = [
        Self::KillOne,
        Self::KillTwo,
        Self::KillAll,
        Self::KillOrder,
        Self::KillFront,
        Self::Stop,
        Self::Rolling,
        Self::PauseCatalog,
        Self::PauseEdge,
        Self::Halves,
        Self::Ring,
        Self::Unheard,
        Self::Deaf,
        Self::CutFromClients,
        Self::CutStream,
        Self::Strand,
        Self::CutOrder,
        Self::Delay,
        Self::Loss,
        Self::Narrow,
        Self::PowerOne,
        Self::PowerAll,
        Self::SlowDisk,
        Self::SyncFails,
        Self::ClockJump,
        Self::SnapshotDeath,
        Self::Flip,
        Self::FullOne,
        Self::FullAll,
        Self::Strangers,
        Self::Overload,
    ];

    /// What it is called where faults are counted.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KillOne => "kill of a catalog",
            Self::KillTwo => "kill of two catalogs",
            Self::KillAll => "kill of all catalogs",
            Self::KillOrder => "kill of an order server",
            Self::KillFront => "kill of a front end",
            Self::Stop => "stop of a catalog",
            Self::Rolling => "restart in a rolling loop",
            Self::PauseCatalog => "pause of a catalog",
            Self::PauseEdge => "pause of an order server or front end",
            Self::Halves => "partition in halves",
            Self::Ring => "partition in a ring",
            Self::Unheard => "one-way: a catalog is not heard",
            Self::Deaf => "one-way: a catalog does not hear",
            Self::CutFromClients => "catalog cut from clients",
            Self::CutStream => "front end cut from its stream",
            Self::Strand => "front end with a cut-off catalog",
            Self::CutOrder => "order server cut from catalogs",
            Self::Delay => "latency and jitter",
            Self::Loss => "loss",
            Self::Narrow => "narrow link",
            Self::PowerOne => "power lost at a catalog",
            Self::PowerAll => "power lost at all catalogs",
            Self::SlowDisk => "slow disk",
            Self::SyncFails => "fdatasync fails (EIO)",
            Self::ClockJump => "jump of a wall clock",
            Self::SnapshotDeath => "death within a snapshot",
            Self::Flip => "flipped bit on a disk at rest",
            Self::FullOne => "full disk of a catalog",
            Self::FullAll => "full disks of all catalogs",
            Self::Strangers => "garbage and silence on all ports",
            Self::Overload => "overload",
        }
    }

    /// How often it is drawn, against the others.
    pub const fn weight(self) -> u32 {
        match self {
            // While there is no majority little happens that could go wrong.
            Self::KillAll | Self::KillTwo | Self::Rolling | Self::PowerAll => 1,
            Self::KillOne | Self::PowerOne | Self::PauseCatalog | Self::Halves => 4,
            _ => 2,
        }
    }

    /// What it needs.
    pub const fn needs(self) -> Needs {
        match self {
            Self::PowerOne | Self::PowerAll | Self::SlowDisk | Self::SyncFails | Self::ClockJump => Needs::Layer,
            Self::SnapshotDeath | Self::Flip => Needs::Layer,
            Self::FullOne | Self::FullAll => Needs::SmallDisks,
            _ => Needs::Nothing,
        }
    }

    /// The shortest that it lasts: most are told apart from nothing by then, some need time to be anything.
    pub const fn shortest(self) -> Duration {
        match self {
            Self::SnapshotDeath | Self::Flip => Duration::from_millis(2500),
            Self::FullOne | Self::FullAll | Self::Overload => Duration::from_millis(800),
            Self::SyncFails => Duration::from_millis(400),
            _ => Duration::from_millis(60),
        }
    }

    /// The longest that it lasts. A server that clients talk to is never silent for longer than they wait.
    pub const fn longest(self) -> Duration {
        match self {
            Self::KillAll | Self::KillTwo | Self::PowerAll => Duration::from_millis(2000),
            Self::PauseEdge => Duration::from_millis(2500),
            Self::Rolling => Duration::from_millis(1200),
            Self::Overload => Duration::from_millis(4000),
            _ => Duration::from_millis(6000),
        }
    }

    /// How long after its start it strikes: time to meet a sync that fails, and to end with the reason; time to miss so much
    /// of the log that a snapshot is needed.
    pub const fn strikes_after(self) -> Duration {
        match self {
            Self::SyncFails => Duration::from_millis(300),
            Self::SnapshotDeath => Duration::from_millis(1200),
            _ => Duration::ZERO,
        }
    }

    /// Whether front ends may be gone, or not answer, meanwhile.
    pub const fn hits_front_ends(self) -> bool {
        matches!(self, Self::KillFront | Self::PauseEdge)
    }
}
