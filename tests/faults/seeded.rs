//! Faults drawn from a seed that is printed, overlapping: a short part of what `make faults` does for as long as it is
//! asked to. `FAULTS_SEED` repeats a run.

use std::time::Duration;

use tests::faults::{Episode, Summary, disks};

/// The environment variable that sets the seed of the first episode.
const SEED: &str = "FAULTS_SEED";
/// Episodes.
const EPISODES: u64 = 3;
/// How long the load of each lasts.
const LASTS: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_drawn_from_a_seed_break_no_promise() {
    let given = std::env::var(SEED).ok().map(|text| text.parse().expect("FAULTS_SEED is a number"));
    let seed = given.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    println!("{SEED}={seed}");
    if let Some(skipped) = disks::skipped() {
        println!("skipped: {skipped}");
    }
    let mut summary = Summary { seed, episodes: Vec::new() };
    for at in 0..EPISODES {
        let episode = Episode::run(seed.wrapping_add(at), LASTS).await;
        println!("{}", episode.line());
        assert!(episode.report.violations.is_empty(), "{SEED}={} breaks promises: {episode:#?}", episode.seed);
        assert!(episode.faults() > 0 && episode.report.reads_checked > 0, "nothing was tried: {episode:?}");
        summary.episodes.push(episode);
    }
    println!("{}\n{}", summary.table(), summary.line());
}
