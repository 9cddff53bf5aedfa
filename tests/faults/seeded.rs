//! Faults drawn from a seed that is printed, overlapping.
