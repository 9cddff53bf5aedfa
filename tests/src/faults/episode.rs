//! One episode: a cluster, its load, the faults of a plan, and the verdict.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::time::sleep;

use super::{Plan, world::World};
use crate::{
    checks::Violation,
    cluster::TestCluster,
    disk::Disk,
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
        let plan = Plan::draw(seed, lasts);
        let catalogs = plan.catalogs;
        let running = tokio::spawn(run(plan));
        let mut episode = running.await.unwrap_or_else(|panic| Self {
            report: Report { violations: vec![harness(panic)], ..Report::default() },
            ..Self::default()
        });
        (episode.seed, episode.catalogs) = (seed, catalogs);
        episode.took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        episode
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

async fn run(plan: Plan) -> Episode {
    let name = format!("faults-{}", plan.seed);
    let (cluster, disk) = TestCluster::start_after(&name, plan.options().quiet(), Disk::prepare).await;
    let disk = match disk {
        Ok(disk) => disk,
        Err(error) => {
            let report = Report { violations: vec![harness(format!("{error:#}"))], ..Report::default() };
            return Episode { report, ..Episode::default() };
        }
    };
    // Until it is known that there is nothing to look into.
    cluster.set_kept(true);
    let folder = cluster.cluster.run_dir.clone();
    let mut episode = Episode::default();
    let mut trial = match Trial::begin_where(cluster, plan.seed, plan.clients, plan.fronts_may_go()).await {
        Ok(trial) => trial,
        Err(error) => {
            episode.report.violations.push(harness(error));
            return episode;
        }
    };
    let (log, exits) = inject(&trial, &disk, &plan, &mut episode.faults).await;
    trial.faults_ended().await;
    episode.report = match trial.judge().await {
        Ok((cluster, _, report)) => {
            cluster.set_kept(!exits.is_empty() || !report.violations.is_empty());
            report
        }
        Err(error) => Report { violations: vec![harness(format!("{error:#}"))], ..Report::default() },
    };
    episode.report.violations.extend(exits);
    if !episode.report.violations.is_empty() {
        let violations: String = episode.report.violations.iter().map(|one| format!("{one}\n")).collect();
        if let Err(error) = std::fs::write(folder.join("faults.log"), format!("{plan:#?}\n{log}\n{violations}")) {
            println!("cannot keep the plan in {}: {error}", folder.display());
        }
        episode.kept = Some(folder);
    }
    episode
}

/// Does what the plan says and heals everything. Returns what was done, and the servers that ended by themselves.
async fn inject(
    trial: &Trial,
    disk: &Disk,
    plan: &Plan,
    counts: &mut BTreeMap<&'static str, u64>,
) -> (String, Vec<Violation>) {
    let mut world = World::new(&trial.cluster, disk, plan.seed);
    let starts = plan.faults.iter().enumerate().map(|(id, planned)| (planned.start, true, id));
    let ends = plan.faults.iter().enumerate().map(|(id, planned)| (planned.end, false, id));
    let mut steps: Vec<(Duration, bool, usize)> = starts.chain(ends).collect();
    steps.sort_unstable();
    let began = trial.now();
    for (at, starts, id) in steps {
        sleep((began + at).saturating_sub(trial.now())).await;
        let now = trial.now();
        if starts {
            world.begin(now, id, &plan.faults[id]).await;
            *counts.entry(plan.faults[id].fault.kind.name()).or_default() += 1;
        } else {
            world.end(now, id);
        }
    }
    sleep((began + plan.lasts).saturating_sub(trial.now())).await;
    world.end_all(trial.now());
    (world.log, world.violations)
}

fn harness(why: impl std::fmt::Display) -> Violation {
    Violation { property: "judged", what: format!("the episode could not be judged: {why}") }
}
