//! `mutants`: runs episodes of faults against each deliberately broken variant of the store, until a check notices; a
//! variant that none notices is a hole in the checks. `make faults-mutants` runs it, on a build of its own.

use std::{
    collections::BTreeSet,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use anyhow::{Context, ensure};
use catalog_client::mutant::{Mutant, VARIABLE};
use clap::Parser;
use serde::Deserialize;

/// Named tests of `tests/faults` that hunt for one thing.
const NAMED: [&str; 4] = [
    "disk::all_replicas_that_lose_power_at_once_lose_nothing_that_was_acknowledged",
    "disk::a_vote_is_not_forgotten_with_the_power",
    "disk::an_installation_that_is_interrupted_at_any_step_is_finished_or_begun_again",
    "network::edges::a_front_end_that_only_reads_shows_no_past_without_its_stream",
];

/// What may be said of a sound store on a machine that is too busy: no proof that a check has noticed.
const NO_PROOF: [&str; 2] = ["judged", "liveness"];
/// How much of what a test says when it fails is told, in characters.
const SAID: usize = 120;
/// What a test says that has waited in vain: no proof either.
const TIMED_OUT: &str = "not within";

/// Tries whether the checks notice broken variants of the store.
#[derive(Debug, Parser)]
#[command(name = "mutants", version)]
struct Args {
    /// This variant alone.
    #[arg(long)]
    only: Option<String>,
    /// Episodes against one variant at most.
    #[arg(long, default_value_t = 16)]
    episodes: u64,
    /// How long the load of one episode lasts, in seconds.
    #[arg(long, default_value_t = 12)]
    seconds: u64,
    /// The seed of the first episode against each variant.
    #[arg(long)]
    seed: Option<u64>,
    /// Where the figures of the episodes go.
    #[arg(long, default_value = "run/mutants")]
    out: PathBuf,
}

/// What an episode wrote, as far as it matters here.
#[derive(Deserialize)]
struct Summary {
    episodes: Vec<Episode>,
}

#[derive(Deserialize)]
struct Episode {
    report: Report,
    kept: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Report {
    violations: Vec<Violation>,
}

#[derive(Deserialize)]
struct Violation {
    property: String,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let chosen: Vec<Mutant> =
        Mutant::ALL.into_iter().filter(|mutant| args.only.as_ref().is_none_or(|only| only == mutant.name())).collect();
    let names = || Mutant::ALL.map(Mutant::name).join(", ");
    ensure!(!chosen.is_empty(), "there is no such variant; there are {}", names());
    let faults = std::env::current_exe()?.with_file_name("faults");
    let seed = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    println!("mutants: SEED={seed}, up to {} episodes of {} s each", args.episodes, args.seconds);
    ensure!(!found_in(&faults, &args, None, seed)?.1, "the store is called broken though no variant is on");
    let told = named(&NAMED, None)?;
    remove_kept(&told)?;
    ensure!(proofs_in(&told).is_empty(), "a named test fails though no variant is on: {told}");
    println!("  {:<26} nothing, as it should be", "(none)");
    let mut caught = 0;
    for mutant in &chosen {
        let began = Instant::now();
        let mut line = format!("NOT CAUGHT in {} episodes", args.episodes);
        let told = named(tests_for(*mutant), Some(*mutant))?;
        remove_kept(&told)?;
        let by = proofs_in(&told);
        let found_by_name = !by.is_empty();
        if found_by_name {
            caught += 1;
            line = format!("{} after {:.0} s, a named test", joined(by), began.elapsed().as_secs_f64());
        }
        for episode in 0..if found_by_name { 0 } else { args.episodes } {
            let (by, found) = found_in(&faults, &args, Some(*mutant), seed.wrapping_add(episode))?;
            if found {
                let by: Vec<String> = by.into_iter().collect();
                caught += 1;
                line =
                    format!("{} after {:.0} s, episode {}", by.join(", "), began.elapsed().as_secs_f64(), episode + 1);
                break;
            }
        }
        println!("  {:<26} {line}", mutant.name());
    }
    println!("mutants: {caught} of {} caught", chosen.len());
    Ok(if caught == chosen.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The named tests that are made for a variant: what chance would need long for.
fn tests_for(mutant: Mutant) -> &'static [&'static str] {
    match mutant {
        Mutant::AckBeforeFsync | Mutant::PurgeBeforeSnapshot => &NAMED[..1],
        Mutant::VoteNotSynced => &NAMED[1..2],
        Mutant::SnapshotOlderMeta => &NAMED[2..3],
        Mutant::FreshnessIgnored => &NAMED[3..],
        _ => &[],
    }
}

/// Runs named tests against a variant; gives what they print.
fn named(tests: &[&str], mutant: Option<Mutant>) -> anyhow::Result<String> {
    if tests.is_empty() {
        return Ok(String::new());
    }
    let output = Command::new("cargo")
        .args(["test", "--locked", "--quiet", "-p", "tests", "--test", "faults", "--", "--exact", "--nocapture"])
        .args(tests)
        .env(VARIABLE, mutant.map_or("", Mutant::name))
        .stderr(Stdio::piped())
        .output()
        .context("cannot run cargo")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(text.contains("test result"), "the named tests could not be run: {text}");
    Ok(if output.status.success() { String::new() } else { text })
}

/// The checks that a named test says were violated; else its own name and word, when it failed at more than at waiting.
fn proofs_in(text: &str) -> BTreeSet<String> {
    let mut by = BTreeSet::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((thread, _)) = line.split_once("panicked at") else { continue };
        let said = lines.next().unwrap_or_default();
        if said.contains("promises were broken:") {
            let broken = std::iter::from_fn(|| lines.next_if(|line| is_violation(line)));
            by.extend(broken.filter_map(|line| Some(line.split_once(": ")?.0.to_owned())));
        } else if !said.contains(TIMED_OUT) {
            let said: String = said.chars().take(SAID).collect();
            by.extend(thread.split('\'').nth(1).map(|test| format!("{test} ({said})")));
        }
    }
    by.retain(|property| !NO_PROOF.contains(&property.as_str()));
    by
}

/// Whether a line reads `no_double: ...`.
fn is_violation(line: &str) -> bool {
    let property = line.split_once(": ").map_or("", |(property, _)| property);
    let is_name = property.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    is_name && !property.is_empty() && property != "note"
}

/// Removes the folders that failed tests have kept: what a broken store leaves is of no interest.
fn remove_kept(text: &str) -> anyhow::Result<()> {
    let kept = text.lines().filter(|line| line.starts_with('[')).filter_map(|line| line.split_once("] kept "));
    for folder in kept.map(|(_, folder)| Path::new(folder.trim())).filter(|folder| folder.is_dir()) {
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

fn joined(by: BTreeSet<String>) -> String {
    by.into_iter().collect::<Vec<_>>().join(", ")
}

/// The checks that an episode against a variant violated, and whether there was any.
fn found_in(faults: &Path, args: &Args, mutant: Option<Mutant>, seed: u64) -> anyhow::Result<(BTreeSet<String>, bool)> {
    let out = args.out.join(mutant.map_or("none", Mutant::name));
    let file = out.join(format!("{seed}.json"));
    // What an earlier run left under this seed must not speak for this one.
    match std::fs::remove_file(&file) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", file.display()));
        }
        _ => {}
    }
    let status = Command::new(faults)
        .args(["--episodes", "1", "--seed", &seed.to_string(), "--seconds", &args.seconds.to_string(), "--out"])
        .arg(&out)
        // The servers inherit it.
        .env(VARIABLE, mutant.map_or("", Mutant::name))
        .stdout(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {}", faults.display()))?;
    let text = std::fs::read(&file).with_context(|| format!("{} left no figures ({status})", faults.display()))?;
    let summary: Summary = serde_json::from_slice(&text)?;
    let mut by = BTreeSet::new();
    for episode in summary.episodes {
        by.extend(episode.report.violations.into_iter().map(|violation| violation.property));
        if let Some(kept) = episode.kept {
            // What a broken store leaves is of no interest.
            std::fs::remove_dir_all(&kept).with_context(|| format!("cannot remove {}", kept.display()))?;
        }
    }
    by.retain(|property| !NO_PROOF.contains(&property.as_str()));
    let found = !by.is_empty();
    Ok((by, found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proofs(text: &str) -> Vec<String> {
        proofs_in(text).into_iter().collect()
    }

    #[test]
    fn a_check_or_a_claim_is_a_proof_and_a_wait_in_vain_is_none() {
        let panic = "\nthread 'disk::a_vote' (17) panicked at tests/faults/disk.rs:1:1:\n";
        let broken = |what: &str| format!("{panic}promises were broken:\n{what}\nnote: run with more\n");
        assert_eq!(proofs(&broken("no_double: twice\nliveness: late")), ["no_double"]);
        assert!(proofs(&broken("liveness: late\njudged: not")).is_empty());
        assert_eq!(proofs(&format!("{panic}catalog-1 is back in 3\n")), ["disk::a_vote (catalog-1 is back in 3)"]);
        assert!(proofs(&format!("{panic}it ends: not within 30.0 s: it runs\n")).is_empty());
        assert!(proofs("test result: ok").is_empty());
    }

    #[test]
    fn removes_what_is_kept_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join("kept");
        std::fs::create_dir(&kept).unwrap();
        remove_kept(&format!("[power-all] kept {}\n[x] killed catalog-1\n", kept.display())).unwrap();
        assert!(!kept.exists() && folder.path().exists());
    }
}
