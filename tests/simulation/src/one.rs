//! One seed: the cluster that it stands for, the faults at their times, and the verdict.

use std::{
    fs,
    path::Path,
    process::ExitCode,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Context;
use cluster_config::Layout;
use tests::{
    checks::Violation,
    disk::Layer,
    faults::{Kind, Plan},
    trial,
};
use tracing_subscriber::fmt::{format::Writer, time::FormatTime};

use crate::{
    clients::{self, Stage},
    runner::{REPORT, Report, TRACE},
    world::World,
};

/// The faults that can be simulated: all that cut, delay, end and lose. A process cannot be paused, nor a clock be wrong on
/// its own, where all share one.
const KINDS: [Kind; 19] = [
    Kind::KillOne,
    Kind::KillTwo,
    Kind::KillAll,
    Kind::KillOrder,
    Kind::KillFront,
    Kind::Rolling,
    Kind::Halves,
    Kind::Ring,
    Kind::Unheard,
    Kind::Deaf,
    Kind::CutFromClients,
    Kind::CutStream,
    Kind::Strand,
    Kind::CutOrder,
    Kind::Delay,
    Kind::Loss,
    Kind::PowerOne,
    Kind::PowerAll,
    Kind::SlowDisk,
];
/// No simulation needs more simulated time: clients begin, faults, everything serves again, outcomes are settled.
const LONGEST: Duration = Duration::from_secs(180);

/// Simulated milliseconds since the start, for the trace.
static NOW_MS: AtomicU64 = AtomicU64::new(0);

/// Runs one seed and leaves its report in `folder`.
pub fn run(folder: &Path, seed: u64, seconds: u64) -> anyhow::Result<ExitCode> {
    trace(folder)?;
    die_of_panics();
    let layer = Layer::of_this_process()?;
    let plan = Plan::draw_of(seed, Duration::from_secs(seconds.max(3)), false, &KINDS);
    let layout = layout(&plan, folder)?;
    let stage = Arc::new(Mutex::new(Stage::default()));
    let mut report = Report::default();
    let (elapsed, verdict) = {
        let mut world = World::new(&layer, &layout, &plan);
        clients::join(world.sim(), &layout, &plan, &stage);
        play(&mut world, &layer, &plan, &stage, &mut report);
        (world.sim().elapsed(), stage.lock().expect("nobody panics with it").verdict.take())
    };
    report.simulated_ms = u64::try_from(elapsed.as_millis())?;
    match verdict {
        Some(verdict) => verdict.add_to(&mut report, folder),
        None if report.violations.is_empty() => {
            report.broken(Violation { property: "liveness", what: format!("nothing was decided in {elapsed:?}") });
        }
        None => {}
    }
    fs::write(folder.join(REPORT), serde_json::to_vec(&report)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Steps through time; begins and ends faults when they are due.
fn play(world: &mut World<'_>, layer: &Layer, plan: &Plan, stage: &Mutex<Stage>, report: &mut Report) {
    let mut began = None;
    let mut due: Vec<(Duration, usize, bool)> = Vec::new();
    for (at, planned) in plan.faults.iter().enumerate() {
        due.extend([(planned.start, at, true), (planned.end, at, false)]);
    }
    due.sort();
    let mut due = due.into_iter().peekable();
    let wall = std::time::Instant::now();
    loop {
        let now = world.sim().elapsed();
        NOW_MS.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Relaxed);
        // The wall clock goes as fast as the simulation.
        let ahead =
            i64::try_from(now.as_millis()).unwrap_or(0) - i64::try_from(wall.elapsed().as_millis()).unwrap_or(0);
        layer.shift_clock(ahead);
        let (is_working, leader) = {
            let stage = stage.lock().expect("nobody panics with it");
            (stage.is_working, stage.leader.clone())
        };
        if is_working && began.is_none() {
            began = Some(now);
        }
        if let Some(began) = began {
            while let Some((_, at, begins)) = due.next_if(|(time, ..)| now >= began + *time) {
                let changed = if begins {
                    report.faults += 1;
                    world.begin(at, &plan.faults[at], leader.clone())
                } else {
                    world.end(at)
                };
                if let Err(error) = changed {
                    report.broken(Violation { property: "no_exit", what: format!("{error:#}") });
                    return;
                }
            }
            if now >= began + plan.lasts && due.peek().is_none() {
                stage.lock().expect("nobody panics with it").faults_are_over = true;
            }
        }
        match world.step() {
            Ok(true) => break,
            Ok(false) if now > LONGEST => break,
            Ok(false) => {}
            Err(error) => {
                report.broken(Violation { property: "no_exit", what: format!("a server ended by itself: {error}") });
                break;
            }
        }
    }
    (report.power_losses, report.lost_changes) = world.losses();
    report.elections = stage.lock().expect("nobody panics with it").elections;
}

/// The layout that a plan asks for, every server on a host of its own.
fn layout(plan: &Plan, folder: &Path) -> anyhow::Result<Layout> {
    use std::fmt::Write;
    let items = folder.join("items.csv");
    fs::write(&items, trial::items_csv(&trial::ITEMS))?;
    let mut text = format!("insecure = true\nitems = {:?}\n[raft]\n", items.display().to_string());
    if plan.snapshots {
        text.push_str("snapshot_entries = 100\nlog_kept_entries = 20\n");
    }
    for id in 1..=plan.catalogs {
        write!(text, "[[catalog]]\nid = {id}\nclient = \"catalog-{id}:50000\"\npeer = \"catalog-{id}:51000\"\n")?;
    }
    for (kind, count) in [("order", 2), ("frontend", 2)] {
        for id in 1..=count {
            write!(text, "[[{kind}]]\nid = {id}\naddress = \"{kind}-{id}:52000\"\n")?;
        }
    }
    Layout::parse(&text, &folder.join("layout.toml")).context("the layout of the simulation")
}

/// Writes what the servers log to the trace, with simulated time and the host's name.
fn trace(folder: &Path) -> anyhow::Result<()> {
    struct Simulated;
    impl FormatTime for Simulated {
        fn format_time(&self, out: &mut Writer<'_>) -> std::fmt::Result {
            write!(out, "{:>7} ms", NOW_MS.load(Relaxed))
        }
    }
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "info,openraft=error".to_owned());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_target(false)
        .with_timer(Simulated)
        .with_writer(Mutex::new(fs::File::create(folder.join(TRACE))?))
        .init();
    Ok(())
}

/// A panic of a server ends the server, and here the seed: it is a find.
fn die_of_panics() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!("{}", panic.to_string().replace('\n', " "));
        report(panic);
        std::process::abort();
    }));
}
