//! PostgreSQL with one synchronous standby: defaults, but for the connections that it lets in and the memory of a machine
//! of today. Commits wait until the standby has them on its disk. Must not know what is updated.

use std::{fs, os::unix::fs::chown, path::Path, path::PathBuf, sync::Arc};

use anyhow::{Context, ensure};
use rustix::process::Signal;
use tests::{PATIENCE, try_eventually};
use tokio::process::Command;

use crate::process::{Folder, Server, find, output};

/// Rows of the table.
pub const ROWS: u64 = 100_000;
/// What pgbench gets to connect a few clients, in seconds; a hundred more take a second more on a busy machine.
const CONNECTING: u32 = 1;
/// Where Debian puts the programs of each version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// Both servers, in the order in which they are started.
const SERVERS: [&str; 2] = ["primary", "standby"];
/// Of the primary. The standby gets it with the copy.
const SETTINGS: &str = "
listen_addresses = ''
max_connections = 400
shared_buffers = 512MB
max_wal_size = 4GB
wal_keep_size = 1GB
synchronous_commit = on
synchronous_standby_names = '*'
";

/// The primary and its standby. They speak through sockets of the file system.
#[derive(Debug)]
pub struct Postgres {
    folder: Arc<Folder>,
    programs: PathBuf,
    home: PathBuf,
    /// As whom it runs when this program runs as root, which PostgreSQL refuses to do.
    user: Option<(u32, u32)>,
    servers: Vec<Server>,
}

/// The folder of its programs, of the newest version that is installed.
pub fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir(VERSIONS).into_iter().flatten().filter_map(Result::ok);
    let newest = versions
        .map(|version| version.path().join("bin"))
        .filter(|bin| bin.join("postgres").is_file())
        .max_by_key(|bin| bin.parent().and_then(Path::file_name).and_then(|name| name.to_str()?.parse::<u32>().ok()));
    newest.or_else(|| find("pg_basebackup").and_then(|program| program.parent().map(Path::to_owned)))
}

impl Postgres {
    /// Makes the primary with its table and copies it to the standby.
    ///
    /// # Errors
    /// When one of its programs fails.
    pub async fn set_up(folder: Arc<Folder>) -> anyhow::Result<Self> {
        let home = folder.sub("postgres")?;
        let user = rustix::process::geteuid().is_root().then(other_user).transpose()?;
        for path in [home.clone(), sockets(&home, SERVERS[0]), sockets(&home, SERVERS[1])] {
            fs::create_dir_all(&path)?;
            if let Some((user, group)) = user {
                chown(&path, Some(user), Some(group))?;
            }
        }
        let programs = programs().context("PostgreSQL is not installed")?;
        let mut this = Self { folder, programs, home, user, servers: Vec::new() };
        let primary = this.home.join(SERVERS[0]);
        let mut initdb = this.command("initdb");
        output(initdb.arg("-D").arg(&primary).args(["-U", "postgres", "-A", "trust", "--no-locale"])).await?;
        let configuration = primary.join("postgresql.conf");
        let defaults = fs::read_to_string(&configuration)?;
        fs::write(&configuration, defaults + SETTINGS)?;

        this.run(SERVERS[0]).await?;
        let mut copy = this.command("pg_basebackup");
        let copy = copy.arg("-D").arg(this.home.join(SERVERS[1])).arg("-h").arg(sockets(&this.home, SERVERS[0]));
        output(copy.args(["-U", "postgres", "-R", "-X", "stream", "-c", "fast"])).await?;
        this.run(SERVERS[1]).await?;
        this.follows().await?;
        let table = format!(
            "create table items (id int primary key, quantity bigint not null);
             insert into items select id, 1000000000 from generate_series(1, {ROWS}) id;
             vacuum analyze items;"
        );
        for statement in table.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
            this.ask(statement).await?;
        }
        this.stop().await?;
        Ok(this)
    }

    /// Starts both and waits until commits reach the standby.
    ///
    /// # Errors
    /// When they do not.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        for server in SERVERS {
            self.run(server).await?;
        }
        self.follows().await
    }

    /// Stops both.
    ///
    /// # Errors
    /// When one does not end.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        // The primary first: it ends once the standby has all of its log. SIGINT does not wait for clients.
        for server in self.servers.drain(..) {
            server.stop(Signal::INT).await?;
        }
        Ok(())
    }

    /// pgbench with the script in this file, on the primary.
    pub fn pgbench(&self, script: &Path, connections: u32, seconds: u32) -> Command {
        let mut command = Command::new("pgbench");
        // Its time includes that of connecting, which its rate does not.
        let (connections, seconds) = (connections.to_string(), (seconds + CONNECTING + connections / 128).to_string());
        command.args(["-n", "-M", "prepared", "-j", "1", "-c", &connections, "-T", &seconds, "-U", "postgres", "-h"]);
        command.arg(sockets(&self.home, SERVERS[0])).arg("-f").arg(script).arg("postgres");
        command
    }

    async fn run(&mut self, server: &str) -> anyhow::Result<()> {
        let data = self.home.join(server);
        let mut command = self.command("postgres");
        command.arg("-D").arg(&data).arg("-k").arg(sockets(&self.home, server));
        let mut started = Server::start(&self.folder, &format!("postgres-{server}"), command)?;
        started.until(|| self.ask_at(server, "select 1")).await?;
        self.servers.push(started);
        Ok(())
    }

    async fn follows(&self) -> anyhow::Result<()> {
        let follows = try_eventually("a synchronous standby", PATIENCE, || async {
            let state = self.ask("select sync_state from pg_stat_replication").await?;
            ensure!(state == "sync", "its state is {state:?}");
            Ok(())
        });
        follows.await
    }

    async fn ask(&self, statement: &str) -> anyhow::Result<String> {
        self.ask_at(SERVERS[0], statement).await
    }

    async fn ask_at(&self, server: &str, statement: &str) -> anyhow::Result<String> {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-U", "postgres", "-Atq", "-c", statement, "-h"]).arg(sockets(&self.home, server)).arg("postgres");
        Ok(output(&mut psql).await?.trim().to_owned())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group).current_dir(&self.home);
        }
        command
    }
}

/// Where a server has its socket: not among its data, which is copied with all that lies there.
fn sockets(home: &Path, server: &str) -> PathBuf {
    home.join(format!("{server}-socket"))
}

/// The user and the group `postgres`.
fn other_user() -> anyhow::Result<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd")?;
    let line = users.lines().find_map(|line| line.strip_prefix("postgres:"));
    let mut fields = line.context("there is no user postgres, and PostgreSQL does not run as root")?.split(':').skip(1);
    let mut number = || fields.next().and_then(|text| text.parse().ok()).context("an odd line in /etc/passwd");
    Ok((number()?, number()?))
}
