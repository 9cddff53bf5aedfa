//! One replica, from start to end: the one place that wires storage, Raft and servers together.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use catalog_client::client::{Catalog, Options, Peer};
use cluster_config::{CatalogNode, Layout, server};
use openraft::{Config, SnapshotPolicy, async_runtime::watch::WatchReceiver};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    api::{self, Api},
    founding, handover, items,
    members::Membership,
    metrics::Metrics,
    network::{Identity, Network},
    peers::{self, Peers, Refusals},
    proposals::Proposals,
    raft::Raft,
    reads::Reads,
    snapshots::Snapshots,
    storage::{self, Db, LogStore, SNAPSHOTS, Space, StateMachine},
};

/// Log entries that are purged together: each purge leaves a tombstone that reads must step over.
const PURGE_TOGETHER: u64 = 4096;
/// Entries in one message to a follower, at most; the log store bounds their bytes.
const ENTRIES_A_MESSAGE: u64 = 1024;
/// Between two tries to open a disk without space.
const FULL_PAUSE: Duration = Duration::from_millis(500);
/// How long requests under way may take once the replica goes.
const DRAIN_PATIENCE: Duration = Duration::from_secs(6);
/// How long Raft's tasks may take after that. What they have promised is on disk: a replica may end at any time.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(4);

/// Runs replica `node` of `layout` on the data below `run_dir` until a signal ends it.
///
/// # Errors
/// Whatever keeps it from serving, and what to do about it.
pub async fn run(layout: Layout, node: CatalogNode, run_dir: &Path) -> anyhow::Result<()> {
    let data = run_dir.join(&node.name);
    let peer_listener = server::bind(&layout, &node.listen_peer).await?;
    let client_listener = server::bind(&layout, &node.listen_client).await?;
    let config = Arc::new(config(&layout)?);

    let tail = usize::try_from(layout.raft.log_cache_bytes).context("log_cache_bytes is too large")?;
    let (db, log, machine) = tokio::select! {
        opened = open(&node.name, &data, tail) => opened?,
        () = server::terminated() => return Ok(()),
    };
    let identity = Arc::new(Identity {
        cluster: layout.cluster.clone(),
        name: node.name.clone(),
        id: node.id,
        incarnation: db.incarnation(),
    });
    let (space, figures) = (db.space().clone(), db.figures().clone());
    let state = machine.state();
    let loaded = items::check(&layout, &state)?;
    tracing::info!("{} at revision {}, incarnation {:032x}", node.name, state.applied(), identity.incarnation);

    let network = Network(identity.clone());
    space.watch()?;
    let raft = Raft::new(node.id, config, network.clone(), log.clone(), machine).await?;
    let reads = Reads::new(&node.name, raft.clone(), state.clone(), way_to_all(&layout, &node.name), loaded);
    let proposals = Proposals::new(&node.name, raft.clone(), space.clone(), figures);
    let metrics = Metrics { raft: raft.clone(), state, log: log.clone(), proposals: proposals.clone() };
    let snapshots = Snapshots::new(&node.name, raft.clone(), reads.state().clone(), space.clone());
    let membership = Arc::new(Membership::new(identity.clone(), raft.clone(), network.clone(), node.client.clone()));
    let peers = Arc::new(Peers {
        identity: identity.clone(),
        raft: raft.clone(),
        snapshots: snapshots.clone(),
        received: data.join(SNAPSHOTS),
        space: space.clone(),
        proposals: proposals.clone(),
        reads: reads.clone(),
        membership: membership.clone(),
        refusals: Refusals::default(),
    });
    let api = Arc::new(Api {
        reads: reads.clone(),
        metrics: Arc::new(metrics),
        deadline: layout.deadline,
        draining: AtomicBool::new(false),
        log_requests: layout.log_requests,
    });

    let (shutdown, is_shut_down) = watch::channel(());
    let serving_peers = tokio::spawn(peers::serve(peers, peer_listener));
    let serving_clients = tokio::spawn(api::serve(api.clone(), client_listener, async move {
        let mut is_shut_down = is_shut_down;
        let _ = is_shut_down.changed().await;
    }));
    tokio::spawn(end_with(raft.clone()));
    tokio::spawn(snapshots.take(log, layout.clone()));
    tokio::spawn(handover::when_full(raft.clone(), network, space));

    tokio::select! {
        result = async {
            founding::join_or_found(&raft, &identity, &layout).await?;
            tokio::select! {
                loading = items::load_once(&raft, &reads, &proposals, &layout) => loading,
                removed = membership.until_removed(reads.peers()) => Err(removed?.into()),
            }
        } => result?,
        () = server::terminated() => {}
    }

    api.draining.store(true, Ordering::Relaxed);
    handover::before_the_end(&raft).await;
    let _ = shutdown.send(());
    if timeout(DRAIN_PATIENCE, async { tokio::join!(proposals.close(), serving_clients) }).await.is_err() {
        tracing::warn!("requests were still under way after {DRAIN_PATIENCE:?}");
    }
    serving_peers.abort();
    match timeout(SHUTDOWN_PATIENCE, raft.shutdown()).await {
        Ok(shut_down) => shut_down.context("Raft did not shut down")?,
        // As a write does while the disk is full. To wait with it would be to go on for as long.
        Err(_) => storage::fatal("something waits for the disk", &format!("after {SHUTDOWN_PATIENCE:?} of waiting")),
    }
    tracing::info!("{} is down", node.name);
    Ok(())
}

/// Opens what is on the disk. Recovery writes, so a disk that has been filled meanwhile may have no space even for that:
/// then it waits until there is some.
async fn open(name: &str, data: &Path, tail: usize) -> anyhow::Result<(Db, LogStore, StateMachine)> {
    let mut said = false;
    loop {
        match try_open(name, data, tail) {
            Err(error) if storage::is_for_want_of_space(&error) => {
                if !said {
                    tracing::error!("the disk is full, {name} starts once there is space: {error:#}");
                    said = true;
                }
                // What the last life had set aside is for this.
                Space::let_go(data);
                sleep(FULL_PAUSE).await;
            }
            result => return result,
        }
    }
}

fn try_open(name: &str, data: &Path, tail: usize) -> anyhow::Result<(Db, LogStore, StateMachine)> {
    let db = Db::open(data)?;
    let log = LogStore::open(db.clone(), tail)?;
    let machine = StateMachine::open(db.clone())
        .with_context(|| format!("the state in {} cannot be read; replace {name} by a new id", data.display()))?;
    Ok((db, log, machine))
}

fn config(layout: &Layout) -> anyhow::Result<Config> {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let raft = &layout.raft;
    let config = Config {
        cluster_name: layout.cluster.clone(),
        heartbeat_interval: ms(raft.heartbeat),
        election_timeout_min: ms(raft.election_min),
        election_timeout_max: ms(raft.election_max),
        enable_pre_vote: Some(true),
        // A leader sends entries to followers before its own disk has them. One that lost power and led on in the same
        // term would give the same log ids to other entries.
        enable_leader_restore: Some(false),
        // We know how many bytes were appended, openraft does not: see take_snapshots.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: raft.log_kept_entries,
        purge_batch_size: PURGE_TOGETHER.min(raft.log_kept_entries / 4).max(1),
        max_payload_entries: ENTRIES_A_MESSAGE,
        // A replica that comes back is noticed this soon. One delay alone would be doubled up to a second; three equal
        // ones stay as they are.
        backoff: "100ms 100ms 100ms".to_owned(),
        ..Config::default()
    };
    config.validate().context("the layout's Raft times do not go together")
}

fn way_to_all(layout: &Layout, sender: &str) -> Catalog {
    let peer = |node: &CatalogNode| Peer { id: node.id, name: node.name.clone(), address: node.peer.clone() };
    Catalog::new(Options {
        cluster: layout.cluster.clone(),
        sender: sender.to_owned(),
        replicas: layout.catalogs.iter().map(peer).collect(),
    })
}

/// Ends the process when Raft does: a replica that cannot store must not go on answering.
async fn end_with(raft: Raft) {
    let mut metrics = raft.metrics();
    loop {
        let running = metrics.borrow_watched().running_state.clone();
        match running {
            Err(openraft::error::Fatal::Stopped) => return,
            Err(error) => storage::fatal("Raft has ended", &error),
            Ok(()) => {}
        }
        // An orderly end is published first: without it, Raft's task has panicked.
        if metrics.changed().await.is_err() {
            storage::fatal("Raft has ended", &"its task is gone");
        }
    }
}
