//! End to end tests: each behaviour of the store by name (`b1_` to `b22_`), each flaw of its predecessor shown
//! absent by name (`f1_` to `f10_`), the compatible surface to the byte, `/v1`, and what happens to disks.
//!
//! Real processes, real disks, free ports. A test asks servers over HTTP, and over a peer port where that is what it
//! is about; it waits for conditions and never for time to pass.

mod caching;
mod crash;
mod disk;
mod faulty_peers;
mod flaws;
mod form;
mod golden;
mod import;
mod items;
mod layouts;
mod logs;
mod metrics;
mod operating;
mod orders;
mod overload;
mod reads;
mod selling;
mod shipped;
mod snapshots;
mod surviving;
mod watch;

use tests::shop;
