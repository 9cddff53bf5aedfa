//! HTTP/1.1 connections of a server: accepts them up to a bound, closes those that say nothing, and takes them down in
//! order. Must not know what is answered.

use std::{error::Error, future::Future, sync::Arc, time::Duration};

use hyper::{
    Request, Response,
    body::{Body, Incoming},
    server::conn::http1,
    service::Service,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use metrics::Level;
use tokio::{sync::Semaphore, time::sleep};

use crate::net::{TcpListener, TcpStream};

/// The pause after a connection could not be accepted, for want of file descriptors most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What bounds a server's connections.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Open at a time; more wait to be accepted.
    pub connections: usize,
    /// How long a connection may be idle, or take over a request's head.
    pub head: Duration,
}

/// The connections that were open when no more were accepted.
pub struct Open(GracefulShutdown);

impl Open {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.count()
    }

    /// Lets each finish the request that it has, and returns when all are closed.
    pub async fn finish(self) {
        self.0.shutdown().await;
    }
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} connections", self.count())
    }
}

/// Serves until `stop`, then closes the listener and gives the connections that are still open. `open` tells how many
/// there are meanwhile.
pub async fn serve<S, B>(
    listener: TcpListener,
    service: S,
    limits: Limits,
    open: Level,
    stop: impl Future<Output = ()>,
) -> Open
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let connections = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head);
    let accepting = async {
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
            let connection = http.serve_connection(TokioIo::new(no_delay(stream)), service.clone());
            let connection = connections.watch(connection);
            let one_more = open.occupy();
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection ended early");
                }
                drop((place, one_more));
            });
        }
    };
    tokio::select! {
        () = stop => {}
        () = accepting => {}
    }
    Open(connections)
}

fn no_delay(stream: TcpStream) -> TcpStream {
    // An answer that waits for the client's acknowledgement of the one before would take 40 ms.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    stream
}
