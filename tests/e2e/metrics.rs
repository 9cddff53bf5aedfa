//! `/metrics` of each server: text that a scraper understands, with the names that docs/metrics.md explains and no
//! others, and counters that move when there is work.

use std::collections::BTreeMap;

use tests::{Options, TestCluster, eventually, metrics::Figures};

use crate::shop::{BOUGHT, Shop};

const DOCUMENT: &str = include_str!("../../docs/metrics.md");

/// The type of each name that the document explains.
fn documented() -> BTreeMap<&'static str, &'static str> {
    let rows = DOCUMENT.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let names = rows.map(|(name, rest)| (name, rest.split([' ', '|']).next().unwrap_or_default()));
    // The stages of an entry have a table too.
    names.filter(|(name, _)| name.contains('_')).collect()
}

/// The figures of a node.
async fn figures(shop: &Shop<'_>, node: &str) -> Figures {
    let answer = shop.get_at(node, "/metrics").await.expect(200);
    let content_type = answer.header("content-type").unwrap_or_default();
    assert_eq!(content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    Figures::parse(&answer.text()).unwrap_or_else(|error| panic!("{node}: {error:#}\n{}", answer.text()))
}

/// The kind of server that a node is, which is what its figures' names begin with.
fn prefix(node: &str) -> &str {
    node.split_once('-').map_or(node, |(kind, _)| kind)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_server_tells_the_figures_that_are_documented_and_work_moves_them() {
    let cluster = TestCluster::start("metrics", Options::new()).await;
    let shop = Shop::new(&cluster);
    let documented = documented();
    let nodes = cluster.cluster.nodes();
    for node in &nodes {
        let told = figures(&shop, node).await;
        let told: BTreeMap<_, _> = told.0.iter().map(|(name, figure)| (name.as_str(), figure.kind.as_str())).collect();
        let of_its_kind = |name: &&str| name.starts_with(&format!("{}_", prefix(node)));
        let explained: BTreeMap<_, _> =
            documented.iter().filter(|(name, _)| of_its_kind(name)).map(|(name, kind)| (*name, *kind)).collect();
        assert!(!explained.is_empty(), "the document says nothing about {node}");
        assert_eq!(told, explained, "what {node} tells, and what docs/metrics.md explains");
    }
    assert!(documented.keys().all(|name| nodes.iter().any(|node| name.starts_with(prefix(node)))));

    let leader = cluster.leader().await;
    let (catalog, front) = (figures(&shop, &leader).await, figures(&shop, "frontend-1").await);
    let item = shop.own_item(5, 8).await;
    for _ in 0..8 {
        assert_eq!(shop.buy(item.number).await.text(), BOUGHT);
    }
    assert_ne!(shop.buy(item.number).await.text(), BOUGHT);
    shop.warm(&format!("/lookup/{}", item.number)).await;
    shop.get("/v1/items/987654321").await.expect(404);
    cluster.wait_caught_up().await;

    let now = figures(&shop, &leader).await;
    let grows = |before: &Figures, after: &Figures, name: &str, by: f64| {
        let (before, after) = (before.total(name), after.total(name));
        assert!(after >= before + by, "{name} went from {before} to {after}, and not by {by}");
    };
    for name in ["catalog_last_log_index", "catalog_committed_index", "catalog_applied_index"] {
        grows(&catalog, &now, name, 9.0);
    }
    // Each waited for the one before, so none of them shared an entry or a sync.
    for name in ["catalog_commands_per_entry", "catalog_fdatasync_seconds", "catalog_writes_per_fdatasync"] {
        grows(&catalog, &now, name, 9.0);
    }
    grows(&catalog, &now, "catalog_log_appended_bytes_total", 9.0 * 16.0);
    grows(&catalog, &now, "catalog_orders", 8.0);
    grows(&catalog, &now, "catalog_items", 1.0);
    for stage in ["queued", "proposed", "synced", "committed", "applied", "answered"] {
        let sample = format!("catalog_stage_seconds_count{{stage=\"{stage}\"}}");
        let (before, after) = (catalog.get(&sample), now.get(&sample));
        assert!(after >= before + 9.0, "{sample} went from {before} to {after}");
    }
    assert_eq!((now.get("catalog_is_leader"), now.get("catalog_leader_known")), (1.0, 1.0));
    assert!(now.get("catalog_term") >= 1.0);
    let followers = now.0["catalog_replication_lag_entries"].samples.len();
    assert_eq!(followers, 2, "one lag for each follower: {:?}", now.0["catalog_replication_lag_entries"]);
    assert!(now.get("catalog_peer_connections") >= 1.0 && now.get("catalog_client_connections") >= 1.0);
    assert!(now.get("catalog_disk_free_bytes") > 0.0);
    let mut watchers = 0.0;
    for node in cluster.catalogs() {
        watchers += figures(&shop, &node).await.get("catalog_watchers");
    }
    assert!(watchers >= 1.0, "a front end follows one of them");

    let after = figures(&shop, "frontend-1").await;
    grows(&front, &after, "frontend_cache_hits_total", 1.0);
    grows(&front, &after, "frontend_cache_misses_total", 1.0);
    grows(&front, &after, "frontend_cache_fills_total", 1.0);
    grows(&front, &after, "frontend_stream_position", 9.0);
    for name in ["frontend_batch_orders", "frontend_order_tries_total", "frontend_order_round_trip_seconds"] {
        grows(&front, &after, name, 9.0);
    }
    for name in ["frontend_batch_changes", "frontend_change_tries_total", "frontend_change_round_trip_seconds"] {
        grows(&front, &after, name, 1.0);
    }
    // `/v1` tells an unknown item as a page of the cache; what is refused is a request in a wrong form.
    shop.get("/v1/items?limit=0").await.expect(400);
    assert!(figures(&shop, "frontend-1").await.get("frontend_refusals_total{reason=\"bad-request\"}") >= 1.0);
    assert_eq!(after.get("frontend_stream_live"), 1.0);
    assert!(after.get("frontend_connections") >= 1.0);
    assert!(after.get("frontend_cache_entries") >= 1.0 && after.get("frontend_cache_bytes") >= 1.0);
    assert_eq!(after.0["frontend_server_live"].samples.len(), nodes.len() - 1);

    let mut orders = (0.0, 0.0, 0.0);
    for node in nodes.iter().filter(|node| prefix(node) == "order") {
        let told = figures(&shop, node).await;
        orders.0 += told.get("order_results_total{result=\"placed\"}");
        orders.1 += told.get("order_results_total{result=\"out-of-stock\"}");
        orders.2 += told.total("order_round_trip_seconds");
        assert!(told.total("order_tries_total") >= told.total("order_batch_orders"));
        assert_eq!(told.get("order_leader_known"), 1.0);
        assert!(told.get("order_revision") >= 1.0 && told.get("order_connections") >= 1.0);
    }
    assert!(orders.0 >= 8.0 && orders.1 >= 1.0 && orders.2 >= 9.0, "placed, out of stock, round trips: {orders:?}");
}

/// What a replica that does not lead refuses, and what a front end says of a catalog that is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_show_a_server_that_is_gone() {
    let cluster = TestCluster::start("metrics-gone", Options::new()).await;
    let shop = Shop::new(&cluster);
    let term = figures(&shop, &cluster.leader().await).await.get("catalog_term");
    let gone = cluster.kill("leader").await;
    eventually("it is seen to be gone", || async {
        let live = figures(&shop, "frontend-1").await.get(&format!("frontend_server_live{{server=\"{gone}\"}}"));
        if live == 0.0 { Ok(()) } else { Err(live) }
    })
    .await;
    let leader = cluster.leader().await;
    let now = figures(&shop, &leader).await;
    assert!(now.get("catalog_term") > term, "{} after {term}", now.get("catalog_term"));
    shop.buy(1).await;
    eventually("its lag grows", || async {
        let sample = format!("catalog_replication_lag_entries{{follower=\"{gone}\"}}");
        let lag = figures(&shop, &leader).await.get(&sample);
        if lag >= 1.0 { Ok(()) } else { Err(lag) }
    })
    .await;
}
