//! The compatible surface to the byte, by GET and by POST, at every server that answers it; lengths as the contract
//! gives them.

use serde_json::{Value, json};
use tests::{Answer, Options, TestCluster};

use crate::shop::{BOUGHT, Shop, UNAVAILABLE};

/// `/list` of a fresh store.
const LIST: &str = concat!(
    r#"[{"item_number": 1, "title": "How to get a good grade in 677 in 20 minutes a day", "topic": "Distributed_systems", "cost": 50, "quantity": 100}, "#,
    r#"{"item_number": 2, "title": "RPCs for Dummies", "topic": "Distributed_systems", "cost": 51, "quantity": 101}, "#,
    r#"{"item_number": 3, "title": "Xen and the Art of Surviving Graduate School", "topic": "Graduate_School", "cost": 12, "quantity": 100}, "#,
    r#"{"item_number": 4, "title": "Cooking for the Impatient Graduate Student", "topic": "Graduate_School", "cost": 2, "quantity": 10}, "#,
    r#"{"item_number": 5, "title": "How to finish Project 3 on time", "topic": "Distributed_systems", "cost": 30, "quantity": 100}, "#,
    r#"{"item_number": 6, "title": "Why theory classes are so hard.", "topic": "Graduate_School", "cost": 10, "quantity": 100}, "#,
    r#"{"item_number": 7, "title": "Spring in the Pioneer Valley", "topic": "Graduate_School", "cost": 20, "quantity": 100}]"#,
);
const SEARCH: &str = concat!(
    r#"[{"item_number": 1, "title": "How to get a good grade in 677 in 20 minutes a day"}, "#,
    r#"{"item_number": 2, "title": "RPCs for Dummies"}, "#,
    r#"{"item_number": 5, "title": "How to finish Project 3 on time"}]"#,
);
const LOOKUP: &str = r#"{"title": "How to get a good grade in 677 in 20 minutes a day", "cost": 50, "quantity": 100}"#;
const FOUR_ROWS: &str = "item_number,title,topic,cost,quantity
1,How to get a good grade in 677 in 20 minutes a day,Distributed_systems,50,100
2,RPCs for Dummies,Distributed_systems,51,101
3,Xen and the Art of Surviving Graduate School,Graduate_School,12,100
4,Cooking for the Impatient Graduate Student,Graduate_School,2,10
";

#[track_caller]
fn is_body(answer: &Answer, expected: &str) {
    assert_eq!((answer.status, answer.text().as_str()), (200, expected));
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[track_caller]
fn is_length(answer: &Answer, length: usize) {
    assert_eq!(answer.body.len(), length, "{}", answer.text());
}

/// A read, by GET and, where there is one, by POST.
async fn read(shop: &Shop<'_>, node: &str, get: &str, post: Option<(&str, Value)>, expected: &str) {
    let mut answers = vec![shop.get_at(node, get).await];
    if let Some((path, body)) = post {
        answers.push(shop.post_at(node, path, body).await);
    }
    for answer in answers {
        is_body(&answer, expected);
        assert!(answer.revision() > 0);
        assert!(answer.served_by().starts_with("catalog-"), "{answer:?}");
        if node == "frontend-1" {
            assert!(answer.header("cache-status").is_some_and(|text| text.starts_with("frontend-1; ")), "{answer:?}");
        }
    }
}

/// The bytes of reads of a fresh store, which items unknown and topics unknown answer, and their headers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn golden_reads() {
    let cluster = TestCluster::start("golden-reads", Options::new()).await;
    let shop = Shop::new(&cluster);
    for node in ["frontend-1", "catalog-1", "catalog-2", "catalog-3"] {
        let item = |n: Value| Some(json!({ "item_number": n }));
        read(&shop, node, "/list", None, LIST).await;
        for topic in ["/search/Distributed_systems", "/search/Distributed%5Fsystems"] {
            read(&shop, node, topic, Some(("/search/", json!({"topic": "Distributed_systems"}))), SEARCH).await;
        }
        read(&shop, node, "/search/Gardening", Some(("/search/", json!({"topic": "Gardening"}))), "[]").await;
        for n in [json!(1), json!("1")] {
            let post = item(n).map(|body| ("/lookup/", body));
            read(&shop, node, "/lookup/1", post, LOOKUP).await;
        }
        for n in [json!(1), json!("1")] {
            let post = item(n).map(|body| ("/get_quantity/", body));
            read(&shop, node, "/get_quantity/1", post, r#"{"quantity": 100}"#).await;
        }
        let unknown = || item(json!(999));
        read(&shop, node, "/lookup/999", unknown().map(|body| ("/lookup/", body)), "null").await;
        read(&shop, node, "/get_quantity/999", unknown().map(|body| ("/get_quantity/", body)), "null").await;
        is_length(&shop.get_at(node, "/lookup/1").await, 92);
        is_length(&shop.get_at(node, "/get_quantity/1").await, 17);
    }
    for node in ["catalog-1", "catalog-2", "catalog-3"] {
        let name = r#"{"title": "How to get a good grade in 677 in 20 minutes a day"}"#;
        read(&shop, node, "/get_name/1", None, name).await;
        read(&shop, node, "/get_name/999", None, "null").await;
        is_length(&shop.get_at(node, "/get_name/1").await, 63);
        is_length(&shop.get_at(node, "/get_name/4").await, 55);
    }
}

/// A write with its expected body, by GET and by POST.
async fn write(shop: &Shop<'_>, node: &str, get: &str, post: (&str, Value), expected: &str) {
    let by_get = shop.get_at(node, get).await;
    assert_eq!(by_get.header("cache-control"), Some("no-store"), "{by_get:?}");
    let by_post = shop.post_at(node, post.0, post.1).await;
    for answer in [by_get, by_post] {
        is_body(&answer, expected);
        assert!(answer.revision() > 0);
        assert!(answer.header("idempotency-key").is_some_and(|key| key.len() == 36), "{answer:?}");
        assert_eq!(answer.served_by(), shop.cluster.leader().await, "a write names the leader that committed it");
    }
}

/// The bytes of writes at every server that takes them: a catalog that does not lead forwards them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn golden_writes() {
    let cluster = TestCluster::start("golden-writes", Options::new()).await;
    let shop = Shop::new(&cluster);
    for node in ["frontend-1", "catalog-1", "catalog-2", "catalog-3"] {
        let cost = json!({"item_number": 1, "cost": "10"});
        write(&shop, node, "/update_c/1/10", ("/update_c/", cost), r#""Cost of item :1 successfully updated to:10""#)
            .await;
        let less = json!({"item_number": "1", "quantity": -1});
        let body = r#""Quantity of record 1 successfully changed by -1""#;
        write(&shop, node, "/update_q/1/-1", ("/update_q/", less), body).await;
        let more = json!({"item_number": 1, "quantity": "1"});
        let body = r#""Quantity of record 1 successfully changed by 1""#;
        write(&shop, node, "/update_q/1/1", ("/update_q/", more), body).await;
        let error = r#""error in update operation""#;
        let below = json!({"item_number": 4, "quantity": -11});
        write(&shop, node, "/update_q/4/-11", ("/update_q/", below), error).await;
        let unknown = json!({"item_number": 999, "cost": 1});
        write(&shop, node, "/update_c/999/1", ("/update_c/", unknown), error).await;
        let unknown = json!({"item_number": 999, "quantity": 1});
        write(&shop, node, "/update_q/999/1", ("/update_q/", unknown), error).await;
    }
    is_length(&shop.get("/update_c/1/10").await, 44);
    is_length(&shop.get("/update_q/1/-1").await, 49);
    is_length(&shop.get("/lookup/1").await, 91);
    is_length(&shop.get("/get_quantity/1").await, 16);
    for node in ["frontend-1", "order-1", "order-2"] {
        write(&shop, node, "/buy/2", ("/buy/", json!({"item_number": "2"})), BOUGHT).await;
        write(&shop, node, "/buy/999", ("/buy/", json!({"item_number": 999})), UNAVAILABLE).await;
        is_length(&shop.get_at(node, "/buy/2").await, 28);
    }
    // Six of the nine were bought elsewhere, as this front end sees it: a default read may not know of them yet.
    let stock = shop.get("/lookup/2?read=linearizable").await.json()["quantity"].clone();
    assert_eq!(stock, 101 - 9);
    let invalidated = shop.get("/invalidate/1").await;
    assert_eq!((invalidated.status, invalidated.text().as_str()), (200, "Invalidated entry for item 1"));
    assert!(invalidated.header("content-type").is_some_and(|text| text.starts_with("text/plain")), "{invalidated:?}");
}

/// The lengths that the contract gives over the first four rows, and what is beyond ASCII.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn golden_four_rows() {
    let items = format!("{FOUR_ROWS}5,\"Grüße, \"\"Welt\"\" \u{1f600}\",Ünï,1,1\n");
    for (items, list) in [(FOUR_ROWS.to_owned(), Some(518)), (items, None)] {
        let cluster = TestCluster::start("golden-four", Options::single().items_csv(items)).await;
        let shop = Shop::new(&cluster);
        for node in ["frontend-1", "catalog-1"] {
            is_length(&shop.get_at(node, "/search/Distributed_systems").await, 132);
            if let Some(length) = list {
                is_length(&shop.get_at(node, "/list").await, length);
                continue;
            }
            let lookup = r#"{"title": "Gr\u00fc\u00dfe, \"Welt\" \ud83d\ude00", "cost": 1, "quantity": 1}"#;
            is_body(&shop.get_at(node, "/lookup/5").await, lookup);
            let search = r#"[{"item_number": 5, "title": "Gr\u00fc\u00dfe, \"Welt\" \ud83d\ude00"}]"#;
            is_body(&shop.get_at(node, "/search/%C3%9Cn%C3%AF").await, search);
            is_body(&shop.post_at(node, "/search/", json!({"topic": "Ünï"})).await, search);
        }
    }
}
