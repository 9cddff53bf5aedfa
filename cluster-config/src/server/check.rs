//! `--check`: asks a server on this machine whether it is ready. For health checks of containers and supervisors, where
//! there is no other program to ask with.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs},
    time::Duration,
};

use anyhow::{Context, bail};

/// How long a server may take to say whether it is ready: more than it takes to look for a quorum.
const PATIENCE: Duration = Duration::from_secs(3);
/// An answer is a line or two.
const MAX_ANSWER: u64 = 64 << 10;

/// Asks the server that listens at `listen` for `/readyz`, and prints what it says.
///
/// # Errors
/// When it is not ready, with what it said; or does not answer.
pub fn check(listen: &str) -> anyhow::Result<()> {
    let answer = ask(listen).with_context(|| format!("no answer from {listen}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or("no status");
    if status != "200" {
        bail!("not ready ({status}): {}", body.trim());
    }
    println!("{}", body.trim());
    Ok(())
}

fn ask(listen: &str) -> anyhow::Result<String> {
    let mut at = listen.to_socket_addrs()?.next().context("it resolves to nothing")?;
    own(&mut at);
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET /readyz HTTP/1.1\r\nHost: {listen}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Who listens on all interfaces is asked on loopback.
fn own(at: &mut SocketAddr) {
    if at.ip().is_unspecified() {
        at.set_ip(match at.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
}
