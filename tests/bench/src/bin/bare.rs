//! `bare ADDRESS FILE`: answers every GET with the headers and the body of a file. axum as one writes it in five minutes,
//! and nothing behind it. Must not know what it answers.

use std::fs;

use anyhow::Context;
use axum::{
    Router,
    http::{HeaderMap, HeaderName, HeaderValue},
    routing::get,
    serve::ListenerExt,
};
use bytes::Bytes;
use serde::Deserialize;
use tokio::net::TcpListener;

/// What is answered.
#[derive(Deserialize)]
struct Answer {
    headers: Vec<(String, String)>,
    body: String,
}

/// As our front end has it, so that what differs is the work.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> anyhow::Result<()> {
    // As many threads as our front end has by default.
    let threads = (std::thread::available_parallelism()?.get() / 2).max(1);
    cluster_config::server::raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(serve())
}

async fn serve() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(file)) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: bare ADDRESS FILE");
    };
    let answer: Answer = serde_json::from_slice(&fs::read(&file).with_context(|| format!("cannot read {file}"))?)?;
    let mut headers = HeaderMap::new();
    for (name, value) in &answer.headers {
        headers.append(HeaderName::try_from(name.as_str())?, HeaderValue::try_from(value.as_str())?);
    }
    let body = Bytes::from(answer.body);
    let handler = move || {
        let answer = (headers.clone(), body.clone());
        async move { answer }
    };
    let listener = TcpListener::bind(&address).await.with_context(|| format!("cannot listen on {address}"))?;
    let listener = listener.tap_io(|stream| {
        // Without it answers would wait for acknowledgements; our front end sets it as well.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, Router::new().route("/lookup/{item}", get(handler))).await?;
    Ok(())
}
