//! Single flight: whoever misses a key while a call for it is under way waits for that call's answer, if the call
//! asked for a state at least as new as the newcomer must have.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use catalog_client::{Revision, protocol::Refusal};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::Upstream;
use crate::{cache::Key, page::Held};

type Landing = Option<Result<Held, Refusal>>;

/// The calls under way, one a key. Bounded by the calls that [`Upstream`] allows.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    flights: HashMap<Key, Flight>,
    /// Tells a flight from the one that took its place.
    next: u64,
}

#[derive(Debug)]
struct Flight {
    number: u64,
    asked: Revision,
    landing: watch::Receiver<Landing>,
}

impl Upstream {
    /// The page of `key` in a state at least as new as `need`, by the call under way or a new one.
    pub(super) async fn shared(self: &Arc<Self>, key: Key, need: Revision, deadline: Instant) -> Result<Held, Refusal> {
        loop {
            let (landing, mine) = self.board(&key, need, deadline);
            match landed(landing, deadline).await {
                // Another's call ends at another's deadline, which is earlier than this one's.
                Err(_) if !mine && Instant::now() < deadline => {}
                result => return result,
            }
        }
    }

    /// The flight to wait for, and whether it was started here.
    fn board(self: &Arc<Self>, key: &Key, need: Revision, deadline: Instant) -> (watch::Receiver<Landing>, bool) {
        let mut table = self.flights.lock();
        if let Some(flight) = table.flights.get(key).filter(|flight| flight.asked >= need) {
            return (flight.landing.clone(), false);
        }
        let number = table.next;
        table.next += 1;
        let (lands, landing) = watch::channel(None);
        table.flights.insert(key.clone(), Flight { number, asked: need, landing: landing.clone() });
        drop(table);
        let (upstream, key) = (self.clone(), key.clone());
        // In a task of its own: others wait for it, whatever becomes of the client that started it.
        tokio::spawn(async move {
            let _under_way = UnderWay { upstream: &upstream, key: &key, number };
            let result = upstream.fetch(key.clone(), need, deadline).await;
            // The flight leaves the table first: who finds it there must not wait for one that has landed.
            drop(_under_way);
            lands.send_replace(Some(result));
        });
        (landing, true)
    }
}

async fn landed(mut landing: watch::Receiver<Landing>, deadline: Instant) -> Result<Held, Refusal> {
    match timeout_at(deadline, landing.wait_for(Option::is_some)).await {
        Ok(Ok(landing)) => landing.clone().unwrap_or_else(lost),
        Ok(Err(_)) => lost(),
        Err(_) => Err(Refusal::Unavailable("no answer in time".to_owned())),
    }
}

fn lost() -> Result<Held, Refusal> {
    Err(Refusal::Unavailable("the call was lost".to_owned()))
}

/// Takes a flight out of the table, also when its task panics.
struct UnderWay<'a> {
    upstream: &'a Upstream,
    key: &'a Key,
    number: u64,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut table = self.upstream.flights.lock();
        if table.flights.get(self.key).is_some_and(|flight| flight.number == self.number) {
            table.flights.remove(self.key);
        }
    }
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
