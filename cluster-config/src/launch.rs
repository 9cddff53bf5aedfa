//! Starts, signals and watches the processes of a cluster on this machine. The Make targets and the tests' harness
//! go through here. Must not know what a server answers.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{ErrorKind, Write},
    net::{TcpListener, TcpStream, ToSocketAddrs},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rustix::{
    fs::{FlockOperation, flock},
    process::Signal,
};

mod ports;
mod process;

pub use ports::free_addresses;
pub use process::{Process, State};

use crate::{
    layout::{self, Layout},
    server,
};

/// The binaries of the servers, as cargo names them.
pub const BINARIES: [&str; 3] = ["catalog-raft", "order", "frontend"];
/// Between two looks at whether a process is gone, or a lock or port is free.
const POLL: Duration = Duration::from_millis(5);
/// How long a start waits for another start of the same node.
const LOCK_PATIENCE: Duration = Duration::from_secs(20);
/// How long a start waits for its ports to become free.
const PORT_PATIENCE: Duration = Duration::from_secs(2);
/// How long a look whether somebody listens on a port may take.
const CONNECT_PATIENCE: Duration = Duration::from_millis(200);
/// Between two looks at a port that a closing connection has.
const CLOSING_PAUSE: Duration = Duration::from_millis(500);
/// How long a start waits for a program that is still being written.
const BUSY_PATIENCE: Duration = Duration::from_secs(2);
/// How long a process may take to vanish after SIGKILL: longer only when the kernel cannot end its I/O.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// A cluster of processes under one run folder.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// The layout.
    pub layout: Layout,
    /// What is passed as `-c`: an absolute path, or a number.
    pub selector: String,
    /// Data, logs, pid files; binaries of a running cluster are copies in `bin/` below it.
    pub run_dir: PathBuf,
}

/// What one node is started with beside what all are.
#[derive(Debug, Clone, Default)]
pub struct Special {
    /// Passed as `-c` instead of the cluster's: the same node, who sees the others at other addresses.
    pub selector: Option<String>,
    /// Added to its environment.
    pub environment: Vec<(OsString, OsString)>,
}

/// A node of the layout: what runs it, where it listens, and where it answers HTTP.
struct Node<'a> {
    binary: &'static str,
    id: u64,
    addresses: Vec<&'a str>,
    answers: &'a str,
}

impl Cluster {
    /// Names of all nodes: catalogs, order servers, front ends.
    pub fn nodes(&self) -> Vec<String> {
        self.layout.names()
    }

    /// Where a node itself answers HTTP: `host:port`.
    pub fn address(&self, node: &str) -> Option<&str> {
        self.find(node).ok().map(|node| node.answers)
    }

    /// Whether a node's address belongs to this machine, so that it can be started here.
    pub fn is_local(&self, node: &str) -> bool {
        let resolved = self.address(node).and_then(|address| address.to_socket_addrs().ok()).into_iter().flatten();
        // Any port will do to learn whether the address can be bound here at all.
        resolved.into_iter().any(|at| at.ip().is_loopback() || TcpListener::bind((at.ip(), 0)).is_ok())
    }

    /// Whether it makes sense to ask a node: it runs here and is not paused, or it lives elsewhere.
    pub fn may_answer(&self, node: &str) -> bool {
        match self.process(node).and_then(Process::state) {
            Some(state) => state == State::Running,
            None => !self.is_local(node),
        }
    }

    /// Starts a node unless it runs. Returns whether it was started.
    ///
    /// # Errors
    /// Says what to do.
    pub fn start(&self, node: &str) -> anyhow::Result<bool> {
        self.start_specially(node, &Special::default())
    }

    /// As [`Cluster::start`], with what is special about this node.
    ///
    /// # Errors
    /// Says what to do.
    pub fn start_specially(&self, node: &str, special: &Special) -> anyhow::Result<bool> {
        let Node { binary, id, addresses, .. } = self.find(node)?;
        std::fs::create_dir_all(&self.run_dir).with_context(|| format!("cannot make {}", self.run_dir.display()))?;
        // Held until the pid file is written, so that two starts at once make one process.
        let _lock = self.lock(node)?;
        if self.process(node).is_some() {
            return Ok(false);
        }
        let program = self.program(binary);
        ensure!(program.is_file(), "cannot start {node}: {} is missing; run make up", program.display());
        for address in addresses {
            wait_until_free(node, address)?;
        }
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.run_dir.join(format!("{node}.out")))
            .with_context(|| format!("cannot write {node}.out in {}", self.run_dir.display()))?;
        let mut command = Command::new(&program);
        command
            .args(self.arguments(special.selector.as_ref().unwrap_or(&self.selector), id))
            .envs(special.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // A group of its own: Ctrl-C and the end of a terminal reach the program that started it, not the server.
            .process_group(0);
        let mut child = spawn(&mut command).with_context(|| format!("cannot run {}", program.display()))?;
        let process =
            Process::of(child.id()).with_context(|| format!("{node} ended at once; {}", self.where_it_says(node)))?;
        self.write_pid(node, process)?;
        // Reaps it if it ends while this program lives; afterwards init does.
        std::thread::spawn(move || child.wait());
        Ok(true)
    }

    /// The process id of a node that runs (paused ones too).
    pub fn pid(&self, node: &str) -> Option<i32> {
        self.process(node).map(|process| process.pid())
    }

    /// The process of a node that runs (paused ones too).
    pub fn process(&self, node: &str) -> Option<Process> {
        let noted = std::fs::read_to_string(self.pid_path(node)).ok().and_then(|text| Process::parse(&text));
        noted.filter(Process::is_alive).or_else(|| self.unnoted(node))
    }

    /// One that runs although no pid file says so: whoever started it was killed before it was noted.
    fn unnoted(&self, node: &str) -> Option<Process> {
        let Node { binary, id, .. } = self.find(node).ok()?;
        let program = self.program(binary).into_os_string();
        Process::of_command(&[&[program], self.arguments(&self.selector, id).as_slice()].concat())
    }

    fn program(&self, binary: &str) -> PathBuf {
        self.run_dir.join("bin").join(binary)
    }

    fn arguments(&self, selector: &str, id: u64) -> [OsString; 6] {
        let run_dir = self.run_dir.as_os_str().to_owned();
        ["-c".into(), selector.into(), "-i".into(), id.to_string().into(), "--run-dir".into(), run_dir]
    }

    /// SIGKILL, and waits until the process is gone.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&self, node: &str) -> anyhow::Result<()> {
        let process = self.running(node)?;
        process.signal(Signal::KILL).with_context(|| format!("cannot kill {node}"))?;
        ensure!(gone_within(process, KILL_PATIENCE), "{node} (pid {}) was killed but does not go", process.pid());
        Ok(())
    }

    /// SIGTERM, and waits until the process is gone.
    ///
    /// # Errors
    /// When it does not run, or not go within `patience`.
    pub fn stop(&self, node: &str, patience: Duration) -> anyhow::Result<()> {
        let process = self.running(node)?;
        process.signal(Signal::TERM).with_context(|| format!("cannot stop {node}"))?;
        // A paused process would see the SIGTERM only once it is resumed.
        process.signal(Signal::CONT).with_context(|| format!("cannot resume {node}"))?;
        ensure!(
            gone_within(process, patience),
            "{node} (pid {}) did not end within {} s of SIGTERM; make kill NODE={node} ends it the hard way",
            process.pid(),
            patience.as_secs()
        );
        Ok(())
    }

    /// SIGSTOP.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self, node: &str) -> anyhow::Result<()> {
        self.running(node)?.signal(Signal::STOP).with_context(|| format!("cannot pause {node}"))
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&self, node: &str) -> anyhow::Result<()> {
        self.running(node)?.signal(Signal::CONT).with_context(|| format!("cannot resume {node}"))
    }

    /// Copies the binaries `catalog-raft`, `order`, `frontend` from `from` to `run_dir/bin`, atomically.
    ///
    /// # Errors
    /// When one is missing.
    pub fn install_binaries(&self, from: &Path) -> anyhow::Result<()> {
        BINARIES.iter().try_for_each(|name| self.install(&from.join(name)))
    }

    /// Copies one program to `run_dir/bin` under its own name, atomically: a process that runs the copy before it
    /// keeps that one.
    ///
    /// # Errors
    /// When it is missing.
    pub fn install(&self, program: &Path) -> anyhow::Result<()> {
        let name = program.file_name().with_context(|| format!("{} names no program", program.display()))?;
        let bin = self.run_dir.join("bin");
        let staged = bin.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
        std::fs::create_dir_all(&bin)
            .and_then(|()| std::fs::copy(program, &staged))
            .and_then(|_| std::fs::rename(&staged, bin.join(name)))
            .with_context(|| {
                format!("cannot copy {} to {}; build first with make up", program.display(), bin.display())
            })
    }

    fn find(&self, node: &str) -> anyhow::Result<Node<'_>> {
        let layout = &self.layout;
        if let Some(found) = layout.catalogs.iter().find(|known| known.name == node) {
            return Ok(Node {
                binary: BINARIES[0],
                id: found.id,
                addresses: vec![&found.listen_client, &found.listen_peer],
                answers: layout::reachable(&found.listen_client, &found.client),
            });
        }
        for (binary, nodes) in [(BINARIES[1], &layout.orders), (BINARIES[2], &layout.frontends)] {
            if let Some(found) = nodes.iter().find(|known| known.name == node) {
                let answers = layout::reachable(&found.listen, &found.address);
                return Ok(Node { binary, id: found.id, addresses: vec![&found.listen], answers });
            }
        }
        bail!("there is no node {node}; the nodes are {}", self.nodes().join(", "))
    }

    fn running(&self, node: &str) -> anyhow::Result<Process> {
        self.find(node)?;
        self.process(node).with_context(|| format!("{node} is not running"))
    }

    fn lock(&self, node: &str) -> anyhow::Result<File> {
        let path = self.run_dir.join(format!("{node}.lock"));
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let give_up = Instant::now() + LOCK_PATIENCE;
        while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            ensure!(error == rustix::io::Errno::WOULDBLOCK, "cannot lock {}: {error}", path.display());
            ensure!(
                Instant::now() < give_up,
                "another program has been starting {node} for {} s; end it first",
                LOCK_PATIENCE.as_secs()
            );
            sleep(POLL);
        }
        Ok(file)
    }

    fn pid_path(&self, node: &str) -> PathBuf {
        self.run_dir.join(format!("{node}.pid"))
    }

    fn write_pid(&self, node: &str, process: Process) -> anyhow::Result<()> {
        let staged = self.run_dir.join(format!("{node}.pid.new"));
        File::create(&staged)
            .and_then(|mut file| writeln!(file, "{process}"))
            .and_then(|()| std::fs::rename(&staged, self.pid_path(node)))
            .with_context(|| format!("cannot write the pid file of {node}"))
    }

    fn where_it_says(&self, node: &str) -> String {
        let path = |kind| self.run_dir.join(format!("{node}.{kind}"));
        format!("{} and {} say why", path("log").display(), path("out").display())
    }
}

/// Runs a program that may have been written an instant ago: a process that another thread forks at that moment has
/// the file open for writing until its own exec, and the kernel refuses to run a file that is being written.
fn spawn(command: &mut Command) -> std::io::Result<Child> {
    let give_up = Instant::now() + BUSY_PATIENCE;
    loop {
        match command.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && Instant::now() < give_up => sleep(POLL),
            result => return result,
        }
    }
}

fn gone_within(process: Process, patience: Duration) -> bool {
    let give_up = Instant::now() + patience;
    while process.is_alive() {
        if Instant::now() >= give_up {
            return false;
        }
        sleep(POLL);
    }
    true
}

/// Waits until `address` can be listened on, for as long as the process that had it may take to let it go.
fn wait_until_free(node: &str, address: &str) -> anyhow::Result<()> {
    let at = address
        .to_socket_addrs()
        .ok()
        .and_then(|mut found| found.next())
        .with_context(|| format!("cannot start {node}: {address} does not resolve; correct the layout"))?;
    let began = Instant::now();
    let mut told = false;
    loop {
        match TcpListener::bind(at) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::AddrInUse && began.elapsed() < PORT_PATIENCE => sleep(POLL),
            // Nobody listens there: it is the near end of a connection that somebody made and that is closing.
            Err(error)
                if error.kind() == ErrorKind::AddrInUse
                    && began.elapsed() < server::CLOSING_PATIENCE
                    && TcpStream::connect_timeout(&at, CONNECT_PATIENCE).is_err() =>
            {
                if !told {
                    println!("{node} waits for port {}: a connection that is closing still has it", at.port());
                    told = true;
                }
                sleep(CLOSING_PAUSE);
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse => bail!(
                "cannot start {node}: port {} is taken by another program; end that program or change {address} in the layout",
                at.port()
            ),
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => bail!(
                "cannot start {node}: {address} is not an address of this machine; correct the layout, or start it where it lives"
            ),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot start {node}: cannot listen on {address}"));
            }
        }
    }
}
