//! HTTP exchanges with order servers, over a few connections that are kept. Must not know what is exchanged.
//!
//! One layer below reqwest: every buy waits for an exchange.

use std::{
    collections::HashMap,
    fmt::Display,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use catalog_client::net::TcpStream;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use crate::{BATCH_CONTENT_TYPE, MAX_BATCH_ANSWER, servers::Failure};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// Idle connections kept to one server: there are never more exchanges than a few under way.
const IDLE_CONNECTIONS: usize = 8;

type Connection = http1::SendRequest<Full<Bytes>>;

/// The way to all order servers.
#[derive(Debug)]
pub(crate) struct Http {
    sender: String,
    /// By address. A handful of servers, one or two exchanges at a time.
    idle: Mutex<HashMap<String, Vec<Connection>>>,
}

impl Http {
    pub(crate) fn new(sender: &str) -> Self {
        Self { sender: sender.to_owned(), idle: Mutex::default() }
    }

    /// The status of an answer within `patience`.
    pub(crate) async fn get(&self, address: &str, path: &str, patience: Duration) -> Result<StatusCode, String> {
        let exchange = self.exchange(Method::GET, address, path, Bytes::new());
        let (status, _) = within(patience, exchange).await.map_err(|failure| failure.to_string())?;
        Ok(status)
    }

    /// The status of an answer within `patience`, and its body if that is 200.
    pub(crate) async fn post(
        &self,
        address: &str,
        path: &str,
        body: Bytes,
        patience: Duration,
    ) -> Result<(StatusCode, BytesMut), Failure> {
        within(patience, self.exchange(Method::POST, address, path, body)).await
    }

    async fn exchange(
        &self,
        method: Method,
        address: &str,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, BytesMut), Failure> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, address)
            .header(USER_AGENT, &self.sender)
            .header(CONTENT_TYPE, BATCH_CONTENT_TYPE)
            .body(Full::new(body))
            .map_err(no_effect)?;
        let (connection, response) = self.send(address, request).await?;
        let status = response.status();
        if status != StatusCode::OK {
            // Nobody wants to read what it says.
            return Ok((status, BytesMut::new()));
        }
        let body = Limited::new(response.into_body(), MAX_BATCH_ANSWER).collect().await.map_err(lost)?;
        self.keep(address, connection);
        Ok((status, body.to_bytes().into()))
    }

    /// Sends a request over a connection that is kept, or a new one. A kept one that the server has closed meanwhile
    /// gives back what it could not send.
    async fn send(
        &self,
        address: &str,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(Connection, Response<Incoming>), Failure> {
        while let Some(mut kept) = self.kept(address) {
            if kept.ready().await.is_err() {
                continue;
            }
            match kept.try_send_request(request).await {
                Ok(response) => return Ok((kept, response)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(lost(error.into_error())),
                },
            }
        }
        let mut made = connect(address).await?;
        made.ready().await.map_err(no_effect)?;
        match made.try_send_request(request).await {
            Ok(response) => Ok((made, response)),
            Err(mut error) => match error.take_message() {
                Some(_unsent) => Err(no_effect(error.into_error())),
                None => Err(lost(error.into_error())),
            },
        }
    }

    fn kept(&self, address: &str) -> Option<Connection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).get_mut(address)?.pop()
    }

    fn keep(&self, address: &str, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.entry(address.to_owned()).or_default();
        kept.retain(|connection| !connection.is_closed());
        if kept.len() < IDLE_CONNECTIONS {
            kept.push(connection);
        }
    }
}

async fn connect(address: &str) -> Result<Connection, Failure> {
    let connecting = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
    let stream = connecting.map_err(|_| no_effect(format!("{address}: no connection in time")))?.map_err(no_effect)?;
    // A request that waits for the acknowledgement of another would take 40 ms.
    stream.set_nodelay(true).map_err(no_effect)?;
    let (connection, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(no_effect)?;
    // Ends with the connection; whoever waits for an answer hears of it.
    tokio::spawn(driver);
    Ok(connection)
}

async fn within<T>(patience: Duration, exchange: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(patience, exchange).await.unwrap_or_else(|_| Err(lost("no answer in time")))
}

fn no_effect(why: impl Display) -> Failure {
    Failure::NoEffect(why.to_string())
}

fn lost(why: impl Display) -> Failure {
    Failure::Lost(why.to_string())
}
