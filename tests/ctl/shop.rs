//! What clients of the shop do.

use serde_json::json;
use tests::{Options, TestCluster};

use crate::ctl;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shop_is_run_from_a_command_line() {
    let cluster = TestCluster::start("ctl-shop", Options::single()).await;
    let list = ctl(&cluster, &["list"]).await.expect(0).out;
    assert_eq!(list.lines().count(), 8, "{list}");
    assert!(list.starts_with("ITEM  COST  QUANTITY  TOPIC                TITLE\n"), "{list}");
    assert!(
        list.contains("   4     2        10  Graduate_School      Cooking for the Impatient Graduate Student\n"),
        "{list}"
    );
    let items = ctl(&cluster, &["list", "--topic", "Graduate_School", "-o", "json"]).await.expect(0).json();
    assert_eq!(items.iter().map(|item| item["item_number"].as_u64()).collect::<Vec<_>>(), [3, 4, 6, 7].map(Some));
    let found = ctl(&cluster, &["search", "graduate", "art", "-o", "json"]).await.expect(0).json();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["item_number"], 3);

    let order = ctl(&cluster, &["buy", "1", "4x2", "-o", "json", "--key", "first"]).await.expect(0).document();
    assert_eq!((&order["total"], order["lines"].as_array().map(Vec::len)), (&json!(54), Some(2)));
    let again = ctl(&cluster, &["buy", "1", "4:2", "-o", "json", "--key", "first"]).await.expect(0).document();
    assert_eq!(again, order, "the same key, the same order");
    ctl(&cluster, &["buy", "2", "--key", "first"]).await.expect(1);
    let short = ctl(&cluster, &["buy", "1", "4x9"]).await.expect(1);
    assert!(short.err.contains("item 4: 9 wanted, 8 left"), "{short:?}");
    ctl(&cluster, &["buy", "99"]).await.expect(1);
    let item = ctl(&cluster, &["show", "1", "-o", "json"]).await.expect(0).document();
    assert_eq!(item["quantity"], 99, "bought once, and not by the order that was refused");
    let id = order["id"].as_str().expect("an id");
    assert_eq!(ctl(&cluster, &["orders", id, "-o", "json"]).await.expect(0).document(), order);
    assert!(ctl(&cluster, &["orders", id]).await.expect(0).out.contains("total 54"));
    assert_eq!(ctl(&cluster, &["orders", "-o", "json"]).await.expect(0).json(), std::slice::from_ref(&order));
    assert!(ctl(&cluster, &["orders"]).await.expect(0).out.contains("1x1 4x2"));
    ctl(&cluster, &["orders", "no-such-order"]).await.expect(1);

    let item = ctl(&cluster, &["set-cost", "1", "77", "-o", "json"]).await.expect(0).document();
    assert_eq!(item["cost"], 77);
    let item = ctl(&cluster, &["add-stock", "1", "-9", "-o", "json"]).await.expect(0).document();
    assert_eq!(item["quantity"], 90);
    ctl(&cluster, &["add-stock", "1", "-91"]).await.expect(1);
    let title = "日本語 & Ünïcode";
    let new = ["add", "--title", title, "--topic", "t", "--cost", "3", "--quantity", "4", "-o", "json"];
    let item = ctl(&cluster, &new).await.expect(0).document();
    assert_eq!((&item["item_number"], &item["title"]), (&json!(8), &json!(title)));
    ctl(&cluster, &[&new[..], &["--number", "8"]].concat()).await.expect(1);
    assert!(ctl(&cluster, &["show", "8", "--linearizable"]).await.expect(0).out.contains(title));
    ctl(&cluster, &["withdraw", "8"]).await.expect(0);
    ctl(&cluster, &["show", "8"]).await.expect(1);
    ctl(&cluster, &["withdraw", "8"]).await.expect(1);

    let told = ctl(&cluster, &["bench", "--seconds", "1", "--buys", "10", "-o", "json"]).await.expect(0).document();
    let kinds = told["kinds"].as_array().expect("kinds");
    assert!(kinds.iter().all(|kind| kind["requests"].as_u64() > Some(0) && kind["failed"] == 0), "{told}");
    let orders = ctl(&cluster, &["orders", "-o", "json"]).await.expect(0).json().len() as u64;
    assert_eq!(Some(orders - 1), kinds[1]["requests"].as_u64(), "each buy that it counts is in the ledger");

    let table = ctl(&cluster, &["status"]).await.expect(0).out;
    assert!(table.starts_with("NODE ") && table.contains("leader"), "{table}");
    cluster.kill("frontend-1").await;
    let run = ctl(&cluster, &["show", "1", "--timeout", "1"]).await.expect(3);
    assert!(run.err.contains("catalogctl status"), "{run:?}");
    ctl(&cluster, &["status"]).await.expect(0);
}
