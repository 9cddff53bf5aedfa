//! An order server: stateless, it takes buys, coalesces them, and has the catalog's leader place each exactly once.
//!
//! Must not know how the catalog decides.

mod api;
mod checkout;
mod metrics;
pub mod server;
#[cfg(test)]
mod tests;
