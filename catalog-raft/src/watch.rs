//! The bounded history of changes, and the streams of those who follow it.
//!
//! There is one history for all watchers, and a watcher is no more than a position in it: one that is too slow finds
//! its position forgotten and is told so, however many there are. An event that fits no frame is forgotten at once: who
//! has not seen it is told to reload, rather than sent what it must refuse. Must not know who watches, or why.

use std::{
    collections::VecDeque,
    io,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use catalog_client::{
    Event, Revision,
    frame::{FrameReader, MAX_PAYLOAD, decode, encode, encode_with_room, write_frame},
    mutant::Mutant,
    net::{OwnedReadHalf, OwnedWriteHalf},
    protocol::{WATCH, WATCH_FROM, WATCH_IDLE_MS, WatchFrame, WatchFrom, events_frame},
};
use tokio::{sync::watch, time::timeout};

/// The most changes kept: at 3,500 entries a second of one hot item about a minute, at 60,000 changes a second 3 s.
pub const MAX_CHANGES: usize = 200_000;
/// The most changes in one frame, unless one event alone has more.
const FRAME_CHANGES: usize = 2_000;
/// The most bytes of events in one frame: what is around them takes less than 64.
const FRAME_BYTES: usize = MAX_PAYLOAD - 64;
/// What most changes take, in bytes: what is kept has so much room for each.
const CHANGE_BYTES: usize = 96;
/// How long a watcher may take to read one frame.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// The changes of the last revisions.
#[derive(Debug)]
pub struct History {
    kept: Mutex<Kept>,
    progress: watch::Sender<Revision>,
}

#[derive(Debug)]
struct Kept {
    /// In ascending order of revision, all above `floor` and at most `upto`.
    events: VecDeque<Told>,
    changes: usize,
    floor: Revision,
    upto: Revision,
}

/// An event as it goes to watchers. Kept as bytes: the items' texts, shared with the catalogue, would be looked for in
/// memory once more when it is forgotten.
#[derive(Debug)]
struct Told {
    revision: Revision,
    changes: usize,
    encoded: Bytes,
}

impl Told {
    fn new(event: &Event) -> Self {
        let encoded = encode_with_room(event, event.changes.len() * CHANGE_BYTES).into();
        Self { revision: event.revision, changes: event.changes.len(), encoded }
    }
}

/// A stretch of history after a position.
#[derive(Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Where it ends: every event up to here is in it.
    pub upto: Revision,
    /// The events, each encoded.
    pub events: Vec<Bytes>,
}

/// The position asked for is forgotten.
#[derive(Debug, PartialEq, Eq)]
pub struct Compacted {
    /// The oldest position that can be resumed from.
    pub oldest: Revision,
}

impl History {
    /// A history that begins after `at`.
    pub fn new(at: Revision) -> Self {
        let kept = Kept { events: VecDeque::new(), changes: 0, floor: at, upto: at };
        Self { kept: Mutex::new(kept), progress: watch::Sender::new(at) }
    }

    /// Adds events and moves the end to `upto`, in one step: an end never overtakes an event.
    pub fn publish(&self, events: &[Event], upto: Revision) {
        let events: Vec<_> = events.iter().map(Told::new).collect();
        let mut kept = self.lock();
        for event in events {
            debug_assert!(event.revision > kept.upto && event.revision <= upto, "events come in order, once");
            if event.encoded.len() > FRAME_BYTES {
                tracing::warn!("the {} changes of revision {} fit no frame", event.changes, event.revision);
                *kept = Kept { events: VecDeque::new(), changes: 0, floor: event.revision, upto: kept.upto };
                continue;
            }
            kept.changes += event.changes;
            kept.events.push_back(event);
        }
        kept.upto = upto;
        while kept.changes > MAX_CHANGES {
            let Some(oldest) = kept.events.pop_front() else { break };
            kept.changes -= oldest.changes;
            kept.floor = oldest.revision;
        }
        drop(kept);
        self.progress.send_replace(upto);
    }

    /// Forgets everything up to `at`: a snapshot has been installed, and what led there is not known.
    pub fn restart(&self, at: Revision) {
        *self.lock() = Kept { events: VecDeque::new(), changes: 0, floor: at, upto: at };
        self.progress.send_replace(at);
    }

    /// Everything after `after`, at most as much as goes into one frame. A position not yet reached gets an empty stretch
    /// that ends there.
    ///
    /// # Errors
    /// [`Compacted`].
    pub fn since(&self, after: Revision) -> Result<Stretch, Compacted> {
        let kept = self.lock();
        if after < kept.floor {
            return Err(Compacted { oldest: kept.floor });
        }
        let from = kept.events.partition_point(|event| event.revision <= after);
        let mut events = Vec::new();
        let (mut changes, mut bytes) = (0, 0);
        for event in kept.events.range(from..) {
            bytes += event.encoded.len();
            if changes >= FRAME_CHANGES || bytes > FRAME_BYTES {
                let upto = event.revision - 1;
                return Ok(Stretch { upto, events });
            }
            changes += event.changes;
            events.push(event.encoded.clone());
        }
        // Now and then a stretch that claims one revision more than was told.
        let ahead = u64::from(Mutant::BookmarkAhead.is_on() && kept.upto.is_multiple_of(64));
        Ok(Stretch { upto: (kept.upto + ahead).max(after), events })
    }

    /// Where it ends, and a way to wait for more.
    pub fn progress(&self) -> watch::Receiver<Revision> {
        self.progress.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("no holder of this lock can panic")
    }
}

/// Serves one watcher until it goes, falls behind the history, or the replica ends.
///
/// # Errors
/// As the socket's, or `InvalidData`.
pub async fn serve(
    history: &History,
    mut reader: FrameReader<OwnedReadHalf>,
    mut writer: OwnedWriteHalf,
) -> io::Result<()> {
    let from: WatchFrom = match reader.next().await? {
        Some(frame) if frame.kind == WATCH_FROM => decode(&frame.payload)?,
        Some(frame) => return Err(unexpected(frame.kind)),
        None => return Ok(()),
    };
    let mut progress = history.progress();
    let mut position = from.after.unwrap_or_else(|| *progress.borrow());
    let mut silent = true;
    loop {
        progress.borrow_and_update();
        let (frame, upto) = match history.since(position) {
            Ok(Stretch { upto, events }) => (events_frame(position, upto, &events), upto),
            Err(Compacted { oldest }) => {
                write(&mut writer, &encode(&WatchFrame::Compacted { oldest })).await?;
                return Ok(());
            }
        };
        if upto > position || silent {
            write(&mut writer, &frame).await?;
            position = upto;
            silent = false;
            continue;
        }
        tokio::select! {
            changed = progress.changed() => if changed.is_err() { return Ok(()) },
            () = tokio::time::sleep(Duration::from_millis(WATCH_IDLE_MS)) => silent = true,
            frame = reader.next() => match frame? {
                Some(frame) => return Err(unexpected(frame.kind)),
                None => return Ok(()),
            },
        }
    }
}

async fn write(writer: &mut OwnedWriteHalf, frame: &[u8]) -> io::Result<()> {
    timeout(WRITE_PATIENCE, write_frame(writer, WATCH, frame))
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "the watcher does not read")))
}

fn unexpected(kind: u8) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("an unexpected frame {kind} from a watcher"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use catalog_client::{Change, Item, Version};

    use super::*;

    fn event(revision: Revision) -> Event {
        let version = Version { revision, n: 0 };
        Event { revision, changes: vec![Change::Withdrawn { item_number: revision, topic: "t".into(), version }] }
    }

    fn decoded(stretch: &Stretch) -> Vec<Event> {
        stretch.events.iter().map(|event| decode(event).expect("what is kept was encoded")).collect()
    }

    fn follow(history: &History, mut position: Revision) -> Vec<Revision> {
        let mut seen = Vec::new();
        loop {
            let stretch = history.since(position).unwrap();
            seen.extend(decoded(&stretch).iter().map(|event| event.revision));
            if stretch.upto == position {
                return seen;
            }
            position = stretch.upto;
        }
    }

    #[test]
    fn a_follower_sees_each_event_once_in_order_and_bookmarks_never_overtake() {
        let history = History::new(10);
        for revision in 11..=5_000 {
            let events = if revision % 3 == 0 { vec![] } else { vec![event(revision)] };
            history.publish(&events, revision);
        }
        let expected: Vec<_> = (11..=5_000).filter(|revision| revision % 3 != 0).collect();
        assert_eq!(follow(&history, 10), expected);
        assert_eq!(follow(&history, 4_000), expected.iter().copied().filter(|r| *r > 4_000).collect::<Vec<_>>());
        assert_eq!(history.since(6_000), Ok(Stretch { upto: 6_000, events: vec![] }));
    }

    #[test]
    fn a_position_that_is_forgotten_is_compacted_and_nothing_else_is() {
        let history = History::new(0);
        for revision in 1..=MAX_CHANGES as u64 + 100 {
            history.publish(&[event(revision)], revision);
        }
        assert_eq!(history.since(99), Err(Compacted { oldest: 100 }));
        assert_eq!(decoded(&history.since(100).unwrap())[0].revision, 101);
        history.restart(1_000_000);
        assert_eq!(history.since(999_999), Err(Compacted { oldest: 1_000_000 }));
        assert_eq!(history.since(1_000_000), Ok(Stretch { upto: 1_000_000, events: vec![] }));
    }

    /// An event in which every number is at its longest, of `changes` changes with a title of `title` bytes.
    fn wide(revision: Revision, changes: u64, title: usize) -> Event {
        let version = Version { revision: u64::MAX, n: u32::MAX };
        let (title, topic): (Arc<str>, Arc<str>) = ("t".repeat(title).into(), "topic".into());
        let put = |n| {
            let (title, topic) = (title.clone(), topic.clone());
            let item = Item { item_number: u64::MAX - n, title, topic, cost: u64::MAX, quantity: u64::MAX, version };
            Change::Put { old_topic: Some(item.topic.clone()), item }
        };
        Event { revision, changes: (0..changes).map(put).collect() }
    }

    #[test]
    fn an_event_that_fits_no_frame_is_compacted_and_the_stream_goes_on_behind_it() {
        let history = History::new(10);
        history.publish(&[event(11), wide(12, 35_000, 1000), event(13)], 14);
        assert_eq!(history.since(10), Err(Compacted { oldest: 12 }));
        assert_eq!(history.since(11), Err(Compacted { oldest: 12 }));
        assert_eq!(follow(&history, 12), [13]);
        history.publish(&[event(15)], 15);
        assert_eq!(follow(&history, 12), [13, 15]);
    }

    #[test]
    fn whatever_is_kept_goes_into_frames() {
        let history = History::new(0);
        let sizes = [(1, 1), (9_000, 1000), (1_999, 1000), (1_999, 16_000), (30_000, 1000), (1, 10), (150_000, 100)];
        for (at, (changes, title)) in (1..).zip(sizes) {
            history.publish(&[wide(at, changes, title)], at);
        }
        let mut position = 0;
        while position < sizes.len() as u64 {
            let Stretch { upto, events } = history.since(position).unwrap();
            let frame = events_frame(u64::MAX, u64::MAX, &events);
            assert!(frame.len() <= MAX_PAYLOAD, "{} bytes after {position}", frame.len());
            assert!(upto > position);
            decode::<WatchFrame>(&frame).expect("what was sent is understood");
            position = upto;
        }
    }
}
