//! More and more clients that watch, while things change: whether each is told everything, how soon, and what it costs;
//! and clients that do not read, which must be told that they have missed something. Must not know how changes reach a
//! front end.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use ::tests::load::connection::Connection;
use anyhow::{Context, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::{JoinSet, LocalSet},
    time::{sleep, sleep_until, timeout},
};

use super::{Plan, grouped, ledger, report::Report, store::Store};
use crate::targets::{Bound, Held};

const PART: &str = "watchers";
/// Writes a second, by so many clients in turn.
const WRITES: u32 = 50;
const WRITERS: u32 = 5;
/// An event may take so long, in milliseconds.
const DELIVERED_MS: f64 = 1_000.0;
/// How long streams may take to be opened, and the last events to arrive.
const PATIENCE: Duration = Duration::from_secs(60);
/// Streams are opened so many at a time.
const OPENED_TOGETHER: u32 = 50;
/// Clients that do not read.
const LAGGARDS: u32 = 100;
/// Entries, each of which changes all items: more changes than anybody keeps.
const MISSED_CHANGES: u64 = 400_000;
/// The receive buffer of a client that does not read, in bytes: what the kernel holds is no front end's business.
const SMALL_BUFFER: u32 = 4 << 10;

/// What watchers have seen: of each, the revisions of events and when they came.
type Received = Vec<Vec<(u64, Instant)>>;

/// Measures more and more watchers, then some that do not read.
///
/// # Errors
/// When the store does not serve.
pub async fn run(report: &mut Report, plan: &Plan, store: &Store) -> anyhow::Result<()> {
    for count in &plan.watchers {
        watched(report, plan, store, *count).await?;
    }
    laggards(report, store).await
}

async fn watched(report: &mut Report, plan: &Plan, store: &Store, count: u32) -> anyhow::Result<()> {
    let at = grouped(count.into());
    let before = store.settled_memory("frontend-1").await?;
    let watchers = Watchers::start(store.front(), count);
    watchers.wait_open().await?;
    report.step(PART, &format!("{at} watch"));
    let written = write(&store.front(), Duration::from_secs(u64::from(plan.seconds) * 3)).await?;
    // Two seconds are twice what an event may take.
    sleep(Duration::from_millis(2 * DELIVERED_MS as u64)).await;
    let with = store.memory("frontend-1")?;
    let received = watchers.end().await?;

    let delivery = Delivery::of(&written, &received);
    let each = with.saturating_sub(before) as f64 / f64::from(count) / 1e3;
    report.row(PART, "events, half in", &at, "ms", vec![delivery.half_ms])?;
    report.row(PART, "events, 99 of 100 in", &at, "ms", vec![delivery.most_ms])?;
    report.row(PART, "events, all in", &at, "ms", vec![delivery.slowest_ms])?;
    report.row(PART, "events delivered", &at, "", vec![delivery.delivered as f64])?;
    report.row(PART, "frontend, memory", &at, "MB", vec![with as f64 / 1e6])?;
    report.row(PART, "frontend, memory of each watcher", &at, "kB", vec![each])?;
    let work = format!("{at} watchers, {WRITES} writes/s");
    let slowest = vec![delivery.slowest_ms];
    report.hold(Held::new(&work, "the slowest event", Bound::AtMost(DELIVERED_MS), "ms", slowest));
    let wrong = vec![(delivery.missing + delivery.out_of_order) as f64];
    report.hold(Held::new(&work, "events missed or out of order", Bound::AtMost(0.0), "", wrong));
    Ok(())
}

/// Changes items at the rate for so long; when each write was sent, by its revision.
async fn write(front: &str, time: Duration) -> anyhow::Result<BTreeMap<u64, Instant>> {
    let (began, every) = (tokio::time::Instant::now(), Duration::from_secs(1) * WRITERS / WRITES);
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let front = front.to_owned();
        writers.spawn(async move {
            let mut connection = Connection::open(&front).await?;
            let request = format!("GET /update_q/{}/1 HTTP/1.1\r\nhost: {front}\r\n\r\n", writer + 1);
            let mut written = Vec::new();
            let mut due = began + every * writer / WRITERS;
            while due < began + time {
                sleep_until(due).await;
                let answer = connection.ask(request.as_bytes()).await?;
                ensure!(answer.status == 200, "a write was answered by {}", answer.status);
                // From when it was due: a front end that is too busy to take it is slow, too.
                written.push((answer.revision.context("a write without a revision")?, due.into_std()));
                due += every;
            }
            anyhow::Ok(written)
        });
    }
    let mut written = BTreeMap::new();
    while let Some(one) = writers.join_next().await {
        for (revision, sent) in one?? {
            // Two of one revision came together: the earlier one waited longer.
            written.entry(revision).and_modify(|known: &mut Instant| *known = sent.min(*known)).or_insert(sent);
        }
    }
    Ok(written)
}

/// How events were delivered.
#[derive(Debug, PartialEq)]
struct Delivery {
    half_ms: f64,
    most_ms: f64,
    slowest_ms: f64,
    delivered: usize,
    missing: usize,
    out_of_order: usize,
}

impl Delivery {
    fn of(written: &BTreeMap<u64, Instant>, received: &Received) -> Self {
        let (mut times, mut missing, mut out_of_order) = (Vec::new(), 0, 0);
        for events in received {
            out_of_order += events.windows(2).filter(|pair| pair[0].0 >= pair[1].0).count();
            let took =
                events.iter().filter_map(|(revision, at)| Some(at.saturating_duration_since(*written.get(revision)?)));
            let took: Vec<f64> = took.map(|took| took.as_secs_f64() * 1e3).collect();
            missing += written.len().saturating_sub(took.len());
            times.extend(took);
        }
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times.get(((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1)));
        let ms = |share| at(share).copied().unwrap_or(f64::NAN);
        let (half_ms, most_ms, slowest_ms) = (ms(0.5), ms(0.99), ms(1.0));
        Self { half_ms, most_ms, slowest_ms, delivered: times.len(), missing, out_of_order }
    }
}

/// Clients that watch, on a thread of their own.
struct Watchers {
    shared: Arc<Shared>,
    thread: thread::JoinHandle<io::Result<()>>,
    count: u32,
}

#[derive(Default)]
struct Shared {
    open: AtomicU32,
    over: AtomicBool,
    received: Mutex<Received>,
}

impl Watchers {
    fn start(address: String, count: u32) -> Self {
        let shared = Arc::new(Shared::default());
        let of_thread = shared.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let set = LocalSet::new();
            set.spawn_local(async move {
                for opened in 0..count {
                    tokio::task::spawn_local(watch(address.clone(), of_thread.clone()));
                    while opened.saturating_sub(of_thread.open.load(Relaxed)) >= OPENED_TOGETHER {
                        if of_thread.over.load(Relaxed) {
                            return;
                        }
                        sleep(Duration::from_millis(1)).await;
                    }
                }
            });
            runtime.block_on(set);
            Ok(())
        });
        Self { shared, thread, count }
    }

    async fn wait_open(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        while self.shared.open.load(Relaxed) < self.count {
            ensure!(began.elapsed() < PATIENCE, "{} of {} watch", self.shared.open.load(Relaxed), self.count);
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Ends them, each at its next message, and gives what they have seen.
    async fn end(self) -> anyhow::Result<Received> {
        self.shared.over.store(true, Relaxed);
        let thread = self.thread;
        tokio::task::spawn_blocking(move || thread.join())
            .await?
            .map_err(|_| anyhow::anyhow!("a watcher panicked"))??;
        let received = std::mem::take(&mut *self.shared.received.lock().unwrap_or_else(PoisonError::into_inner));
        ensure!(received.len() == self.count as usize, "{} of {} streams went on", received.len(), self.count);
        Ok(received)
    }
}

async fn watch(address: String, shared: Arc<Shared>) -> io::Result<()> {
    let mut stream = TcpStream::connect(&address).await?;
    open(&mut stream, &address).await?;
    let (mut messages, mut seen) = (Messages::default(), Vec::new());
    let mut bytes = vec![0; 16 << 10];
    let mut is_open = false;
    while !shared.over.load(Relaxed) {
        let read = stream.read(&mut bytes).await?;
        if read == 0 {
            return Ok(());
        }
        let now = Instant::now();
        messages.take(&bytes[..read], |event, id| {
            if !std::mem::replace(&mut is_open, true) {
                shared.open.fetch_add(1, Relaxed);
            }
            if event == "change" {
                seen.push((id, now));
            }
        });
    }
    shared.received.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
    Ok(())
}

async fn open(stream: &mut TcpStream, address: &str) -> io::Result<()> {
    stream.write_all(format!("GET /v1/watch HTTP/1.1\r\nhost: {address}\r\n\r\n").as_bytes()).await
}

/// Takes a stream of Server-Sent Events apart. Its messages come whole within the parts of the HTTP body, so the lines
/// between those are passed over.
#[derive(Default)]
struct Messages {
    line: Vec<u8>,
    id: Option<u64>,
}

impl Messages {
    /// Tells of each message's kind and id.
    fn take(&mut self, mut bytes: &[u8], mut tell: impl FnMut(&str, u64)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.line.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let line = std::str::from_utf8(&self.line).unwrap_or_default();
            if let Some(id) = line.strip_prefix("id: ") {
                self.id = id.parse().ok();
            } else if let (Some(event), Some(id)) = (line.strip_prefix("event: "), self.id) {
                tell(event, id);
            }
            self.line.clear();
        }
        self.line.extend_from_slice(bytes);
    }
}

/// Clients that begin to watch and then do not read, while more happens than anybody keeps. Then they read.
async fn laggards(report: &mut Report, store: &Store) -> anyhow::Result<()> {
    let address = store.front();
    let before = store.settled_memory("frontend-1").await?;
    let mut streams = Vec::new();
    for _ in 0..LAGGARDS {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(SMALL_BUFFER)?;
        let mut stream = socket.connect(address.parse()?).await?;
        open(&mut stream, &address).await?;
        // What is answered first is taken: from here on it is in the stream.
        timeout(PATIENCE, stream.readable()).await.context("a stream does not begin")??;
        streams.push(stream);
    }
    let items = store.items.min(1_000);
    report.step(PART, &format!("{} changes, and {LAGGARDS} who watch and do not read", grouped(MISSED_CHANGES)));
    ledger::change_all(&store.catalog(), items, MISSED_CHANGES.div_ceil(items)).await?;
    let with = store.settled_memory("frontend-1").await?;
    let mut readers = JoinSet::new();
    for stream in streams {
        readers.spawn(timeout(PATIENCE, is_told(stream)));
    }
    let mut told = 0;
    while let Some(one) = readers.join_next().await {
        told += usize::from(matches!(one?, Ok(Ok(true))));
    }
    let at = grouped(LAGGARDS.into());
    let grown = with.saturating_sub(before) as f64 / 1e6;
    report.row(PART, "frontend, memory for those who do not read", &at, "MB", vec![grown])?;
    report.row(PART, "of those who do not read, told", &at, "", vec![told as f64])?;
    let work = format!("{at} watchers that do not read");
    let untold = vec![f64::from(LAGGARDS) - told as f64];
    report.hold(Held::new(&work, "not told that they missed something", Bound::AtMost(0.0), "", untold));
    Ok(())
}

/// Reads a stream to its end: whether its last word was that something is missing, with no event missing before.
async fn is_told(mut stream: TcpStream) -> anyhow::Result<bool> {
    let (mut messages, mut bytes) = (Messages::default(), vec![0; 64 << 10]);
    let (mut last, mut told) = (0, false);
    loop {
        let read = stream.read(&mut bytes).await?;
        if read == 0 {
            return Ok(told);
        }
        let mut wrong = false;
        messages.take(&bytes[..read], |event, id| {
            wrong |= told || id < last;
            last = id;
            told = event == "compacted";
        });
        if wrong {
            bail!("something came after the end, or twice");
        }
        if told {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_however_they_are_cut() {
        let stream = b"HTTP/1.1 200 OK\r\n\r\n2c\r\nid: 5\nevent: bookmark\ndata: {\"revision\":5}\n\n\r\n\
            30\r\nid: 7\nevent: change\ndata: {\"revision\":7}\n\n\r\n";
        for size in [1, 7, 20, stream.len()] {
            let (mut messages, mut seen) = (Messages::default(), Vec::new());
            for part in stream.chunks(size) {
                messages.take(part, |event, id| seen.push((event.to_owned(), id)));
            }
            assert_eq!(seen, [("bookmark".to_owned(), 5), ("change".to_owned(), 7)]);
        }
    }

    #[test]
    fn what_is_late_missing_or_out_of_order_is_counted() {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let written = BTreeMap::from([(5, at(0)), (6, at(20)), (9, at(40))]);
        let all = vec![(5, at(1)), (6, at(22)), (8, at(30)), (9, at(43))];
        let some = vec![(6, at(30)), (5, at(900))];
        let delivery = Delivery::of(&written, &vec![all, some]);
        assert_eq!((delivery.delivered, delivery.missing, delivery.out_of_order), (5, 1, 1));
        assert!((delivery.slowest_ms - 900.0).abs() < 1e-6 && (delivery.half_ms - 3.0).abs() < 1e-6, "{delivery:?}");
    }
}
