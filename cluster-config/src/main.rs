//! The program behind the Make targets: brings a cluster up on this machine, shows it, breaks it and heals it.
//! Owns the command line; must not know how a server does its work, only what it says of itself over HTTP.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use cluster_config::{
    containers::{Compose, PROJECT},
    place,
};

mod ask;
mod commands;
mod demo;

/// Brings a bookshop cluster up on this machine, shows it, breaks it and heals it.
#[derive(Debug, Parser)]
#[command(name = "cluster-config", version)]
struct Cli {
    /// The layout: a number N for cluster-config/config_N.toml, or a path. Default: the one that runs here, else 4.
    #[arg(short = 'c', long = "config", global = true)]
    config: Option<String>,
    /// Where data, logs, pid files and the installed binaries live.
    #[arg(long, default_value = "run", global = true)]
    run_dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts what does not run, and waits until the cluster serves.
    Up {
        /// The folder of freshly built binaries to install first.
        #[arg(long)]
        from: Option<PathBuf>,
        /// Starts nothing: says so and succeeds if everything serves, else ends with status 3.
        #[arg(long, conflicts_with = "from")]
        check: bool,
    },
    /// Stops everything and keeps the data.
    Down,
    /// Removes data, logs and installed binaries of a cluster that is down.
    Clean,
    /// Shows all nodes: up or down, role, term, applied, lag.
    Status {
        /// Prints a JSON document instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// SIGKILL.
    Kill {
        /// A node's name, `leader` or `all`.
        node: String,
    },
    /// SIGTERM, and waits; a leader hands over first.
    Stop {
        /// A node's name, `leader` or `all`.
        node: String,
    },
    /// Starts a node again on its own data, and waits until it serves and has caught up.
    #[command(alias = "start")]
    Restart {
        /// A node's name, `leader` or `all`.
        node: String,
    },
    /// SIGSTOP.
    Pause {
        /// A node's name, `leader` or `all`.
        node: String,
    },
    /// SIGCONT.
    Resume {
        /// A node's name or `all`.
        node: String,
    },
    /// Puts a new replica, with a new id, in the place of one whose disk is lost. Run again, it goes on where it was.
    Replace {
        /// The name of the replica that is lost.
        node: String,
        #[command(flatten)]
        at: commands::replicas::At,
    },
    /// Adds one more replica. Run again while it has not joined, it goes on with that one.
    Add {
        /// The name of a replica that the layout has already.
        node: Option<String>,
        #[command(flatten)]
        at: commands::replicas::At,
    },
    /// Removes a replica; a leader hands over first. Run again, it goes on where it was.
    Remove {
        /// A replica's name, or `leader`.
        node: String,
    },
    /// Follows a node's log.
    Logs {
        /// A node's name, `leader` or `all`.
        node: String,
    },
    /// Brings the containers of a compose file up, or down.
    Compose {
        #[command(flatten)]
        project: Project,
        #[command(subcommand)]
        act: Act,
    },
    /// Tells the story of a crash on a cluster of its own: sell, kill, sell on, restart, catch up, sell again.
    Demo {
        /// The folder of the built binaries.
        #[arg(long, required_unless_present = "compose")]
        from: Option<PathBuf>,
        /// Tells it on containers of this compose file instead, in a project of its own.
        #[arg(long, conflicts_with = "from")]
        compose: Option<PathBuf>,
        /// The tag of the images.
        #[arg(long, default_value = "local")]
        tag: String,
        /// Kill only this one: a catalog's name, or `leader`. Default: `catalog-2`, and then the leader.
        #[arg(long)]
        victim: Option<String>,
    },
}

/// Which containers.
#[derive(Debug, clap::Args)]
struct Project {
    /// The compose file.
    #[arg(long, default_value = "compose.yaml")]
    file: PathBuf,
    /// The name of the project.
    #[arg(long, default_value = PROJECT)]
    project: String,
    /// The tag of the images.
    #[arg(long, default_value = "local")]
    tag: String,
    /// Where clients find the front end, `host:port` of this machine.
    #[arg(long, default_value = "127.0.0.1:35303")]
    publish: String,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Starts what does not run, and waits until all serve.
    Up,
    /// Stops and removes the containers and their networks.
    Down {
        /// Removes the volumes with the data too.
        #[arg(long)]
        volumes: bool,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let config = cli.config.as_deref();
    if let Command::Demo { from, compose, tag, victim } = &cli.command {
        let ground = match (from, compose) {
            (_, Some(file)) => demo::Ground::Containers { file, tag },
            (from, None) => demo::Ground::Processes { config, from: from.as_deref().unwrap_or(Path::new("")) },
        };
        return demo::run(ground, &cli.run_dir, victim.as_deref()).await;
    }
    if let Command::Compose { project, act } = &cli.command {
        let compose = Compose::new(&project.file, &project.project, &project.tag, &project.publish);
        match act {
            Act::Up => commands::compose::up(&compose).await?,
            Act::Down { volumes } => commands::compose::down(&compose, *volumes)?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Command::Up { from, check } = &cli.command {
        return commands::up::up(&place::create(config, &cli.run_dir)?, from.as_deref(), *check).await;
    }
    if let Command::Clean = &cli.command {
        return commands::down::clean(&cli.run_dir).map(|()| ExitCode::SUCCESS);
    }
    if let Command::Replace { .. } | Command::Add { .. } | Command::Remove { .. } = &cli.command {
        let cluster = place::open_or_named(config, &cli.run_dir)?;
        match &cli.command {
            Command::Replace { node, at } => commands::replicas::replace(cluster, node, at).await?,
            Command::Add { node, at } => commands::replicas::add(cluster, node.as_deref(), at).await?,
            Command::Remove { node } => commands::replicas::remove(cluster, node).await?,
            _ => {}
        }
        return Ok(ExitCode::SUCCESS);
    }
    let cluster = place::open(config, &cli.run_dir)?;
    match &cli.command {
        Command::Up { .. } | Command::Clean | Command::Demo { .. } | Command::Compose { .. } => {}
        Command::Replace { .. } | Command::Add { .. } | Command::Remove { .. } => {}
        Command::Down => commands::down::down(&cluster).await?,
        Command::Status { json } => commands::status::status(&cluster, *json).await?,
        Command::Kill { node } => commands::signals::kill(&cluster, node).await?,
        Command::Stop { node } => commands::signals::stop(&cluster, node).await?,
        Command::Restart { node } => commands::restart::restart(&cluster, node).await?,
        Command::Pause { node } => commands::signals::pause(&cluster, node).await?,
        Command::Resume { node } => commands::signals::resume(&cluster, node).await?,
        Command::Logs { node } => commands::logs::logs(&cluster, node).await?,
    }
    Ok(ExitCode::SUCCESS)
}
