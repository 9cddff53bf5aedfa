//! One keep-alive HTTP/1.1 connection with one request outstanding: the least that a closed loop needs. Must not know
//! what is asked.

use std::{io, ops::Range};

use catalog_client::net::TcpStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The longest answer that is read, head and body together, in bytes.
const MAX_ANSWER: usize = 64 << 20;
/// What the buffer of answers begins with, in bytes: most answers are far shorter.
const FIRST_BUFFER: usize = 8 << 10;
/// The most header lines of an answer.
const MAX_HEADERS: usize = 32;

/// A connection to one server.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What was answered. Borrows the connection's buffer.
#[derive(Debug)]
pub struct Answer<'a> {
    /// HTTP status.
    pub status: u16,
    /// `X-Revision`, when it is there and a number.
    pub revision: Option<u64>,
    /// `Retry-After`, when it is there and a number of seconds.
    pub retry_after: Option<u64>,
    /// `Idempotency-Key`.
    pub key: Option<&'a str>,
    /// Whether a cache answered, when `Cache-Status` is there.
    pub hit: Option<bool>,
    /// Whether the server keeps the connection. If not, open another one.
    pub keeps: bool,
    /// The body.
    pub body: &'a [u8],
}

/// An answer's head, as places in the buffer.
struct Head {
    status: u16,
    revision: Option<u64>,
    retry_after: Option<u64>,
    key: Option<Range<usize>>,
    hit: Option<bool>,
    keeps: bool,
    body: Range<usize>,
}

impl Connection {
    /// Connects to `host:port`.
    ///
    /// # Errors
    /// As the network says.
    pub async fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; FIRST_BUFFER] })
    }

    /// Sends one request, head and body as they go on the wire, and reads its answer.
    ///
    /// # Errors
    /// When the connection breaks or the answer is not one that this reader knows; the connection is of no use then.
    /// Nor is it when this future is dropped half way.
    pub async fn ask(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        let mut head = None;
        let head = loop {
            if head.is_none() {
                head = parse(&self.buffer[..filled])?;
            }
            match head.take() {
                Some(head) if head.body.end < filled => return Err(strange("more than one answer to one request")),
                Some(head) if head.body.end == filled => break head,
                unfinished => head = unfinished,
            }
            let wanted = head.as_ref().map_or(filled + 1, |head| head.body.end);
            if wanted > MAX_ANSWER {
                return Err(strange("an answer longer than this reader takes"));
            }
            if wanted > self.buffer.len() {
                self.buffer.resize(wanted.next_power_of_two(), 0);
            }
            match self.stream.read(&mut self.buffer[filled..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                more => filled += more,
            }
        };
        let text = |range: Range<usize>| std::str::from_utf8(&self.buffer[range]).ok();
        Ok(Answer {
            status: head.status,
            revision: head.revision,
            retry_after: head.retry_after,
            key: head.key.and_then(text),
            hit: head.hit,
            keeps: head.keeps,
            body: &self.buffer[head.body],
        })
    }
}

/// Reads the head of an answer, once it is whole.
fn parse(bytes: &[u8]) -> io::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes).map_err(|error| strange(&error.to_string()))? {
        httparse::Status::Partial => return Ok(None),
        httparse::Status::Complete(length) => length,
    };
    let status = response.code.ok_or_else(|| strange("an answer without a status"))?;
    // These have no body and need no length.
    let mut body = matches!(status, 204 | 304).then_some(0);
    let mut head = Head { status, revision: None, retry_after: None, key: None, hit: None, keeps: true, body: 0..0 };
    for header in response.headers.iter() {
        let value = || std::str::from_utf8(header.value).unwrap_or_default().trim();
        if header.name.eq_ignore_ascii_case("content-length") {
            body = value().parse().ok();
        } else if header.name.eq_ignore_ascii_case("x-revision") {
            head.revision = value().parse().ok();
        } else if header.name.eq_ignore_ascii_case("retry-after") {
            head.retry_after = value().parse().ok();
        } else if header.name.eq_ignore_ascii_case("idempotency-key") {
            let from = header.value.as_ptr().addr() - bytes.as_ptr().addr();
            head.key = Some(from..from + header.value.len());
        } else if header.name.eq_ignore_ascii_case("cache-status") {
            head.hit = Some(value().ends_with("; hit"));
        } else if header.name.eq_ignore_ascii_case("connection") {
            head.keeps = !value().eq_ignore_ascii_case("close");
        }
    }
    let body: usize = body.ok_or_else(|| strange("an answer without a Content-Length"))?;
    head.body = length..length.saturating_add(body);
    Ok(Some(head))
}

fn strange(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn reads_answers_one_after_another_however_they_are_cut() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 64];
            let long = "x".repeat(20_000);
            for answer in [
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Revision: 41\r\nCache-Status: a; hit\r\nIdempotency-Key: k-1\r\n\r\n17"
                    .to_owned(),
                "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
                    .to_owned(),
                format!("HTTP/1.1 200 OK\r\ncache-status: a; fwd=uri-miss\r\ncontent-length: {}\r\n\r\n{long}", long.len()),
            ] {
                let _ = stream.read(&mut asked).await.unwrap();
                for part in answer.as_bytes().chunks(answer.len().div_ceil(3)) {
                    stream.write_all(part).await.unwrap();
                    stream.flush().await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        });
        let mut connection = Connection::open(&address).await.unwrap();
        let first = connection.ask(b"GET /a HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!((first.status, first.revision, first.key, first.body), (200, Some(41), Some("k-1"), &b"17"[..]));
        assert!(first.keeps && first.retry_after.is_none() && first.hit == Some(true));
        let second = connection.ask(b"GET /b HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!((second.status, second.retry_after, second.keeps, second.hit), (503, Some(1), false, None));
        let third = connection.ask(b"GET /c HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!((third.body.len(), third.hit), (20_000, Some(false)));
        server.await.unwrap();
        assert!(connection.ask(b"GET /d HTTP/1.1\r\n\r\n").await.is_err());
    }
}
