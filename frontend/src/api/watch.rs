//! `/v1/watch`: the catalog's changes as Server-Sent Events, each client on a stream of its own.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use catalog_client::{
    Event, Revision, items,
    watch::{Update, Watch},
};
use futures::{Stream, stream};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout_at},
};

use super::request::{Incoming, revision};
use crate::{
    front::{Front, MAX_WATCHERS},
    reply::{self, CutShort, Refused, Reply},
};

/// The longest silence on a client's stream.
const IDLE: Duration = Duration::from_secs(1);
/// How long changes are held for the cache to have seen them too.
const HOLD: Duration = Duration::from_secs(1);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Begins a stream, once a replica has said that it can.
pub(super) async fn stream(front: &std::sync::Arc<Front>, request: Incoming) -> Result<Reply, Refused> {
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
    front: std::sync::Arc<Front>,
    watch: Watch,
    /// What is ready to be sent.
    ready: VecDeque<Bytes>,
    /// Up to where everything has been said.
    position: Revision,
    silent_since: Instant,
    ended: bool,
    _place: OwnedSemaphorePermit,
}

impl Watching {
    fn new(front: std::sync::Arc<Front>, after: Option<Revision>, place: OwnedSemaphorePermit) -> Self {
        Self {
            watch: Watch::new(front.catalog.clone(), after),
            front,
            ready: VecDeque::new(),
            position: after.unwrap_or(0),
            silent_since: Instant::now(),
            ended: false,
            _place: place,
        }
    }

    /// Waits for the first stretch of history, and opens with a bookmark where it ends.
    async fn begin(&mut self, deadline: Instant) -> Result<(), Refused> {
        loop {
            match timeout_at(deadline, self.watch.next()).await {
                Ok(Update::Events { upto, events, .. }) => {
                    self.take(events, upto).await;
                    if self.ready.is_empty() {
                        self.bookmark();
                    }
                    return Ok(());
                }
                Ok(Update::Compacted { oldest }) => {
                    let detail = "this revision is no longer kept: reload, then watch from a newer one";
                    let problem = catalog_client::problem::Problem::new(410, "compacted", detail);
                    return Err(problem.with("oldest", oldest).into());
                }
                Ok(Update::Connected { .. } | Update::Disconnected { .. }) => {}
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
            let idle = self.silent_since + IDLE;
            let update = tokio::select! {
                () = stopping.cancelled() => return None,
                update = timeout_at(idle, self.watch.next()) => update,
            };
            match update {
                Ok(Update::Events { upto, events, .. }) => self.take(events, upto).await,
                Ok(Update::Compacted { oldest }) => self.compacted(oldest),
                Ok(Update::Connected { .. } | Update::Disconnected { .. }) => {}
                Err(_) => {}
            }
            if self.ready.is_empty() && Instant::now() >= idle {
                self.bookmark();
            }
        }
        self.silent_since = Instant::now();
        self.ready.pop_front()
    }

    /// Makes a stretch of history ready. What a client learns here counts as answered: nothing older follows on
    /// this front end.
    async fn take(&mut self, events: Vec<Event>, upto: Revision) {
        if let Some(last) = events.last() {
            self.front.state().settle(last.revision, Instant::now() + HOLD).await;
        }
        for event in &events {
            self.ready.push_back(message("change", event.revision, &items::event_json(event)));
        }
        self.position = upto;
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

/// One message of the stream. JSON has no line breaks, so its data is one line.
fn message(event: &str, id: Revision, data: &[u8]) -> Bytes {
    let mut text = format!("id: {id}\nevent: {event}\ndata: ").into_bytes();
    text.extend_from_slice(data);
    text.extend_from_slice(b"\n\n");
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_three_lines_and_an_empty_one() {
        let expected = "id: 7\nevent: bookmark\ndata: {\"revision\":7}\n\n";
        assert_eq!(message("bookmark", 7, b"{\"revision\":7}"), expected);
    }
}
