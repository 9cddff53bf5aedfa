//! Wall clocks that jump.
