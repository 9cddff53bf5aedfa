//! Natural batching: what waits while a batch is in flight goes into the next one together. No timer.
//!
//! Used at every hop of a buy, so that requests, Raft entries and fdatasyncs grow with time and not with buys.

use std::{future::Future, marker::PhantomData};

use tokio::time::Instant;

/// The bounds of a batcher.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Items that may wait; one more is refused at once.
    pub queued: usize,
    /// Items in one batch.
    pub batch: usize,
    /// Batches in flight.
    pub in_flight: usize,
}

/// Why an item has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoResult<E> {
    /// The queue is full: never sent.
    Full,
    /// The deadline passed while it was queued: never sent, and it never will be.
    NotSent,
    /// The deadline passed while it was in flight.
    InFlight,
    /// The batch failed.
    Failed(E),
    /// The batcher is shutting down and takes no more: never sent.
    Closed,
}

/// Batches items of `T` into calls that give one `R` an item, or one `E` for all. Cheap to clone.
#[derive(Debug)]
pub struct Batcher<T, R, E> {
    _marker: PhantomData<fn(T) -> Result<R, E>>,
}

impl<T, R, E> Clone for Batcher<T, R, E> {
    fn clone(&self) -> Self {
        Self { _marker: PhantomData }
    }
}

impl<T, R, E> Batcher<T, R, E>
where
    T: Send + 'static,
    R: Send + 'static,
    E: Clone + Send + 'static,
{
    /// Starts the batcher's task. `call` gets the items of a batch and the latest of their deadlines; it gives
    /// one result an item, in order.
    pub fn new<F, Fut>(_limits: Limits, _call: F) -> Self
    where
        F: Fn(Vec<T>, Instant) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<R>, E>> + Send + 'static,
    {
        todo!()
    }

    /// Sends one item with the next batch and waits for its result until `deadline`.
    ///
    /// # Errors
    /// [`NoResult`] says whether the item was ever sent.
    pub async fn run(&self, _item: T, _deadline: Instant) -> Result<R, NoResult<E>> {
        todo!()
    }

    /// How many items wait.
    pub fn queued(&self) -> usize {
        todo!()
    }

    /// Takes no more, and returns when all that was taken has its result.
    pub async fn close(&self) {
        todo!()
    }
}
