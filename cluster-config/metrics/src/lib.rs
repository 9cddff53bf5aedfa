//! What a server counts, and how it is told at `/metrics`.
//!
//! Counting is relaxed atomics in the server's own structs: no lock, no allocation, nothing global, since a simulation
//! runs several servers in one process. Names, help texts and labels are known only when somebody asks: see [`text`].
//! Must not know what is counted.

mod count;
mod histogram;
mod kinds;
mod sheet;

pub use count::{Counter, Level, Occupied, Spread};
pub use histogram::Histogram;
pub use kinds::Kinds;
pub use sheet::{CONTENT_TYPE, Sheet, text};
