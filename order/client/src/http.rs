//! One HTTP exchange with an order server. Must not know what is exchanged.

use std::{error::Error, time::Duration};

use bytes::{Bytes, BytesMut};
use reqwest::{Client, Response, StatusCode, header::CONTENT_TYPE};

use crate::{BATCH_CONTENT_TYPE, MAX_BATCH_ANSWER, servers::Failure};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// Idle connections kept to one server: there are never more batches than a few under way.
const IDLE_CONNECTIONS: usize = 8;

/// The way to all order servers.
#[derive(Debug)]
pub(crate) struct Http(Client);

impl Http {
    pub(crate) fn new(sender: &str) -> Self {
        let client = Client::builder()
            .user_agent(sender)
            .no_proxy()
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client without TLS and proxies needs nothing from its surroundings");
        Self(client)
    }

    /// The status of an answer within `patience`.
    pub(crate) async fn get(&self, address: &str, path: &str, patience: Duration) -> Result<StatusCode, String> {
        let response = self.0.get(format!("http://{address}{path}")).timeout(patience).send().await;
        Ok(response.map_err(|e| chain(&e))?.status())
    }

    /// The status of an answer within `patience`, and its body if that is 200.
    pub(crate) async fn post(
        &self,
        address: &str,
        path: &str,
        body: Bytes,
        patience: Duration,
    ) -> Result<(StatusCode, BytesMut), Failure> {
        let request = self.0.post(format!("http://{address}{path}")).timeout(patience);
        let sent = request.header(CONTENT_TYPE, BATCH_CONTENT_TYPE).body(body).send().await;
        let response = match sent {
            Ok(response) => response,
            Err(e) if e.is_connect() || e.is_builder() => return Err(Failure::NoEffect(chain(&e))),
            Err(e) => return Err(Failure::Lost(chain(&e))),
        };
        match response.status() {
            StatusCode::OK => Ok((StatusCode::OK, whole(response).await.map_err(Failure::Lost)?)),
            status => Ok((status, BytesMut::new())),
        }
    }
}

async fn whole(mut response: Response) -> Result<BytesMut, String> {
    let mut body = BytesMut::new();
    while let Some(part) = response.chunk().await.map_err(|e| chain(&e))? {
        if body.len() + part.len() > MAX_BATCH_ANSWER {
            return Err(format!("answered more than {MAX_BATCH_ANSWER} bytes"));
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

/// An error with its causes: reqwest's own text stops before what went wrong.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
