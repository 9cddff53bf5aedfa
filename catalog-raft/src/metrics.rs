//! A replica's figures at `/metrics`: what was counted, and what Raft, the state and the disk say when somebody asks.
//! docs/metrics.md says what each means. Must not know who asks.

use std::sync::Arc;

use metrics::Sheet;
use openraft::{Instant as _, ServerState, async_runtime::watch::WatchReceiver};

use crate::{
    figures::Figures,
    proposals::Proposals,
    raft::Raft,
    storage::{LogStore, State},
};

/// Where the figures come from.
#[derive(Debug)]
pub struct Metrics {
    /// The Raft group.
    pub raft: Raft,
    /// The state.
    pub state: Arc<State>,
    /// The log.
    pub log: LogStore,
    /// The way to the log.
    pub proposals: Proposals,
}

impl Metrics {
    /// All figures, as they are now.
    pub fn text(self: &Arc<Self>) -> String {
        let this = self.clone();
        metrics::text(move |sheet| {
            this.raft(sheet);
            this.entries(sheet);
            this.disk(sheet);
            this.requests(sheet);
            this.state(sheet);
        })
    }

    fn figures(&self) -> &Figures {
        self.state.db().figures()
    }

    fn raft(&self, sheet: &mut Sheet<'_>) {
        let raft = self.raft.metrics().borrow_watched().clone();
        let applied = self.state.applied();
        let last_log = raft.last_log_index.unwrap_or(0).max(applied);
        let leads = raft.state == ServerState::Leader;
        let index = |id: Option<crate::raft::LogId>| id.map_or(0, |id| id.index);
        sheet.gauge("catalog_term", "Raft's term.", raft.current_term);
        sheet.gauge("catalog_is_leader", "Whether this replica leads.", u64::from(leads));
        let known = raft.current_leader.is_some();
        sheet.gauge("catalog_leader_known", "Whether this replica knows who leads.", u64::from(known));
        sheet.gauge("catalog_last_log_index", "Index of the last log entry.", last_log);
        let committed = index(raft.local_committed).max(applied);
        sheet.gauge("catalog_committed_index", "Index of the last entry known to be committed.", committed);
        sheet.gauge("catalog_applied_index", "Index of the last entry applied: the revision.", applied);
        sheet.gauge("catalog_snapshot_index", "Index up to which the last snapshot goes.", index(raft.snapshot));
        sheet.gauge("catalog_purged_index", "Index up to which the log is purged.", index(raft.purged));
        let membership = raft.membership_config.membership();
        let followers = raft.replication.iter().flatten().filter(|(id, _)| **id != raft.id);
        let lag = followers.filter_map(|(id, matched)| {
            let peer = membership.get_node(id)?;
            Some((peer.name.as_str(), last_log.saturating_sub(index(*matched))))
        });
        let help = "Entries of the leader's log that a follower is not known to have synced.";
        sheet.gauges("catalog_replication_lag_entries", help, "follower", lag);
        let quorum = raft.last_quorum_acked.map(|at| at.elapsed());
        let help = "Time since a majority was last known to follow this leader.";
        sheet.seconds("catalog_quorum_age_seconds", help, quorum);
    }

    fn entries(&self, sheet: &mut Sheet<'_>) {
        let figures = self.figures();
        let help = "Commands in each entry that this replica proposed.";
        sheet.histogram("catalog_commands_per_entry", help, &figures.commands);
        let help = "Time that entries proposed here spent in each stage.";
        sheet.histograms("catalog_stage_seconds", help, "stage", figures.stages.all());
        let waiting = self.proposals.waiting() as u64;
        sheet.gauge("catalog_submissions_waiting", "Submissions that wait to be proposed.", waiting);
    }

    fn disk(&self, sheet: &mut Sheet<'_>) {
        let flushes = self.log.flush_stats();
        sheet.histogram("catalog_fdatasync_seconds", "Time that each fdatasync took.", flushes.times());
        let help = "Writes of log entries and votes that one fdatasync made durable.";
        sheet.histogram("catalog_writes_per_fdatasync", help, flushes.sizes());
        let help = "Bytes of commands appended to the log.";
        sheet.counter("catalog_log_appended_bytes_total", help, self.log.bytes_appended());
        let db = self.state.db();
        sheet.gauge("catalog_database_bytes", "Bytes of the database's table files.", db.table_bytes());
        let help = "Bytes free on the disk, the reserve apart.";
        sheet.gauge("catalog_disk_free_bytes", help, db.space().free());
    }

    fn requests(&self, sheet: &mut Sheet<'_>) {
        let figures = self.figures();
        let help = "Requests of servers that were refused, by reason.";
        sheet.counters("catalog_refusals_total", help, "reason", figures.refusals.all());
        let watchers = figures.watchers.get() as u64;
        sheet.gauge("catalog_watchers", "Connections that follow the changes.", watchers);
        let peers = figures.peers.get() as u64;
        sheet.gauge("catalog_peer_connections", "Connections of servers, watchers among them.", peers);
        let clients = figures.clients.get() as u64;
        sheet.gauge("catalog_client_connections", "Connections of HTTP clients.", clients);
    }

    fn state(&self, sheet: &mut Sheet<'_>) {
        let (items, orders, remembered) = self.state.sizes();
        sheet.gauge("catalog_items", "Items in the catalogue.", items);
        sheet.gauge("catalog_orders", "Orders in the ledger.", orders);
        let help = "Commands whose first answer is remembered.";
        sheet.gauge("catalog_remembered_commands", help, remembered as u64);
        sheet.gauge("catalog_snapshot_bytes", "Bytes of the last snapshot.", self.state.snapshot_bytes());
    }
}
