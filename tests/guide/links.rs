//! Links between the pages of the repository lead to files that are there, and to headings that those have. Must not know
//! what pages say.

use crate::{file, read};

/// The pages.
const PAGES: [&str; 11] = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "docs/http.md",
    "docs/catalogctl.md",
    "docs/questions.md",
    "docs/operating.md",
    "docs/metrics.md",
    "docs/benchmarks.md",
    "docs/growth.md",
    "tests/README.md",
];

/// Where a page's links lead: `[text](target)`, pictures too.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.trim()).collect()
}

/// What a forge makes of the headings of a page.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let anchor = |heading: &str| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

/// What is wrong with a link of `page`.
fn broken(page: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
    let name = if path.is_empty() { page.to_owned() } else { format!("{folder}/{path}") };
    if !file(name.trim_start_matches('/')).exists() {
        return Some(format!("{page}: {target}: there is no such file"));
    }
    let has = |text: &str| anchors(text).iter().any(|known| known == anchor);
    let missing = !anchor.is_empty() && !has(&read(name.trim_start_matches('/')));
    missing.then(|| format!("{page}: {target}: there is no such heading"))
}

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    for page in PAGES {
        wrong.extend(links(&read(page)).into_iter().filter_map(|target| broken(page, target)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let first = links(&read("README.md")).len();
    assert!(first > 10, "only {first} links were found in the README");
}

#[test]
fn a_broken_link_is_found() {
    assert_eq!(links("a [b](c) ![d](e/f.png) [g]( h#i )"), ["c", "e/f.png", "h#i"]);
    assert_eq!(
        anchors("# One two\ntext\n## `GET /v1/items`: pages, and more"),
        ["one-two", "get-v1items-pages-and-more"]
    );
    assert_eq!(broken("README.md", "https://www.apache.org/"), None);
    assert_eq!(broken("docs/growth.md", "growth.md"), None);
    assert_eq!(broken("tests/README.md", "../docs/growth.md"), None);
    assert!(broken("README.md", "docs/nothing.md").is_some());
    assert!(broken("README.md", "docs/growth.md#no-such-heading").is_some());
}
