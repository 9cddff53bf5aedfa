//! A shop of ten thousand books stays quick.

use std::fmt::Write;

use tests::{Options, TestCluster};

use crate::{browser::browser, shop::open};

/// What a keystroke may take until its rows stand, in milliseconds, on a machine that is busy with other tests.
const QUICK_MS: f64 = 250.0;

fn books(count: u64) -> String {
    let mut text = "item_number,title,topic,cost,quantity\n".to_owned();
    let (things, topics) = (["Rivers", "Engines", "Gardens", "Maps", "Clocks"], ["Nature", "Science", "History"]);
    for n in 1..=count {
        let (thing, topic) = (things[(n % 5) as usize], topics[(n % 3) as usize]);
        writeln!(text, "{n},Volume {n} of {thing},{topic},{},{}", n % 90 + 1, n % 40 + 1).expect("a string takes all");
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_books_stay_quick() {
    let Some(browser) = browser("ten_thousand_books_stay_quick").await else { return };
    let cluster = TestCluster::start("page-large", Options::single().items_csv(books(10_000))).await;
    open(&browser, &cluster).await;
    browser.until_text("#found", "10,000 books").await;
    let rows = browser.value("document.querySelectorAll('.row').length").await;
    assert!(rows.as_u64().is_some_and(|rows| rows < 60), "{rows} rows");

    // From a keystroke to the frame that shows its rows.
    let typed = "const search = document.querySelector('#search');
        const took = [];
        return (async () => {
          for (const text of ['v', 'vo', 'gar', 'volume 99', 'clocks 77', '']) {
            const begun = performance.now();
            search.value = text;
            search.dispatchEvent(new Event('input', {bubbles: true}));
            await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
            took.push(performance.now() - begun);
          }
          return took;
        })()";
    let took: Vec<f64> = serde_json::from_value(browser.script(typed).await).expect("times");
    let longest = took.iter().copied().fold(0.0, f64::max);
    println!("of 10,000 books: {rows} rows exist; a keystroke is drawn after {longest:.0} ms at most");
    assert!(longest < QUICK_MS, "{took:?}");

    browser.type_into("#search", "gardens 9999").await;
    browser.until_text("#found", "0 books match").await;
    browser.type_into("#search", "\u{E009}a\u{E000}clocks 9999").await;
    browser.until_text("#found", "1 book matches").await;
    browser.until_text(".row", "Volume 9999 of Clocks").await;
    browser.type_into("#search", "\u{E009}a\u{E000}\u{E003}").await;
    browser.until_text("#found", "10,000 books").await;

    // The keyboard reaches the last of them, of which there was no row before.
    browser.script("document.querySelector('.row .title').focus()").await;
    browser.press('\u{E010}').await;
    browser.until("document.activeElement.closest('.row')?.dataset.number === '10000'").await;
    browser.press('\u{E013}').await;
    browser.until("document.activeElement.closest('.row')?.dataset.number === '9999'").await;
    browser.press('\u{E011}').await;
    browser.until("document.activeElement.closest('.row')?.dataset.number === '1'").await;
    browser.is_content().await;
}

/// Of a catalogue that is too large for a page to hold, the rest is found all the same, and kept true.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_page_cannot_hold_is_found_at_the_servers() {
    let Some(browser) = browser("what_a_page_cannot_hold_is_found_at_the_servers").await else { return };
    let cluster = TestCluster::start("page-huge", Options::single().items_csv(books(21_000))).await;
    open(&browser, &cluster).await;
    browser.until_text("#list-notice", "20,000 books are here").await;
    browser.until_text("#found", "20,000 books").await;
    // The first letters of words do at the servers too.
    browser.type_into("#search", "2095 vol").await;
    browser.until_text("#found", "11 books match").await;
    browser.until_text(".row[data-number='20959']", "Volume 20959").await;
    browser.type_into("#search", "\u{E009}a\u{E000}20999").await;
    browser.until_text(".row[data-number='20999']", "Volume 20999").await;
    let row = ".row[data-number='20999'] .stock";
    browser.until_text(row, "40 in stock").await;
    tests::Client::new().get(cluster.front() + "/buy/20999").await.expect(200);
    browser.until_text(row, "39 in stock").await;
    browser.is_content().await;
}
