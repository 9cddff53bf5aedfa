//! One episode: a cluster, its load, the faults of a plan, and the verdict.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::time::sleep;

use super::{Plan, disks, disks::Disks, plan::Step, world::World};
use crate::{
    checks::Violation,
    cluster::TestCluster,
    trial::{Report, Trial},
};

/// What an episode showed.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Episode {
    /// What repeats it.
    pub seed: u64,
    /// Replicas of the catalog.
    pub catalogs: u64,
    /// How often each kind of fault was injected.
    pub faults: BTreeMap<&'static str, u64>,
    /// What the checks say.
    pub report: Report,
    /// How long all of it took, in milliseconds.
    pub took_ms: u64,
    /// The folder that was kept because a promise was broken.
    pub kept: Option<PathBuf>,
}

impl Episode {
    /// Runs what `seed` stands for, for `lasts` under load.
    pub async fn run(seed: u64, lasts: Duration) -> Self {
        let began = Instant::now();
        let plan = Plan::draw(seed, lasts, disks::skipped().is_none());
        let catalogs = plan.catalogs;
        let folder = Arc::new(Mutex::new(None));
        let running = tokio::spawn(run(plan, folder.clone()));
        let mut episode = running.await.unwrap_or_else(Self::unjudged);
        (episode.seed, episode.catalogs) = (seed, catalogs);
        episode.took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        if !episode.report.violations.is_empty() {
            episode.kept = folder.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        episode
    }

    fn unjudged(why: impl std::fmt::Display) -> Self {
        Self { report: Report { violations: vec![harness(why)], ..Report::default() }, ..Self::default() }
    }

    /// Faults that were injected.
    pub fn faults(&self) -> u64 {
        self.faults.values().sum()
    }

    /// One line of it.
    pub fn line(&self) -> String {
        let Report { operations, unknowns, reads_checked, violations, .. } = &self.report;
        let (seed, catalogs, faults, broken) = (self.seed, self.catalogs, self.faults(), violations.len());
        let took = self.took_ms as f64 / 1000.0;
        format!(
            "seed {seed}: {catalogs} catalogs, {faults} faults, {operations} operations, {unknowns} unknown, {reads_checked} reads checked, {broken} violations ({took:.0} s)"
        )
    }
}

/// Runs a plan. `folder` is told where the cluster lives, as soon as it does: whatever goes wrong then, it can be looked into.
async fn run(plan: Plan, folder: Arc<Mutex<Option<PathBuf>>>) -> Episode {
    let name = format!("faults-{}", plan.seed);
    let prepare = |cluster: &TestCluster| {
        *folder.lock().unwrap_or_else(PoisonError::into_inner) = Some(cluster.cluster.run_dir.clone());
        // Until it is known that there is nothing to look into.
        cluster.set_kept(true);
        Disks::prepare(cluster, &plan)
    };
    let (cluster, disks) = TestCluster::start_after(&name, plan.options().quiet(), prepare).await;
    let disks = match disks {
        Ok(disks) => disks,
        Err(error) => return Episode::unjudged(format_args!("{error:#}")),
    };
    let run_dir = cluster.cluster.run_dir.clone();
    let mut trial = match Trial::begin_where(cluster, plan.seed, plan.clients, plan.fronts_may_go()).await {
        Ok(trial) => trial,
        Err(error) => return Episode::unjudged(format_args!("{error:#}")),
    };
    let World { log, violations: exits, counts, .. } = inject(&trial, &disks, &plan).await;
    trial.faults_ended().await;
    let mut episode = match trial.judge().await {
        Ok((cluster, _, report)) => {
            cluster.set_kept(!exits.is_empty() || !report.violations.is_empty());
            // The folder of the cluster cannot go while something is mounted in it.
            drop(disks);
            Episode { report, ..Episode::default() }
        }
        Err(error) => Episode::unjudged(format_args!("{error:#}")),
    };
    episode.faults = counts;
    episode.report.violations.extend(exits);
    if !episode.report.violations.is_empty() {
        let violations: String = episode.report.violations.iter().map(|one| format!("{one}\n")).collect();
        if let Err(error) = std::fs::write(run_dir.join("faults.log"), format!("{plan:#?}\n{log}\n{violations}")) {
            println!("cannot keep the plan in {}: {error}", run_dir.display());
        }
    }
    episode
}

/// Does what the plan says and heals everything. Returns what has become of the world.
async fn inject<'a>(trial: &'a Trial, disks: &'a Disks, plan: &Plan) -> World<'a> {
    let mut world = World::new(&trial.cluster, disks, plan.seed);
    let began = trial.now();
    for (at, step, id) in plan.steps() {
        sleep((began + at).saturating_sub(trial.now())).await;
        let now = trial.now();
        match step {
            Step::Begin => world.begin(now, id, &plan.faults[id]).await,
            Step::Strike => world.strike(now, id, &plan.faults[id]),
            Step::End => world.end(now, id, &plan.faults[id]),
        }
    }
    sleep((began + plan.lasts).saturating_sub(trial.now())).await;
    world.end_all(trial.now());
    world
}

fn harness(why: impl std::fmt::Display) -> Violation {
    Violation { property: "judged", what: format!("the episode could not be judged: {why}") }
}
