//! Everything that is sent as bincode: handshakes, requests and answers, batches of orders, changes.

use catalog_client::{
    frame::{Hello, Welcome},
    protocol::{Envelope, Request, Response, WatchFrame, WatchFrom},
};
use fuzzing::fuzz_encoded;
use order_client::{BatchAnswer, PlaceBatch};

#[test]
fn hellos() {
    fuzz_encoded::<Hello>("hellos");
}

#[test]
fn welcomes() {
    fuzz_encoded::<Welcome>("welcomes");
}

#[test]
fn requests() {
    fuzz_encoded::<Envelope<Request>>("requests");
}

#[test]
fn responses() {
    fuzz_encoded::<Envelope<Response>>("responses");
}

#[test]
fn positions_of_watchers() {
    fuzz_encoded::<WatchFrom>("positions of watchers");
}

#[test]
fn watch_events() {
    fuzz_encoded::<WatchFrame>("watch events");
}

#[test]
fn batches_of_orders() {
    fuzz_encoded::<PlaceBatch>("batches of orders");
}

#[test]
fn answers_to_batches() {
    fuzz_encoded::<BatchAnswer>("answers to batches");
}
