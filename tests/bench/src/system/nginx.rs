//! nginx with `proxy_cache` in front of the bare server, tuned as its manual says: workers for all cores, long-lived
//! connections, open files kept, no access log. Must not know what is cached.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, ensure};
use cluster_config::launch::free_addresses;
use rustix::process::Signal;
use tests::Client;
use tokio::process::Command;

use super::{bare::accepts, ours::CACHED};
use crate::process::{Folder, Server, find};

/// nginx.
#[derive(Debug)]
pub struct Nginx {
    folder: Arc<Folder>,
    home: PathBuf,
    address: String,
    server: Option<Server>,
}

impl Nginx {
    /// Writes its configuration, with `behind` as what it caches.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn set_up(folder: Arc<Folder>, behind: &str) -> anyhow::Result<Self> {
        let address = free_addresses(1)?.remove(0);
        let home = folder.sub("nginx")?;
        folder.file("nginx/nginx.conf", &configuration(&address, behind))?;
        Ok(Self { folder, home, address, server: None })
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Starts it and has it cache the lookup.
    ///
    /// # Errors
    /// When it does not serve.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(find("nginx").context("nginx is not installed")?);
        command.arg("-p").arg(&self.home).args(["-c", "nginx.conf", "-e", "error.log"]);
        let server = self.server.insert(Server::start(&self.folder, "nginx", command)?);
        accepts(server, &self.address).await?;
        let http = Client::without_pool();
        let url = format!("http://{}/lookup/{CACHED}", self.address);
        http.get(&url).await.expect(200);
        let again = http.get(&url).await.expect(200);
        ensure!(again.header("x-cache") == Some("HIT"), "nginx does not cache: {again:?}");
        Ok(())
    }

    /// Stops it.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        match self.server.take() {
            Some(server) => server.stop(Signal::TERM).await,
            None => Ok(()),
        }
    }
}

fn configuration(address: &str, behind: &str) -> String {
    format!(
        "daemon off;
pid nginx.pid;
worker_processes auto;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    open_file_cache max=10000 inactive=1h;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    proxy_cache_path cache levels=1:2 keys_zone=items:16m inactive=1h use_temp_path=off;
    server {{
        listen {address} backlog=4096;
        location / {{
            proxy_pass http://{behind};
            proxy_cache items;
            proxy_cache_valid 200 1h;
            add_header X-Cache $upstream_cache_status;
        }}
    }}
}}
"
    )
}
