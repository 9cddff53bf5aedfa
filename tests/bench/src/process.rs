//! Processes of peers and of load generators: started, watched, and ended whatever happens. Must not know what they do.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use cluster_config::launch::Process;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};

/// How long a server may take to end once it was told to.
const STOP_PATIENCE: Duration = Duration::from_secs(15);
/// How long a server may take until it serves.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks whether it does.
const POLL: Duration = Duration::from_millis(20);
/// Folders of servers that a user's PATH often lacks.
const MORE_FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];
/// What `statfs` says of a file system in memory, on which syncing costs nothing.
const TMPFS: rustix::fs::FsWord = 0x0102_1994;
/// Bytes of a log that an error shows.
const LOG_END: usize = 1_000;

/// The folder of a run, for all data. Gone with its servers when this is dropped or the program dies.
#[derive(Debug)]
pub struct Folder {
    dir: tempfile::TempDir,
    guard: std::process::Child,
}

impl Folder {
    /// A new one, in the folder for temporary files.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new() -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("catalog-bench-").tempdir().context("no folder for data")?;
        // A peer that refuses to run as root runs as another user, and must get to its own folder in here.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o711))?;
        let guard = guard(dir.path())?;
        Ok(Self { dir, guard })
    }

    /// Whether it lies in memory, where figures of syncing mean nothing.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn is_in_memory(&self) -> anyhow::Result<bool> {
        Ok(rustix::fs::statfs(self.dir.path())?.f_type == TMPFS)
    }

    /// A folder in it, made if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn sub(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.dir.path().join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// A file in it with this text.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn file(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.dir.path().join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It only reads its standard input, and nothing is left for it to do.
        let _ = self.guard.kill().and_then(|()| self.guard.wait());
    }
}

/// A process that ends all servers, and removes the folder, if this program dies without doing so: its standard input
/// ends then. Each server leads a group; times of start keep it from a stranger under an old id.
fn guard(folder: &Path) -> anyhow::Result<std::process::Child> {
    let script = r#"cat >/dev/null
for file in "$0"/*.pid; do
    read -r pid started <"$file" || continue
    [ "$(cut -d' ' -f22 "/proc/$pid/stat" 2>/dev/null)" = "$started" ] && kill -9 "-$pid"
done
sleep 1
rm -rf "$0""#;
    use std::os::unix::process::CommandExt;
    std::process::Command::new("sh")
        .args(["-c", script])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("cannot start the guard of the run")
}

/// A server. Dropping it kills it and all that it has started.
#[derive(Debug)]
pub struct Server {
    name: String,
    child: Child,
    pid: Pid,
    pid_file: PathBuf,
    log: PathBuf,
}

impl Server {
    /// Starts a server that stays in the foreground. What it prints goes to `NAME.out` in the folder.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(folder: &Folder, name: &str, mut command: Command) -> anyhow::Result<Self> {
        let log = folder.dir.path().join(format!("{name}.out"));
        let output = File::options().create(true).append(true).open(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // A group of its own: Ctrl-C reaches this program, which ends its servers in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot run {name}"))?;
        let id = child.id().with_context(|| format!("{name} has ended at once"))?;
        let pid = Pid::from_raw(id.try_into()?).with_context(|| format!("{name} has no process id"))?;
        let pid_file = folder.dir.path().join(format!("{name}.pid"));
        let server = Self { name: name.to_owned(), child, pid, pid_file, log };
        let process = Process::of(id).with_context(|| format!("{name} has ended: {}", server.log_end()))?;
        // With the end of a line, without which the guard would not believe it.
        fs::write(&server.pid_file, format!("{process}\n"))?;
        Ok(server)
    }

    /// That it still runs.
    ///
    /// # Errors
    /// When it has ended, with the end of what it printed.
    pub fn check(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} has ended ({status}): {}", self.name, self.log_end());
        }
        Ok(())
    }

    /// Looks again and again until `look` finds what it looks for, as long as the server runs.
    ///
    /// # Errors
    /// When the server ends, or `look` finds nothing in time.
    pub async fn until<T, F, Fut>(&mut self, mut look: F) -> anyhow::Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = anyhow::Result<T>>,
    {
        let give_up = Instant::now() + START_PATIENCE;
        loop {
            let found = look().await;
            self.check()?;
            match found {
                Err(missing) if Instant::now() >= give_up => {
                    return Err(missing.context(format!("{} does not serve", self.name)));
                }
                Err(_) => sleep(POLL).await,
                found => return found,
            }
        }
    }

    /// Sends a signal and waits until it is gone.
    ///
    /// # Errors
    /// When it does not go.
    pub async fn stop(mut self, signal: Signal) -> anyhow::Result<()> {
        self.check()?;
        rustix::process::kill_process(self.pid, signal)?;
        let gone = timeout(STOP_PATIENCE, self.child.wait()).await;
        gone.with_context(|| format!("{} does not end", self.name))??;
        Ok(())
    }

    fn log_end(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_END)..]).trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Workers of a server that has ended may be left in its group; none is no error.
        let _ = kill_process_group(self.pid, Signal::KILL);
        let _ = fs::remove_file(&self.pid_file);
    }
}

/// A program in one of the folders of PATH, or in one where Debian puts servers.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(MORE_FOLDERS.iter().map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Runs a program to its end and returns what it printed. Dropping the future kills it.
///
/// # Errors
/// When it fails, with what it said.
pub async fn output(command: &mut Command) -> anyhow::Result<String> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let done = command.output().await.with_context(|| format!("cannot run {name}"))?;
    let errors = String::from_utf8_lossy(&done.stderr).into_owned();
    ensure!(done.status.success(), "{name} failed ({}): {}", done.status, errors.trim());
    Ok(String::from_utf8_lossy(&done.stdout).into_owned() + &errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long() -> Command {
        let mut command = Command::new("sh");
        // A worker, which does not end with its master.
        command.args(["-c", "sleep 100 & echo $! && wait"]);
        command
    }

    /// The process id that a server's worker has printed.
    async fn worker(folder: &Folder) -> u32 {
        let out = folder.dir.path().join("long.out");
        for _ in 0..500 {
            if let Some(id) = fs::read_to_string(&out).ok().and_then(|text| text.trim().parse().ok()) {
                return id;
            }
            sleep(POLL).await;
        }
        panic!("no worker has said who it is")
    }

    async fn gone(id: u32) -> bool {
        for _ in 0..500 {
            if Process::of(id).is_none_or(|process| !process.is_alive()) {
                return true;
            }
            sleep(POLL).await;
        }
        false
    }

    #[tokio::test]
    async fn a_server_that_is_dropped_takes_its_workers_with_it() {
        let folder = Folder::new().unwrap();
        let server = Server::start(&folder, "long", long()).unwrap();
        let worker = worker(&folder).await;
        drop(server);
        assert!(gone(worker).await);
    }

    #[tokio::test]
    async fn servers_and_data_do_not_outlive_a_program_that_dies() {
        let mut folder = Folder::new().unwrap();
        let mut server = Server::start(&folder, "long", long()).unwrap();
        let (worker, path) = (worker(&folder).await, folder.dir.path().to_owned());
        // As the kernel does when the program is killed.
        drop(folder.guard.stdin.take());
        assert!(gone(worker).await);
        assert!(server.check().is_err());
        for _ in 0..500 {
            if !path.exists() {
                return;
            }
            sleep(POLL).await;
        }
        panic!("{} is still there", path.display());
    }
}
