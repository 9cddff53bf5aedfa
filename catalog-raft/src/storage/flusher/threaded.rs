//! The flusher's thread.

use std::{
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

use super::{Flush, QUEUE, Syncing};

/// The thread, and the way to it.
#[derive(Debug)]
pub(super) struct Worker {
    sender: Option<SyncSender<Flush>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub(super) fn start(syncing: Syncing) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE);
        let thread = thread::Builder::new().name("flusher".to_owned()).spawn(move || run(syncing, &receiver))?;
        Ok(Self { sender: Some(sender), thread: Some(thread) })
    }

    /// Whether it was taken.
    pub(super) fn send(&self, flush: Flush) -> bool {
        self.sender.as_ref().is_some_and(|sender| sender.send(flush).is_ok())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed by then.
            let _ = thread.join();
        }
    }
}

pub(super) fn run(mut syncing: Syncing, receiver: &Receiver<Flush>) {
    let mut batch = Vec::new();
    while let Ok(first) = receiver.recv() {
        batch.push(first);
        batch.extend(receiver.try_iter().take(QUEUE));
        if !syncing.needs_none(&mut batch) {
            syncing.sync(batch.len());
            syncing.tell(&mut batch);
        }
    }
}
