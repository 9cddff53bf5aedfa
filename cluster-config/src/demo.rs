//! The story that `make demo` tells, on a cluster of its own below the run folder: sell, crash a replica, sell on,
//! restart it, watch it catch up, sell again. Every step is printed with its figures and checked.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use cluster_config::{
    Layout,
    containers::Compose,
    launch::{Cluster, free_addresses},
    table::table,
};

mod crash;
mod shop;
mod story;

use crate::{
    ask::{self, Ask},
    commands::{compose, down, serving, up},
};
use shop::Shop;
use story::Story;

/// Where the story takes place.
pub enum Ground<'a> {
    /// On processes of the programs in the folder `from`, in the layout `config`, else 4.
    Processes {
        /// The layout.
        config: Option<&'a str>,
        /// The folder.
        from: &'a Path,
    },
    /// On the containers of the compose file `file`, of images tagged `tag`.
    Containers {
        /// The compose file.
        file: &'a Path,
        /// The tag.
        tag: &'a str,
    },
}

/// What the demo works with.
struct Stage {
    cluster: Cluster,
    /// What runs the cluster, if that is not this program.
    containers: Option<Compose>,
    ask: Ask,
    shop: Shop,
    story: Story,
}

/// Runs the demo; its output is kept in `<run_dir>/demo.txt`, its cluster's data and logs in `<run_dir>/demo`.
///
/// # Errors
/// When anything is not as it must be.
pub async fn run(ground: Ground<'_>, run_dir: &Path, victim: Option<&str>) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let home = std::path::absolute(run_dir)?.join("demo");
    let (cluster, containers, front) = match ground {
        Ground::Processes { config, .. } => {
            clear(&home).await?;
            let cluster = prepare(config.unwrap_or("4"), &home)?;
            let front = cluster.layout.frontends[0].address.clone();
            (cluster, None, front)
        }
        Ground::Containers { file, tag } => {
            let compose = compose::own_project(file, "demo", tag)?;
            std::fs::create_dir_all(run_dir).with_context(|| format!("cannot make {}", run_dir.display()))?;
            (compose::elsewhere(&compose)?, Some(compose.clone()), compose.publish)
        }
    };
    let story = Story::begin(&run_dir.join("demo.txt"))?;
    let shop = Shop::new(Ask::new()?, front);
    let mut stage = Stage { cluster, containers, ask: Ask::new()?, shop, story };
    let told = tokio::select! {
        told = tell(&mut stage, &ground, victim) => told,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    let ended = match &stage.containers {
        Some(compose) => compose.down(true),
        None => end(&stage.cluster).await,
    };
    let outcome = told.and(ended);
    let seconds = began.elapsed().as_secs_f64();
    match &outcome {
        Ok(()) => stage.story.say(&format!("\nall as it must be, in {seconds:.1} s")),
        Err(error) => stage.story.say(&format!("\nFAILED after {seconds:.1} s: {error:#}")),
    }
    let kept = run_dir.join("demo.txt");
    match &stage.containers {
        Some(_) => println!("this story is kept in {}", kept.display()),
        None => println!("this story is kept in {}, its logs in {}", kept.display(), home.display()),
    }
    Ok(if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Ends what a demo that was itself killed left running, and removes its data.
async fn clear(home: &Path) -> anyhow::Result<()> {
    let layout = home.join("layout.toml");
    if let (Some(selector), true) = (layout.to_str(), layout.is_file()) {
        end(&Cluster { layout: Layout::load(selector)?, selector: selector.into(), run_dir: home.into() }).await?;
    }
    match std::fs::remove_dir_all(home) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", home.display()))
        }
        _ => Ok(()),
    }
}

/// The layout `selector`, moved to free ports of this machine and written to `home`.
fn prepare(selector: &str, home: &Path) -> anyhow::Result<Cluster> {
    let layout = Layout::load(selector)?;
    ensure!(
        layout.catalogs.len() >= 3 && !layout.frontends.is_empty() && !layout.orders.is_empty(),
        "layout {selector} cannot survive a crash, so there is no story: use layout 3 or 4, with three catalogs"
    );
    let path = home.join("layout.toml");
    let text = layout.moved_to(&free_addresses(layout.address_count())?)?;
    std::fs::create_dir_all(home)
        .and_then(|()| std::fs::write(&path, text))
        .with_context(|| format!("cannot write {}", path.display()))?;
    let selector = path.to_str().context("the run folder's path must be UTF-8")?.to_owned();
    Ok(Cluster { layout: Layout::load(&selector)?, selector, run_dir: PathBuf::from(home) })
}

/// Stops whatever runs, whether or not it is of this layout.
async fn end(cluster: &Cluster) -> anyhow::Result<()> {
    down::stop_in_order(cluster, |_| ()).await?;
    match down::running_in(&cluster.run_dir) {
        Some(node) => {
            bail!("{node} of an earlier demo is still running in {}: end it first", cluster.run_dir.display())
        }
        None => Ok(()),
    }
}

impl Stage {
    fn kill(&self, node: &str) -> anyhow::Result<()> {
        match &self.containers {
            Some(compose) => compose.kill(node),
            None => self.cluster.kill(node),
        }
    }

    fn start(&mut self, node: &str) -> anyhow::Result<()> {
        let Some(compose) = &self.containers else { return self.cluster.start(node).map(drop) };
        compose.start(node)?;
        // It may have come up at another address.
        self.cluster.layout = compose.seen_from_here(self.cluster.layout.clone())?;
        Ok(())
    }
}

async fn tell(stage: &mut Stage, ground: &Ground<'_>, victim: Option<&str>) -> anyhow::Result<()> {
    bring_up(stage, ground).await?;
    stage.story.title("A client shops");
    let (cost, quantity) = flow(stage, 10).await?;
    ensure!(
        (cost, quantity) == ((50, 10), (100, 99)),
        "on fresh data the flow must show cost 50->10 and quantity 100->99"
    );
    let victims: Vec<&str> = victim.map_or(vec!["catalog-2", "leader"], |victim| vec![victim]);
    let mut rows = Vec::new();
    for (round, victim) in victims.into_iter().enumerate() {
        let cost = 20 + 5 * round as u64;
        rows.push(crash::crash(stage, victim, cost).await?);
        stage.story.title("The client shops again");
        flow(stage, cost + 1).await?;
    }
    stage.story.title("Summary");
    let headings =
        ["KILLED", "ROLE", "NOTICED", "FIRST BUY", "BUYS", "LOOKUPS", "ERRORS", "CAUGHT UP", "ENTRIES", "STATES"];
    stage.story.say(&table(headings, &rows));
    Ok(())
}

async fn bring_up(stage: &mut Stage, ground: &Ground<'_>) -> anyhow::Result<()> {
    stage.story.title("A cluster comes up");
    let began = Instant::now();
    let nodes = stage.cluster.nodes();
    if let Some(compose) = &stage.containers {
        compose.up(&[])?;
        compose::wait(compose, &mut stage.cluster, &stage.ask).await?;
    }
    if let Ground::Processes { from, .. } = ground {
        up::install(&stage.cluster, from)?;
        for node in &nodes {
            stage.cluster.start(node)?;
        }
        serving::wait(&stage.cluster, &stage.ask, &nodes).await?;
    }
    let statuses = stage.ask.statuses(&stage.cluster).await;
    let (leader, status) = ask::leader(&statuses).context("there is no leader")?;
    stage.story.say(&format!(
        "{} serve after {:.2} s; {leader} leads in term {}",
        nodes.join(", "),
        began.elapsed().as_secs_f64(),
        status.term
    ));
    Ok(())
}

/// The client's flow: list, set the cost of item 1, search, buy, lookup, quantity, list. Returns cost and quantity of
/// item 1, before and after.
async fn flow(stage: &mut Stage, cost: u64) -> anyhow::Result<((u64, u64), (u64, u64))> {
    let Stage { shop, story, .. } = stage;
    let before = shop.list().await?;
    let was = before.iter().find(|item| item.item_number == 1).context("item 1 is missing from the list")?;
    story.say(&format!("list: {} books; item 1 costs {}, {} in stock", before.len(), was.cost, was.quantity));
    story.say(&format!("set the cost of item 1 to {cost}: {}", shop.set_cost(1, cost).await?));
    let found = shop.search("Distributed_systems").await?;
    story.say(&format!("search Distributed_systems: {} books", found.len()));
    let expected = before.iter().filter(|item| item.topic == "Distributed_systems").count();
    ensure!(found.len() == expected, "the search must find {expected} books");
    story.say(&format!("buy item 1: {}", shop.must_buy(1).await?));
    let book = shop.lookup(1).await?;
    story.say(&format!("lookup item 1: \"{}\", cost {}, {} in stock", book.title, book.cost, book.quantity));
    let quantity = shop.quantity(1).await?;
    story.say(&format!("quantity of item 1: {quantity}"));
    let after = shop.list().await?;
    let is = after.iter().find(|item| item.item_number == 1).context("item 1 is missing from the list")?;
    story.say(&format!("list: cost {}->{}, quantity {}->{}", was.cost, is.cost, was.quantity, is.quantity));
    ensure!(is.cost == cost && book.cost == cost, "the new cost {cost} must be seen at once");
    ensure!(
        [is.quantity, book.quantity, quantity].iter().all(|seen| *seen + 1 == was.quantity),
        "the stock of item 1 must have gone from {} to {}",
        was.quantity,
        was.quantity.saturating_sub(1)
    );
    Ok(((was.cost, is.cost), (was.quantity, is.quantity)))
}

/// Milliseconds, as they are printed.
fn ms(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1000.0)
}
