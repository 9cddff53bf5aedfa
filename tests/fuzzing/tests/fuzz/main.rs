//! The targets: whatever reads bytes that come over the network or from an operator's files.
//!
//! `PROPTEST_CASES=200000 cargo test -p fuzzing -- --nocapture` runs each for real.

mod bodies;
mod encoded;
mod frames;
mod layouts;
mod paths;
