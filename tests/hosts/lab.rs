//! Hosts on one machine: each a network namespace with addresses of its own, all on one bridge, which has a namespace of its
//! own too: nothing of them is seen outside. Must not know what runs on them.

use std::{
    ffi::OsStr,
    fs::File,
    os::{fd::AsFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::guard::Guard;

/// The switch's own name among the hosts.
const SWITCH: &str = "switch";
/// Lines of each log that a failed test prints.
const LOG_LINES: usize = 20;
/// Ends what runs in the namespaces `$1-...`, and removes them, with what stands for their /etc, and the folder `$2`.
const REMOVE: &str = r#"for name in $(ip netns list | cut -d' ' -f1 | grep "^$1-"); do
    for pid in $(ip netns pids "$name"); do kill -9 "$pid"; done
    ip netns del "$name"
    rm -rf "/etc/netns/$name"
done
rm -rf "$2""#;

/// A network of hosts. Dropping it ends and removes all.
#[derive(Debug)]
pub struct Lab {
    prefix: String,
    folder: PathBuf,
    /// Whether hosts are cut off by a rule of their firewall, or by taking their link down.
    by_rule: AtomicBool,
    _guard: Guard,
}

/// A program on a host. Dropping it kills it.
#[derive(Debug)]
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// Why there can be no hosts here, if so.
pub fn lacking() -> Option<String> {
    static LACKING: OnceLock<Option<String>> = OnceLock::new();
    LACKING.get_or_init(look).clone()
}

fn look() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("network namespaces need root".to_owned());
    }
    let name = format!("cs-look-{}", std::process::id());
    let made = ip(&["netns", "add", &name]).and_then(|()| ip(&["netns", "del", &name]));
    made.err().map(|why| format!("no network namespaces: {why}"))
}

impl Lab {
    /// Hosts of these names with these addresses, `address/length`, in IPv4 and IPv6.
    pub fn new(hosts: &[(&str, &[&str])]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("cs{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = tempfile::Builder::new().prefix("catalog-hosts-").tempdir().expect("a folder").keep();
        let guard = Guard::new(REMOVE, &[&prefix, folder.to_str().expect("its name is text")]);
        let lab = Self { by_rule: AtomicBool::new(true), prefix, folder, _guard: guard };
        let switch = lab.namespace(SWITCH);
        do_ip(&["netns", "add", &switch]);
        do_ip(&["-n", &switch, "link", "add", "br0", "type", "bridge"]);
        do_ip(&["-n", &switch, "link", "set", "br0", "up"]);
        for (at, (host, addresses)) in hosts.iter().enumerate() {
            let (name, port) = (lab.namespace(host), format!("port{at}"));
            do_ip(&["netns", "add", &name]);
            do_ip(&["link", "add", "eth0", "netns", &name, "type", "veth", "peer", "name", &port, "netns", &switch]);
            do_ip(&["-n", &switch, "link", "set", &port, "master", "br0", "up"]);
            do_ip(&["-n", &name, "link", "set", "lo", "up"]);
            for address in *addresses {
                // An address that is still being looked for elsewhere cannot be bound.
                let now: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
                do_ip(&[&["-n", name.as_str(), "address", "add", address, "dev", "eth0"], now].concat());
            }
            do_ip(&["-n", &name, "link", "set", "eth0", "up"]);
        }
        lab
    }

    /// What `/etc/hosts` says on a host.
    pub fn set_names(&self, host: &str, names: &str) {
        let folder = Path::new("/etc/netns").join(self.namespace(host));
        std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::write(folder.join("hosts"), format!("127.0.0.1 localhost\n{names}")))
            .expect("/etc can be written");
    }

    /// The folder that a host has for itself.
    pub fn folder(&self, host: &str) -> PathBuf {
        let folder = self.folder.join(host);
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    /// Starts a program on a host, in the host's folder, what it prints in the file `out` there.
    pub fn start<S: AsRef<OsStr>>(&self, host: &str, program: &Path, arguments: &[S]) -> Running {
        let folder = self.folder(host);
        let output = File::options().create(true).append(true).open(folder.join("out")).expect("a file");
        let child = Command::new("ip")
            .args(["netns", "exec", &self.namespace(host)])
            .arg(program)
            .args(arguments)
            .current_dir(&folder)
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a descriptor"))
            .stderr(output)
            .process_group(0)
            .spawn();
        Running(child.expect("ip was there a moment ago"))
    }

    /// What a program on a host prints, and whether it ended well.
    pub fn output<S: AsRef<OsStr>>(&self, host: &str, program: &Path, arguments: &[S]) -> (bool, String) {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(host)]).arg(program).args(arguments);
        let output = command.env_remove("RUST_BACKTRACE").output().expect("ip was there a moment ago");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// Drops all that a host sends and is sent, by rules of its firewall; where the kernel has none, takes its link down.
    pub fn cut(&self, host: &str) {
        let rule = |table: &str, chain: &str, flag: &str| {
            let namespace = self.namespace(host);
            ip(&["netns", "exec", &namespace, table, "-w", "-I", chain, "!", flag, "lo", "-j", "DROP"])
        };
        let both = |table: &str| rule(table, "INPUT", "-i").and_then(|()| rule(table, "OUTPUT", "-o"));
        if let Err(why) = both("iptables").and_then(|()| both("ip6tables")) {
            println!("no firewall here ({why}): the link of {host} goes down instead");
            self.by_rule.store(false, Ordering::Relaxed);
            self.link(host, "down");
        }
    }

    /// Undoes [`Lab::cut`].
    pub fn heal(&self, host: &str) {
        if !self.by_rule.load(Ordering::Relaxed) {
            return self.link(host, "up");
        }
        for table in ["iptables", "ip6tables"] {
            do_ip(&["netns", "exec", &self.namespace(host), table, "-w", "-F"]);
        }
    }

    fn link(&self, host: &str, state: &str) {
        do_ip(&["-n", &self.namespace(host), "link", "set", "eth0", state]);
    }

    /// Runs `story` on a host: all its connections are that host's.
    pub fn run_on<T: Send>(&self, host: &str, story: impl Future<Output = T> + Send) -> T {
        let namespace = File::open(Path::new("/run/netns").join(self.namespace(host))).expect("the host's namespace");
        let enter = |namespace: &File| {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may enter");
        };
        std::thread::scope(|scope| {
            let runs = scope.spawn(|| {
                enter(&namespace);
                let mut runtime = tokio::runtime::Builder::new_multi_thread();
                runtime.worker_threads(2).enable_all();
                let of_workers = namespace.try_clone().expect("a descriptor");
                runtime.on_thread_start(move || enter(&of_workers));
                runtime.build().expect("a runtime").block_on(story)
            });
            runs.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// What the servers of a host have logged, and what they printed.
    pub fn log(&self, host: &str) -> String {
        let logs = std::fs::read_dir(self.folder(host).join("run")).into_iter().flatten().flatten();
        let logs = logs.map(|file| file.path()).filter(|path| path.extension().is_some_and(|end| end == "log"));
        let files = logs.chain([self.folder(host).join("out")]);
        files.map(|path| std::fs::read_to_string(path).unwrap_or_default()).collect()
    }

    fn namespace(&self, host: &str) -> String {
        format!("{}-{host}", self.prefix)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for host in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = host.file_name().to_string_lossy().into_owned();
            let log = self.log(&name);
            let lines: Vec<&str> = log.lines().collect();
            println!("--- the end of the log of {name} ---");
            lines[lines.len().saturating_sub(LOG_LINES)..].iter().for_each(|line| println!("{line}"));
        }
    }
}

fn do_ip(arguments: &[&str]) {
    ip(arguments).unwrap_or_else(|why| panic!("{why}"));
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    match Command::new("ip").args(arguments).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("ip: {error}; Debian has it in iproute2")),
    }
}
