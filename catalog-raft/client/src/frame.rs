//! Frames on a replica's peer port: length, checksum, kind, payload; and the handshake that opens a connection.
//!
//! A connection serves one [`Purpose`]. The connecting side sends a [`Hello`] that names the cluster, itself and
//! the replica it wants; the replica answers with a [`Welcome`], or with a [`Refused`] and closes. Payloads are
//! bincode (standard configuration). Enums are append-only; [`VERSION`] is raised when the meaning of bytes changes.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::NodeId;

/// The version of everything that crosses a peer port.
pub const VERSION: u16 = 1;
/// The first bytes of every handshake.
pub const MAGIC: [u8; 4] = *b"CTLG";
/// The longest payload of a frame, in bytes.
pub const MAX_PAYLOAD: usize = 32 << 20;
const HEADER: usize = 9;

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
    if buffer.len() < HEADER {
        return Ok(None);
    }
    let length = u32::from_le_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]) as usize;
    if length > MAX_PAYLOAD {
        return Err(invalid(format!("a frame of {length} bytes, beyond {MAX_PAYLOAD}")));
    }
    if buffer.len() < HEADER + length {
        buffer.reserve(HEADER + length - buffer.len());
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
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A reader over `inner`.
    pub fn new(inner: R) -> Self {
        Self { inner, buffer: BytesMut::with_capacity(16 << 10) }
    }

    /// The next frame; `None` when the peer has closed between two frames.
    ///
    /// # Errors
    /// As the socket's, or `InvalidData` as [`take_frame`].
    pub async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = take_frame(&mut self.buffer)? {
                return Ok(Some(frame));
            }
            if self.buffer.capacity() - self.buffer.len() < 4 << 10 {
                self.buffer.reserve(16 << 10);
            }
            if self.inner.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    /// The next frame, if it has already been read from the socket.
    ///
    /// # Errors
    /// As [`take_frame`].
    pub fn next_buffered(&mut self) -> io::Result<Option<Frame>> {
        take_frame(&mut self.buffer)
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

/// Encodes a value as bincode.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, bincode::config::standard()).expect("types of the contract always encode")
}

/// Decodes a value from the whole of `bytes`.
///
/// # Errors
/// `InvalidData` when they are anything else than one value.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    let config = bincode::config::standard().with_limit::<MAX_PAYLOAD>();
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
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_anywhere_is_refused_or_waits_for_more() {
        let mut good = BytesMut::new();
        put_frame(&mut good, 7, b"payload");
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            if let Ok(Some(frame)) = take_frame(&mut bad) {
                panic!("bit {bit} flipped went unnoticed: {frame:?}");
            }
        }
    }

    #[tokio::test]
    async fn frames_come_whole_through_a_pipe_of_one_byte() {
        let (mut near, far) = tokio::io::duplex(1);
        let sender = tokio::spawn(async move {
            for kind in 0..3 {
                write_frame(&mut near, kind, &[kind; 100]).await.unwrap();
            }
        });
        let mut reader = FrameReader::new(far);
        for kind in 0..3 {
            let frame = reader.next().await.unwrap().unwrap();
            assert_eq!((frame.kind, &frame.payload[..]), (kind, &[kind; 100][..]));
        }
        assert_eq!(reader.next().await.unwrap(), None);
        sender.await.unwrap();
    }
}
