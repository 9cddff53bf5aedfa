//! Servers in containers, one Compose project of `compose.yaml`: brought up and down, stopped, killed, cut off, and found
//! at their addresses. `make compose-up` and the tests go through here. Must not know what a server answers.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use crate::{CatalogNode, Layout, launch};

/// The network on which replicas meet, as `compose.yaml` names it.
pub const PEERS: &str = "peers";
/// The project whose containers have the names of their servers; those of others have the project's before it.
pub const PROJECT: &str = "catalog-store";
/// The layout of `compose.yaml`, beside it.
const LAYOUT: &str = "deploy/compose.toml";
/// What the containers of all projects answer with, inside.
const FRONT_PORT: &str = "35303/tcp";

/// A Compose project.
#[derive(Debug, Clone)]
pub struct Compose {
    /// Its name; containers and networks carry it.
    pub project: String,
    file: PathBuf,
    tag: String,
    /// Where clients find the front end, `host:port` of this machine.
    pub publish: String,
}

/// A container, as `docker inspect` tells.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    config: Config,
    network_settings: NetworkSettings,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    networks: BTreeMap<String, Endpoint>,
    ports: BTreeMap<String, Option<Vec<Published>>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    #[serde(rename = "IPAddress")]
    address: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Published {
    host_ip: String,
    host_port: String,
}

/// Why no containers can be run here, if so.
pub fn lacking() -> Option<String> {
    match run(Command::new("docker").args(["version", "--format", "{{.Server.Version}}"])) {
        Ok(_) => compose().err().map(|error| error.to_string()),
        Err(error) => Some(format!("no Docker Engine answers: {error:#}")),
    }
}

impl Compose {
    /// The project `project` of the compose file `file`, of images tagged `tag`; clients find the front end at `publish`,
    /// `host:port` of this machine.
    pub fn new(file: &Path, project: &str, tag: &str, publish: &str) -> Self {
        Self { project: project.into(), file: file.into(), tag: tag.into(), publish: publish.into() }
    }

    /// The layout, with the names that containers have for one another.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn layout(&self) -> anyhow::Result<Layout> {
        let path = self.file.parent().unwrap_or(Path::new("")).join(LAYOUT);
        Ok(Layout::load(path.to_str().context("the path of the compose file must be UTF-8")?)?)
    }

    /// Starts those of `services` that do not run, all if there are none; makes what is missing of them. Does not wait.
    ///
    /// # Errors
    /// With what Compose said; so below.
    pub fn up(&self, services: &[&str]) -> anyhow::Result<()> {
        self.compose(&[&["up", "--detach", "--no-build"], services].concat())
    }

    /// Removes containers and networks, gracefully; the volumes with the data too, if so.
    ///
    /// # Errors
    /// As of [`Compose::up`].
    pub fn down(&self, with_volumes: bool) -> anyhow::Result<()> {
        self.compose(if with_volumes { &["down", "--volumes"] } else { &["down"] })
    }

    /// Runs another command of Compose: `stop`, `start`.
    ///
    /// # Errors
    /// As of [`Compose::up`].
    pub fn compose(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let mut command = compose()?;
        command.arg("-f").arg(&self.file).args(["-p", &self.project]).args(arguments);
        let prefix = if self.project == PROJECT { String::new() } else { format!("{}-", self.project) };
        command.env("TAG", &self.tag).env("PUBLISH", &self.publish).env("PREFIX", prefix);
        run(&mut command).map(drop)
    }

    /// SIGKILL of a service's container, which stays down until it is started.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&self, service: &str) -> anyhow::Result<()> {
        docker(&["kill", &self.id(service)?]).map(drop)
    }

    /// Starts a service's container again.
    ///
    /// # Errors
    /// When there is none.
    pub fn start(&self, service: &str) -> anyhow::Result<()> {
        docker(&["start", &self.id(service)?]).map(drop)
    }

    /// Removes a service's container, however it is; its volume stays.
    ///
    /// # Errors
    /// When there is none.
    pub fn remove(&self, service: &str) -> anyhow::Result<()> {
        docker(&["rm", "--force", &self.id(service)?]).map(drop)
    }

    /// Takes a service off the network on which replicas meet.
    ///
    /// # Errors
    /// When it is not on it.
    pub fn cut(&self, service: &str) -> anyhow::Result<()> {
        docker(&["network", "disconnect", &self.network(PEERS), &self.id(service)?]).map(drop)
    }

    /// Puts a service on that network again, under its name.
    ///
    /// # Errors
    /// When it is on it.
    pub fn heal(&self, service: &str) -> anyhow::Result<()> {
        docker(&["network", "connect", "--alias", service, &self.network(PEERS), &self.id(service)?]).map(drop)
    }

    /// `layout` with every server at the address at which this machine finds its container, the front end at the one that
    /// clients use. What does not run keeps the address that it has in `layout`.
    ///
    /// # Errors
    /// When the engine does not tell.
    pub fn seen_from_here(&self, mut layout: Layout) -> anyhow::Result<Layout> {
        let found = self.inspect()?;
        let host = |service: &str, network: &str| {
            let endpoint = found.get(service)?.networks.get(&self.network(network))?;
            (!endpoint.address.is_empty()).then(|| endpoint.address.clone())
        };
        for CatalogNode { name, client, peer, listen_client, listen_peer, id, replaces: _ } in &mut layout.catalogs {
            let Some(host) = host(name, &format!("replica-{id}")) else { continue };
            for (shown, listen) in [(client, listen_client), (peer, listen_peer)] {
                *shown = moved(shown, &host);
                listen.clone_from(shown);
            }
        }
        for node in &mut layout.orders {
            let Some(host) = host(&node.name, "replica-1") else { continue };
            node.address = moved(&node.address, &host);
            node.listen.clone_from(&node.address);
        }
        for node in &mut layout.frontends {
            let published =
                found.get(&node.name).and_then(|container| container.ports.get(FRONT_PORT)?.as_ref()?.first());
            let Some(Published { host_ip, host_port }) = published else { continue };
            node.address = format!("{host_ip}:{host_port}");
            node.listen.clone_from(&node.address);
        }
        Ok(layout)
    }

    /// What a service has logged, its last lines.
    ///
    /// # Errors
    /// When there is no container.
    pub fn log_end(&self, service: &str, lines: usize) -> anyhow::Result<String> {
        let mut logs = Command::new("docker");
        logs.args(["logs", "--tail", &lines.to_string(), &self.id(service)?]).stdin(Stdio::null());
        // Servers log to standard error.
        let output = logs.output().with_context(|| format!("cannot run {logs:?}"))?;
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// The id of a service's container, whether it runs or not.
    ///
    /// # Errors
    /// When there is none.
    pub fn id(&self, service: &str) -> anyhow::Result<String> {
        let label = format!("label=com.docker.compose.service={service}");
        let ids = docker(&["ps", "-a", "-q", "--no-trunc", "-f", &self.label(), "-f", &label])?;
        let id = ids.split_whitespace().next();
        Ok(id.with_context(|| format!("there is no container of {service} in {}", self.project))?.to_owned())
    }

    fn inspect(&self) -> anyhow::Result<BTreeMap<String, NetworkSettings>> {
        let ids = docker(&["ps", "-q", "-f", &self.label()])?;
        let ids: Vec<&str> = ids.split_whitespace().collect();
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let told = docker(&[&["inspect"], ids.as_slice()].concat())?;
        let containers: Vec<Inspected> = serde_json::from_str(&told).context("docker inspect has another shape")?;
        let named = containers.into_iter().filter_map(|container| {
            let service = container.config.labels.get("com.docker.compose.service")?;
            Some((service.clone(), container.network_settings))
        });
        Ok(named.collect())
    }

    fn label(&self) -> String {
        format!("label=com.docker.compose.project={}", self.project)
    }

    fn network(&self, name: &str) -> String {
        format!("{}_{name}", self.project)
    }
}

/// A free `host:port` of this machine for a front end.
///
/// # Errors
/// When there is none.
pub fn free_address() -> anyhow::Result<String> {
    launch::free_addresses(1)?.pop().context("no free port")
}

/// `host` with the port of `address`.
fn moved(address: &str, host: &str) -> String {
    let port = address.rsplit_once(':').map_or("", |(_, port)| port);
    format!("{host}:{port}")
}

/// Compose, as the engine's plugin or as a program of its own.
fn compose() -> anyhow::Result<Command> {
    let mut plugin = Command::new("docker");
    plugin.arg("compose");
    if run(Command::new("docker").args(["compose", "version"])).is_ok() {
        return Ok(plugin);
    }
    ensure!(
        run(Command::new("docker-compose").arg("version")).is_ok(),
        "neither docker compose nor docker-compose is here: install one (Debian: docker-compose)"
    );
    Ok(Command::new("docker-compose"))
}

fn docker(arguments: &[&str]) -> anyhow::Result<String> {
    run(Command::new("docker").args(arguments))
}

/// What a command printed.
fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
