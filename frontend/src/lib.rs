//! The front end: the store's HTTP surface over a coherent cache.
//!
//! `cache`, `coherence` and `invalidation` are pure: they decide what may be answered. `state` moves them together,
//! `follow` feeds them from the catalog's stream of changes, `upstream` asks replicas, `writes` carries writes out,
//! `api` speaks HTTP; `observer` remembers five minutes of it for the page, which `site` holds.

mod api;
pub mod cache;
pub mod coherence;
mod feed;
mod follow;
pub mod front;
mod invalidation;
mod metrics;
mod observer;
mod page;
mod reply;
pub mod server;
mod site;
mod state;
mod upstream;
mod writes;
