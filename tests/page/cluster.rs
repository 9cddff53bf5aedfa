//! The view of the cluster: a leader's death and return, seen as they happen.

use std::time::Instant;

use serde_json::Value;
use tests::{Client, Options, TestCluster};

use crate::browser::browser;

fn card(node: &str) -> String {
    format!(".replica[data-node='{node}']")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_death_of_a_leader_is_seen_at_once_and_its_return_too() {
    let Some(browser) = browser("the_death_of_a_leader_is_seen_at_once_and_its_return_too").await else { return };
    let cluster = TestCluster::start("page-kill", Options::new()).await;
    let leader = cluster.leader().await;
    browser.go(&(cluster.front() + "/#cluster")).await;
    browser.until_text(".headline", &format!("{leader} leads in term")).await;
    browser.until_text(".headline", "All servers answer").await;
    browser.mark().await;

    let numbers = card(&leader) + " .bars b";
    let applied = format!("[...document.querySelectorAll({numbers:?})].map((number) => Number(number.textContent))");
    let before = browser.value(&applied).await;
    let client = Client::new();
    client.get(cluster.front() + "/buy/1").await.expect(200);
    let grown = format!("({applied})[2] > {}", before[2]);
    browser.until(&grown).await;

    let killed = Instant::now();
    cluster.kill(&leader).await;
    browser.until(&format!("document.querySelector({:?}).dataset.role === 'down'", card(&leader))).await;
    let seen_dead = killed.elapsed();
    browser.until("document.querySelector('.replica[data-role=leader]')").await;
    let seen_led = killed.elapsed();
    println!("seen dead after {seen_dead:.0?}, another leader after {seen_led:.0?}");
    let new = cluster.leader().await;
    browser.until_text(".headline", &format!("{new} leads in term")).await;
    browser.until_text(".headline", &format!("Not answering: {leader}")).await;
    for _ in 0..5 {
        client.get(cluster.front() + "/buy/2").await.expect(200);
    }
    browser.until_text(&card(&leader), "behind").await;

    cluster.restart(&leader).await;
    browser.until_text(".headline", "All servers answer").await;
    browser.until_text(&card(&leader), "In step").await;
    let events = browser.value("[...document.querySelectorAll('.events li')].map((event) => event.dataset.what)").await;
    for what in ["down", "elected", "up"] {
        assert!(events.as_array().is_some_and(|all| all.contains(&Value::from(what))), "no {what} in {events}");
    }
    // Charts have lines, and say in words what they show.
    browser.until("document.querySelectorAll('.chart path.series').length === 6").await;
    browser.until("document.querySelector('.chart').getAttribute('aria-label').includes('from the cache')").await;
    browser.is_still_marked().await;
    browser.is_content().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_server_that_goes_and_comes_is_seen() {
    let Some(browser) = browser("an_order_server_that_goes_and_comes_is_seen").await else { return };
    let cluster = TestCluster::start("page-order", Options::new()).await;
    browser.go(&(cluster.front() + "/#cluster")).await;
    browser.until_text(".headline", "All servers answer").await;
    cluster.kill("order-2").await;
    browser.until_text("[data-node=order-2]", "Down").await;
    cluster.restart("order-2").await;
    browser.until_text("[data-node=order-2]", "Ready").await;
    browser.until_text(".events", "order-2 answers again").await;
    browser.is_content().await;
}
