//! One established connection to a replica: requests multiplexed over it by id.
//!
//! Requests are written as they come, all that wait in one write. Must not know how a connection is made, nor
//! what to do when it ends.

use std::{
    collections::HashMap,
    convert::Infallible,
    io, mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::AsyncWriteExt,
    sync::{Notify, oneshot},
    time::Instant,
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    Revision,
    frame::{Connected, FrameReader, MAX_PAYLOAD, MAX_REQUEST, decode, encode, put_frame},
    net::{OwnedReadHalf, OwnedWriteHalf},
    protocol::{Data, Envelope, REQUEST, RESPONSE, Request, Response},
};

/// The most bytes that wait to be written; one request more fails.
const MAX_OUTBOX: usize = 2 * MAX_PAYLOAD;
/// A write buffer that has grown beyond this is not kept.
const KEPT_OUTBOX: usize = 1 << 20;
/// The most parts of a list that are put together; longer lists are to be read part by part.
const MAX_PARTS: u32 = 10_000;

/// Why a request never left.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotSent {
    #[error("the connection was lost")]
    Ended,
    #[error("too much waits to be sent")]
    Full,
    #[error("a request of {0} bytes, beyond {MAX_REQUEST}")]
    TooLong(usize),
}

/// A connection; it closes when the last reference to it goes.
#[derive(Debug)]
pub(super) struct Connection {
    calls: Arc<Calls>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Calls {
    state: Mutex<State>,
    /// Told when the outbox is no longer empty.
    ready: Notify,
    /// Told when the connection is to be given up.
    closing: Notify,
    began: Instant,
    /// When something last came from the replica, in milliseconds after `began`.
    heard_ms: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    waiting: HashMap<u64, Waiting>,
    outbox: BytesMut,
    ended: bool,
}

#[derive(Debug)]
struct Waiting {
    reply: oneshot::Sender<Response>,
    /// What has come so far of an answer in parts.
    so_far: Option<(Revision, Data)>,
    parts: u32,
}

impl Connection {
    /// Takes over an established connection; `on_end` is told why it ended, unless it is dropped first.
    pub(super) fn start(connected: Connected, on_end: impl FnOnce(&str) + Send + 'static) -> Self {
        let calls = Arc::new(Calls {
            state: Mutex::default(),
            ready: Notify::new(),
            closing: Notify::new(),
            began: Instant::now(),
            heard_ms: AtomicU64::new(0),
        });
        let task = tokio::spawn(run(calls.clone(), connected, on_end));
        Self { calls, _task: AbortOnDropHandle::new(task) }
    }

    /// Hands a request to the connection. From here on the replica may see it.
    pub(super) fn send(&self, request: &Request) -> Result<Pending, NotSent> {
        let (reply, answer) = oneshot::channel();
        let id = {
            let mut state = self.calls.lock();
            state.next_id += 1;
            state.next_id
        };
        let payload = encode(&Envelope { id, body: request });
        if payload.len() > MAX_REQUEST {
            return Err(NotSent::TooLong(payload.len()));
        }
        let mut state = self.calls.lock();
        if state.ended {
            return Err(NotSent::Ended);
        }
        if state.outbox.len() + payload.len() > MAX_OUTBOX {
            return Err(NotSent::Full);
        }
        let was_empty = state.outbox.is_empty();
        put_frame(&mut state.outbox, REQUEST, &payload);
        state.waiting.insert(id, Waiting { reply, so_far: None, parts: 0 });
        drop(state);
        if was_empty {
            self.calls.ready.notify_one();
        }
        Ok(Pending { calls: self.calls.clone(), id, answer })
    }

    /// For how long nothing has come from the replica.
    pub(super) fn silence(&self) -> Duration {
        let heard = Duration::from_millis(self.calls.heard_ms.load(Ordering::Relaxed));
        self.calls.began.elapsed().saturating_sub(heard)
    }

    /// Gives the connection up: whoever waits for an answer learns that it is lost.
    pub(super) fn give_up(&self) {
        self.calls.closing.notify_one();
    }
}

/// A request under way. When dropped, its answer is not waited for any longer.
#[derive(Debug)]
pub(super) struct Pending {
    calls: Arc<Calls>,
    id: u64,
    answer: oneshot::Receiver<Response>,
}

impl Pending {
    /// The answer, parts put together; `None` when the connection was lost. May be dropped and called again.
    pub(super) async fn answer(&mut self) -> Option<Response> {
        (&mut self.answer).await.ok()
    }

    /// How many parts of the answer have come so far.
    pub(super) fn parts(&self) -> u32 {
        self.calls.lock().waiting.get(&self.id).map_or(0, |waiting| waiting.parts)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.calls.lock().waiting.remove(&self.id);
    }
}

impl Calls {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing can panic half-way through a change of the state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dispatch(&self, Envelope { id, body }: Envelope<Response>) -> io::Result<()> {
        let mut state = self.lock();
        let Response::Read { revision, data, last } = body else {
            if let Some(waiting) = state.waiting.remove(&id) {
                let _gone = waiting.reply.send(body);
            }
            return Ok(());
        };
        // An answer that nobody waits for any longer is dropped.
        let Some(waiting) = state.waiting.get_mut(&id) else { return Ok(()) };
        waiting.parts += 1;
        match &mut waiting.so_far {
            None => waiting.so_far = Some((revision, data)),
            Some((first, so_far)) if *first == revision && waiting.parts <= MAX_PARTS => append(so_far, data)?,
            Some(_) => return Err(invalid("parts of a list that do not belong together, or too many")),
        }
        if last
            && let Some(waiting) = state.waiting.remove(&id)
            && let Some((revision, data)) = waiting.so_far
        {
            let _gone = waiting.reply.send(Response::Read { revision, data, last });
        }
        Ok(())
    }

    fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        state.outbox = BytesMut::new();
        // Dropping the replies tells those who wait.
        let waiting = mem::take(&mut state.waiting);
        drop(state);
        drop(waiting);
    }
}

/// Appends the next part of a list.
fn append(so_far: &mut Data, next: Data) -> io::Result<()> {
    match (so_far, next) {
        (Data::Items { items, more }, Data::Items { items: next, more: next_more }) => {
            items.extend(next);
            *more = next_more;
        }
        (Data::Orders { orders, more }, Data::Orders { orders: next, more: next_more }) => {
            orders.extend(next);
            *more = next_more;
        }
        _ => return Err(invalid("parts of different kinds")),
    }
    Ok(())
}

async fn run(calls: Arc<Calls>, connected: Connected, on_end: impl FnOnce(&str)) {
    let Err(why) = tokio::select! {
        ended = read(&calls, connected.reader) => ended,
        ended = write(&calls, connected.writer) => ended,
        () = calls.closing.notified() => Err(io::Error::new(io::ErrorKind::TimedOut, "it does not answer")),
    };
    calls.end();
    on_end(&why.to_string());
}

async fn read(calls: &Calls, mut reader: FrameReader<OwnedReadHalf>) -> io::Result<Infallible> {
    loop {
        let Some(frame) = reader.next().await? else {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed"));
        };
        let heard = calls.began.elapsed().as_millis();
        calls.heard_ms.store(u64::try_from(heard).unwrap_or(u64::MAX), Ordering::Relaxed);
        if frame.kind != RESPONSE {
            return Err(invalid("a frame that is no response"));
        }
        calls.dispatch(decode(&frame.payload)?)?;
    }
}

async fn write(calls: &Calls, mut writer: OwnedWriteHalf) -> io::Result<Infallible> {
    let mut batch = BytesMut::new();
    loop {
        mem::swap(&mut batch, &mut calls.lock().outbox);
        if batch.is_empty() {
            calls.ready.notified().await;
            // Whoever is told runs next: the other tasks that are ready may have something to send too.
            tokio::task::yield_now().await;
            continue;
        }
        writer.write_all(&batch).await?;
        if batch.capacity() > KEPT_OUTBOX {
            batch = BytesMut::new();
        } else {
            batch.clear();
        }
    }
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
