//! Reads: spread round robin over live replicas, and over to the next when one fails.
//!
//! Must not know what a view holds.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};

use super::{Error, ReadAnswer, Shared, link::Link, links::bit, millis_until, pause_between_tries};
use crate::{
    NodeId, Revision,
    frame::{Connected, Purpose, connect, decode, encode, write_frame},
    protocol::{Data, Envelope, REQUEST, RESPONSE, ReadAt, Refusal, Request, Response, View},
};

/// How long one replica is given before another is asked; of a long list, between two parts.
const TRY: Duration = Duration::from_secs(1);
/// What a replica's answer may take beyond the time that it was told to take.
const GRACE: Duration = Duration::from_millis(50);
/// Parts of a list that wait for their reader.
const PARTS: usize = 4;
/// How long whoever reads a long list may take over one part.
const TAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the next part of a list may take to come.
const PART_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn read(
    shared: &Shared,
    replica: Option<NodeId>,
    view: &View,
    at: ReadAt,
    deadline: Instant,
) -> Result<ReadAnswer, Error> {
    let mut tries = Tries::new(shared, replica, deadline)?;
    while let Some(link) = tries.next().await {
        match read_from(link, view, at, tries.until(), deadline).await {
            Ok((revision, data)) => return Ok(ReadAnswer { revision, replica: link.peer.id, data }),
            Err(refusal) => tries.failed(refusal)?,
        }
    }
    Err(tries.out_of_time())
}

pub(super) async fn read_parts(
    shared: &Shared,
    replica: Option<NodeId>,
    view: &View,
    at: ReadAt,
    deadline: Instant,
) -> Result<(ReadAnswer, mpsc::Receiver<Result<Data, Error>>), Error> {
    let mut tries = Tries::new(shared, replica, deadline)?;
    while let Some(link) = tries.next().await {
        let until = tries.until();
        let first = timeout_at(until + GRACE, Stream::open(shared, link, view, at, until)).await;
        match first.unwrap_or_else(|_| Err(silent(link))) {
            Ok((stream, data, last)) => {
                let answer = ReadAnswer { revision: stream.revision, replica: link.peer.id, data };
                let (parts, receiver) = mpsc::channel(PARTS);
                if !last {
                    tokio::spawn(stream.pass_on(parts));
                }
                return Ok((answer, receiver));
            }
            Err(refusal) => tries.failed(refusal)?,
        }
    }
    Err(tries.out_of_time())
}

/// Which replica to ask next: the one that is named, once; or each live one by turn, then the others, then, after a
/// pause, all again.
struct Tries<'a> {
    shared: &'a Shared,
    named: Option<usize>,
    deadline: Instant,
    /// Whose turn it was when it began.
    start: usize,
    /// The replicas asked in this round, a bit each.
    asked: u64,
    over: bool,
    why: Refusal,
}

impl<'a> Tries<'a> {
    fn new(shared: &'a Shared, replica: Option<NodeId>, deadline: Instant) -> Result<Self, Error> {
        let named = match replica {
            None => None,
            Some(id) => Some(shared.index_of(id).ok_or_else(|| Error::Refused(no_such_replica(id)))?),
        };
        Ok(Self {
            shared,
            named,
            deadline,
            start: if named.is_none() { shared.turn() } else { 0 },
            asked: 0,
            over: false,
            why: Refusal::Unavailable("no replica was asked in time".to_owned()),
        })
    }

    async fn next(&mut self) -> Option<&'a Arc<Link>> {
        let links = &self.shared.links;
        loop {
            if self.over || Instant::now() >= self.deadline {
                return None;
            }
            if let Some(named) = self.named {
                self.over = true;
                return Some(links.at(named));
            }
            let mut left = links.round(self.start).filter(|index| self.asked & bit(*index) == 0);
            let live = left.clone().find(|index| links.at(*index).is_live());
            if let Some(index) = live.or_else(|| left.next()) {
                self.asked |= bit(index);
                return Some(links.at(index));
            }
            pause_between_tries(self.deadline).await;
            self.asked = 0;
        }
    }

    /// Until when this try may go on.
    fn until(&self) -> Instant {
        if self.named.is_some() { self.deadline } else { self.deadline.min(Instant::now() + TRY) }
    }

    /// Another try may do better, unless the request itself is wrong.
    fn failed(&mut self, refusal: Refusal) -> Result<(), Error> {
        if matches!(refusal, Refusal::Invalid(_)) {
            return Err(Error::Refused(refusal));
        }
        self.why = refusal;
        Ok(())
    }

    fn out_of_time(self) -> Error {
        Error::Refused(self.why)
    }
}

async fn read_from(
    link: &Arc<Link>,
    view: &View,
    at: ReadAt,
    until: Instant,
    deadline: Instant,
) -> Result<(Revision, Data), Refusal> {
    let connection = timeout_at(until, link.open())
        .await
        .map_err(|_| silent(link))?
        .map_err(|why| unavailable(link, &why.to_string()))?;
    let request = Request::Read { view: view.clone(), at, wait_ms: millis_until(until) };
    let mut pending = connection.send(&request).map_err(|why| unavailable(link, &why.to_string()))?;
    let mut until = deadline.min(until + GRACE);
    let mut parts = 0;
    loop {
        match timeout_at(until, pending.answer()).await {
            Ok(Some(Response::Read { revision, data, .. })) => return Ok((revision, data)),
            Ok(Some(Response::Refused(refusal))) => return Err(refusal),
            Ok(Some(_)) => return Err(unavailable(link, "it answered something else")),
            Ok(None) => return Err(unavailable(link, "the connection was lost")),
            Err(_) => {
                // A long list that still comes is waited for.
                let so_far = pending.parts();
                if so_far == parts || until >= deadline {
                    return Err(silent(link));
                }
                parts = so_far;
                until = deadline.min(Instant::now() + TRY);
            }
        }
    }
}

/// A list on its way in parts. It has a connection of its own: a reader that is slow holds up nobody else.
struct Stream {
    connected: Connected,
    revision: Revision,
}

impl Stream {
    async fn open(
        shared: &Shared,
        link: &Link,
        view: &View,
        at: ReadAt,
        until: Instant,
    ) -> Result<(Self, Data, bool), Refusal> {
        let fail = |error: io::Error| unavailable(link, &error.to_string());
        let hello = shared.options.hello(link.peer.id, Purpose::Client);
        let mut connected = connect(&link.peer.address, &hello, TRY).await.map_err(fail)?;
        let body = Request::Read { view: view.clone(), at, wait_ms: millis_until(until) };
        write_frame(&mut connected.writer, REQUEST, &encode(&Envelope { id: 1, body })).await.map_err(fail)?;
        let (revision, data, last) = part(&mut connected).await?;
        Ok((Self { connected, revision }, data, last))
    }

    async fn pass_on(mut self, parts: mpsc::Sender<Result<Data, Error>>) {
        loop {
            let next = timeout(PART_TIMEOUT, part(&mut self.connected)).await;
            let next = next.unwrap_or_else(|_| Err(Refusal::Unavailable("the next part did not come".to_owned())));
            let (item, ended) = match next {
                Ok((revision, data, last)) if revision == self.revision => (Ok(data), last),
                Ok(_) => (Err(Refusal::Unavailable("the parts are of different revisions".to_owned())), true),
                Err(refusal) => (Err(refusal), true),
            };
            // Ends too when nobody reads any longer, or so slowly that it holds the replica up.
            if parts.send_timeout(item.map_err(Error::Refused), TAKE_TIMEOUT).await.is_err() || ended {
                return;
            }
        }
    }
}

async fn part(connected: &mut Connected) -> Result<(Revision, Data, bool), Refusal> {
    let broken = |why: String| Refusal::Unavailable(format!("replica {}: {why}", connected.id));
    let frame = match connected.reader.next().await {
        Ok(Some(frame)) if frame.kind == RESPONSE => frame,
        Ok(Some(_)) => return Err(broken("a frame that is no response".to_owned())),
        Ok(None) => return Err(broken("the connection was closed".to_owned())),
        Err(error) => return Err(broken(error.to_string())),
    };
    match decode(&frame.payload) {
        Ok(Envelope { body: Response::Read { revision, data, last }, .. }) => Ok((revision, data, last)),
        Ok(Envelope { body: Response::Refused(refusal), .. }) => Err(refusal),
        Ok(_) => Err(broken("it answered something else".to_owned())),
        Err(error) => Err(broken(error.to_string())),
    }
}

pub(super) fn no_such_replica(id: NodeId) -> Refusal {
    Refusal::Invalid(format!("there is no replica {id}"))
}

fn unavailable(link: &Link, why: &str) -> Refusal {
    Refusal::Unavailable(format!("{}: {why}", link.peer.name))
}

fn silent(link: &Link) -> Refusal {
    unavailable(link, "no answer in time")
}
