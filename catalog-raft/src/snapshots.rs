//! When a snapshot is due: enough was appended, or somebody asks. Must not know how one is built.

use std::{sync::Arc, time::Duration};

use catalog_client::protocol::{Refusal, SnapshotAsked};
use cluster_config::{Layout, server::SnapshotSignal};
use openraft::async_runtime::watch::WatchReceiver;
use tokio::{sync::Notify, time::sleep};

use crate::{
    raft::Raft,
    storage::{LogStore, Space, State},
};

/// However many entries there are since the last snapshot, they have at least its bytes divided by this before the next:
/// else a large ledger would be written anew for a few small entries.
const ENTRIES_PROPORTION: u64 = 8;
/// How often it is looked whether a snapshot is due.
const CHECK: Duration = Duration::from_secs(1);

/// This replica's snapshots, to be asked for. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Snapshots {
    name: Arc<str>,
    raft: Raft,
    state: Arc<State>,
    space: Arc<Space>,
    asked: Arc<Notify>,
}

impl Snapshots {
    /// Of the replica `name`.
    pub fn new(name: &str, raft: Raft, state: Arc<State>, space: Arc<Space>) -> Self {
        Self { name: name.into(), raft, state, space, asked: Arc::default() }
    }

    /// Has one built of what is applied now, unless the last one has all of it.
    ///
    /// # Errors
    /// That there is no space for one.
    pub fn ask(&self) -> Result<SnapshotAsked, Refusal> {
        let asked = SnapshotAsked { snapshot: self.last(), applied: self.state.applied() };
        if asked.is_there() {
            return Ok(asked);
        }
        if self.space.is_low() {
            return Err(Refusal::Unavailable(format!("{}: {}", self.name, self.space)));
        }
        self.asked.notify_one();
        Ok(asked)
    }

    /// Takes a snapshot when enough was appended since the last one, in entries or in bytes, or when it is asked for one. A
    /// snapshot holds the whole ledger, so the bytes asked for grow with it: what is written for snapshots stays in proportion
    /// to the log. Returns when Raft ends.
    pub async fn take(self, log: LogStore, layout: Layout) {
        let (raft, state) = (&self.raft, &self.state);
        let mut signal = SnapshotSignal::listen();
        let mut asked_at = None;
        let mut bytes_before = 0;
        let mut last = None;
        loop {
            let is_asked = tokio::select! {
                () = sleep(CHECK) => false,
                () = signal.arrives() => true,
                () = self.asked.notified() => true,
            };
            if is_asked {
                tracing::info!("asked for a snapshot");
                asked_at = Some(state.applied());
            }
            let snapshot = self.last();
            if last != Some(snapshot) {
                last = Some(snapshot);
                bytes_before = log.bytes_appended();
            }
            asked_at = asked_at.filter(|asked| *asked > snapshot);
            let applied = raft.metrics().borrow_watched().last_applied.as_ref().map_or(0, |id| id.index);
            let bytes = log.bytes_appended() - bytes_before;
            let due = asked_at.is_some()
                || applied.saturating_sub(snapshot) >= layout.raft.snapshot_entries
                    && bytes >= state.snapshot_bytes() / ENTRIES_PROPORTION
                || bytes >= layout.raft.snapshot_bytes.max(state.snapshot_bytes());
            if due && applied > snapshot && raft.trigger().snapshot().await.is_err() {
                return;
            }
        }
    }

    /// Up to where the last one goes, 0 without one.
    fn last(&self) -> u64 {
        self.raft.metrics().borrow_watched().snapshot.as_ref().map_or(0, |id| id.index)
    }
}
