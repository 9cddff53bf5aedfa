//! The shop: what one buys another sees; baskets; search; where answers come from.

use serde_json::json;
use tests::{Client, Options, Request, TestCluster};

use crate::browser::{Browser, browser, browsers};

/// The row of an item.
fn row(item: u64) -> String {
    format!(".row[data-number='{item}']")
}

/// The shop, open and live.
pub async fn open(browser: &Browser, cluster: &TestCluster) {
    browser.go(&(cluster.front() + "/")).await;
    browser.until("document.querySelectorAll('.row').length > 0").await;
    browser.until("document.querySelector('#stream').dataset.state === 'live'").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_bought_in_one_window_falls_in_another() {
    let Some([one, other]) = browsers("what_is_bought_in_one_window_falls_in_another").await else { return };
    let cluster = TestCluster::start("page-buy", Options::new()).await;
    for browser in [&one, &other] {
        open(browser, &cluster).await;
        browser.mark().await;
    }
    other.until_text(&row(1), "100 in stock").await;
    one.click(&format!("{} .add", row(1))).await;
    one.click(&format!("{} .add", row(1))).await;
    one.click(&format!("{} .add", row(5))).await;
    one.until_text("#basket-body", "130").await;
    one.click(".basket-pane .primary").await;
    one.until_text("#bought", "Bought 3 books for 130").await;
    let committed = one.text("#bought .source").await;
    assert!(committed.starts_with("committed by catalog-"), "{committed}");
    for browser in [&one, &other] {
        browser.until_text(&row(1), "98 in stock").await;
        browser.until_text(&row(5), "99 in stock").await;
        browser.until_text("#orders-body", "2 × How to get a good grade").await;
    }
    assert_eq!(one.value("document.querySelectorAll('.lines li').length").await, 0, "the basket is empty again");

    // Prices, titles, new books and withdrawn ones too, whoever does it.
    let client = Client::new();
    let item = |n: u64| format!("{}/v1/items/{n}", cluster.front());
    client.send(Request::patch(item(2), json!({"cost": 7}).to_string())).await.expect(200);
    client.send(Request::patch(item(3), json!({"title": "Xen, revised"}).to_string())).await.expect(200);
    client.send(Request::delete(item(6))).await.expect(204);
    let new = json!({"title": "A book of tomorrow", "topic": "Prophecy", "cost": 3, "quantity": 4});
    client.post(cluster.front() + "/v1/items", new.to_string()).await.expect(201);
    other.until_text(&format!("{} .cost", row(2)), "7").await;
    other.until_text(&row(3), "Xen, revised").await;
    other.until_text(&row(8), "Only 4 left").await;
    other.until(&format!("!document.querySelector({:?})", row(6))).await;
    other.until_text("#topics", "Prophecy 1").await;
    for browser in [&one, &other] {
        browser.is_still_marked().await;
        browser.is_content().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_basket_is_bought_whole_or_not_at_all_and_what_is_short_is_named() {
    let Some(browser) = browser("a_basket_is_bought_whole_or_not_at_all_and_what_is_short_is_named").await else {
        return;
    };
    let cluster = TestCluster::start("page-basket", Options::new()).await;
    open(&browser, &cluster).await;
    browser.click(&format!("{} .add", row(2))).await;
    browser.click(&format!("{} .add", row(4))).await;
    let quantity = "#basket-body [aria-label='How many of Cooking for the Impatient Graduate Student']";
    browser.until(&format!("document.querySelector({quantity:?})")).await;
    browser.type_into(quantity, "\u{E009}a\u{E000}12\u{E007}").await;
    browser.until_text("#basket-body", "Only 10 left").await;
    browser.click(".basket-pane .primary").await;
    browser.until_text("#refused", "Nothing was bought").await;
    let refused = browser.text("#refused").await;
    assert!(refused.contains("Cooking for the Impatient Graduate Student"), "{refused}");
    assert!(refused.contains("you want 12, and only 10 left"), "{refused}");
    let client = Client::new();
    let stock = async |n: u64| client.get(format!("{}/get_quantity/{n}", cluster.front())).await.text();
    assert_eq!((stock(2).await, stock(4).await), (r#"{"quantity": 101}"#.to_owned(), r#"{"quantity": 10}"#.to_owned()));
    // A refusal is an answer with a status, which the console notes.
    let complaints = browser.complaints().await;
    assert!(complaints.len() == 1 && complaints[0].contains("409"), "{complaints:?}");

    browser.click("#refused button").await;
    browser.until_text(".basket-pane .primary", "Buy 11 books").await;
    // The basket outlives a reload.
    open(&browser, &cluster).await;
    browser.until_text(".basket-pane .primary", "Buy 11 books").await;
    browser.click(".basket-pane .primary").await;
    browser.until_text("#bought", "Bought 11 books for 71").await;
    browser.until_text(&row(4), "Sold out").await;
    browser.is_content().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn search_topics_and_where_an_answer_came_from() {
    let Some(browser) = browser("search_topics_and_where_an_answer_came_from").await else { return };
    let cluster = TestCluster::start("page-search", Options::new()).await;
    open(&browser, &cluster).await;
    let rows = "[...document.querySelectorAll('.row')].map((row) => Number(row.dataset.number)).sort()";
    browser.until_text("#found", "7 books").await;
    // The first letters of words do, in any case and order.
    browser.press('/').await;
    browser.type_into("#search", "GRAD coo").await;
    browser.until_text("#found", "1 book matches").await;
    assert_eq!(browser.value(rows).await, json!([4]));
    // What the page holds and what the servers find is the same, whatever the letters.
    let client = Client::new();
    let new = json!({"title": "İstanbul: ΟΔΟΣ Ⓐ 5", "topic": "Letters", "cost": 3, "quantity": 4});
    client.post(cluster.front() + "/v1/items", new.to_string()).await.expect(201);
    browser.until_text("#topics", "Letters 1").await;
    for (typed, found) in [("İST", 1), ("istanbul", 0), ("οδος", 1), ("ΟΔ", 1), ("ⓐ", 1), ("5 οδ", 1), ("tanbul", 0)]
    {
        browser.type_into("#search", &format!("\u{E009}a\u{E000}{typed}")).await;
        browser.until_text("#found", &format!("{found} book")).await;
        let page = client.get(format!("{}/v1/items?q={typed}", cluster.front())).await.expect(200).json();
        assert_eq!(page["items"].as_array().map(Vec::len), Some(found), "{typed}");
    }
    browser.type_into("#search", "\u{E009}a\u{E000}\u{E003}").await;
    browser.click("#topics [data-topic='Distributed_systems']").await;
    browser.until_text("#found", "3 books").await;
    assert_eq!(browser.value(rows).await, json!([1, 2, 5]));
    let source = browser.text("#list-source").await;
    assert!(source.starts_with("Read from catalog-"), "{source}");

    browser.click(&format!("{} .title", row(2))).await;
    browser.until_text("#book .source", "Read from catalog-").await;
    browser.click("#book .actions button:nth-child(2)").await;
    browser.until_text("#book .source", "From the cache, as of revision").await;
    browser.click("#book .actions button:nth-child(3)").await;
    browser.until_text("#book .source", "revision").await;
    browser.press('\u{E00C}').await;
    browser.until("!document.querySelector('#book').open").await;
    browser.is_content().await;
}
