//! The front end: the store's HTTP surface over a coherent cache.

pub mod cache;
pub mod coherence;
pub mod invalidation;
