//! Rules of accessibility: those of axe-core where its file is to be had, and the main ones by hand in any case.

use std::path::PathBuf;

use serde_json::Value;

use crate::browser::Browser;

/// What is wrong by the main rules: each control has a name, each picture words or none; headings do not skip a level;
/// there are landmarks; ids are unique; nothing is wider than the screen.
const BY_HAND: &str = r#"
const wrong = [];
const seen = (element) => element.checkVisibility({visibilityProperty: true});
const named = (element) => element.getAttribute('aria-label') || element.getAttribute('aria-labelledby')
  || element.textContent.trim() || [...(element.labels ?? [])].some((label) => label.textContent.trim());
for (const control of document.querySelectorAll('a, button, input, select, textarea, [tabindex="0"]')) {
  if (seen(control) && !named(control)) wrong.push('no name: ' + control.outerHTML.slice(0, 120));
}
for (const picture of document.querySelectorAll('img:not([alt]), svg:not([aria-hidden]):not([aria-label])')) {
  if (seen(picture)) wrong.push('no words: ' + picture.outerHTML.slice(0, 120));
}
let level = 0;
for (const heading of [...document.querySelectorAll('h1, h2, h3, h4')].filter(seen)) {
  const its = Number(heading.tagName[1]);
  if (its > level + 1) wrong.push(`h${its} behind h${level}: ${heading.textContent}`);
  level = its;
}
if ([...document.querySelectorAll('h1')].filter(seen).length !== 1) wrong.push('not one h1');
for (const landmark of ['header', 'nav[aria-label]', 'main', 'footer']) {
  if (document.querySelectorAll(landmark).length < 1) wrong.push('no ' + landmark);
}
const ids = [...document.querySelectorAll('[id]')].map((element) => element.id);
ids.filter((id, index) => ids.indexOf(id) !== index).forEach((id) => wrong.push('twice: ' + id));
const wide = document.documentElement.scrollWidth - innerWidth;
if (wide > 0) wrong.push(`${wide} pixels wider than the screen`);
return wrong;
"#;

/// `AXE_JS`, which `make test` sets to where `.ci/page` has put the file.
fn axe() -> Option<String> {
    let path: PathBuf = std::env::var_os("AXE_JS")?.into();
    std::fs::read_to_string(path).ok()
}

/// Fails when a rule is broken by what the page shows now.
pub async fn are_kept(browser: &Browser, what: &str) {
    let wrong = browser.script(BY_HAND).await;
    assert_eq!(wrong, serde_json::json!([]), "{what}");
    let Some(axe) = axe() else {
        println!("SKIPPED axe-core's rules on {what}: its file is not here; .ci/page fetches it");
        return;
    };
    browser.script(&axe).await;
    let found = browser.script("return axe.run(document, {resultTypes: ['violations']}).then((found) => [found.passes.length, found.violations])").await;
    let violations = found[1].as_array().cloned().unwrap_or_default();
    let brief = |one: &Value| {
        let nodes = one["nodes"].as_array().cloned().unwrap_or_default();
        let first =
            nodes.first().map(|node| format!("{} {}", node["target"], node["failureSummary"])).unwrap_or_default();
        format!("{} ({} places): {first}", one["id"], nodes.len())
    };
    let violations: Vec<String> = violations.iter().map(brief).collect();
    assert!(violations.is_empty(), "{what}: {violations:#?}");
    println!("{what}: {} of axe-core's rules are kept, none is broken", found[0]);
}
