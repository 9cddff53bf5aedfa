//! What is measured: each is set up once, and started and stopped at its turns on the same data. Must not know loads.

pub mod bare;
pub mod etcd;
pub mod nginx;
pub mod ours;
pub mod postgres;
pub mod redis;

use std::{fmt, path::PathBuf, sync::Arc};

use anyhow::Context;
use serde::Serialize;

use crate::process::{Folder, find};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The disk below all of them.
    Disk,
    /// Three catalogs, two order servers, one front end.
    Ours,
    /// axum, answering the bytes of our cached lookup, and nothing else.
    Bare,
    /// nginx in front of `Bare`, answering from its cache.
    Nginx,
    /// etcd with three members.
    Etcd,
    /// PostgreSQL with one synchronous standby.
    Postgres,
    /// Redis with its log on disk before each answer, and a replica.
    Redis,
}

impl Kind {
    /// All, in the order of their turns.
    pub const ALL: [Self; 7] =
        [Self::Disk, Self::Ours, Self::Bare, Self::Nginx, Self::Etcd, Self::Postgres, Self::Redis];

    /// What of it is not installed, as Debian calls it.
    pub fn missing(self) -> Option<&'static str> {
        let there = |programs: &[&str]| programs.iter().all(|program| find(program).is_some());
        match self {
            Self::Disk | Self::Ours | Self::Bare => None,
            Self::Nginx => (!there(&["nginx"])).then_some("nginx-light"),
            Self::Etcd => (!there(&["etcd"])).then_some("etcd-server"),
            Self::Postgres => (!there(&["pgbench"]) || postgres::programs().is_none()).then_some("postgresql"),
            Self::Redis => {
                (!there(&["redis-server", "redis-cli", "redis-benchmark"])).then_some("redis-server and redis-tools")
            }
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disk => "disk",
            Self::Ours => "ours",
            Self::Bare => "bare",
            Self::Nginx => "nginx",
            Self::Etcd => "etcd",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
        })
    }
}

/// All that were set up so far.
#[derive(Debug)]
pub struct Systems {
    /// All data.
    pub folder: Arc<Folder>,
    /// Where the programs `bare` and `loadgen` are.
    pub programs: PathBuf,
    /// See [`Kind::Ours`]. First, so that its processes are gone first.
    pub ours: Option<ours::Ours>,
    /// See [`Kind::Bare`].
    pub bare: Option<bare::Bare>,
    /// See [`Kind::Nginx`].
    pub nginx: Option<nginx::Nginx>,
    /// See [`Kind::Etcd`].
    pub etcd: Option<etcd::Etcd>,
    /// See [`Kind::Postgres`].
    pub postgres: Option<postgres::Postgres>,
    /// See [`Kind::Redis`].
    pub redis: Option<redis::Redis>,
}

/// Sets a system up, unless it is, and returns it.
macro_rules! set_up {
    ($place:expr, $make:expr) => {
        match &mut $place {
            Some(there) => there,
            none => none.insert($make),
        }
    };
}

/// Stops a system that was set up.
macro_rules! stop {
    ($place:expr) => {
        match &mut $place {
            Some(there) => there.stop().await,
            None => Ok(()),
        }
    };
}

impl Systems {
    /// None yet.
    pub fn new(folder: Folder, programs: PathBuf) -> Self {
        let folder = Arc::new(folder);
        Self { folder, programs, ours: None, bare: None, nginx: None, etcd: None, postgres: None, redis: None }
    }

    /// Sets a system up if need be, starts it, and waits until it serves.
    ///
    /// # Errors
    /// When it does not.
    pub async fn start(&mut self, kind: Kind) -> anyhow::Result<()> {
        let folder = self.folder.clone();
        match kind {
            Kind::Disk => Ok(()),
            Kind::Ours => match &self.ours {
                Some(ours) => ours.start().await,
                None => {
                    self.ours = Some(ours::Ours::set_up().await);
                    Ok(())
                }
            },
            Kind::Bare => {
                let page = self.page().await?;
                set_up!(self.bare, bare::Bare::set_up(folder, &self.programs, &page)?).start().await
            }
            Kind::Nginx => {
                let page = self.page().await?;
                let bare = set_up!(self.bare, bare::Bare::set_up(folder.clone(), &self.programs, &page)?);
                bare.start().await?;
                let nginx = set_up!(self.nginx, nginx::Nginx::set_up(folder, bare.address())?);
                nginx.start().await?;
                // From now on only its cache can answer.
                bare.stop().await
            }
            Kind::Etcd => set_up!(self.etcd, etcd::Etcd::set_up(folder)?).start().await,
            Kind::Postgres => set_up!(self.postgres, postgres::Postgres::set_up(folder).await?).start().await,
            Kind::Redis => set_up!(self.redis, redis::Redis::set_up(folder)?).start().await,
        }
    }

    /// Stops a system, whose data stays.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop(&mut self, kind: Kind) -> anyhow::Result<()> {
        match kind {
            Kind::Disk => Ok(()),
            Kind::Ours => stop!(self.ours),
            Kind::Bare => stop!(self.bare),
            Kind::Nginx => {
                // It runs only if nginx could not be started.
                stop!(self.bare)?;
                stop!(self.nginx)
            }
            Kind::Etcd => stop!(self.etcd),
            Kind::Postgres => stop!(self.postgres),
            Kind::Redis => stop!(self.redis),
        }
    }

    /// A cached lookup as our front end answers it.
    async fn page(&mut self) -> anyhow::Result<ours::Page> {
        if self.ours.is_none() {
            self.ours.insert(ours::Ours::set_up().await).stop().await?;
        }
        self.ours.as_ref().map(|ours| ours.page.clone()).context("our cluster was not set up")
    }
}
