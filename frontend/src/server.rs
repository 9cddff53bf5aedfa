//! Connections: accepts them, serves HTTP/1.1 on each, and takes them down in order.
//!
//! Must not know what is answered.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use futures::future::Either;
use hyper::{server::conn::http1, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, sleep, timeout, timeout_at},
};

use crate::{
    api::{self, Request},
    front::Front,
    reply::Reply,
};

/// Connections open at a time; more wait to be accepted.
const MAX_CONNECTIONS: usize = 16_384;
/// How long a connection may be idle, or take over a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// The pause after a connection could not be accepted, for want of file descriptors most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop`, then accepts no more, finishes what is under way within the deadline of a request, and
/// returns.
pub async fn run(front: Arc<Front>, listener: TcpListener, stop: impl Future<Output = ()>) {
    let connections = GracefulShutdown::new();
    tokio::select! {
        () = stop => {}
        () = accept(&front, &listener, &connections) => {}
    }
    drop(listener);
    tracing::info!(open = connections.count(), "accepting no more");
    front.stopping.cancel();
    let until = Instant::now() + front.layout.deadline;
    if timeout_at(until, connections.shutdown()).await.is_err() {
        tracing::warn!("some requests were not answered by the deadline");
    }
    // Commands whose clients have gone are still on their way.
    if timeout(front.layout.deadline, front.writes.close()).await.is_err() {
        tracing::warn!("some writes had no outcome by the deadline");
    }
}

async fn accept(front: &Arc<Front>, listener: &TcpListener, connections: &GracefulShutdown) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let connection = http.serve_connection(TokioIo::new(no_delay(stream)), Requests { front: front.clone() });
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }
}

fn no_delay(stream: TcpStream) -> TcpStream {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    stream
}

/// The requests of one connection.
struct Requests {
    front: Arc<Front>,
}

type Answer = Result<Reply, Infallible>;

impl Service<Request> for Requests {
    type Response = Reply;
    type Error = Infallible;
    /// What the cache answers is ready at once; only the long way is put on the heap.
    type Future = Either<Ready<Answer>, Pin<Box<dyn Future<Output = Answer> + Send>>>;

    fn call(&self, request: Request) -> Self::Future {
        let front = self.front.clone();
        if front.layout.log_requests {
            return Either::Right(Box::pin(async move { Ok(api::answer_and_log(front, request).await) }));
        }
        match api::quick(&front, &request) {
            Some(reply) => Either::Left(ready(Ok(reply))),
            None => Either::Right(Box::pin(async move { Ok(api::answer(front, request).await) })),
        }
    }
}
