//! Each kind of fault by name on real processes, and a short run of faults drawn from a seed.

mod clock;
mod disk;
mod hostile;
mod network;
mod overload;
mod seeded;
