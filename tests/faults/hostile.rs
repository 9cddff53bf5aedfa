//! Peers and clients that send garbage, stall, or lie.
