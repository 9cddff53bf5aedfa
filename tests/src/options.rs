//! What a test wants of its cluster: how many servers of each kind, and the knobs of the layout.

use std::fmt::Write;

use anyhow::Context;

/// A cluster to bring up. The default is that of layout 4: three catalogs, two order servers, one front end, and
/// every knob at its default.
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) catalogs: u64,
    pub(crate) orders: u64,
    pub(crate) frontends: u64,
    pub(crate) items: Option<String>,
    pub(crate) proxied: bool,
    pub(crate) quiet: bool,
    settings: Vec<(&'static str, String)>,
    raft: Vec<(&'static str, u64)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            catalogs: 3,
            orders: 2,
            frontends: 1,
            items: None,
            proxied: false,
            quiet: false,
            settings: Vec::new(),
            raft: Vec::new(),
        }
    }
}

impl Options {
    /// As layout 4.
    pub fn new() -> Self {
        Self::default()
    }

    /// As layout 2: one server of each kind.
    pub fn single() -> Self {
        Self { catalogs: 1, orders: 1, ..Self::default() }
    }

    /// How many replicas of the catalog.
    #[must_use]
    pub fn catalogs(mut self, count: u64) -> Self {
        self.catalogs = count;
        self
    }

    /// How many order servers.
    #[must_use]
    pub fn orders(mut self, count: u64) -> Self {
        self.orders = count;
        self
    }

    /// How many front ends.
    #[must_use]
    pub fn frontends(mut self, count: u64) -> Self {
        self.frontends = count;
        self
    }

    /// A knob of the layout's top level with its value as TOML: `set("cache", false)`, `set("deadline_ms", 2000)`.
    #[must_use]
    pub fn set(mut self, name: &'static str, value: impl ToString) -> Self {
        self.settings.push((name, value.to_string()));
        self
    }

    /// A knob of the table `raft`: `raft("snapshot_entries", 200)`.
    #[must_use]
    pub fn raft(mut self, name: &'static str, value: u64) -> Self {
        self.raft.push((name, value));
        self
    }

    /// The first items as CSV text, with its header.
    #[must_use]
    pub fn items_csv(mut self, text: impl Into<String>) -> Self {
        self.items = Some(text.into());
        self
    }

    /// With a network in the harness's hands: `TestCluster::net`.
    #[must_use]
    pub fn proxied(mut self) -> Self {
        self.proxied = true;
        self
    }

    /// Without the steps of the story on standard output.
    #[must_use]
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// How many addresses the layout needs.
    pub(crate) fn address_count(&self) -> usize {
        let proxies = if self.proxied { self.catalogs + self.orders } else { 0 };
        usize::try_from(2 * self.catalogs + self.orders + self.frontends + proxies).expect("a handful of servers")
    }

    /// The layout as TOML, its servers at `addresses`. `items` is the file that holds the items, if there is one.
    pub(crate) fn toml(&self, cluster: &str, items: Option<&str>, addresses: &[String]) -> anyhow::Result<String> {
        let mut next = addresses.iter();
        let mut next = || next.next().context("too few addresses");
        let mut text = format!("cluster = \"{cluster}\"\n");
        if let Some(items) = items {
            writeln!(text, "items = \"{items}\"")?;
        }
        for (name, value) in &self.settings {
            writeln!(text, "{name} = {value}")?;
        }
        text.push_str("[raft]\n");
        for (name, value) in &self.raft {
            writeln!(text, "{name} = {value}")?;
        }
        for id in 1..=self.catalogs {
            writeln!(text, "[[catalog]]\nid = {id}\nclient = \"{}\"\npeer = \"{}\"", next()?, next()?)?;
            if self.proxied {
                writeln!(text, "listen_peer = \"{}\"", next()?)?;
            }
        }
        for (kind, count) in [("order", self.orders), ("frontend", self.frontends)] {
            for id in 1..=count {
                writeln!(text, "[[{kind}]]\nid = {id}\naddress = \"{}\"", next()?)?;
                if self.proxied && kind == "order" {
                    writeln!(text, "listen = \"{}\"", next()?)?;
                }
            }
        }
        Ok(text)
    }
}
