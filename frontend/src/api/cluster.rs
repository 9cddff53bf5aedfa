//! `/v1/cluster`: the whole cluster as this front end sees it.

use catalog_client::{Revision, client::Peer, protocol::Status};
use hyper::StatusCode;
use serde::Serialize;

use crate::{
    front::Front,
    reply::{self, Reply},
};

#[derive(Serialize)]
struct ClusterView<'a> {
    frontend: FrontendView<'a>,
    catalogs: Vec<CatalogView<'a>>,
    orders: Vec<OrderView>,
    leader: Option<&'a str>,
}

#[derive(Serialize)]
struct FrontendView<'a> {
    node: &'a str,
    position: Revision,
    stream: &'static str,
    stream_age_ms: u64,
    cache: CacheView,
}

#[derive(Serialize)]
struct CacheView {
    entries: usize,
    hits: u64,
    misses: u64,
    invalidations: u64,
}

#[derive(Serialize)]
struct CatalogView<'a> {
    node: &'a str,
    address: &'a str,
    active: bool,
    role: Option<String>,
    term: Option<u64>,
    applied: Option<Revision>,
}

#[derive(Serialize)]
struct OrderView {
    node: String,
    address: String,
    active: bool,
}

/// The document. Of a server that does not answer, nothing but that is said.
pub(super) fn view(front: &Front) -> Reply {
    let order = |(server, active): (order_client::Server, bool)| OrderView {
        node: server.name,
        address: server.address,
        active,
    };
    let view = ClusterView {
        frontend: frontend(front),
        catalogs: catalogs(front),
        orders: front.writes.orders().servers().into_iter().map(order).collect(),
        leader: front.catalog.leader().filter(|id| front.catalog.is_live(*id)).map(|id| front.catalog.name_of(id)),
    };
    let body = serde_json::to_vec(&view).expect("structs of text and numbers are always JSON");
    reply::json(StatusCode::OK, body)
}

fn frontend(front: &Front) -> FrontendView<'_> {
    let (stream, counters) = (front.state().stream(), front.state().counters());
    FrontendView {
        node: &front.node,
        position: stream.position,
        stream: if stream.live { "live" } else { "cut" },
        // Milliseconds since the start of the process fit.
        stream_age_ms: stream.last_frame.elapsed().as_millis() as u64,
        cache: CacheView {
            entries: counters.entries,
            hits: counters.hits,
            misses: counters.misses,
            invalidations: counters.counts.invalidations,
        },
    }
}

fn catalogs(front: &Front) -> Vec<CatalogView<'_>> {
    let catalog = &front.catalog;
    let view = |replica: &'_ Peer| {
        let active = catalog.is_live(replica.id);
        (active, catalog.last_status(replica.id).filter(|_| active))
    };
    let mut views = Vec::new();
    for replica in catalog.replicas() {
        let (active, status): (bool, Option<Status>) = view(replica);
        let given = front.layout.catalogs.iter().find(|node| node.id == replica.id).map(|node| node.client.as_str());
        views.push(CatalogView {
            node: &replica.name,
            // One that has joined since the layout was read says so itself.
            address: given.or_else(|| catalog.client_address_of(replica.id)).unwrap_or_default(),
            active,
            term: status.as_ref().map(|status| status.term),
            applied: status.as_ref().map(|status| status.applied),
            role: status.map(|status| status.role),
        });
    }
    views
}
