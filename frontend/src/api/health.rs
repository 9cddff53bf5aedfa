//! `/livez` and `/readyz`.

use std::time::Duration;

use hyper::{StatusCode, header::RETRY_AFTER};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    front::Front,
    reply::{self, Reply},
};

/// How long `/readyz` looks for a quorum.
const PATIENCE: Duration = Duration::from_secs(1);

/// The process is alive.
pub(super) fn alive() -> Reply {
    reply::json(StatusCode::OK, json!({"status": "alive"}).to_string())
}

/// Whether the front end can serve: it has begun, and is fresh or reaches a quorum.
pub(super) async fn ready(front: &Front, deadline: Instant) -> Reply {
    match not_ready(front, deadline).await {
        None => reply::json(StatusCode::OK, json!({"status": "ready"}).to_string()),
        Some(why) => {
            let body = json!({"status": "not ready", "why": why}).to_string();
            let mut reply = reply::json(StatusCode::SERVICE_UNAVAILABLE, body);
            reply::put(&mut reply, RETRY_AFTER, order_client::view::RETRY_AFTER);
            reply
        }
    }
}

async fn not_ready(front: &Front, deadline: Instant) -> Option<String> {
    if front.stopping.is_cancelled() {
        return Some("shutting down".to_owned());
    }
    if !front.state().stream().begun {
        return Some("no quorum of the catalog with its first items was found yet".to_owned());
    }
    if front.state().is_fresh() {
        return None;
    }
    let until = deadline.min(Instant::now() + PATIENCE);
    front.upstream.read_index(until).await.err().map(|refusal| refusal.to_string())
}
