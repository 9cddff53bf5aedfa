//! Wires the server, and takes it down in order.
//!
//! Must not know arguments, files or signals: those are given to it.

use std::{future::Future, time::Duration};

use catalog_client::client::{Catalog, Options, Peer};
use cluster_config::{Layout, http, net::TcpListener};
use hyper_util::service::TowerToHyperService;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{self, Shop},
    checkout::Checkout,
};

/// Connections: a few of each front end, and of whoever buys here directly.
const LIMITS: http::Limits = http::Limits { connections: 4_096, head: Duration::from_secs(30) };
/// After the order to stop, the port stays open for so long, refusing: time for front ends to see it at `/readyz`.
const NOTICE: Duration = Duration::from_millis(600);
/// How long connections may take to close after the last answer.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Serves until `stop`, then takes no more, finishes what it has within the layout's deadline, and returns.
pub async fn run(layout: &Layout, node: &str, listener: TcpListener, stop: impl Future<Output = ()>) {
    let replicas = layout.catalogs.iter().map(|replica| Peer {
        id: replica.id,
        name: replica.name.clone(),
        address: replica.peer.clone(),
    });
    let catalog = Catalog::new(Options {
        cluster: layout.cluster.clone(),
        sender: node.to_owned(),
        replicas: replicas.collect(),
    });
    let shop = Shop::new(Checkout::new(catalog, layout.queue), layout.deadline, layout.log_requests);
    let closing = CancellationToken::new();
    let service = TowerToHyperService::new(api::router(shop.clone()));
    let open = shop.checkout.metrics().connections.clone();
    let serving = tokio::spawn(http::serve(listener, service, LIMITS, open, closing.clone().cancelled_owned()));

    stop.await;
    tracing::info!(queued = shop.checkout.queued(), "taking no more orders");
    shop.drain();
    if timeout(layout.deadline, shop.checkout.close()).await.is_err() {
        tracing::warn!("some orders had no outcome by the deadline");
    }
    sleep(NOTICE).await;
    closing.cancel();
    let finishing = async {
        if let Ok(open) = serving.await {
            open.finish().await;
        }
    };
    if timeout(LAST_WORDS, finishing).await.is_err() {
        tracing::debug!("connections were still open");
    }
}
