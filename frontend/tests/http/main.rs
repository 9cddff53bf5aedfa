//! The front end over a catalog that does what the test tells it: races are forced here, not hoped for.

mod coherence;
mod described;
mod fake;
mod form;
mod openapi;
mod page;
mod schema;
mod shop;
mod storm;
mod v1;
