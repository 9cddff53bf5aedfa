//! Connections: accepts them, serves HTTP/1.1 on each, and takes them down in order.
//!
//! Must not know what is answered.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    sync::Arc,
    time::Duration,
};

use cluster_config::{http, net::TcpListener};
use futures::{
    FutureExt,
    future::{Either, Map},
};
use hyper::service::Service;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    api::{self, Request},
    front::Front,
    reply::Reply,
};

/// Connections of clients.
const LIMITS: http::Limits = http::Limits { connections: 16_384, head: Duration::from_secs(75) };

/// Serves until `stop`, then accepts no more, finishes what is under way within the deadline of a request, and
/// returns.
pub async fn run(front: Arc<Front>, listener: TcpListener, stop: impl Future<Output = ()>) {
    let (requests, connections) = (Requests { front: front.clone() }, front.connections.clone());
    let open = http::serve(listener, requests, LIMITS, connections, stop).await;
    tracing::info!(open = open.count(), "accepting no more");
    front.stopping.cancel();
    let until = Instant::now() + front.layout.deadline;
    if timeout_at(until, open.finish()).await.is_err() {
        tracing::warn!("some requests were not answered by the deadline");
    }
    // Commands whose clients have gone are still on their way.
    if timeout(front.layout.deadline, front.writes.close()).await.is_err() {
        tracing::warn!("some writes had no outcome by the deadline");
    }
}

/// What answers the requests of a connection.
#[derive(Clone)]
struct Requests {
    front: Arc<Front>,
}

type Answer = Result<Reply, Infallible>;

impl Service<Request> for Requests {
    type Response = Reply;
    type Error = Infallible;
    /// What the cache answers is ready at once; only the long way is put on the heap.
    type Future = Either<Ready<Answer>, Map<api::Answering, fn(Reply) -> Answer>>;

    fn call(&self, request: Request) -> Self::Future {
        let front = self.front.clone();
        let answering: api::Answering = if front.layout.log_requests {
            Box::pin(api::answer_and_log(front, request))
        } else if let Some(reply) = api::quick(&front, &request) {
            return Either::Left(ready(Ok(reply)));
        } else {
            api::answer(front, request)
        };
        Either::Right(answering.map(Ok as fn(Reply) -> Answer))
    }
}
