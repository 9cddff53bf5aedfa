//! Faults drawn from a seed, injected into a cluster under load, healed, and counted.
//!
//! A seed gives a [`plan::Plan`]: a cluster, and faults that overlap, each with a start and a length. An
//! [`episode`] brings the cluster up, puts it under load, does what the plan says, heals, and has the trial judged. A
//! majority may be lost: that nothing is broken holds always; that everything serves again is asked once all faults have ended.

pub mod disks;
pub mod effect;
pub mod episode;
pub mod kind;
pub mod plan;
pub mod strangers;
pub mod summary;
pub mod world;

pub use episode::Episode;
pub use kind::Kind;
pub use plan::Plan;
pub use summary::Summary;
