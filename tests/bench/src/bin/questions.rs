//! `questions`: measures what answers the four questions at the end of the original's report, and writes tables and pictures,
//! into `docs/` too if asked to. Must not know how a part is measured.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Instant,
};

use anyhow::Context;
use bench::{
    drive::Driver,
    machine,
    process::Folder,
    questions::{Figures, How, cache, consistency, crash, page, pictures, setting, tables},
};
use clap::Parser;

/// The page that has places for the tables, in the folder of documents.
const PAGE: &str = "questions.md";
/// The figures of the last run, in the folder of results.
const JSON: &str = "questions.json";

/// Answers the four questions of the original's task with figures.
#[derive(Debug, Parser)]
#[command(name = "questions", version)]
struct Args {
    /// How often response times and the cost of consistency are taken.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How long each is taken for, in seconds.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// How often a follower and a leader are killed.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    times: u32,
    /// Where figures go.
    #[arg(long, default_value = "run/questions")]
    out: PathBuf,
    /// The folder of documents, whose page and pictures are to be of this run.
    #[arg(long)]
    docs: Option<PathBuf>,
    /// Measures nothing: writes tables and pictures of the last run's figures.
    #[arg(long)]
    again: bool,
    /// Where the program `loadgen` is. Default: beside this one.
    #[arg(long)]
    programs: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    machine::run("questions", run(&args))
}

async fn run(args: &Args) -> anyhow::Result<()> {
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot make {}", args.out.display()))?;
    let json = args.out.join(JSON);
    if !args.again {
        let figures = measure(args).await?;
        write(&json, serde_json::to_vec_pretty(&figures)?)?;
    }
    let saved = std::fs::read(&json).with_context(|| format!("{}: measure first", json.display()))?;
    let figures: Figures = serde_json::from_slice(&saved).with_context(|| json.display().to_string())?;
    tell(args, &figures)
}

async fn measure(args: &Args) -> anyhow::Result<Figures> {
    let began = Instant::now();
    let programs = match &args.programs {
        Some(programs) => programs.clone(),
        None => std::env::current_exe()?.parent().context("this program lies nowhere")?.to_owned(),
    };
    let folder = Arc::new(Folder::new()?);
    if folder.is_in_memory()? {
        eprintln!("data lies in memory: all that syncs is too fast; set TMPDIR to a folder on a disk");
    }
    let load = machine::warn_if_busy();
    // Always the same one, which tells hits from misses.
    let driver = Driver::new(folder, programs.join("loadgen"), false);
    let store = setting::start().await?;
    println!("the store serves, {} items, after {:.1} s", store.items, began.elapsed().as_secs_f64());
    let responses = cache::run(&store, &driver, args.rounds, args.seconds).await.context("response times")?;
    let overheads =
        consistency::writes(&store, &driver, args.rounds, args.seconds).await.context("the cost of consistency")?;
    let probe = consistency::probe(&store).await.context("the miss behind a buy")?;
    let (crashes, timeline, noticed) = crash::run(&store, args.times).await.context("crashes")?;
    let how = How {
        rounds: args.rounds,
        seconds: args.seconds,
        times: args.times,
        items: store.items,
        cores: std::thread::available_parallelism()?.get(),
        load,
        profile: if cfg!(debug_assertions) { "dev" } else { "dist" }.to_owned(),
        took: began.elapsed().as_secs_f64(),
    };
    Ok(Figures { how, responses, overheads, probe, crashes, timeline, noticed })
}

/// Writes tables and pictures, and prints the tables.
fn tell(args: &Args, figures: &Figures) -> anyhow::Result<()> {
    let parts = tables::parts(figures);
    let text: String = parts.iter().map(|(_, text)| format!("{text}\n")).collect();
    println!("\n{text}");
    let tables = args.out.join("questions.md");
    write(&tables, text)?;
    pictures::draw(figures, &args.out)?;
    println!("written: {}, tables and pictures beside it", args.out.join(JSON).display());
    if let Some(docs) = &args.docs {
        let path = docs.join(PAGE);
        let before = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let filled = page::fill(&before, &parts).with_context(|| path.display().to_string())?;
        pictures::draw(figures, docs)?;
        write(&path, filled)?;
        println!("written: {}, and its pictures", path.display());
    }
    Ok(())
}

fn write(path: &Path, bytes: impl AsRef<[u8]>) -> anyhow::Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
