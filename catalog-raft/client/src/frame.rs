//! Frames on a replica's peer port: length, checksum, kind, payload; and the handshake that opens a connection.
//!
//! A connection serves one [`Purpose`]. The connecting side sends a [`Hello`] that names the cluster, itself and
//! the replica it wants; the replica answers with a [`Welcome`]: accepted, or refused and closes. Payloads are
//! bincode (standard configuration). Enums are append-only; [`VERSION`] is raised when the meaning of bytes changes.
//!
//! No length is taken at its word: a buffer grows as bytes arrive, and a value may claim little more than it brings.

use std::{io, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use crate::{
    NodeId,
    net::{self, OwnedReadHalf, OwnedWriteHalf, TcpStream},
};

/// The version of everything that crosses a peer port.
pub const VERSION: u16 = 1;
/// The first bytes of every handshake.
pub const MAGIC: [u8; 4] = *b"CTLG";
/// The longest payload of a frame, in bytes.
pub const MAX_PAYLOAD: usize = 32 << 20;
/// The longest payload of a request on a connection of purpose [`Purpose::Client`], in bytes: as many of the longest
/// commands as one may bring.
pub const MAX_REQUEST: usize = 8 << 20;
/// The longest part of a snapshot in one frame, in bytes.
pub const MAX_CHUNK: usize = 1 << 20;
/// The kind of the frames of the handshake.
pub const HANDSHAKE: u8 = 0;
/// The longest payload of a frame of the handshake, in bytes: a stranger can make us hold no more.
pub const MAX_HANDSHAKE: usize = 4 << 10;
/// How long the accepting side waits for a [`Hello`].
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(1);
const HEADER: usize = 9;
/// What a reader makes room for when it has none left: so much, or as much again as has come.
const READ_AHEAD: usize = 16 << 10;
/// What a short value may claim to hold, in bytes.
const MAX_CLAIM: usize = 1 << 20;
/// How many bytes, at most, one encoded byte stands for: a small `u128`.
const BYTES_A_BYTE: usize = 16;

/// What a connection is for. Append-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// Raft log replication.
    RaftData,
    /// Raft heartbeats.
    RaftHeartbeat,
    /// Votes, pre-votes, transfer of leadership.
    RaftVote,
    /// A snapshot for the replica to install.
    RaftSnapshot,
    /// Who are you: asked while a group is founded.
    Probe,
    /// Requests of order servers, front ends and fellow replicas: `protocol::Request`.
    Client,
    /// Changes as they commit: `protocol::WatchFrom`, `protocol::WatchFrame`.
    Watch,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::RaftData,
        Self::RaftHeartbeat,
        Self::RaftVote,
        Self::RaftSnapshot,
        Self::Probe,
        Self::Client,
        Self::Watch,
    ];

    /// The longest payload, in bytes, that the accepting side of such a connection takes: no more than what it is for
    /// may need, so that a stranger can make it hold no more.
    pub const fn max_payload(self) -> usize {
        match self {
            Self::RaftData => MAX_PAYLOAD,
            Self::Client => MAX_REQUEST,
            // A snapshot begins with its membership, which is far shorter than a chunk.
            Self::RaftSnapshot => MAX_CHUNK,
            Self::RaftHeartbeat | Self::RaftVote | Self::Probe | Self::Watch => MAX_HANDSHAKE,
        }
    }
}

/// Opens a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Always [`MAGIC`].
    pub magic: [u8; 4],
    /// [`VERSION`] of the sender.
    pub version: u16,
    /// The cluster's name.
    pub cluster: String,
    /// The sender's name, for logs.
    pub sender: String,
    /// The replica's id and its disk's incarnation, when the sender is a replica.
    pub sender_replica: Option<(NodeId, u128)>,
    /// The replica that is meant.
    pub receiver: NodeId,
    /// What for.
    pub purpose: Purpose,
}

/// The replica's answer to a [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Welcome {
    /// Go on.
    Accepted {
        /// The replica's id.
        id: NodeId,
        /// The incarnation of its disk.
        incarnation: u128,
    },
    /// The connection is closed after this.
    Refused(String),
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What the payload is, by the connection's purpose.
    pub kind: u8,
    /// The payload.
    pub payload: Bytes,
}

/// Appends a frame of `kind` around `payload` to `out`.
pub fn put_frame(out: &mut BytesMut, kind: u8, payload: &[u8]) {
    out.reserve(HEADER + payload.len());
    out.put_u32_le(u32::try_from(payload.len()).expect("a payload is bounded by MAX_PAYLOAD"));
    out.put_u32_le(checksum(kind, payload));
    out.put_u8(kind);
    out.put_slice(payload);
}

/// Takes one whole frame from the front of `buffer`, or `None` while it is incomplete.
///
/// # Errors
/// `InvalidData` when the frame is too long or its checksum is wrong: the connection is of no more use.
pub fn take_frame(buffer: &mut BytesMut) -> io::Result<Option<Frame>> {
    take_bounded(buffer, MAX_PAYLOAD)
}

fn take_bounded(buffer: &mut BytesMut, max: usize) -> io::Result<Option<Frame>> {
    if buffer.len() < HEADER {
        return Ok(None);
    }
    let length = u32::from_le_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]) as usize;
    if length > max {
        return Err(invalid(format!("a frame of {length} bytes, beyond {max}")));
    }
    if buffer.len() < HEADER + length {
        return Ok(None);
    }
    let mut frame = buffer.split_to(HEADER + length).freeze();
    frame.advance(4);
    let expected = frame.get_u32_le();
    let kind = frame.get_u8();
    if checksum(kind, &frame) != expected {
        return Err(invalid("a frame with a wrong checksum".to_owned()));
    }
    Ok(Some(Frame { kind, payload: frame }))
}

/// Reads frames; `next` may be dropped at any await and called again without losing bytes.
#[derive(Debug)]
pub struct FrameReader<R> {
    inner: R,
    buffer: BytesMut,
    max: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A reader over `inner`.
    pub fn new(inner: R) -> Self {
        Self { inner, buffer: BytesMut::with_capacity(READ_AHEAD), max: MAX_PAYLOAD }
    }

    /// The next frame; `None` when the peer has closed between two frames.
    ///
    /// # Errors
    /// As the socket's, or `InvalidData` as [`take_frame`].
    pub async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.next_buffered()? {
                return Ok(Some(frame));
            }
            if self.buffer.capacity() - self.buffer.len() < READ_AHEAD / 4 {
                // As much again as has come, whatever the header announces: doubling keeps long frames cheap.
                self.buffer.reserve(self.buffer.len().max(READ_AHEAD));
            }
            if self.inner.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// The next frame, if it has already been read from the socket.
    ///
    /// # Errors
    /// As [`take_frame`].
    pub fn next_buffered(&mut self) -> io::Result<Option<Frame>> {
        take_bounded(&mut self.buffer, self.max)
    }
}

/// Writes one frame and flushes it.
///
/// # Errors
/// As the socket's.
pub async fn write_frame<W: AsyncWrite + Unpin>(out: &mut W, kind: u8, payload: &[u8]) -> io::Result<()> {
    let mut bytes = BytesMut::with_capacity(HEADER + payload.len());
    put_frame(&mut bytes, kind, payload);
    out.write_all(&bytes).await?;
    out.flush().await
}

/// A connection whose handshake has succeeded, as the connecting side has it.
#[derive(Debug)]
pub struct Connected {
    /// The replica at the other end.
    pub id: NodeId,
    /// The incarnation of its disk.
    pub incarnation: u128,
    /// Frames from it; nothing that followed the handshake is lost.
    pub reader: FrameReader<OwnedReadHalf>,
    /// Bytes to it.
    pub writer: OwnedWriteHalf,
}

/// Connects to a peer port (`host:port`, the host resolved anew) and shakes hands, all within `patience`.
///
/// # Errors
/// As the socket's; `TimedOut`; `PermissionDenied` with the replica's reason when it refuses;
/// `InvalidData` when what answers is no replica, or not the one that is meant.
pub async fn connect(address: &str, hello: &Hello, patience: Duration) -> io::Result<Connected> {
    timeout(patience, shake_hands(address, hello))
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no handshake in time")))
}

async fn shake_hands(address: &str, hello: &Hello) -> io::Result<Connected> {
    let stream = TcpStream::connect(address).await?;
    net::prepare(&stream)?;
    let (read, mut writer) = stream.into_split();
    write_frame(&mut writer, HANDSHAKE, &encode(hello)).await?;
    let mut reader = FrameReader::new(read);
    match read_handshake(&mut reader).await? {
        Welcome::Accepted { id, incarnation } if id == hello.receiver => {
            Ok(Connected { id, incarnation, reader, writer })
        }
        Welcome::Accepted { id, .. } => {
            Err(invalid(format!("replica {id} answers where {} was meant", hello.receiver)))
        }
        Welcome::Refused(reason) => Err(io::Error::new(io::ErrorKind::PermissionDenied, reason)),
    }
}

/// The accepting side's half: reads the [`Hello`] within [`HELLO_TIMEOUT`] and checks magic and version. The caller
/// checks cluster and receiver, and answers with [`answer_hello`]. The reader takes frames up to what the connection is
/// for: [`Purpose::max_payload`].
///
/// # Errors
/// As the socket's; `TimedOut`; `InvalidData` for a stranger, or another version (which is told so).
pub async fn accept(stream: TcpStream) -> io::Result<(Hello, FrameReader<OwnedReadHalf>, OwnedWriteHalf)> {
    net::prepare(&stream)?;
    let (read, mut writer) = stream.into_split();
    let mut reader = FrameReader::new(read);
    let hello: Hello = timeout(HELLO_TIMEOUT, read_handshake(&mut reader))
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no hello in time")))?;
    if hello.magic != MAGIC {
        return Err(invalid("a hello with the wrong magic".to_owned()));
    }
    if hello.version != VERSION {
        let reason = format!("version {} is spoken here, not {}", VERSION, hello.version);
        answer_hello(&mut writer, &Welcome::Refused(reason.clone())).await?;
        return Err(invalid(reason));
    }
    reader.max = hello.purpose.max_payload();
    Ok((hello, reader, writer))
}

/// Answers a [`Hello`].
///
/// # Errors
/// As the socket's.
pub async fn answer_hello(writer: &mut OwnedWriteHalf, welcome: &Welcome) -> io::Result<()> {
    write_frame(writer, HANDSHAKE, &encode(welcome)).await
}

async fn read_handshake<T: DeserializeOwned>(reader: &mut FrameReader<OwnedReadHalf>) -> io::Result<T> {
    reader.max = MAX_HANDSHAKE;
    let frame = reader.next().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    reader.max = MAX_PAYLOAD;
    if frame.kind != HANDSHAKE {
        return Err(invalid(format!("a frame of kind {} where the handshake was due", frame.kind)));
    }
    decode(&frame.payload)
}

/// What there is room for when a value is encoded, in bytes: each time that there is not enough all is copied.
const ENCODED: usize = 1024;

/// Encodes a value as bincode.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    encode_with_room(value, ENCODED)
}

/// Encodes a value as bincode, into as much room as it will most likely need, in bytes.
pub fn encode_with_room<T: Serialize>(value: &T, room: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(room);
    bincode::serde::encode_into_std_write(value, &mut bytes, bincode::config::standard())
        .expect("types of the contract always encode, and a Vec takes every byte");
    bytes
}

/// Decodes a value from the whole of `bytes`. A text or byte string that is longer than what may be left of the value is
/// refused before there is room for it.
///
/// # Errors
/// `InvalidData` when they are anything else than one value.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    // bincode makes room for a string on the word of its length, within a limit that must be a constant and that counts
    // decoded bytes. Each step is the first that refuses no good value of its length.
    let most = bytes.len().saturating_mul(BYTES_A_BYTE);
    if most <= MAX_CLAIM {
        decode_within::<T, MAX_CLAIM>(bytes)
    } else if most <= 8 * MAX_CLAIM {
        decode_within::<T, { 8 * MAX_CLAIM }>(bytes)
    } else if most <= 64 * MAX_CLAIM {
        decode_within::<T, { 64 * MAX_CLAIM }>(bytes)
    } else {
        decode_within::<T, { MAX_PAYLOAD * BYTES_A_BYTE }>(bytes)
    }
}

fn decode_within<T: DeserializeOwned, const LIMIT: usize>(bytes: &[u8]) -> io::Result<T> {
    let config = bincode::config::standard().with_limit::<LIMIT>();
    match bincode::serde::decode_from_slice(bytes, config) {
        Ok((value, read)) if read == bytes.len() => Ok(value),
        Ok((_, read)) => Err(invalid(format!("{} bytes after a value of {read}", bytes.len() - read))),
        Err(e) => Err(invalid(e.to_string())),
    }
}

fn checksum(kind: u8, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(payload);
    hasher.finalize()
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests;
