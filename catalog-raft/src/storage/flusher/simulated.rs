//! The flusher of a simulation: a task, whose syncs take as long as the simulated disk.

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{Flush, QUEUE, Syncing};
use crate::simulation;

/// The way to the task. It ends with its host, whatever was still to be synced.
#[derive(Debug)]
pub(super) struct Worker(UnboundedSender<Flush>);

impl Worker {
    #[allow(clippy::unnecessary_wraps, reason = "as the thread's")]
    pub(super) fn start(syncing: Syncing) -> std::io::Result<Self> {
        let (sender, receiver) = unbounded_channel();
        tokio::spawn(run(syncing, receiver));
        Ok(Self(sender))
    }

    pub(super) fn send(&self, flush: Flush) -> bool {
        self.0.send(flush).is_ok()
    }
}

async fn run(mut syncing: Syncing, mut receiver: UnboundedReceiver<Flush>) {
    let mut batch = Vec::new();
    while receiver.recv_many(&mut batch, QUEUE).await > 0 {
        if syncing.needs_none(&mut batch) {
            continue;
        }
        // What is written while the sync is under way may be covered by it or not.
        let at_once = simulation::either();
        if at_once {
            syncing.sync(batch.len());
        }
        let dir = syncing.db.dir().to_owned();
        simulation::sync_time(&dir).await;
        if !at_once {
            syncing.sync(batch.len());
        }
        syncing.tell(&mut batch);
    }
}
