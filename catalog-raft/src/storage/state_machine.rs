//! Applies committed entries, has snapshots built and installed: what openraft asks of a state machine.
//!
//! Each stretch of entries is one WriteBatch: changes, orders, dedup records and `last_applied` together, unsynced.
//! It goes into the same WAL behind the entries themselves, so the state on disk is never ahead of the log.

use std::{
    collections::HashMap,
    fs, io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use catalog_client::{Order, OrderId};
use futures::{Stream, StreamExt};
use openraft::{
    EntryPayload,
    storage::{EntryResponder, RaftStateMachine},
};
use tokio::sync::oneshot;

use super::{
    build::{self, Current, SnapshotBuilder, Source, Written, freeze},
    codec::to_bytes,
    db::{Db, batch_of},
    install,
    keys::{CF_STATE, STATE_APPLIED},
    snapshot::{self, SnapshotFile},
    state::{Applied, DiskLedger, State, put_row},
};
use crate::{
    blocking,
    catalog::rows::RowWrite,
    figures::Point,
    raft::{Answers, Entry, LogId, Snapshot, SnapshotMeta, StoredMembership, TypeConfig},
};

/// The folder of snapshots inside a replica's folder.
pub const SNAPSHOTS: &str = "snapshots";
/// How long after a snapshot could not be written the next one is begun.
const TRY_AGAIN: Duration = Duration::from_secs(10);
/// Entries that go into one write at most.
const WRITE_TOGETHER: usize = 64;

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
        if let Some((_, file)) = &newest {
            build::verify_meanwhile(file);
        }
        let current = Current::new(newest);
        Ok(Self { state: Arc::new(state), applied, folder, current, ahead: Ahead::Idle })
    }

    /// The state, to be read by others.
    pub fn state(&self) -> Arc<State> {
        self.state.clone()
    }

    fn apply_together(&mut self, items: Vec<Item>) -> io::Result<()> {
        let db = self.state.db();
        let mut rows = Vec::new();
        let mut pending: HashMap<OrderId, Arc<Order>> = HashMap::new();
        let mut events = Vec::new();
        let mut responses = Vec::with_capacity(items.len());
        let decoded = items.into_iter().map(decode).collect::<io::Result<Vec<_>>>()?;

        let mut catalog = self.state.write_lock();
        let mut decoded = decoded.into_iter();
        while let Some((entry, commands, responder)) = decoded.next() {
            let index = entry.log_id.index;
            let (time_ms, commands) = commands.map_or((0, Vec::new()), |c| (c.time_ms, c.commands));
            let ledger = DiskLedger { db, pending: &pending };
            let applied = catalog.apply(index, time_ms, &commands, &ledger)?;
            rows.extend(applied.rows);
            if decoded.len() > 0 {
                pending.extend(applied.placed.into_iter().map(|order| (order.id, order)));
            }
            events.extend(applied.event);
            responses.push((responder, Answers(applied.answers)));
            self.applied.last_log_id = Some(entry.log_id.into());
            if let EntryPayload::Membership(membership) = &entry.payload {
                self.applied.membership_log_id = Some(entry.log_id.into());
                self.applied.membership = membership.into();
            }
        }
        self.applied.state = catalog.meta();
        let mut batch = batch_of(rows.iter().map(RowWrite::size));
        for row in &rows {
            put_row(db, &mut batch, row);
        }
        batch.put_cf(db.cf(CF_STATE), STATE_APPLIED, to_bytes(&self.applied));
        db.write(batch);
        drop(catalog);

        self.state.history().publish(&events, self.applied.revision());
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
        let (state, installed) = (self.state.clone(), file.clone());
        let header = blocking::apart(move || install::install(&state, &installed)).await??;
        self.applied = Applied {
            last_log_id: header.last_log_id,
            membership_log_id: header.membership_log_id,
            membership: header.membership.clone(),
            state: header.state,
        };
        self.state.set_snapshot_bytes(file.len());
        // One that is being written is older than this.
        self.ahead = Ahead::Idle;
        self.current.replace((header, file.clone()));
        self.remove_meanwhile(file);
        tracing::info!("installed: at revision {}", self.applied.revision());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        Ok(self.current.get().map(|(header, file)| Snapshot { meta: header.meta(), snapshot: file }))
    }
}

impl StateMachine {
    fn builder(&self, source: Source) -> SnapshotBuilder {
        SnapshotBuilder::new(source, self.state.clone(), self.folder.clone(), self.current.clone())
    }

    /// Removes the snapshots before this one while Raft goes on: nobody here holds them any more, so they are freed in pieces,
    /// which takes its time.
    fn remove_meanwhile(&self, newest: SnapshotFile) {
        let folder = self.folder.clone();
        tokio::spawn(async move {
            let removed = blocking::apart(move || snapshot::remove_older(&folder, &newest)).await;
            if let Err(error) = removed.and_then(|removed| removed) {
                tracing::error!("an old snapshot could not be removed, the next start tries again: {error}");
            }
        });
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
