//! Follows the catalog's changes: one stream, resumed at another replica when it breaks.
//!
//! Nothing is passed on that does not join what was passed on before. Must not know what the changes are used for.

use std::{collections::BTreeMap, io, time::Duration};

use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    Event, NodeId, Revision,
    client::{Catalog, MAX_REPLICAS, Peer, pause},
    frame::{FrameReader, Hello, Purpose, connect, decode, encode, write_frame},
    net::{OwnedReadHalf, OwnedWriteHalf},
    protocol::{WATCH, WATCH_FROM, WATCH_IDLE_MS, WatchFrame, WatchFrom},
};

/// How long connecting and the handshake may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A stream that is silent for so long is given up: a bookmark was due ten times.
const SILENCE: Duration = Duration::from_millis(10 * WATCH_IDLE_MS);
/// What is left to a stream that looks silent because nobody has asked for its next update meanwhile.
const SECOND_LOOK: Duration = Duration::from_millis(WATCH_IDLE_MS);
/// The pause, in failures in a row, after the position was found to be no longer kept.
const COMPACTED_PAUSE: u32 = 7;

/// What a follower learns, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// A replica has accepted the stream.
    Connected {
        /// Which.
        replica: NodeId,
    },
    /// Everything that happened in `(prev, upto]`; `prev` is always the watch's position before.
    /// Without events it is a bookmark.
    Events {
        /// Where the stretch before ended.
        prev: Revision,
        /// Where this one ends: the new position.
        upto: Revision,
        /// In ascending order of revision.
        events: Vec<Event>,
    },
    /// The position is no longer kept. Call [`Watch::restart`] with a newer one before the next update.
    Compacted {
        /// The oldest revision that can be resumed from.
        oldest: Revision,
    },
    /// The stream broke; the next calls resume it at the same position elsewhere, after a pause.
    Disconnected {
        /// Which replica it was, or was tried.
        replica: NodeId,
        /// Why.
        reason: String,
    },
}

/// A stream of changes from a position on.
#[derive(Debug)]
pub struct Watch {
    catalog: Catalog,
    position: Option<Revision>,
    /// The place of the replica to try next, counted round.
    turn: usize,
    /// Streams in a row that broke before they brought anything.
    failures: u32,
    /// Who no longer keeps the position, and from where on each could resume.
    compacted: BTreeMap<NodeId, Revision>,
    stream: Stream,
}

#[derive(Debug)]
enum Stream {
    /// There is none; one is opened from this moment on.
    Closed(Instant),
    /// In a task of its own, so that a dropped `next` does not cut the attempt short.
    Opening(NodeId, AbortOnDropHandle<io::Result<Open>>),
    Open(NodeId, Open),
}

#[derive(Debug)]
struct Open {
    reader: FrameReader<OwnedReadHalf>,
    /// Kept because closing it would end the stream.
    _writer: OwnedWriteHalf,
    /// When it counts as silent.
    patience: Instant,
    /// Whether it has looked silent once since the last frame.
    doubted: bool,
}

impl Watch {
    /// Begins after `after`, or at the present of whichever replica answers first.
    pub fn new(catalog: Catalog, after: Option<Revision>) -> Self {
        // Each watch begins at another replica, so that many spread over all.
        let turn = rand::random_range(0..MAX_REPLICAS);
        Self {
            catalog,
            position: after,
            turn,
            failures: 0,
            compacted: BTreeMap::new(),
            stream: Stream::Closed(Instant::now()),
        }
    }

    /// Up to where everything has been seen.
    pub fn position(&self) -> Option<Revision> {
        self.position
    }

    /// Drops the stream and begins anew after `after`.
    pub fn restart(&mut self, after: Option<Revision>) {
        self.position = after;
        self.compacted.clear();
        self.stream = Stream::Closed(Instant::now());
    }

    /// The next update. May be dropped at any await and called again.
    pub async fn next(&mut self) -> Update {
        loop {
            match &mut self.stream {
                Stream::Closed(until) => {
                    sleep_until(*until).await;
                    self.open();
                }
                Stream::Opening(replica, attempt) => {
                    let replica = *replica;
                    match attempt.await {
                        Ok(Ok(open)) => {
                            self.stream = Stream::Open(replica, open);
                            return Update::Connected { replica };
                        }
                        Ok(Err(error)) => return self.broken(replica, error.to_string()),
                        Err(error) => return self.broken(replica, error.to_string()),
                    }
                }
                Stream::Open(replica, open) => {
                    let replica = *replica;
                    match open.next().await {
                        Ok(frame) => {
                            if let Some(update) = self.take(replica, frame) {
                                return update;
                            }
                        }
                        Err(error) => return self.broken(replica, error.to_string()),
                    }
                }
            }
        }
    }

    /// Begins to open a stream at the next live replica; with none live, at the next one.
    fn open(&mut self) {
        let replicas: Vec<&Peer> = self.catalog.replicas().collect();
        let rotated = (0..replicas.len()).map(|step| (self.turn + step) % replicas.len());
        let is_live = |index: &usize| self.catalog.is_live(replicas[*index].id);
        let may_keep = |index: &usize| !self.compacted.contains_key(&replicas[*index].id);
        let index = rotated.clone().find(|index| is_live(index) && may_keep(index));
        let index = index.or_else(|| rotated.clone().find(is_live)).unwrap_or(self.turn % replicas.len());
        let peer = replicas[index];
        let hello = self.catalog.hello(peer.id, Purpose::Watch);
        let attempt = tokio::spawn(Open::new(peer.address.clone(), hello, WatchFrom { after: self.position }));
        self.stream = Stream::Opening(peer.id, AbortOnDropHandle::new(attempt));
        self.turn = index + 1;
    }

    /// What a frame tells; nothing when another replica is to be asked first.
    fn take(&mut self, replica: NodeId, frame: WatchFrame) -> Option<Update> {
        match frame {
            WatchFrame::Events { prev, upto, events } => {
                if let Err(reason) = check(self.position, prev, upto, &events) {
                    return Some(self.broken(replica, reason));
                }
                self.position = Some(upto);
                self.failures = 0;
                self.compacted.clear();
                Some(Update::Events { prev, upto, events })
            }
            WatchFrame::Compacted { oldest } => {
                // A replica that has just started keeps nothing yet, while the others may keep it all.
                self.compacted.insert(replica, oldest);
                let mut live = self.catalog.replicas().filter(|peer| self.catalog.is_live(peer.id));
                if live.any(|peer| !self.compacted.contains_key(&peer.id)) {
                    self.stream = Stream::Closed(Instant::now());
                    return None;
                }
                let oldest = std::mem::take(&mut self.compacted).into_values().min().unwrap_or(oldest);
                self.stream = Stream::Closed(Instant::now() + pause(COMPACTED_PAUSE));
                Some(Update::Compacted { oldest })
            }
        }
    }

    fn broken(&mut self, replica: NodeId, reason: String) -> Update {
        self.failures = self.failures.saturating_add(1);
        self.stream = Stream::Closed(Instant::now() + pause(self.failures));
        Update::Disconnected { replica, reason }
    }
}

impl Open {
    async fn new(address: String, hello: Hello, from: WatchFrom) -> io::Result<Self> {
        let mut connected = connect(&address, &hello, CONNECT_TIMEOUT).await?;
        write_frame(&mut connected.writer, WATCH_FROM, &encode(&from)).await?;
        let patience = Instant::now() + SILENCE;
        Ok(Self { reader: connected.reader, _writer: connected.writer, patience, doubted: false })
    }

    async fn next(&mut self) -> io::Result<WatchFrame> {
        let frame = loop {
            match timeout_at(self.patience, self.reader.next()).await {
                Ok(frame) => break frame?,
                Err(_) if self.doubted => return Err(io::Error::new(io::ErrorKind::TimedOut, "it has fallen silent")),
                Err(_) => {
                    self.doubted = true;
                    self.patience = Instant::now() + SECOND_LOOK;
                }
            }
        };
        self.doubted = false;
        self.patience = Instant::now() + SILENCE;
        match frame {
            Some(frame) if frame.kind == WATCH => decode(&frame.payload),
            Some(frame) => {
                let message = format!("a frame of kind {} on a watch stream", frame.kind);
                Err(io::Error::new(io::ErrorKind::InvalidData, message))
            }
            None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the stream was closed")),
        }
    }
}

/// Whether a stretch joins the position, and its events are ordered, unique and within it.
fn check(position: Option<Revision>, prev: Revision, upto: Revision, events: &[Event]) -> Result<(), String> {
    if let Some(position) = position
        && prev != position
    {
        return Err(format!("a stretch from {prev} on does not join revision {position}"));
    }
    if upto < prev {
        return Err(format!("a stretch that ends at {upto}, before it began at {prev}"));
    }
    let mut last = prev;
    for event in events {
        if event.revision <= last || event.revision > upto {
            return Err(format!("revision {} after {last} in a stretch up to {upto}", event.revision));
        }
        last = event.revision;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
