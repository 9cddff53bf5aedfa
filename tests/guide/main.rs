//! The guide's examples, run as a reader would run them: each `$ command` of `docs/http.md` and of the README's tour goes to a
//! shell, in order, on a cluster that has just come up, and must print what the page shows below it.
//!
//! Without curl these tests say so by name and are skipped. Links of all pages lead somewhere, with or without curl.

mod links;
mod matching;
mod page;
mod shell;
mod tour;

use std::path::PathBuf;

use page::Page;
use shell::Shell;
use tests::{Options, TestCluster};

/// A file of the repository.
fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Whether there is curl; if not, a line that says so.
fn has_curl(test: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has = std::env::split_paths(&path).any(|folder| folder.join("curl").is_file());
    if !has {
        println!("SKIPPED {test}: curl is not installed; apt-get install curl");
    }
    has
}

/// The text of a page with the addresses of the default layout replaced by those of `cluster`, in answers too.
fn at(cluster: &TestCluster, text: &str) -> String {
    let default = file("cluster-config/config_4.toml");
    let default = cluster_config::Layout::load(default.to_str().expect("a path that is text")).expect("layout 4");
    let [one, other] = [&default, &cluster.cluster.layout].map(|layout| {
        let catalogs = layout.catalogs.iter().map(|node| node.client.clone());
        let orders = layout.orders.iter().map(|node| node.address.clone());
        catalogs.chain(orders).chain(layout.frontends.iter().map(|node| node.address.clone())).collect::<Vec<_>>()
    });
    assert_eq!(one.len(), other.len(), "the page is about a cluster like layout 4");
    // By way of names, since a free port may be one of those that are still to be replaced.
    let named = |n: usize| format!("<node {n}>");
    let text = one.iter().enumerate().fold(text.to_owned(), |text, (n, address)| {
        let port = address.rsplit(':').next().expect("an address has a port");
        text.replace(&format!("localhost:{port}"), &named(n)).replace(address, &named(n))
    });
    other.iter().enumerate().fold(text, |text, (n, address)| text.replace(&named(n), address))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_example_of_the_guide_answers_what_the_page_shows() {
    const NAME: &str = "docs/http.md";
    let text = read(NAME);
    let commands = Page::parse(NAME, &text).expect(NAME).examples.len();
    assert!(commands >= 40, "only {commands} examples were found in {NAME}");
    if !has_curl("each_example_of_the_guide_answers_what_the_page_shows") {
        return;
    }
    // A machine that stops for a second must not make a hit of the page a miss.
    let cluster = TestCluster::start("guide", Options::new().set("freshness_ms", 30_000).quiet()).await;
    let page = Page::parse(NAME, &at(&cluster, &text)).expect(NAME);
    let shell = Shell::new("");
    let mut wrong = Vec::new();
    let mut ran = 0;
    for example in &page.examples {
        let printed = shell.run(&example.command).await;
        println!("{example}{printed}");
        if let Err(why) = matching::matches(&example.expected, &printed) {
            wrong.push(format!("{NAME}:{}: {}\n{why}", example.line, example.command));
        }
        ran += 1;
    }
    assert_eq!(
        ran,
        text.lines().filter(|line| line.starts_with("$ ")).count(),
        "each command that the page shows is run"
    );
    assert!(wrong.is_empty(), "{} of {ran} examples are wrong:\n\n{}", wrong.len(), wrong.join("\n\n"));
}
