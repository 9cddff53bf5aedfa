//! Which cluster is meant: a layout, addresses of front ends, what the environment says, the one that runs here, else
//! layout 4; in this order.
//!
//! Must not know what is asked of it.

use std::{path::Path, time::Duration};

use clap::Args;
use cluster_config::{Layout, place};
use reqwest::Url;

use crate::failure::Failure;

/// The variables that name the cluster when the command line does not.
pub const ADDRESS: &str = "CATALOG_STORE_ADDRESS";
/// As [`ADDRESS`]; servers read this one too.
pub const CONFIG: &str = "CATALOG_STORE_CONFIG";
/// A layout where nothing is said, and nothing runs.
const DEFAULT_LAYOUT: &str = "4";
/// How long a front end whose layout is not known is waited for: its own deadline is 5 s by default.
const PATIENCE: Duration = Duration::from_secs(6);
/// What it may take beyond its deadline.
const GRACE: Duration = Duration::from_secs(1);

/// What the command line says about it.
#[derive(Debug, Clone, Args)]
pub struct Named {
    /// The layout: a number N for cluster-config/config_N.toml, or a path [else --address, else the environment's
    /// CATALOG_STORE_ADDRESS or CATALOG_STORE_CONFIG, else the cluster that runs here, else 4]
    #[arg(short = 'c', long = "config", global = true, value_name = "N|PATH")]
    pub config: Option<String>,
    /// Front ends, as host:port or http://host:port; given several, the next is tried when one is down
    #[arg(short = 'a', long, global = true, value_name = "ADDRESS", value_delimiter = ',')]
    pub address: Vec<String>,
    /// Where a cluster that `make up` has started on this machine keeps its data
    #[arg(long, global = true, value_name = "FOLDER", default_value = "run")]
    pub run_dir: std::path::PathBuf,
}

/// The cluster.
#[derive(Debug, Clone)]
pub struct Place {
    /// Front ends, as `http://host:port`, at least one.
    pub fronts: Vec<String>,
    /// The layout, where one is known.
    pub layout: Option<Layout>,
    /// How long one try at a front end may take.
    pub patience: Duration,
    /// What to name it by in a message: `layout 4`, `10.0.0.1:35303`.
    pub name: String,
}

impl Named {
    /// The cluster that is meant, given the environment.
    ///
    /// # Errors
    /// Usage: what names it names none.
    pub fn find(&self, environment: impl Fn(&str) -> Option<String>) -> Result<Place, Failure> {
        let variable = |name| environment(name).filter(|value| !value.trim().is_empty());
        if let Some(config) = &self.config {
            // Not clap's to see: one may stand before the command, and the other behind it.
            if !self.address.is_empty() {
                return Err(Failure::usage("the store is named twice, by --config and by --address: give one of them"));
            }
            return of_layout(config);
        }
        if !self.address.is_empty() {
            return of_addresses(&self.address);
        }
        if let Some(addresses) = variable(ADDRESS) {
            let addresses: Vec<String> = addresses.split(',').map(str::to_owned).collect();
            return of_addresses(&addresses);
        }
        match variable(CONFIG) {
            Some(config) => of_layout(&config),
            None => of_layout(&running(&self.run_dir)?),
        }
    }
}

fn running(run_dir: &Path) -> Result<String, Failure> {
    let selector = place::selector(run_dir).map_err(|error| Failure::usage(format_args!("{error:#}")))?;
    Ok(selector.unwrap_or_else(|| DEFAULT_LAYOUT.to_owned()))
}

fn of_layout(selector: &str) -> Result<Place, Failure> {
    let layout = Layout::load(selector).map_err(Failure::usage)?;
    let fronts: Vec<String> = layout.frontends.iter().map(|node| format!("http://{}", node.address)).collect();
    if fronts.is_empty() {
        return Err(Failure::usage(format_args!(
            "layout {selector} has no front end: add a [[frontend]] to it, or name one by --address host:port"
        )));
    }
    let patience = layout.deadline + GRACE;
    Ok(Place { fronts, patience, layout: Some(layout), name: format!("layout {selector}") })
}

fn of_addresses(addresses: &[String]) -> Result<Place, Failure> {
    let fronts = addresses.iter().map(|address| front(address.trim())).collect::<Result<Vec<_>, _>>()?;
    Ok(Place { fronts, layout: None, patience: PATIENCE, name: addresses.join(", ") })
}

/// `http://host:port` of an address, without a slash at its end.
fn front(address: &str) -> Result<String, Failure> {
    let wrong = |why: &str| Failure::usage(format_args!("`{address}` {why}; write host:port, as in 127.0.0.1:35303"));
    if address.starts_with("https://") {
        return Err(wrong("asks for TLS, which front ends do not speak"));
    }
    let rest = address.strip_prefix("http://");
    let text = format!("http://{}", rest.unwrap_or(address).trim_end_matches('/'));
    let url = Url::parse(&text).map_err(|_| wrong("is no address of a front end"))?;
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
        return Err(wrong("is no address of a front end"));
    }
    // Of a URL the port may be left out, and is 80 then.
    if rest.is_none() && (url.port().is_none() && !text.ends_with(":80") || url.path() != "/") {
        return Err(wrong("has no port"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(config: Option<&str>, address: &[&str]) -> Named {
        let address = address.iter().map(|text| (*text).to_owned()).collect();
        Named { config: config.map(str::to_owned), address, run_dir: "/nowhere".into() }
    }

    #[test]
    fn the_command_line_comes_before_the_environment_and_addresses_there_before_layouts() {
        let both = |name: &str| Some(if name == ADDRESS { "h:1, http://i:2/" } else { "3" }.to_owned());
        let only_config = |name: &str| (name == CONFIG).then(|| "3".to_owned());
        let fronts = |named: &Named, environment: &dyn Fn(&str) -> Option<String>| {
            named.find(environment).expect("a place").fronts.join(" ")
        };
        let layout_3 = fronts(&named(Some("3"), &[]), &|_| None);
        assert_eq!(fronts(&named(Some("4"), &[]), &both), "http://127.0.0.1:35303");
        assert_eq!(fronts(&named(None, &["a:9", "b:8"]), &both), "http://a:9 http://b:8");
        assert_eq!(fronts(&named(None, &[]), &both), "http://h:1 http://i:2");
        assert_eq!(fronts(&named(None, &[]), &only_config), layout_3);
        assert_eq!(fronts(&named(None, &[]), &|_| Some(String::new())), "http://127.0.0.1:35303");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in ["", "host", "https://host:1", "host:port", "http://", "a b:1", "u@h:1", "host:1/path", "h:1?x"] {
            let error = named(None, &[bad]).find(|_| None).expect_err(bad);
            assert_eq!(error.status(), 2, "{bad}: {error:?}");
        }
        for (good, expected) in [
            ("[::1]:35303", "http://[::1]:35303"),
            ("http://h", "http://h"),
            ("http://h/store/", "http://h/store"),
            ("h:80", "http://h:80"),
        ] {
            assert_eq!(named(None, &[good]).find(|_| None).expect(good).fronts, [expected]);
        }
        assert_eq!(named(Some("4"), &["h:1"]).find(|_| None).expect_err("named twice").status(), 2);
        assert_eq!(named(Some("99"), &[]).find(|_| None).expect_err("no layout").status(), 2);
    }

    #[test]
    fn the_cluster_that_runs_here_is_the_one_that_is_meant() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("cluster.json"), r#"{"layout": "3"}"#).expect("a file");
        let here = Named { run_dir: folder.path().into(), ..named(None, &[]) };
        let expected = named(Some("3"), &[]).find(|_| None).expect("layout 3").fronts;
        assert_eq!(here.find(|_| None).expect("a place").fronts, expected);
    }
}
