//! The page when something fails: the stream, the store, the page's own code.

use tests::{Client, Options, TestCluster};

use crate::{browser::browser, shop::open};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_cut_is_said_to_be_and_goes_on_where_it_was() {
    let Some(browser) = browser("a_stream_that_is_cut_is_said_to_be_and_goes_on_where_it_was").await else { return };
    let cluster = TestCluster::start("page-cut", Options::new()).await;
    open(&browser, &cluster).await;
    browser.mark().await;
    cluster.kill("frontend-1").await;
    browser.until_text("#stream", "Cut off").await;
    // What happens meanwhile, elsewhere, is made up for.
    let client = Client::new();
    for _ in 0..3 {
        client.get(cluster.url("order-1") + "/buy/1").await.expect(200);
    }
    cluster.restart("frontend-1").await;
    browser.until("document.querySelector('#stream').dataset.state === 'live'").await;
    browser.until_text(".row[data-number='1']", "97 in stock").await;
    browser.is_still_marked().await;
    assert_eq!(browser.text("#errors").await, "", "a cut is no error of the page");
    let complaints = browser.complaints().await;
    assert!(complaints.iter().all(|line| line.contains("net::ERR_")), "{complaints:?}");

    // The other view's stream as well, which begins anew with all that is remembered.
    browser.click("a[data-to=cluster]").await;
    browser.until_text(".headline", "All servers answer").await;
    cluster.kill("frontend-1").await;
    browser.until_text("#stream", "Cut off").await;
    cluster.restart("frontend-1").await;
    browser.until("document.querySelector('#stream').dataset.state === 'live'").await;
    browser.until_text(".headline", "All servers answer").await;
    browser.is_still_marked().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_whose_answer_was_lost_is_asked_for_again_and_bought_once() {
    let Some(browser) = browser("an_order_whose_answer_was_lost_is_asked_for_again_and_bought_once").await else {
        return;
    };
    let cluster = TestCluster::start("page-lost", Options::new()).await;
    open(&browser, &cluster).await;
    // The first answer to each order is lost after the store has decided.
    browser
        .script(
            "const ask = window.fetch; const lost = new Set();
             window.fetch = async (url, options) => {
               const answer = await ask(url, options);
               const key = options?.headers?.['idempotency-key'];
               if (!key || lost.has(key)) return answer;
               lost.add(key);
               throw new TypeError('Failed to fetch');
             };",
        )
        .await;
    browser.click(".row[data-number='1'] .add").await;
    browser.click(".basket-pane .primary").await;
    browser.until_text("#bought", "Bought 1 book").await;
    browser.until_text("#orders-body", "1 book").await;
    let client = Client::new();
    let stock = client.get(cluster.front() + "/get_quantity/1").await.text();
    assert_eq!(stock, r#"{"quantity": 99}"#);
    browser.is_content().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_of_the_page_is_shown_and_nothing_foreign_runs() {
    let Some(browser) = browser("a_failure_of_the_page_is_shown_and_nothing_foreign_runs").await else { return };
    let cluster = TestCluster::start("page-errors", Options::single()).await;
    open(&browser, &cluster).await;
    // The page's own code is made to fail: what a test throws itself, a browser hides from the page.
    browser.script("Object.defineProperty(crypto, 'randomUUID', {value: 'not a function'})").await;
    browser.click(".row[data-number='1'] .add").await;
    browser.click(".basket-pane .primary").await;
    browser.until_text("#errors", "randomUUID is not a function").await;
    browser.script("window.kept = requestAnimationFrame; requestAnimationFrame = 'not a function'").await;
    browser.type_into("#search", "x").await;
    browser.until_text("#errors", "requestAnimationFrame is not a function").await;
    browser.script("requestAnimationFrame = window.kept").await;
    browser.type_into("#search", "\u{E003}").await;
    // A title is text, whatever it looks like; and what is not the page's own does not run.
    let client = Client::new();
    let title = "<img src=x onerror='window.isForeign = true'>";
    let book = serde_json::json!({"title": title, "topic": title, "cost": 1, "quantity": 1});
    client.post(cluster.front() + "/v1/items", book.to_string()).await.expect(201);
    browser.until_text(".row[data-number='8'] .title", title).await;
    browser
        .script(
            "const script = document.createElement('script');
             try { script.textContent = 'window.isForeign = true'; document.body.append(script); } catch {}
             try { document.body.setAttribute('onclick', 'window.isForeign = true'); } catch {}
             document.body.click();",
        )
        .await;
    assert_eq!(browser.value("window.isForeign === undefined").await, true);
}
