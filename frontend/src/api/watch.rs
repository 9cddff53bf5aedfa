//! `/v1/watch`: the catalog's changes as Server-Sent Events.
//!
//! All clients share what the front end itself follows, as long as they keep up with it. One that begins further back, or
//! has fallen behind, gets a stream of its own from a replica until it is there, or until the replica says that its
//! position is no longer kept.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use catalog_client::{
    Event, Revision, items,
    watch::{Update, Watch},
};
use futures::{Stream, stream};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep_until, timeout_at},
};

use super::request::{Incoming, revision};
use crate::{
    feed::{Follower, message},
    front::{Front, MAX_WATCHERS},
    reply::{self, CutShort, Refused, Reply},
};

/// The longest silence on a client's stream.
const IDLE: Duration = Duration::from_secs(1);
/// How long changes are held for the cache to have seen them too.
const HOLD: Duration = Duration::from_secs(1);
/// Between two looks at the feed: what a thousand clients cost is bounded, however fast changes come.
const PACE: Duration = Duration::from_millis(10);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Begins a stream, once it is known that it can be.
pub(super) async fn stream(front: &Arc<Front>, request: Incoming) -> Result<Reply, Refused> {
    request.allow(&["GET"])?;
    let query = request.query(&["after"])?;
    // A client that resumes sends its old URL with the newer header.
    let after = match (request.one_header(LAST_EVENT_ID)?, query.get("after")) {
        (Some(id), _) => Some(revision(id, "Last-Event-ID")?),
        (None, Some(after)) => Some(revision(after, "after")?),
        (None, None) => None,
    };
    let place = front.watchers.clone().try_acquire_owned().map_err(|_| {
        Refused::new(429, "overloaded", format!("{MAX_WATCHERS} clients are watching already: try again later"))
    })?;
    let mut watching = Watching::new(front.clone(), after, place);
    watching.begin(request.deadline()).await?;
    let mut reply = reply::parts(watching.into_stream());
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(reply)
}

/// One client's stream.
struct Watching {
    front: Arc<Front>,
    follower: Follower,
    /// Its own stream, while it is behind what the feed keeps.
    own: Option<Own>,
    /// What is ready to be sent.
    ready: VecDeque<Bytes>,
    /// Up to where everything has been said.
    position: Revision,
    /// When something was last said.
    said: Instant,
    ended: bool,
    _place: OwnedSemaphorePermit,
}

/// A stream from a replica.
struct Own {
    watch: Watch,
    /// Replicas bound their connections, and serve each other by the same port.
    place: Option<OwnedSemaphorePermit>,
}

impl Own {
    fn new(front: &Front, after: Option<Revision>) -> Self {
        Self { watch: Watch::new(front.catalog.clone(), after), place: None }
    }

    /// The next update. May be dropped at any await and called again.
    async fn next(&mut self, front: &Front) -> Update {
        if self.place.is_none() {
            self.place = front.behind.clone().acquire_owned().await.ok();
        }
        self.watch.next().await
    }
}

/// What has happened.
enum Step {
    /// Ready-made messages, up to a position.
    Made(Vec<Bytes>, Revision),
    /// An update of its own stream.
    Own(Update),
    /// The feed no longer keeps its position.
    Behind,
}

impl Watching {
    fn new(front: Arc<Front>, after: Option<Revision>, place: OwnedSemaphorePermit) -> Self {
        let follower = front.feed.follow();
        let stream = front.state().stream();
        // With its stream cut, the front end does not know what the present is.
        let is_known = stream.live && stream.begun;
        let position = after.unwrap_or_else(|| follower.upto());
        let shares = is_known && follower.since(position).is_some();
        let own = (!shares).then(|| Own::new(&front, after));
        let (ready, said) = (VecDeque::new(), Instant::now());
        Self { front, follower, own, ready, position, said, ended: false, _place: place }
    }

    /// Waits for the first stretch of history, and opens with a bookmark where it ends.
    async fn begin(&mut self, deadline: Instant) -> Result<(), Refused> {
        if self.own.is_none() {
            // What the feed has makes the beginning, and it is there already.
            if let Some(stretch) = self.follower.since(self.position) {
                self.made(stretch.messages, stretch.upto);
            }
            if self.ready.is_empty() {
                self.bookmark();
            }
            return Ok(());
        }
        loop {
            match timeout_at(deadline, self.step()).await {
                Ok(Step::Own(Update::Compacted { oldest })) => {
                    let detail = "this revision is no longer kept: reload, then watch from a newer one";
                    let problem = catalog_client::problem::Problem::new(410, "compacted", detail);
                    return Err(problem.with("oldest", oldest).into());
                }
                Ok(Step::Own(Update::Connected { .. } | Update::Disconnected { .. })) => {}
                Ok(step) => {
                    self.take(step).await;
                    if self.ready.is_empty() {
                        self.bookmark();
                    }
                    return Ok(());
                }
                Err(_) => {
                    return Err(Refused::new(503, "unavailable", "no replica sent changes in time: try again later"));
                }
            }
        }
    }

    fn into_stream(self) -> impl Stream<Item = Result<Bytes, CutShort>> {
        stream::unfold(self, |mut watching| async {
            let bytes = watching.next().await?;
            Some((Ok(bytes), watching))
        })
    }

    /// The next bytes; `None` when the front end stops or the stream has ended.
    async fn next(&mut self) -> Option<Bytes> {
        let stopping = self.front.stopping.clone();
        while self.ready.is_empty() {
            if self.ended {
                return None;
            }
            let idle = self.said + IDLE;
            let step = tokio::select! {
                () = stopping.cancelled() => return None,
                step = timeout_at(idle, self.step()) => step,
            };
            if let Ok(step) = step {
                self.take(step).await;
            }
            if self.ready.is_empty() && Instant::now() >= idle {
                self.bookmark();
            }
        }
        self.said = Instant::now();
        self.ready.pop_front()
    }

    /// Waits for whatever happens next. May be dropped at any await and called again.
    async fn step(&mut self) -> Step {
        if let Some(own) = &mut self.own {
            return Step::Own(own.next(&self.front).await);
        }
        sleep_until(self.said + PACE).await;
        self.follower.moved(self.position).await;
        match self.follower.since(self.position) {
            Some(stretch) => Step::Made(stretch.messages, stretch.upto),
            None => Step::Behind,
        }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Made(messages, upto) => self.made(messages, upto),
            Step::Own(Update::Events { upto, events, .. }) => self.own_events(events, upto).await,
            Step::Own(Update::Compacted { oldest }) => self.compacted(oldest),
            Step::Own(Update::Connected { .. } | Update::Disconnected { .. }) => {}
            Step::Behind => self.own = Some(Own::new(&self.front, Some(self.position))),
        }
    }

    /// What comes from the feed is in the cache already, so nothing older is answered after it.
    fn made(&mut self, messages: Vec<Bytes>, upto: Revision) {
        self.ready.extend(messages);
        self.position = upto;
    }

    /// Makes a stretch of history ready. What a client learns here counts as answered: nothing older follows on
    /// this front end.
    async fn own_events(&mut self, events: Vec<Event>, upto: Revision) {
        if let Some(last) = events.last() {
            self.front.state().settle(last.revision, Instant::now() + HOLD).await;
        }
        let messages = events.iter().map(|event| message("change", event.revision, &items::event_json(event)));
        self.ready.extend(messages);
        self.position = upto;
        if self.follower.since(upto).is_some() {
            self.own = None;
        }
    }

    fn bookmark(&mut self) {
        let data = format!("{{\"revision\":{}}}", self.position);
        self.ready.push_back(message("bookmark", self.position, data.as_bytes()));
    }

    fn compacted(&mut self, oldest: Revision) {
        let data = format!("{{\"oldest\":{oldest}}}");
        self.ready.push_back(message("compacted", self.position, data.as_bytes()));
        self.ended = true;
    }
}
