//! `/v1/cluster`: the whole cluster as this front end sees it; as Server-Sent Events for whoever accepts those.

use std::sync::Arc;

use bytes::Bytes;
use catalog_client::{Revision, client::Peer, protocol::Status};
use futures::stream;
use hyper::{
    StatusCode,
    header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, VARY},
};
use serde::Serialize;
use tokio::sync::watch;

use super::request::Incoming;
use crate::{
    front::{Front, MAX_LOOKERS},
    observer::{Event, News, Sample, Told},
    reply::{self, CutShort, Refused, Reply},
};

const EVENT_STREAM: &str = "text/event-stream";

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

/// What is told live: the document, what each replica has said of itself last, and what is new of the last five minutes.
#[derive(Serialize)]
struct Live<'a> {
    now_ms: u64,
    cluster: ClusterView<'a>,
    status: Vec<Status>,
    samples: Vec<Sample>,
    events: Vec<Event>,
}

/// The document once, or live.
pub(super) fn answer(front: &Arc<Front>, request: &Incoming) -> Result<Reply, Refused> {
    request.allow(&["GET", "HEAD"])?;
    let wants_stream = request.header(ACCEPT).is_some_and(|accept| accept.contains(EVENT_STREAM));
    let mut reply = if wants_stream && request.method() == hyper::Method::GET {
        live(front)?
    } else {
        let body = serde_json::to_vec(&view(front)).expect("structs of text and numbers are always JSON");
        reply::json(StatusCode::OK, body)
    };
    reply.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    Ok(reply)
}

/// A message at once, with all that is remembered; then one for each look of the observer.
fn live(front: &Arc<Front>) -> Result<Reply, Refused> {
    let place = front.lookers.clone().try_acquire_owned().map_err(|_| {
        Refused::new(429, "overloaded", format!("{MAX_LOOKERS} clients look at the cluster already: try again later"))
    })?;
    let mut looks = front.observer.watch();
    looks.mark_changed();
    let messages = stream::unfold((front.clone(), looks, Told::default(), place), |mut looker| async {
        next_look(&looker.0, &mut looker.1).await?;
        let message = message(&looker.0, &mut looker.2);
        Some((Ok::<_, CutShort>(message), looker))
    });
    let mut reply = reply::parts(messages);
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(reply)
}

/// `None` when the front end stops.
async fn next_look(front: &Front, looks: &mut watch::Receiver<()>) -> Option<()> {
    tokio::select! {
        () = front.stopping.cancelled() => None,
        looked = looks.changed() => looked.ok(),
    }
}

fn message(front: &Front, told: &mut Told) -> Bytes {
    let News { now_ms, samples, events } = front.observer.news(told);
    let said = front.catalog.replicas().filter_map(|node| front.catalog.last_status(node.id));
    let (cluster, status) = (view(front), said.collect());
    let live = Live { now_ms, cluster, status, samples, events };
    let data = serde_json::to_string(&live).expect("structs of text and numbers are always JSON");
    format!("event: cluster\ndata: {data}\n\n").into()
}

/// The document. Of a server that does not answer, nothing but that is said.
fn view(front: &Front) -> ClusterView<'_> {
    let order = |(server, active): (order_client::Server, bool)| OrderView {
        node: server.name,
        address: server.address,
        active,
    };
    ClusterView {
        frontend: frontend(front),
        catalogs: catalogs(front),
        orders: front.writes.orders().servers().into_iter().map(order).collect(),
        leader: front.catalog.leader().filter(|id| front.catalog.is_live(*id)).map(|id| front.catalog.name_of(id)),
    }
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
