//! One batch on its way: tried at one order server after another, under the same ids, until every order has its
//! answer or the deadline passes.
//!
//! Owns what is known of each try: an order is called unknown only while some try of it may have had an effect.
//! Must not know how batches are made, nor how an exchange is carried.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use catalog_client::{Command, frame};
use futures::{StreamExt, future::join_all, stream::FuturesUnordered};
use tokio::time::{Instant, sleep_until};

use crate::{
    BatchAnswer, NotPlaced, PlaceBatch, Placed, parts_by_lines,
    servers::{Failure, Servers},
};

/// Without an answer for so long, the same orders go to another server as well: the first may be stopped. It keeps
/// its try, so a cluster in the middle of an election sees each batch once a server, not again and again.
const REISSUE_AFTER: Duration = Duration::from_millis(700);
/// The first pause after all servers have failed; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
/// So close to the deadline nothing is tried again: the answer could not come in time, and would leave the order
/// unknown where it is now known not to be placed.
const LAST_TRY: Duration = Duration::from_millis(100);
/// An order server is asked to answer so much before our own deadline, so that its answer is still heard.
const HEARD_BEFORE: Duration = Duration::from_millis(50);

/// An order to deliver.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) command: Command,
    pub(crate) tries: Tries,
}

/// How many tries of an order may have had an effect, or [`Tries::WITHDRAWN`]. Shared with whoever waits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tries(Arc<AtomicU32>);

impl Tries {
    const WITHDRAWN: u32 = u32::MAX;

    /// Takes the order back for good, unless some try of it may have had an effect.
    pub(crate) fn withdraw(&self) -> bool {
        self.0.compare_exchange(0, Self::WITHDRAWN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Counts a try; false when the order was withdrawn and must not be sent.
    fn begin(&self) -> bool {
        let one_more = |tries| (tries != Self::WITHDRAWN).then_some(tries + 1);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_ok()
    }

    /// A try turned out to have had no effect.
    fn end_without_effect(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }

    fn may_have_effect(&self) -> bool {
        !matches!(self.0.load(Ordering::Acquire), 0 | Self::WITHDRAWN)
    }
}

/// Delivers a batch; one result an item, in order.
pub(crate) async fn deliver(
    servers: Arc<Servers>,
    items: Vec<Item>,
    deadline: Instant,
) -> Vec<Result<Placed, NotPlaced>> {
    let parts = parts_by_lines(items, |item| &item.command);
    let sizes = &servers.deliveries.sizes;
    parts.iter().for_each(|part| sizes.observe(part.len() as u64));
    let delivered = parts.into_iter().map(|part| Delivery::new(servers.clone(), part, deadline).run());
    join_all(delivered).await.into_iter().flatten().collect()
}

struct Delivery {
    servers: Arc<Servers>,
    items: Vec<Item>,
    results: Vec<Option<Result<Placed, NotPlaced>>>,
    deadline: Instant,
    /// The server that is first in this batch's order.
    turn: usize,
    /// Servers that have a try of this batch under way.
    under_way: Vec<bool>,
    /// Servers that have failed since the last pause.
    failed: Vec<bool>,
    pause: Duration,
    /// When to try the next server; `None` while there is none to try.
    next_try: Option<Instant>,
    /// What went wrong last.
    why: String,
}

/// A try that came back: the server, the places of the orders sent, the answer.
type Back = (usize, Vec<usize>, Result<BatchAnswer, Failure>);

impl Delivery {
    fn new(servers: Arc<Servers>, items: Vec<Item>, deadline: Instant) -> Self {
        let count = servers.len();
        Self {
            turn: servers.next_turn(),
            results: items.iter().map(|_| None).collect(),
            servers,
            items,
            deadline,
            under_way: vec![false; count],
            failed: vec![false; count],
            pause: FIRST_PAUSE,
            next_try: Some(Instant::now()),
            why: "there is no order server".to_owned(),
        }
    }

    async fn run(mut self) -> Vec<Result<Placed, NotPlaced>> {
        let mut tries = FuturesUnordered::new();
        while self.results.iter().any(Option::is_none) && Instant::now() < self.deadline {
            if self.next_try.is_some_and(|at| at <= Instant::now()) {
                tries.extend(self.begin_try());
            }
            if self.next_try.is_none() && tries.is_empty() {
                break;
            }
            let wake = self.next_try.map_or(self.deadline, |at| at.min(self.deadline));
            tokio::select! {
                Some(back) = tries.next(), if !tries.is_empty() => self.end_try(back),
                () = sleep_until(wake) => {}
            }
        }
        let Self { items, results, why, .. } = self;
        let unanswered = |item: &Item| match item.tries.may_have_effect() {
            true => NotPlaced::Unknown,
            false => NotPlaced::Unavailable(why.clone()),
        };
        results.into_iter().zip(&items).map(|(result, item)| result.unwrap_or_else(|| Err(unanswered(item)))).collect()
    }

    /// Sends what has no answer yet to the next server; nothing when there is no server left to try, or no time.
    fn begin_try(&mut self) -> Option<impl Future<Output = Back> + use<>> {
        self.next_try = None;
        let excluded: Vec<bool> = self.under_way.iter().zip(&self.failed).map(|(a, b)| *a || *b).collect();
        let server = self.servers.choose(self.turn, &excluded)?;
        let mut sent = Vec::with_capacity(self.items.len());
        for (i, (item, result)) in self.items.iter().zip(&mut self.results).enumerate() {
            if result.is_none() && item.tries.begin() {
                sent.push(i);
            } else if result.is_none() {
                *result = Some(Err(NotPlaced::Unavailable(self.why.clone())));
            }
        }
        if sent.is_empty() {
            return None;
        }
        let now = Instant::now();
        let patience = self.deadline.saturating_duration_since(now);
        let wait = patience - HEARD_BEFORE.min(patience / 4);
        let batch = PlaceBatch {
            commands: sent.iter().map(|&i| &self.items[i].command).collect(),
            wait_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
        };
        let (servers, body) = (self.servers.clone(), frame::encode(&batch).into());
        self.under_way[server] = true;
        self.next_try = Some(now + REISSUE_AFTER);
        Some(async move { (server, sent, servers.post(server, body, patience).await) })
    }

    fn end_try(&mut self, (server, sent, result): Back) {
        self.under_way[server] = false;
        self.failed[server] = true;
        let result = result.and_then(|answer| match answer.answers.len() == sent.len() {
            true => Ok(answer.answers),
            false => Err(Failure::Lost("answered another number of orders".to_owned())),
        });
        match result {
            Ok(answers) => self.take_answers(sent, answers),
            Err(failure) => {
                self.why = failure.to_string();
                self.servers.mark(server, Err(&self.why));
                if matches!(failure, Failure::NoEffect(_)) {
                    sent.iter().for_each(|&i| self.items[i].tries.end_without_effect());
                }
            }
        }
        self.plan_next_try();
    }

    fn take_answers(&mut self, sent: Vec<usize>, answers: Vec<Result<Placed, NotPlaced>>) {
        // Another live server may still have room; one that is down is not worth waiting for.
        let other = (0..self.servers.len()).any(|i| self.servers.is_live(i) && !self.under_way[i] && !self.failed[i]);
        for (i, answer) in sent.into_iter().zip(answers) {
            let tries = &self.items[i].tries;
            if matches!(answer, Err(NotPlaced::Overloaded | NotPlaced::Unavailable(_))) {
                tries.end_without_effect();
            }
            match answer {
                Ok(placed) => self.results[i] = Some(Ok(placed)),
                Err(NotPlaced::Overloaded) if !other && !tries.may_have_effect() => {
                    self.results[i].get_or_insert(Err(NotPlaced::Overloaded));
                }
                Err(NotPlaced::Overloaded | NotPlaced::Unknown) => {}
                Err(NotPlaced::Unavailable(why)) => self.why = why,
            }
        }
    }

    fn plan_next_try(&mut self) {
        let now = Instant::now();
        let all_failed = self.failed.iter().zip(&self.under_way).all(|(failed, under_way)| *failed || *under_way);
        let at = if all_failed {
            self.failed.fill(false);
            let longer = (self.pause * 2).min(LONGEST_PAUSE);
            now + std::mem::replace(&mut self.pause, longer)
        } else {
            now
        };
        self.next_try = (at + LAST_TRY < self.deadline).then_some(at);
    }
}
