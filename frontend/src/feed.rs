//! The changes of late as clients are told them, made once for all who watch.
//!
//! The front end follows the catalog by one stream of its own, and a watcher is no more than a position in what came by
//! it. Nothing is kept while nobody watches, and no more than [`KEPT_BYTES`] otherwise: a watcher that is further behind
//! has to ask a replica. Must not know HTTP, nor who watches.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use catalog_client::{Event, Revision, items};
use tokio::sync::watch;

/// What is kept, in bytes: some seconds of the most that was ever seen, hours of what a shop has.
const KEPT_BYTES: usize = 16 << 20;
/// What a message costs beside its text, in bytes.
const MESSAGE_BYTES: usize = 64;
/// The most messages that a watcher takes at once, and the bytes with which it has enough: one that does not read keeps no
/// more than that.
const TOGETHER: usize = 256;
const TOGETHER_BYTES: usize = 64 << 10;

/// The changes of late. One for the process.
#[derive(Debug)]
pub struct Feed {
    kept: Mutex<Kept>,
    progress: watch::Sender<Revision>,
}

#[derive(Debug, Default)]
struct Kept {
    /// In ascending order of revision, all above `floor` and at most `upto`.
    messages: VecDeque<(Revision, Bytes)>,
    bytes: usize,
    floor: Revision,
    upto: Revision,
    followers: usize,
}

/// What follows on a position.
#[derive(Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Where it ends: every change up to here is in it.
    pub upto: Revision,
    /// One message an event.
    pub messages: Vec<Bytes>,
}

impl Default for Feed {
    fn default() -> Self {
        Self { kept: Mutex::default(), progress: watch::Sender::new(0) }
    }
}

impl Feed {
    /// Adds the events of a stretch that ends at `upto`. The cache must have seen them.
    pub fn publish(&self, events: &[Event], upto: Revision) {
        let is_followed = self.lock().followers > 0;
        let made: Vec<_> = if is_followed { events.iter().map(made).collect() } else { Vec::new() };
        {
            let mut kept = self.lock();
            if is_followed {
                for (revision, message) in made {
                    kept.bytes += MESSAGE_BYTES + message.len();
                    kept.messages.push_back((revision, message));
                }
                kept.upto = kept.upto.max(upto);
                kept.drop_oldest();
            } else {
                // Whoever has come meanwhile finds that it is behind.
                kept.restart(upto);
            }
        }
        self.move_to(upto);
    }

    /// What happened up to `at` is not known.
    pub fn restart(&self, at: Revision) {
        self.lock().restart(at);
        self.move_to(at);
    }

    /// Everything is kept from now on, for as long as what is returned is there.
    pub fn follow(self: &Arc<Self>) -> Follower {
        self.lock().followers += 1;
        Follower { feed: self.clone(), progress: self.progress.subscribe() }
    }

    fn move_to(&self, upto: Revision) {
        self.progress.send_if_modified(|before| {
            let moved = upto > *before;
            *before = upto.max(*before);
            moved
        });
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Nothing can panic half-way through a change.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn restart(&mut self, at: Revision) {
        *self = Self { floor: at, upto: at, followers: self.followers, ..Self::default() };
    }

    fn drop_oldest(&mut self) {
        while self.bytes > KEPT_BYTES {
            let Some((revision, message)) = self.messages.pop_front() else { break };
            self.bytes -= MESSAGE_BYTES + message.len();
            self.floor = revision;
        }
    }
}

/// One who follows.
#[derive(Debug)]
pub struct Follower {
    feed: Arc<Feed>,
    progress: watch::Receiver<Revision>,
}

impl Follower {
    /// Where the feed stands.
    pub fn upto(&self) -> Revision {
        self.feed.lock().upto
    }

    /// What follows on `position`, at most [`TOGETHER`] messages and little more than [`TOGETHER_BYTES`]; nothing yet for a
    /// position that is ahead. `None` when something of it is not kept.
    pub fn since(&self, position: Revision) -> Option<Stretch> {
        let kept = self.feed.lock();
        if position < kept.floor {
            return None;
        }
        let from = kept.messages.partition_point(|(revision, _)| *revision <= position);
        let mut bytes = 0;
        let has_room = |(_, message): &&(Revision, Bytes)| {
            let has_room = bytes < TOGETHER_BYTES;
            bytes += message.len();
            has_room
        };
        let next = kept.messages.range(from..).take(TOGETHER).take_while(has_room);
        let messages: Vec<_> = next.map(|(_, message)| message.clone()).collect();
        let all = from + messages.len() == kept.messages.len();
        let upto = if all { kept.upto } else { kept.messages[from + messages.len() - 1].0 };
        Some(Stretch { upto: upto.max(position), messages })
    }

    /// Returns once the feed is beyond `position`. May be dropped and called again.
    pub async fn moved(&mut self, position: Revision) {
        if self.progress.wait_for(|upto| *upto > position).await.is_err() {
            // The process ends: nothing will ever move again.
            std::future::pending().await
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut kept = self.feed.lock();
        kept.followers -= 1;
        if kept.followers == 0 {
            let at = kept.upto;
            kept.restart(at);
        }
    }
}

fn made(event: &Event) -> (Revision, Bytes) {
    (event.revision, message("change", event.revision, &items::event_json(event)))
}

/// One message of a stream of Server-Sent Events. JSON has no line breaks, so its data is one line.
pub fn message(event: &str, id: Revision, data: &[u8]) -> Bytes {
    let mut text = format!("id: {id}\nevent: {event}\ndata: ").into_bytes();
    text.extend_from_slice(data);
    text.extend_from_slice(b"\n\n");
    text.into()
}

#[cfg(test)]
mod tests {
    use catalog_client::{Change, Version};

    use super::*;

    fn event(revision: Revision, topic: &str) -> Event {
        let version = Version { revision, n: 0 };
        Event { revision, changes: vec![Change::Withdrawn { item_number: revision, topic: topic.into(), version }] }
    }

    fn ids(stretch: &Stretch) -> Vec<Revision> {
        let id = |message: &Bytes| {
            let text = std::str::from_utf8(message).unwrap();
            text.strip_prefix("id: ").unwrap().lines().next().unwrap().parse().unwrap()
        };
        stretch.messages.iter().map(id).collect()
    }

    #[test]
    fn a_message_is_three_lines_and_an_empty_one() {
        let expected = "id: 7\nevent: bookmark\ndata: {\"revision\":7}\n\n";
        assert_eq!(message("bookmark", 7, b"{\"revision\":7}"), expected);
    }

    #[test]
    fn a_follower_gets_each_event_once_and_in_order() {
        let feed = Arc::new(Feed::default());
        feed.restart(10);
        let follower = feed.follow();
        assert_eq!((follower.upto(), follower.since(9)), (10, None));
        feed.publish(&[event(11, "t"), event(13, "t")], 15);
        feed.publish(&[], 16);
        let all = follower.since(10).unwrap();
        assert_eq!((ids(&all), all.upto), (vec![11, 13], 16));
        assert_eq!(ids(&follower.since(11).unwrap()), [13]);
        assert_eq!(follower.since(20), Some(Stretch { upto: 20, messages: vec![] }));

        let many: Vec<_> = (17..1_017).map(|revision| event(revision, "t")).collect();
        feed.publish(&many, 1_020);
        let (mut seen, mut position) = (Vec::new(), 16);
        while position < 1_020 {
            let stretch = follower.since(position).unwrap();
            assert!(stretch.messages.len() <= TOGETHER && stretch.upto > position);
            seen.extend(ids(&stretch));
            position = stretch.upto;
        }
        assert_eq!(seen, (17..1_017).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_is_kept_for_nobody_and_whoever_comes_late_is_told() {
        let feed = Arc::new(Feed::default());
        feed.publish(&[event(1, "t")], 1);
        let follower = feed.follow();
        assert_eq!((follower.since(0), follower.since(1).map(|stretch| stretch.upto)), (None, Some(1)));
        feed.publish(&[event(2, "t")], 2);
        drop(feed.follow());
        assert_eq!(ids(&follower.since(1).unwrap()), [2]);
        drop(follower);
        assert!(feed.lock().messages.is_empty() && feed.follow().since(1).is_none());
        feed.restart(9);
        assert!(feed.follow().since(8).is_none());
    }

    #[test]
    fn what_is_kept_is_bounded_and_a_laggard_knows_that_it_is_one() {
        let feed = Arc::new(Feed::default());
        let follower = feed.follow();
        let topic = "t".repeat(1 << 20);
        for revision in 1..40 {
            feed.publish(&[event(revision, &topic)], revision);
            assert!(feed.lock().bytes <= KEPT_BYTES);
        }
        assert_eq!(follower.since(0), None);
        let mut position = feed.lock().floor;
        assert!(position > 20);
        while position < 39 {
            // Each has enough with one.
            assert_eq!(ids(&follower.since(position).unwrap()), [position + 1]);
            position += 1;
        }
        // One that alone is too long is not kept either.
        feed.publish(&[event(40, &"t".repeat(KEPT_BYTES + 1))], 40);
        assert_eq!((follower.since(39), feed.lock().messages.len()), (None, 0));
    }

    #[tokio::test]
    async fn a_follower_is_woken_when_something_follows_on_its_position() {
        let feed = Arc::new(Feed::default());
        let mut follower = feed.follow();
        let moves = async {
            tokio::task::yield_now().await;
            feed.publish(&[], 4);
            tokio::task::yield_now().await;
            feed.publish(&[event(5, "t")], 5);
        };
        tokio::join!(moves, follower.moved(4));
        assert_eq!(ids(&follower.since(4).unwrap()), [5]);
    }
}
