//! Wires the server, and takes it down in order.
//!
//! Must not know arguments, files or signals: those are given to it.

use std::{future::Future, time::Duration};

use axum::serve::ListenerExt;
use catalog_client::client::{Catalog, Options, Peer};
use cluster_config::Layout;
use tokio::{
    net::TcpListener,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{self, Shop},
    checkout::Checkout,
};

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
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
    });
    let closing = CancellationToken::new();
    let serving =
        axum::serve(listener, api::router(shop.clone())).with_graceful_shutdown(closing.clone().cancelled_owned());
    let serving = tokio::spawn(serving.into_future());

    stop.await;
    tracing::info!(queued = shop.checkout.queued(), "taking no more orders");
    shop.drain();
    if timeout(layout.deadline, shop.checkout.close()).await.is_err() {
        tracing::warn!("some orders had no outcome by the deadline");
    }
    sleep(NOTICE).await;
    closing.cancel();
    if timeout(LAST_WORDS, serving).await.is_err() {
        tracing::debug!("connections were still open");
    }
}
