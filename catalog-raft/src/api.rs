//! The client port of a replica: the catalog's part of both surfaces, its status, its health.
//!
//! Reads are of this replica's own state unless the request asks for more; writes go to the leader.

mod compat;
mod items;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use catalog_client::{compat as wire, protocol::Status};
use cluster_config::{http, net::TcpListener};
use hyper_util::service::TowerToHyperService;
use tokio::time::Instant;

use crate::{metrics::Metrics, reads::Reads};

/// Connections of clients; those of servers have a port of their own.
const LIMITS: http::Limits = http::Limits { connections: 4_096, head: Duration::from_secs(30) };
/// How long a client should wait after a refusal, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");
/// How long the leader and a majority may take to show that they are there.
const READY_PATIENCE: Duration = Duration::from_millis(500);
const X_REVISION: HeaderName = HeaderName::from_static("x-revision");
const X_SERVED_BY: HeaderName = HeaderName::from_static("x-served-by");
const X_MIN_REVISION: HeaderName = HeaderName::from_static("x-min-revision");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What the routes need.
#[derive(Debug)]
pub struct Api {
    /// The way to the state, and to the leader.
    pub reads: Reads,
    /// The figures.
    pub metrics: Arc<Metrics>,
    /// How long a request may take in all.
    pub deadline: Duration,
    /// Whether the replica is going down.
    pub draining: AtomicBool,
    /// Whether each request gets a line in the log.
    pub log_requests: bool,
}

/// Serves until `shutdown` resolves, then finishes what it has.
pub async fn serve(api: Arc<Api>, listener: TcpListener, shutdown: impl Future<Output = ()> + Send + 'static) {
    let open = api.reads.figures().clients.clone();
    let service = TowerToHyperService::new(router(api));
    http::serve(listener, service, LIMITS, open, shutdown).await.finish().await;
}

fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/livez", get(|| async { axum::Json(serde_json::json!({"status": "alive"})) }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/v1/status", get(status))
        .route("/v1/items", get(items::page))
        .route("/v1/items/{n}", get(items::one))
        .fallback(compat::answer)
        .layer(DefaultBodyLimit::max(wire::MAX_BODY))
        .with_state(api)
}

async fn status(State(api): State<Arc<Api>>) -> axum::Json<Status> {
    axum::Json(api.reads.status())
}

async fn metrics(State(api): State<Arc<Api>>) -> Response {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], api.metrics.text()).into_response()
}

async fn ready(State(api): State<Arc<Api>>) -> Response {
    match api.unready().await {
        None => axum::Json(serde_json::json!({"status": "ready"})).into_response(),
        Some(why) => error(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}

impl Api {
    /// Why this replica cannot serve, if it cannot: it must be able to tell the present, by itself or by the leader.
    async fn unready(&self) -> Option<String> {
        if self.draining.load(Ordering::Relaxed) {
            return Some("shutting down".to_owned());
        }
        if self.reads.state().view().is_err() {
            return Some("a snapshot is being installed".to_owned());
        }
        // An empty disk can ask the leader too, but what it will become is not known yet.
        let status = self.reads.status();
        if !status.voters.contains(&self.reads.id()) {
            let joins = !status.voters.is_empty();
            let why = if joins { "a learner, without a vote: see make add" } else { "not yet a member of a group" };
            return Some(why.to_owned());
        }
        if let Err(refusal) = self.reads.read_index_anywhere(Instant::now() + READY_PATIENCE).await {
            return Some(format!("{refusal}: a majority of the replicas must be up, and the first items loaded"));
        }
        None
    }

    fn log(&self, method: &Method, path: &str, response: &Response, key: Option<&str>, began: std::time::Instant) {
        if self.log_requests {
            let (status, took) = (response.status().as_u16(), began.elapsed());
            tracing::info!(%method, path, status, request_id = key, ms = took.as_secs_f64() * 1e3, "request");
        }
    }
}

/// An answer of the compatible surface that is no success: its body says what is wrong, in one sentence.
fn error(status: StatusCode, message: &str) -> Response {
    let mut response = json(status, wire::error_body(message));
    if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    response
}

fn json(status: StatusCode, body: Bytes) -> Response {
    (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}
