//! Faults drawn from a seed, injected into a cluster under load, healed, and counted.
