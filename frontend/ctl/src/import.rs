//! The parts of an import: rows out of CSV, the check of a whole file, batches, the note of what is done, and sending.

pub mod batches;
pub mod check;
pub mod progress;
pub mod rows;
pub mod send;
