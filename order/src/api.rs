//! The server's HTTP surface: which path is whose, and what holds for every request.
//!
//! Must not know how an order reaches the leader.

mod answer;
mod batch;
mod buy;
mod orders;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use catalog_client::{Action, Command, compat::MAX_BODY};
use order_client::{BATCH_PATH, MAX_BATCH_BODY, NotPlaced, Placed, view::Key};
use tokio::time::Instant;

use self::answer::{Refused, Surface};
use crate::checkout::Checkout;

/// What every request needs. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Shop {
    pub(crate) checkout: Checkout,
    draining: Arc<AtomicBool>,
    deadline: Duration,
    log_requests: bool,
}

impl Shop {
    /// `deadline`: how long a request may take in all. `log_requests`: a line in the log for each.
    pub(crate) fn new(checkout: Checkout, deadline: Duration, log_requests: bool) -> Self {
        Self { checkout, draining: Arc::default(), deadline, log_requests }
    }

    /// From now on every new request is refused.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.deadline
    }

    /// Has an order placed under `key`.
    async fn place(&self, action: Action, key: &Key) -> Result<Placed, NotPlaced> {
        let Some(born) = self.checkout.revision() else {
            return Err(NotPlaced::Unavailable("no leader was found yet".to_owned()));
        };
        let command = Command { id: key.id, origin: key.origin, born, action };
        self.checkout.place(command, self.deadline()).await
    }
}

/// All routes.
pub(crate) fn router(shop: Shop) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/v1/orders", get(orders::page).post(orders::place))
        .route("/v1/orders/{id}", get(orders::one))
        .route(BATCH_PATH, post(batch::place).layer(DefaultBodyLimit::max(MAX_BATCH_BODY)))
        .fallback(elsewhere)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn_with_state(shop.clone(), every_request))
        .with_state(shop)
}

async fn ready(State(shop): State<Shop>) -> Response {
    let refuse = |why: &'static str| {
        (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, order_client::view::RETRY_AFTER)], why).into_response()
    };
    if shop.is_draining() {
        refuse("shutting down\n")
    } else if !shop.checkout.has_leader() {
        refuse("no leader of the catalog answers\n")
    } else {
        "ok\n".into_response()
    }
}

async fn metrics(State(shop): State<Shop>) -> Response {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], crate::metrics::text(&shop.checkout)).into_response()
}

/// The compatible surface, and what is nowhere.
async fn elsewhere(State(shop): State<Shop>, request: Request) -> Response {
    if buy::is_path(request.uri().path()) {
        return buy::buy(&shop, request).await;
    }
    Refused::new(Surface::of(request.uri().path()), 404, "not-found", "there is nothing at this path").into_response()
}

async fn wrong_method(request: Request) -> Response {
    let detail = format!("{} is not among the methods of this path", request.method());
    Refused::new(Surface::of(request.uri().path()), 405, "method-not-allowed", detail).into_response()
}

/// Refuses while draining, health apart; logs when asked to.
async fn every_request(State(shop): State<Shop>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let line = shop.log_requests.then(|| format!("{} {}", request.method(), request.uri()));
    let path = request.uri().path();
    let refuse = shop.is_draining() && !matches!(path, "/livez" | "/readyz" | "/metrics");
    let mut response = if refuse {
        Refused::new(Surface::of(path), 503, "unavailable", "shutting down; nothing was done: try again")
            .into_response()
    } else {
        next.run(request).await
    };
    if shop.is_draining() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(line) = line {
        tracing::info!(status = response.status().as_u16(), ms = begun.elapsed().as_millis(), "{line}");
    }
    response
}
