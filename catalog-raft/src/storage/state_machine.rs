//! Applies committed entries, builds and installs snapshots: what openraft asks of a state machine.
//!
//! Each stretch of entries is one WriteBatch: changes, orders, dedup records and `last_applied` together, unsynced.
//! It goes into the same WAL behind the entries themselves, so the state on disk is never ahead of the log.

use std::{
    collections::HashMap,
    fs, io,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use catalog_client::{Order, OrderId, mutant::Mutant};
use futures::{Stream, StreamExt};
use openraft::{
    EntryPayload, RaftSnapshotBuilder,
    storage::{EntryResponder, RaftStateMachine},
};
use rocksdb::WriteBatch;
use tokio::sync::oneshot;

use super::{
    codec::to_bytes,
    db::Db,
    install,
    keys::{CF_STATE, STATE_APPLIED},
    snapshot::{self, Header, SnapshotFile, SnapshotWriter},
    state::{Applied, DiskLedger, State, family, put_row},
};
use crate::{
    blocking,
    catalog::rows::Table,
    figures::Point,
    raft::{Answers, Entry, LogId, Snapshot, SnapshotMeta, StoredMembership, TypeConfig},
};

/// The folder of snapshots inside a replica's folder.
pub const SNAPSHOTS: &str = "snapshots";
/// How long after a snapshot could not be written the next one is begun.
const TRY_AGAIN: Duration = Duration::from_secs(10);
/// Entries that go into one write at most.
const WRITE_TOGETHER: usize = 64;

type Written = (Header, SnapshotFile);
type Current = Arc<Mutex<Option<Written>>>;
type Item = EntryResponder<TypeConfig>;

/// The one who applies.
#[derive(Debug)]
pub struct StateMachine {
    state: Arc<State>,
    applied: Applied,
    folder: PathBuf,
    current: Current,
    ahead: Ahead,
}

/// A snapshot that is written before Raft takes note of it, so that one that cannot be written is none of its business.
#[derive(Debug, Default)]
enum Ahead {
    #[default]
    Idle,
    Writing(oneshot::Receiver<io::Result<Written>>),
    /// The last one failed then.
    Failed(Instant),
}

impl StateMachine {
    /// Reads the state back, finishing an installation that a crash has interrupted.
    ///
    /// # Errors
    /// As the disk's; `InvalidData` when it is damaged.
    pub fn open(db: Db) -> io::Result<Self> {
        let folder = db.dir().join(SNAPSHOTS);
        fs::create_dir_all(&folder)?;
        super::db::sync_dir(db.dir())?;
        let newest = snapshot::newest(&folder)?;
        install::resume(&db, newest.as_ref().map(|(_, file)| file))?;
        let (state, applied) = State::open(db)?;
        state.set_snapshot_bytes(newest.as_ref().map_or(0, |(_, file)| file.len()));
        Ok(Self { state: Arc::new(state), applied, folder, current: Arc::new(Mutex::new(newest)), ahead: Ahead::Idle })
    }

    /// The state, to be read by others.
    pub fn state(&self) -> Arc<State> {
        self.state.clone()
    }

    fn apply_together(&mut self, items: Vec<Item>) -> io::Result<()> {
        let db = self.state.db();
        let mut batch = WriteBatch::default();
        let mut pending: HashMap<OrderId, Arc<Order>> = HashMap::new();
        let mut events = Vec::new();
        let mut responses = Vec::with_capacity(items.len());
        let decoded = items.into_iter().map(decode).collect::<io::Result<Vec<_>>>()?;

        let mut catalog = self.state.write_lock();
        for (entry, commands, responder) in decoded {
            let index = entry.log_id.index;
            let (time_ms, commands) = commands.map_or((0, Vec::new()), |c| (c.time_ms, c.commands));
            let ledger = DiskLedger { db, pending: &pending };
            let applied = catalog.apply(index, time_ms, &commands, &ledger)?;
            for row in &applied.rows {
                put_row(db, &mut batch, row);
            }
            pending.extend(applied.placed.into_iter().map(|order| (order.id, order)));
            events.extend(applied.event);
            responses.push((responder, Answers(applied.answers)));
            self.applied.last_log_id = Some(entry.log_id.into());
            if let EntryPayload::Membership(membership) = &entry.payload {
                self.applied.membership_log_id = Some(entry.log_id.into());
                self.applied.membership = membership.into();
            }
        }
        self.applied.state = catalog.meta();
        batch.put_cf(db.cf(CF_STATE), STATE_APPLIED, to_bytes(&self.applied));
        db.write(batch);
        drop(catalog);

        self.state.history().publish(events, self.applied.revision());
        self.state.db().figures().stages.reached(Point::Applied, self.applied.revision());
        for (responder, answers) in responses {
            if let Some(responder) = responder {
                responder.send(answers);
            }
        }
        Ok(())
    }
}

type Decoded = (Entry, Option<crate::raft::Commands>, Option<openraft::storage::ApplyResponder<TypeConfig>>);

fn decode((entry, responder): Item) -> io::Result<Decoded> {
    let commands = match &entry.payload {
        EntryPayload::Normal(batch) => Some(batch.decode()?),
        EntryPayload::Blank | EntryPayload::Membership(_) => None,
    };
    Ok((entry, commands, responder))
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let membership = self.applied.membership.clone().into();
        let stored = StoredMembership::new(self.applied.membership_log_id.map(Into::into), membership);
        Ok((self.applied.last_log_id.map(Into::into), stored))
    }

    async fn apply<S>(&mut self, entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<Item, io::Error>> + Unpin + Send,
    {
        let mut chunks = entries.ready_chunks(WRITE_TOGETHER);
        while let Some(chunk) = chunks.next().await {
            self.apply_together(chunk.into_iter().collect::<Result<_, _>>()?)?;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        let written = freeze(self.state.db(), &self.folder).await;
        self.builder(Source::Writing(written))
    }

    /// Begins one and says that there is none yet, until it is whole: openraft takes a builder that fails for the end of
    /// the store. A failure is logged, and tried again after a while.
    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<SnapshotBuilder> {
        if force {
            return Some(self.get_snapshot_builder().await);
        }
        let (ahead, builder) = match std::mem::take(&mut self.ahead) {
            Ahead::Failed(at) if at.elapsed() < TRY_AGAIN => (Ahead::Failed(at), None),
            Ahead::Idle | Ahead::Failed(_) => (self.begin_ahead().await, None),
            Ahead::Writing(mut written) => match written.try_recv() {
                Ok(Ok(written)) => (Ahead::Idle, Some(self.builder(Source::Whole(Box::new(written))))),
                Ok(Err(error)) => {
                    tracing::error!("a snapshot could not be written, the log stays longer: {error}");
                    (Ahead::Failed(Instant::now()), None)
                }
                Err(oneshot::error::TryRecvError::Empty) => (Ahead::Writing(written), None),
                Err(oneshot::error::TryRecvError::Closed) => {
                    super::db::fatal("a snapshot's thread is gone", &"it panicked")
                }
            },
        };
        self.ahead = ahead;
        builder
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, file: SnapshotFile) -> Result<(), io::Error> {
        tracing::info!("installing the snapshot {} up to {:?}", file.path().display(), meta.last_log_id);
        let (state, folder, installed) = (self.state.clone(), self.folder.clone(), file.clone());
        let header = blocking::apart(move || {
            let header = install::install(&state, &installed)?;
            snapshot::remove_older(&folder, &installed)?;
            Ok::<_, io::Error>(header)
        })
        .await??;
        self.applied = Applied {
            last_log_id: header.last_log_id,
            membership_log_id: header.membership_log_id,
            membership: header.membership.clone(),
            state: header.state,
        };
        self.state.set_snapshot_bytes(file.len());
        // One that is being written is older than this.
        self.ahead = Ahead::Idle;
        *lock(&self.current) = Some((header, file));
        tracing::info!("installed: at revision {}", self.applied.revision());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let current = lock(&self.current).clone();
        Ok(current.map(|(header, file)| Snapshot { meta: header.meta(), snapshot: file }))
    }
}

impl StateMachine {
    fn builder(&self, source: Source) -> SnapshotBuilder {
        let (state, folder, current) = (self.state.clone(), self.folder.clone(), self.current.clone());
        SnapshotBuilder { source: Some(source), state, folder, current }
    }

    async fn begin_ahead(&self) -> Ahead {
        let space = self.state.db().space();
        // The ledger grows: as long again as the last one is a generous guess.
        if space.has_room_for(self.state.snapshot_bytes().saturating_mul(2)) {
            Ahead::Writing(freeze(self.state.db(), &self.folder).await)
        } else {
            tracing::warn!("no snapshot is taken: {space}");
            Ahead::Failed(Instant::now())
        }
    }
}

/// Gives a snapshot of the moment at which it was made.
#[derive(Debug)]
pub struct SnapshotBuilder {
    source: Option<Source>,
    state: Arc<State>,
    folder: PathBuf,
    current: Current,
}

#[derive(Debug)]
enum Source {
    Whole(Box<Written>),
    Writing(oneshot::Receiver<io::Result<Written>>),
}

/// Takes a frozen view before it returns: nothing that is applied later is in it. The file is written by a thread of its
/// own, because RocksDB's view borrows the database.
#[cfg(not(feature = "simulation"))]
async fn freeze(db: &Db, folder: &std::path::Path) -> oneshot::Receiver<io::Result<Written>> {
    let (frozen, is_frozen) = oneshot::channel();
    let (done, written) = oneshot::channel();
    let (db, target) = (db.clone(), folder.to_owned());
    let spawned = std::thread::Builder::new().name("snapshot".to_owned()).spawn(move || {
        // Nobody waits for either any more when Raft shuts down.
        let _ = done.send(write_snapshot(&db, &target, || frozen.send(()).unwrap_or_default()));
    });
    if let Err(error) = spawned {
        super::db::fatal("no thread for a snapshot", &error);
    }
    let _ = is_frozen.await;
    written
}

/// In a simulation, without a thread: it is written at once, and known to be written later.
#[cfg(feature = "simulation")]
async fn freeze(db: &Db, folder: &std::path::Path) -> oneshot::Receiver<io::Result<Written>> {
    let (done, written) = oneshot::channel();
    let result = write_snapshot(db, folder, || ());
    tokio::spawn(async move {
        crate::simulation::work_time().await;
        let _ = done.send(result);
    });
    written
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let (header, file) = match self.source.take() {
            Some(Source::Whole(written)) => *written,
            Some(Source::Writing(written)) => written.await.map_err(io::Error::other)??,
            None => return Err(io::Error::other("a builder builds one snapshot")),
        };
        tracing::info!("snapshot of {} bytes up to {:?}", file.len(), header.last_log_id);
        let newest = {
            let mut current = lock(&self.current);
            // One that was received and installed meanwhile may be newer: the log is purged up to that one.
            match &*current {
                Some((newer, its_file)) if newer.last_log_id > header.last_log_id => its_file.clone(),
                _ => {
                    *current = Some((header.clone(), file.clone()));
                    file.clone()
                }
            }
        };
        self.state.set_snapshot_bytes(newest.len());
        // The older ones go only now that this one is durable under its name.
        snapshot::remove_older(&self.folder, &newest)?;
        Ok(Snapshot { meta: header.meta(), snapshot: file })
    }
}

fn write_snapshot(db: &Db, folder: &std::path::Path, frozen: impl FnOnce()) -> io::Result<(Header, SnapshotFile)> {
    let view = db.raw().snapshot();
    frozen();
    // What it stands for comes out of the same view as the rows.
    let applied = match view.get_cf(db.cf(CF_STATE), STATE_APPLIED).map_err(io::Error::other)? {
        Some(bytes) => super::codec::from_bytes(&bytes)?,
        None => Applied::default(),
    };
    let mut header = Header::new(&applied);
    if Mutant::SnapshotOlderMeta.is_on()
        && let Some(id) = &mut header.last_log_id
    {
        id.index = id.index.saturating_sub(1);
    }
    let mut writer = SnapshotWriter::begin(folder, header.clone())?;
    for table in [Table::Items, Table::Orders, Table::Dedup] {
        for row in view.iterator_cf(db.cf(family(table)), rocksdb::IteratorMode::Start) {
            let (key, value) = row.map_err(io::Error::other)?;
            writer.row(table, &key, &value)?;
        }
    }
    Ok((header, writer.finish()?))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock can panic")
}
