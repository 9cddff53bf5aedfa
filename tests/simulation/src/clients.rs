//! The clients of a simulation, all on one host: the workload, the followers and the sampler of the fault tests; and what
//! they saw, judged.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use catalog_client::{Revision, net::TcpStream};
use cluster_config::Layout;
use futures::{StreamExt, future::join_all};
use http_body_util::{BodyStream, Empty};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tests::{
    checks::{self, Violation},
    faults,
    history::{Final, History, Item, Outcome, Replica, Sample},
    load::connection::Connection,
    observe,
    trial::{self, SERVES_WITHIN},
    watcher::{self, Watchers},
    workload::{self, Workload},
};
use tokio::time::{Instant, sleep, timeout};
use turmoil::Sim;

use crate::{runner::Report, world::CLIENTS};

/// How long the cluster may take to serve at first.
const FIRST_SERVES_WITHIN: Duration = Duration::from_secs(20);
/// How long any one look may take.
const LOOK_PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);
/// Clients of the workload, at most: simulated ones press as hard as real ones, and each has its cost.
const CLIENTS_AT_MOST: u64 = 8;

/// What the clients and the driver of the simulation tell each other.
#[derive(Debug, Default)]
pub struct Stage {
    /// The load is on.
    pub is_working: bool,
    /// The driver has ended all faults.
    pub faults_are_over: bool,
    /// Who leads, as last seen.
    pub leader: Option<String>,
    /// How often that was another one than before.
    pub elections: u64,
    /// The end.
    pub verdict: Option<Verdict>,
}

/// What the clients saw, and what is wrong with it.
#[derive(Debug)]
pub struct Verdict {
    history: History,
    violations: Vec<Violation>,
}

impl Verdict {
    /// Adds its figures to a report; what is wrong is kept with all that clients saw.
    pub fn add_to(self, report: &mut Report, folder: &Path) {
        let Self { history, violations } = self;
        report.operations = (history.writes.len() + history.reads.len()) as u64 + history.turned_away + history.unknown;
        report.reads = checks::reads_judged(&history);
        if !violations.is_empty()
            && let Err(error) = fs::write(folder.join("history.txt"), format!("{history:#?}"))
        {
            tracing::error!("cannot keep the history: {error}");
        }
        violations.into_iter().for_each(|violation| report.broken(violation));
    }
}

/// Adds the host of the clients.
pub fn join(sim: &mut Sim<'static>, layout: &Layout, plan: &faults::Plan, stage: &Arc<Mutex<Stage>>) {
    let (layout, plan, stage) = (layout.clone(), plan.clone(), stage.clone());
    sim.client(CLIENTS, async move {
        let verdict = run(&layout, &plan, &stage).await.unwrap_or_else(|error| Verdict {
            history: History::default(),
            violations: vec![Violation { property: "judged", what: format!("{error:#}") }],
        });
        stage.lock().expect("nobody panics with it").verdict = Some(verdict);
        Ok(())
    });
}

/// What a front end tells of items as soon as it serves: no cluster does before its first items are loaded.
async fn first_items(front: &str) -> anyhow::Result<BTreeMap<Item, (i64, u64)>> {
    serves(front, "/readyz", FIRST_SERVES_WITHIN).await.context("the cluster did not come up")?;
    let books = observe::parse_books(&get(front, "/list").await?)?;
    ensure!(!books.is_empty(), "{front} serves without the first items");
    Ok(books)
}

async fn run(layout: &Layout, plan: &faults::Plan, stage: &Arc<Mutex<Stage>>) -> anyhow::Result<Verdict> {
    let front = &layout.frontends[0].address;
    let before = first_items(front).await?;
    for other in &layout.frontends[1..] {
        first_items(&other.address).await?;
    }
    let addresses = |nodes: &[cluster_config::EdgeNode]| nodes.iter().map(|node| node.address.clone()).collect();
    let mut load = Workload::start(workload::Plan {
        fronts: addresses(&layout.frontends),
        orders: addresses(&layout.orders),
        fronts_may_go: plan.fronts_may_go(),
        seed: plan.seed,
        clients: plan.clients.min(CLIENTS_AT_MOST),
        items: before.keys().copied().collect(),
        topics: trial::topics(before.keys().copied()),
    });
    let fronts = layout.frontends.iter().map(|node| Front(node.address.clone())).collect();
    let (replicas, noted) = (catalogs(layout), stage.clone());
    let watchers =
        Watchers::start_with(fronts, watcher::way_to(layout), plan.seed, |enough| sample(replicas, noted, enough));
    stage.lock().expect("nobody panics with it").is_working = true;
    while !stage.lock().expect("nobody panics with it").faults_are_over {
        sleep(PAUSE).await;
    }
    tracing::info!("FAULTS are over");
    let unserved = serve_again(layout, &mut load).await;
    let mut history = load.finish().await;
    history.unserved.extend(unserved);
    let last = history.writes.iter().filter_map(|write| match write.outcome {
        Outcome::Ok(revision) => Some(revision),
        _ => None,
    });
    history.merge(watchers.finish(last.max().unwrap_or(0)).await);
    if let Some(differ) = differ(layout).await? {
        let violation = Violation { property: "replicas_agree", what: differ };
        return Ok(Verdict { history, violations: vec![violation] });
    }
    let end = end(layout, &before).await?;
    let violations = checks::violations(&history, &end);
    Ok(Verdict { history, violations })
}

fn catalogs(layout: &Layout) -> Vec<(String, String)> {
    layout.catalogs.iter().map(|node| (node.name.clone(), node.client.clone())).collect()
}

/// What does not serve within [`SERVES_WITHIN`], each as a sentence.
async fn serve_again(layout: &Layout, load: &mut Workload) -> Vec<String> {
    let mut asked: Vec<(String, &str)> =
        catalogs(layout).into_iter().map(|(_, address)| (address, "/readyz")).collect();
    asked.extend(layout.orders.iter().map(|node| (node.address.clone(), "/readyz")));
    asked.extend(layout.frontends.iter().map(|node| (node.address.clone(), "/lookup/1?read=linearizable")));
    let looks = asked.iter().map(|(address, path)| serves(address, path, SERVES_WITHIN));
    let mut unserved: Vec<String> =
        join_all(looks).await.into_iter().filter_map(|serves| Some(format!("{:#}", serves.err()?))).collect();
    for front in 0..layout.frontends.len() {
        if load.first_buy_at(front, SERVES_WITHIN).await.is_none() {
            unserved.push(format!(
                "no buy was acknowledged at front end {front} within {SERVES_WITHIN:?} after the faults"
            ));
        }
    }
    unserved
}

/// Waits until all replicas have one state; says what differs if they do not come to it.
async fn differ(layout: &Layout) -> anyhow::Result<Option<String>> {
    let until = Instant::now() + SERVES_WITHIN;
    loop {
        let mut states = Vec::new();
        for (name, address) in catalogs(layout) {
            let Status { applied, state_hash, .. } = status(&address).await?;
            states.push((name, applied, state_hash));
        }
        let (_, applied, hash) = &states[0];
        if states.iter().all(|(_, others, its)| (others, its) == (applied, hash)) {
            return Ok(None);
        }
        if Instant::now() > until {
            return Ok(Some(format!("{states:?}")));
        }
        sleep(PAUSE).await;
    }
}

async fn end(layout: &Layout, before: &std::collections::BTreeMap<u64, (i64, u64)>) -> anyhow::Result<Final> {
    let mut replicas = Vec::new();
    for node in &layout.catalogs {
        let Status { applied, state_hash, .. } = status(&node.client).await?;
        let books = observe::parse_books(&get(&node.client, "/list").await?)?;
        replicas.push(Replica {
            name: node.name.clone(),
            applied,
            state_hash,
            stock: books.iter().map(|(item, (stock, _))| (*item, *stock)).collect(),
            costs: books.iter().map(|(item, (_, cost))| (*item, *cost)).collect(),
            ledger: observe::own_ledger(&layout.cluster, node).await?,
        });
    }
    let front = &layout.frontends[0].address;
    let mut ledger = Vec::new();
    let mut page = Some(observe::first_page());
    while let Some(path) = page {
        let (orders, next) = observe::parse_page(&get(front, &path).await?)?;
        ledger.extend(orders);
        page = next;
    }
    Ok(Final {
        initial: before.iter().map(|(item, (stock, _))| (*item, *stock)).collect(),
        costs: before.iter().map(|(item, (_, cost))| (*item, *cost)).collect(),
        ledger,
        replicas,
    })
}

#[derive(Debug, Deserialize)]
struct Status {
    role: String,
    term: u64,
    applied: Revision,
    state_hash: String,
}

async fn status(address: &str) -> anyhow::Result<Status> {
    Ok(serde_json::from_slice(&get(address, "/v1/status").await?)?)
}

async fn get(address: &str, path: &str) -> anyhow::Result<Vec<u8>> {
    let (status, _, body) = ask(address, path).await?;
    ensure!(status == 200, "{address}{path}: {status} {}", String::from_utf8_lossy(&body));
    Ok(body)
}

/// Status, revision and body of an answer.
async fn ask(address: &str, path: &str) -> anyhow::Result<(u16, Option<Revision>, Vec<u8>)> {
    let asked = async {
        let mut connection = Connection::open(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
        let answer = connection.ask(request.as_bytes()).await?;
        Ok((answer.status, answer.revision, answer.body.to_vec()))
    };
    timeout(LOOK_PATIENCE, asked).await.with_context(|| format!("{address}{path}: no answer"))?
}

async fn serves(address: &str, path: &str, within: Duration) -> anyhow::Result<()> {
    let until = Instant::now() + within;
    loop {
        match get(address, path).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > until => return Err(error.context(format!("not within {within:?}"))),
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// Notes the hashes of all replicas and who leads, again and again.
async fn sample(replicas: Vec<(String, String)>, stage: Arc<Mutex<Stage>>, enough: Arc<AtomicBool>) -> History {
    let mut samples = Vec::new();
    let mut newest = 0;
    while !enough.load(Relaxed) {
        let looks = replicas.iter().map(async |(name, address)| {
            let seen = timeout(4 * PAUSE, status(address)).await.ok()?.ok()?;
            Some((name.clone(), seen))
        });
        for (name, Status { role, term, applied, state_hash }) in join_all(looks).await.into_iter().flatten() {
            if role == "leader" && term >= newest {
                let mut stage = stage.lock().expect("nobody panics with it");
                if stage.leader.as_ref() != Some(&name) {
                    stage.elections += u64::from(stage.leader.is_some());
                    tracing::info!("{name} leads in term {term}");
                }
                (stage.leader, newest) = (Some(name.clone()), term);
            }
            samples.push(Sample { name, applied, state_hash });
        }
        sleep(PAUSE).await;
    }
    History { samples, ..History::default() }
}

/// A front end at `host:port`.
struct Front(String);

impl watcher::Front for Front {
    fn name(&self) -> &str {
        &self.0
    }

    async fn present(&self) -> anyhow::Result<Revision> {
        let (_, revision, _) = ask(&self.0, "/lookup/1?read=linearizable").await?;
        revision.context("no X-Revision")
    }

    async fn open(&self, after: Revision) -> anyhow::Result<(u16, watcher::Body)> {
        let stream = TcpStream::connect(self.0.as_str()).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::get("/v1/watch").header("host", &self.0).header("last-event-id", after);
        let answer = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
        let status = answer.status().as_u16();
        let body = BodyStream::new(answer.into_body()).map(|frame| match frame?.into_data() {
            Ok(bytes) => Ok(bytes),
            Err(_) => bail!("trailers"),
        });
        Ok((status, body.boxed()))
    }
}
