//! Followers of the changes and a sampler of hashes, at work beside the clients of a trial: what they are told goes into
//! the history. They break their streams off and resume them now and then. Must not judge what they are told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context, bail};
use bytes::Bytes;
use catalog_client::{
    Change, Event, Revision,
    client::{Catalog, Options, Peer},
    watch::{Update, Watch},
};
use cluster_config::Layout;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::Deserialize;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout, timeout_at},
};

use crate::{
    Client, Request,
    history::{History, Item, MAX_SURPRISES, Sample, Told},
};

/// How long a stream is kept before it is broken off, in milliseconds.
const KEPT_MS: std::ops::Range<u64> = 300..4000;
/// The pause before a stream that broke is opened again, and between two tries.
const PAUSE: Duration = Duration::from_millis(100);
/// How long followers may take to be told of the last change.
const LAST_CHANGES_WITHIN: Duration = Duration::from_secs(20);
/// Between two looks at the hashes of all replicas.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);
/// How long a replica may take to tell its hash.
const SAMPLE_PATIENCE: Duration = Duration::from_millis(500);
/// How long a stream may take to open.
const OPEN_PATIENCE: Duration = Duration::from_secs(8);

#[derive(Deserialize)]
struct EventJson {
    revision: Revision,
    #[serde(default)]
    changes: Vec<ChangeJson>,
}

#[derive(Deserialize)]
struct ChangeJson {
    item_number: Item,
    quantity: Option<i64>,
    cost: Option<u64>,
}

/// Followers and sampler at work.
#[derive(Debug)]
pub struct Watchers {
    enough: Arc<AtomicBool>,
    /// How far each follower has been told.
    told_upto: Vec<Arc<AtomicU64>>,
    tasks: Vec<JoinHandle<History>>,
}

impl Watchers {
    /// One follower at each front end, one of the catalog itself, and the sampler.
    pub fn start(layout: &Layout, seed: u64) -> Self {
        let front = |listen: &str| OverHttp { client: Client::without_pool(), front: format!("http://{listen}") };
        let fronts = layout.frontends.iter().map(|node| front(&node.listen)).collect();
        let replicas = layout.catalogs.iter().map(|node| (node.name.clone(), node.listen_client.clone())).collect();
        Self::start_with(fronts, way_to(layout), seed, |enough| sample(replicas, enough))
    }

    /// As [`Watchers::start`], with other ways to the servers.
    pub fn start_with<F, S>(
        fronts: Vec<F>,
        catalog: Catalog,
        seed: u64,
        sample: impl FnOnce(Arc<AtomicBool>) -> S,
    ) -> Self
    where
        F: Front + Sync + 'static,
        S: Future<Output = History> + Send + 'static,
    {
        let enough = Arc::new(AtomicBool::new(false));
        let rng = |at: u64| StdRng::seed_from_u64(seed ^ (0x5eed_0000 + at));
        let told_upto: Vec<_> = (0..=fronts.len()).map(|_| Arc::new(AtomicU64::new(0))).collect();
        let mut upto = told_upto.iter().cloned();
        let mut upto = || upto.next().expect("one for each follower");
        let mut tasks = Vec::new();
        for (at, front) in (0..).zip(fronts) {
            tasks.push(tokio::spawn(follow_front(front, rng(at), enough.clone(), upto())));
        }
        tasks.push(tokio::spawn(follow_catalog(catalog, rng(1000), enough.clone(), upto())));
        tasks.push(tokio::spawn(sample(enough.clone())));
        Self { enough, told_upto, tasks }
    }

    /// Ends them once each has been told of everything up to `last`, or has had more than time enough for it.
    ///
    /// # Panics
    /// When one panicked.
    pub async fn finish(self, last: Revision) -> History {
        let mut all = History::default();
        let give_up = Instant::now() + LAST_CHANGES_WITHIN;
        let behind = || self.told_upto.iter().filter(|upto| upto.load(Relaxed) < last).count();
        while behind() > 0 && Instant::now() < give_up {
            sleep(PAUSE).await;
        }
        if behind() > 0 {
            let told = &self.told_upto;
            all.unserved.push(format!("followers were told up to {told:?} only, not up to revision {last}"));
        }
        self.enough.store(true, Relaxed);
        for task in self.tasks {
            all.merge(task.await.expect("a follower does not panic"));
        }
        all
    }
}

/// The catalog of a layout, reached past any proxy.
pub fn way_to(layout: &Layout) -> Catalog {
    let peer = |node: &cluster_config::CatalogNode| Peer {
        id: node.id,
        name: node.name.clone(),
        address: node.listen_peer.clone(),
    };
    let replicas = layout.catalogs.iter().map(peer).collect();
    Catalog::new(Options { cluster: layout.cluster.clone(), sender: "tests".to_owned(), replicas })
}

/// The streams of changes of one front end.
pub trait Front: Send {
    /// Its name, for what is told of it.
    fn name(&self) -> &str;
    /// A revision that it knows.
    fn present(&self) -> impl Future<Output = anyhow::Result<Revision>> + Send;
    /// Opens a stream behind a revision: the status, and the bytes of the body.
    fn open(&self, after: Revision) -> impl Future<Output = anyhow::Result<(u16, Body)>> + Send;
}

/// What a stream brings.
pub type Body = BoxStream<'static, anyhow::Result<Bytes>>;

struct OverHttp {
    client: Client,
    front: String,
}

impl Front for OverHttp {
    fn name(&self) -> &str {
        &self.front
    }

    async fn present(&self) -> anyhow::Result<Revision> {
        let url = format!("{}/lookup/1?read=linearizable", self.front);
        let answer = self.client.try_send(Request::get(url)).await?;
        let revision = answer.headers.get("x-revision").context("no X-Revision")?;
        Ok(revision.to_str()?.parse()?)
    }

    async fn open(&self, after: Revision) -> anyhow::Result<(u16, Body)> {
        let url = format!("{}/v1/watch", self.front);
        let answer = self.client.http().get(url).header("last-event-id", after).send().await?;
        let status = answer.status().as_u16();
        Ok((status, answer.bytes_stream().map_err(anyhow::Error::from).boxed()))
    }
}

async fn follow_front(
    front: impl Front + Sync,
    mut rng: StdRng,
    enough: Arc<AtomicBool>,
    upto: Arc<AtomicU64>,
) -> History {
    let mut told = Vec::new();
    let mut surprises = Vec::new();
    let mut position = None;
    while !enough.load(Relaxed) {
        let until = Instant::now() + Duration::from_millis(rng.random_range(KEPT_MS));
        // Whatever broke it: the next stream goes on from the position.
        if let Err(error) = follow_stream(&front, &mut position, &mut told, until, &enough, &upto).await
            && let Some(Strange(what)) = error.downcast_ref()
            && surprises.len() < MAX_SURPRISES
        {
            surprises.push(format!("a follower of {}: {what}", front.name()));
        }
        sleep(PAUSE).await;
    }
    History { told: vec![told], surprises, ..History::default() }
}

/// What no follower should ever be answered.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Strange(String);

async fn follow_stream(
    front: &(impl Front + Sync),
    position: &mut Option<Revision>,
    told: &mut Vec<Told>,
    until: Instant,
    enough: &AtomicBool,
    upto: &AtomicU64,
) -> anyhow::Result<()> {
    let after = match *position {
        Some(after) => {
            told.push(Told::Resumed(after));
            after
        }
        None => {
            let from = front.present().await?;
            told.push(Told::From(from));
            *position = Some(from);
            from
        }
    };
    let (status, mut bytes) = timeout(OPEN_PATIENCE, front.open(after)).await.context("no stream in time")??;
    if status == 410 {
        *position = None;
        told.push(Told::Compacted);
    }
    match status {
        200 => {}
        status @ (410 | 429 | 503) => bail!("{status}"),
        status => return Err(Strange(format!("status {status}")).into()),
    }
    let mut text = String::new();
    while !enough.load(Relaxed) {
        let Ok(Some(more)) = timeout_at(until, bytes.next()).await else { break };
        text.push_str(std::str::from_utf8(&more?)?);
        while let Some((message, rest)) = text.split_once("\n\n") {
            let next = read_message(message).map_err(|error| Strange(format!("{error:#}: {message}")))?;
            text = rest.to_owned();
            if next == Told::Compacted {
                *position = None;
                told.push(next);
                return Ok(());
            }
            if let Told::Changes(revision, _) | Told::Bookmark(revision) = next {
                *position = Some(revision);
                upto.store(revision, Relaxed);
            }
            told.push(next);
        }
    }
    Ok(())
}

/// What a message says.
fn read_message(message: &str) -> anyhow::Result<Told> {
    let field = |name: &str| message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let data = field("data").context("a message without data")?;
    let id: Revision = field("id").context("a message without id")?.parse()?;
    match field("event") {
        Some("bookmark") => Ok(Told::Bookmark(id)),
        Some("compacted") => Ok(Told::Compacted),
        Some("change") => {
            let event: EventJson = serde_json::from_str(data)?;
            anyhow::ensure!(event.revision == id, "event {} under id {id}", event.revision);
            let change = |change: &ChangeJson| Some((change.item_number, change.quantity?, change.cost?));
            let changes = event.changes.iter().map(change).collect::<Option<_>>();
            Ok(Told::Changes(id, changes.context("a change without stock or cost")?))
        }
        other => bail!("a message of the kind {other:?}"),
    }
}

async fn follow_catalog(
    catalog: Catalog,
    mut rng: StdRng,
    enough: Arc<AtomicBool>,
    told_upto: Arc<AtomicU64>,
) -> History {
    let mut told = Vec::new();
    let mut position: Option<Revision> = None;
    while !enough.load(Relaxed) {
        let until = Instant::now() + Duration::from_millis(rng.random_range(KEPT_MS));
        if position.is_none() {
            let Ok(present) = catalog.read_index(until).await else { continue };
            told.push(Told::From(present));
            position = Some(present);
        }
        let mut watch = Watch::new(catalog.clone(), position);
        while !enough.load(Relaxed) {
            match timeout_at(until, watch.next()).await {
                Ok(Update::Events { upto, events, .. }) => {
                    told.extend(events.iter().map(changes_of));
                    told.push(Told::Bookmark(upto));
                    told_upto.store(upto, Relaxed);
                    position = Some(upto);
                }
                Ok(Update::Disconnected { .. }) => told.extend(position.map(Told::Resumed)),
                Ok(Update::Connected { .. }) => {}
                Ok(Update::Compacted { .. }) => {
                    told.push(Told::Compacted);
                    position = None;
                    break;
                }
                Err(_) => break,
            }
        }
    }
    History { told: vec![told], ..History::default() }
}

fn changes_of(event: &Event) -> Told {
    let change = |change: &Change| match change {
        Change::Put { item, .. } => {
            Some((item.item_number, i64::try_from(item.quantity).unwrap_or(i64::MAX), item.cost))
        }
        Change::Withdrawn { .. } => None,
    };
    Told::Changes(event.revision, event.changes.iter().filter_map(change).collect())
}

async fn sample(replicas: Vec<(String, String)>, enough: Arc<AtomicBool>) -> History {
    #[derive(Deserialize)]
    struct Status {
        applied: Revision,
        state_hash: String,
    }
    let client = Client::new();
    let mut samples = Vec::new();
    while !enough.load(Relaxed) {
        let asked = replicas.iter().map(|(name, address)| {
            let request = Request::get(format!("http://{address}/v1/status"));
            let client = &client;
            async move {
                let answer = timeout(SAMPLE_PATIENCE, client.try_send(request)).await.ok()?.ok()?;
                let Status { applied, state_hash } = serde_json::from_slice(&answer.body).ok()?;
                Some(Sample { name: name.clone(), applied, state_hash })
            }
        });
        samples.extend(futures::future::join_all(asked).await.into_iter().flatten());
        sleep(SAMPLE_EVERY).await;
    }
    History { samples, ..History::default() }
}
