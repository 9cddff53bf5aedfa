//! The README's tour and the page of `catalogctl`, walked: `make` commands do what the Makefile has them do, on a cluster of
//! the test's own.

use tests::{Options, TestCluster};

use crate::{at, has_curl, matching, page::Page, read, shell::Shell};

/// Who leads when the README's tour begins.
const LEADER: &str = "catalog-1";
/// Times that another leader is asked to hand over, until it is [`LEADER`].
const HAND_OVERS: usize = 20;

/// `make`, as far as the tour needs it: the program that is behind these targets, on the test's cluster.
fn make(cluster: &TestCluster) -> String {
    let built = tests::cluster::binaries().expect("built programs");
    let built = std::path::absolute(built).expect("a path").display().to_string();
    let (selector, run_dir) = (&cluster.cluster.selector, cluster.cluster.run_dir.display());
    format!(
        "make() {{\n  verb=$1 node=${{2#NODE=}}\n  [ \"$verb\" = up ] && node='--from {built}'\n  \
         '{built}/cluster-config' -c '{selector}' --run-dir '{run_dir}' \"$verb\" $node\n}}"
    )
}

async fn have_lead(cluster: &TestCluster) {
    for _ in 0..HAND_OVERS {
        let leader = cluster.leader().await;
        if leader == LEADER {
            return;
        }
        cluster.stop(&leader).await;
        cluster.restart(&leader).await;
    }
    panic!("{LEADER} does not come to lead");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tour_of_the_readme_goes_as_it_says() {
    const NAME: &str = "README.md";
    let text = read(NAME);
    let examples = Page::parse(NAME, &text).expect(NAME).examples;
    let position = |words: &str| examples.iter().position(|example| example.command.contains(words));
    let way = ["make up", "/buy/", "make kill NODE=leader", "make restart", "make status"].map(position);
    assert!(way.is_sorted() && way[0] == Some(0), "the tour is not found in {NAME}: {way:?}");
    if !has_curl("the_tour_of_the_readme_goes_as_it_says") {
        return;
    }
    let cluster = TestCluster::prepare("tour", &Options::new().quiet()).await;
    let page = Page::parse(NAME, &at(&cluster, &text)).expect(NAME);
    let shell = Shell::new(&make(&cluster));
    // The clone's folder as the reader has it: programs that `make up` installs are in `run/bin`.
    std::os::unix::fs::symlink(&cluster.cluster.run_dir, shell.folder().join("run")).expect("a link");
    for example in &page.examples {
        if example.command == "make status" {
            // A follower learns with the next heartbeat that an entry is committed.
            cluster.wait_equal_hashes().await;
        }
        let printed = shell.run(&example.command).await;
        println!("{example}{printed}");
        let compare = if example.command.starts_with("curl ") { matching::matches } else { matching::matches_figures };
        if let Err(why) = compare(&example.expected, &printed) {
            cluster.set_kept(true);
            panic!("{NAME}:{}: {}\n{why}", example.line, example.command);
        }
        if example.command == "make up" {
            have_lead(&cluster).await;
        }
    }
}

/// Its messages go to the standard error of a terminal, and are on the page.
fn catalogctl(cluster: &TestCluster) -> String {
    let built = std::path::absolute(tests::cluster::binaries().expect("built programs")).expect("a path");
    format!("catalogctl() {{ '{}/catalogctl' -c '{}' \"$@\" 2>&1; }}", built.display(), cluster.cluster.selector)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_example_of_catalogctl_prints_what_the_page_shows() {
    const NAME: &str = "docs/catalogctl.md";
    let cluster = TestCluster::start("catalogctl", Options::new().quiet()).await;
    let page = Page::parse(NAME, &at(&cluster, &read(NAME))).expect(NAME);
    assert!(page.examples.len() > 8, "the examples of {NAME} are not found");
    let shell = Shell::new(&catalogctl(&cluster));
    for example in &page.examples {
        if example.command == "catalogctl status" {
            cluster.wait_equal_hashes().await;
        }
        let printed = shell.run(&example.command).await;
        println!("{example}{printed}");
        if let Err(why) = matching::matches_figures(&example.expected, &printed) {
            cluster.set_kept(true);
            panic!("{NAME}:{}: {}\n{why}", example.line, example.command);
        }
    }
}
