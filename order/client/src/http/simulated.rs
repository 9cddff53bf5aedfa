//! One HTTP exchange with an order server of a simulation, over a connection of its own.

use std::{fmt::Display, time::Duration};

use bytes::{Bytes, BytesMut};
use catalog_client::net::TcpStream;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use crate::{BATCH_CONTENT_TYPE, MAX_BATCH_ANSWER, servers::Failure};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// The way to all order servers.
#[derive(Debug)]
pub(crate) struct Http;

impl Http {
    pub(crate) fn new(_sender: &str) -> Self {
        Self
    }

    pub(crate) async fn get(&self, address: &str, path: &str, patience: Duration) -> Result<StatusCode, String> {
        let answer = timeout(patience, exchange(Method::GET, address, path, Bytes::new())).await;
        let answer = answer.map_err(|_| "no answer in time".to_owned())?.map_err(|error| error.to_string())?;
        Ok(answer.status())
    }

    pub(crate) async fn post(
        &self,
        address: &str,
        path: &str,
        body: Bytes,
        patience: Duration,
    ) -> Result<(StatusCode, BytesMut), Failure> {
        let whole = async {
            let answer = exchange(Method::POST, address, path, body).await?;
            let status = answer.status();
            if status != StatusCode::OK {
                return Ok((status, BytesMut::new()));
            }
            let body = Limited::new(answer.into_body(), MAX_BATCH_ANSWER).collect().await;
            let body = body.map_err(|error| Failure::Lost(error.to_string()))?;
            Ok((status, body.to_bytes().into()))
        };
        timeout(patience, whole).await.unwrap_or_else(|_| Err(lost("no answer in time")))
    }
}

async fn exchange(
    method: Method,
    address: &str,
    path: &str,
    body: Bytes,
) -> Result<hyper::Response<Incoming>, Failure> {
    let connecting = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
    let stream = connecting.map_err(no_effect)?.map_err(no_effect)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(no_effect)?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, address)
        .header(header::CONTENT_TYPE, BATCH_CONTENT_TYPE)
        .body(Full::new(body))
        .map_err(no_effect)?;
    sender.send_request(request).await.map_err(lost)
}

fn no_effect(why: impl Display) -> Failure {
    Failure::NoEffect(why.to_string())
}

fn lost(why: impl Display) -> Failure {
    Failure::Lost(why.to_string())
}
