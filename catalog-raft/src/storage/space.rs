//! Space on the disk: how much there is, what must not be begun any more when it runs low, and a reserve that is let go
//! then, so that a disk that others have filled still has room for what Raft itself must write.
//!
//! In this order: no snapshot is begun, no command is proposed and the leadership goes to a replica that has room
//! ([`Space::is_low`]); no more entries are taken from the leader ([`Space::is_out`]); a write waits before it would
//! fail. Votes, heartbeats and reads go on through all of it, and all of it ends by itself once there is space again.
//! Must not know what is written.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

const MIB: u64 = 1 << 20;
/// What the reserve holds: flushes of the write buffers, elections, and what was under way when space ran out.
const RESERVE: u64 = 64 * MIB;
/// Below so much free space, the reserve apart, nothing is proposed.
const LOW: u64 = 64 * MIB;
/// From so much on it is proposed again: more than [`LOW`], lest a compaction makes it come and go.
const RESUME: u64 = 96 * MIB;
/// Below so much the reserve is let go; when it is gone already, no more entries are taken.
const OUT: u64 = 24 * MIB;
/// Below so much a write waits: RocksDB would meet the end of the disk in the middle of it.
const LAST: u64 = 4 * MIB;
/// Above so much no write has to look for itself: in the time between two looks no disk takes as much.
const PLENTY: u64 = 4096 * MIB;
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(100);
/// RocksDB looks every 5 s whether it can go on after it met the end of the disk: for so long after space has returned
/// its refusals still mean that, and not a broken disk.
const AFTERMATH: Duration = Duration::from_secs(30);
/// The reserve's file in the replica's folder.
const FILE: &str = "reserve";

/// What is known of the space at a replica's folder. Shared by all who write there.
#[derive(Debug)]
pub struct Space {
    dir: PathBuf,
    free: AtomicU64,
    low: AtomicBool,
    out: AtomicBool,
    tight: AtomicBool,
    reserve: Mutex<Reserve>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reserve {
    /// Nobody watches: tools and tests need none.
    Unused,
    Held,
    LetGo,
    /// The file system cannot set space aside.
    Impossible,
}

impl Space {
    /// Of the folder `dir`, with plenty assumed until somebody looks.
    pub(super) fn new(dir: &Path) -> Arc<Self> {
        Arc::new(Self {
            dir: dir.to_owned(),
            free: AtomicU64::new(u64::MAX),
            low: AtomicBool::new(false),
            out: AtomicBool::new(false),
            // Nobody has looked yet: until then a write that is refused is tried again.
            tight: AtomicBool::new(true),
            reserve: Mutex::new(Reserve::Unused),
        })
    }

    /// Sets the reserve aside and looks every 100 ms from now on, until the last owner of the space is gone.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn watch(self: &Arc<Self>) -> io::Result<()> {
        // The machine's own disk is no part of a simulation.
        if cfg!(feature = "simulation") {
            return Ok(());
        }
        *self.reserve.lock().unwrap_or_else(PoisonError::into_inner) = Reserve::LetGo;
        Self::let_go(&self.dir);
        self.low.store(true, Relaxed);
        self.look(true);
        if self.is_low() {
            tracing::warn!("{self}: it begins with too little");
        }
        let watched = Arc::downgrade(self);
        thread::Builder::new().name("space".to_owned()).spawn(move || keep_looking(&watched)).map(drop)
    }

    /// Lets go what an earlier life has set aside in `dir`.
    pub fn let_go(dir: &Path) {
        let _ = fs::remove_file(dir.join(FILE));
    }

    /// Whether nothing new should be begun: there is too little space for more than what must be finished.
    pub fn is_low(&self) -> bool {
        self.low.load(Relaxed)
    }

    /// Whether not even entries from the leader can be taken.
    pub fn is_out(&self) -> bool {
        self.out.load(Relaxed)
    }

    /// Whether a file of so many bytes can be written and leave enough for all else.
    pub fn has_room_for(&self, bytes: u64) -> bool {
        !self.is_low() && self.free.load(Relaxed) >= LOW.saturating_add(bytes)
    }

    /// Bytes free, as last seen, the reserve apart.
    pub fn free(&self) -> u64 {
        self.free.load(Relaxed)
    }

    /// Whether a write may be refused for want of space, now or from before.
    pub(super) fn is_tight(&self) -> bool {
        self.tight.load(Relaxed)
    }

    /// Waits while the disk is as good as full. Nobody who waits here holds what a vote or a heartbeat needs, unless the
    /// reserve is used up too.
    pub(super) fn wait_for_some(&self) {
        if self.free() > PLENTY {
            return;
        }
        if *self.reserve.lock().unwrap_or_else(PoisonError::into_inner) == Reserve::Unused {
            return;
        }
        let mut said = false;
        while self.look(false) < LAST {
            if !said {
                tracing::error!("{self}: a write waits until there is space again");
                said = true;
            }
            self.pause();
        }
        if said {
            tracing::info!("{self}: the write goes on");
        }
    }

    /// Waits a moment without keeping a thread of the runtime from its other tasks.
    pub(super) fn pause(&self) {
        let flavor = tokio::runtime::Handle::try_current().map(|runtime| runtime.runtime_flavor());
        if matches!(flavor, Ok(tokio::runtime::RuntimeFlavor::MultiThread)) {
            tokio::task::block_in_place(|| thread::sleep(LOOK));
        } else {
            thread::sleep(LOOK);
        }
    }

    /// Looks how much there is, lets the reserve go when that is too little, and takes it back if it `may_take`.
    fn look(&self, may_take: bool) -> u64 {
        let mut reserve = self.reserve.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.measure();
        if *reserve == Reserve::Held && free < OUT {
            match fs::remove_file(self.dir.join(FILE)) {
                Ok(()) => *reserve = Reserve::LetGo,
                Err(error) => tracing::error!("the reserve cannot be let go: {error}"),
            }
            free = self.measure();
        } else if *reserve == Reserve::LetGo && may_take && free >= RESERVE + RESUME {
            *reserve = set_aside(&self.dir.join(FILE));
            free = self.measure();
        }
        self.free.store(free, Relaxed);
        self.out.store(free < OUT, Relaxed);
        let enough = if self.is_low() { RESUME } else { LOW };
        let low = free < enough || *reserve == Reserve::LetGo;
        drop(reserve);
        if low {
            self.tight.store(true, Relaxed);
        }
        if self.low.swap(low, Relaxed) != low {
            if low {
                tracing::warn!("{self}: writes are refused");
            } else {
                tracing::info!("{self}: there is enough space");
            }
        }
        free
    }

    /// A file system that does not tell is taken to have plenty: its own errors will say otherwise.
    fn measure(&self) -> u64 {
        statvfs(&self.dir).map_or(u64::MAX, |found| found.f_bavail.saturating_mul(found.f_frsize))
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dir = self.dir.display();
        if self.is_low() {
            write!(f, "the disk is full: free space on that of {dir}, {} MiB are left", self.free() / MIB)
        } else {
            write!(f, "{} MiB are free on the disk of {dir}", self.free() / MIB)
        }
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        if *self.reserve.get_mut().unwrap_or_else(PoisonError::into_inner) == Reserve::Held {
            // What cannot be removed now is removed at the next start.
            let _ = fs::remove_file(self.dir.join(FILE));
        }
    }
}

fn keep_looking(watched: &Weak<Space>) {
    let mut plenty_since = Instant::now();
    while let Some(space) = watched.upgrade() {
        space.look(true);
        if space.is_low() {
            plenty_since = Instant::now();
        } else if plenty_since.elapsed() > AFTERMATH {
            space.tight.store(false, Relaxed);
        }
        drop(space);
        thread::sleep(LOOK);
    }
}

fn set_aside(path: &Path) -> Reserve {
    let file = fs::File::options().write(true).create(true).truncate(false).open(path);
    let taken = file.and_then(|file| Ok(fallocate(&file, FallocateFlags::empty(), 0, RESERVE)?));
    match taken {
        Ok(()) => Reserve::Held,
        Err(error) => {
            let _ = fs::remove_file(path);
            match error.kind() {
                // Somebody else was faster: it is tried again.
                io::ErrorKind::StorageFull => Reserve::LetGo,
                _ => {
                    tracing::warn!("no space can be set aside at {}: {error}", path.display());
                    Reserve::Impossible
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_watch_there_is_plenty_and_no_reserve() {
        let dir = tempfile::tempdir().unwrap();
        let space = Space::new(dir.path());
        space.wait_for_some();
        assert!(!space.is_low() && !space.is_out() && space.has_room_for(1 << 40));
        assert!(!dir.path().join(FILE).exists());
    }

    #[test]
    fn the_reserve_is_set_aside_and_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let space = Space::new(dir.path());
        space.watch().unwrap();
        assert!(!space.is_low(), "the disk of this machine is nearly full: {space}");
        assert_eq!(fs::metadata(dir.path().join(FILE)).unwrap().len(), RESERVE);
        assert!(!space.has_room_for(u64::MAX));
        drop(space);
        // The thread that looks may hold it for a moment longer.
        let gone = (0..100).any(|_| {
            thread::sleep(LOOK);
            !dir.path().join(FILE).exists()
        });
        assert!(gone, "the reserve outlives its owner");
    }
}
