//! The front end over a catalog that does what the test tells it: races are forced here, not hoped for.

mod coherence;
mod fake;
mod form;
mod page;
mod shop;
mod storm;
mod v1;
