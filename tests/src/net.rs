//! The network between servers, in the harness's hands: cut, slowed, narrowed, by ordered pair. Must not know what the
//! bytes mean.
