//! How both views look: pictures of each, light and dark, on a desktop and on a phone, with the rules of accessibility
//! checked on each; and without motion for those who want none.

use tests::{Client, Options, TestCluster, eventually};

use crate::{
    browser::{DESKTOP, PHONE, browser},
    rules,
    shop::open,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_views_light_and_dark_on_desktop_and_phone() {
    let Some(browser) = browser("both_views_light_and_dark_on_desktop_and_phone").await else { return };
    let cluster = TestCluster::start("page-looks", Options::new()).await;
    let client = Client::new();
    for n in [1, 4, 4, 4, 4, 4, 4, 5, 3] {
        client.get(format!("{}/buy/{n}", cluster.front())).await.expect(200);
    }
    for _ in 0..20 {
        client.get(cluster.front() + "/lookup/1").await.expect(200);
    }
    open(&browser, &cluster).await;
    for item in [2, 4, 4] {
        browser.click(&format!(".row[data-number='{item}'] .add")).await;
    }
    // So that the pictures show a death, an election and a replica that lags. What a front end has never seen alive is not
    // seen to die: once, the leader was dead before the first look.
    until_looked_at(&cluster).await;
    let leader = cluster.leader().await;
    cluster.kill(&leader).await;
    for n in [1, 2, 3, 5, 7] {
        client.get(format!("{}/buy/{n}", cluster.front())).await.expect(200);
    }
    for screen in [DESKTOP, PHONE] {
        browser.set_screen(screen).await;
        for scheme in ["light", "dark"] {
            browser.set_media(&[("prefers-color-scheme", scheme), ("prefers-reduced-motion", "reduce")]).await;
            for view in ["shop", "basket", "orders", "cluster"] {
                // On a desktop the shop shows the two beside the books.
                if !screen.is_phone && matches!(view, "basket" | "orders") {
                    continue;
                }
                browser.click(&format!("nav a[data-to={view}]")).await;
                let shown = if view == "cluster" { ".events li" } else { ".row" };
                browser.until(&format!("document.querySelector({shown:?})")).await;
                browser.until("document.querySelector('#stream').dataset.state === 'live'").await;
                let name = format!("{view}-{scheme}-{}", screen.name);
                rules::are_kept(&browser, &name).await;
                assert_eq!(browser.value("document.getAnimations().length").await, 0, "{name}: something moves");
                browser.picture(&format!("{name}.png"), view == "cluster").await;
            }
        }
    }
    browser.set_screen(DESKTOP).await;
    browser.click("nav a[data-to=shop]").await;
    browser.click(".row[data-number='1'] .title").await;
    browser.until_text("#book .source", "revision").await;
    rules::are_kept(&browser, "book-dark-desktop").await;
    browser.picture("book-dark-desktop.png", false).await;
    browser.is_content().await;
}

/// Until the front end's observer has seen all replicas answer, one of them as leader.
async fn until_looked_at(cluster: &TestCluster) {
    let url = cluster.front() + "/v1/cluster";
    eventually("a sample with all replicas", || async {
        let asked = reqwest::Client::new().get(&url).header("Accept", "text/event-stream");
        let mut stream = asked.send().await.map_err(|error| error.to_string())?;
        let first = stream.chunk().await.map_err(|error| error.to_string())?.unwrap_or_default();
        let first = String::from_utf8_lossy(&first).into_owned();
        let roles = first.rsplit_once("\"roles\":\"").map_or("", |(_, rest)| &rest[..3.min(rest.len())]);
        if roles.contains('L') && !roles.contains('D') { Ok(()) } else { Err(format!("roles are {roles:?}")) }
    })
    .await;
}

/// What a customer does can be done without a mouse.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keyboard_alone_buys_a_book() {
    const TAB: char = '\u{E004}';
    const ENTER: char = '\u{E007}';
    let Some(browser) = browser("the_keyboard_alone_buys_a_book").await else { return };
    let cluster = TestCluster::start("page-keys", Options::single()).await;
    open(&browser, &cluster).await;
    browser.press(TAB).await;
    assert_eq!(browser.value("document.activeElement.className").await, "skip", "the first stop leads to the content");
    // Each stop is seen to be one.
    let reach = async |css: &str| {
        for _ in 0..40 {
            if browser.value(&format!("document.activeElement.matches({css:?})")).await == true {
                let ring = browser.value("getComputedStyle(document.activeElement).outlineStyle").await;
                assert_eq!(ring, "solid", "the focus on {css} is not to be seen");
                return;
            }
            browser.press(TAB).await;
        }
        panic!("the keyboard does not reach {css}");
    };
    reach(".row[data-number='2'] .add").await;
    browser.press(ENTER).await;
    reach(".basket-pane .primary").await;
    browser.press(ENTER).await;
    browser.until_text("#bought", "Bought 1 book for 51").await;
    browser.is_content().await;
}
