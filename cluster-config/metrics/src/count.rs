//! Counters and levels. Their values are told and never decide anything, so every access is relaxed.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

/// Counts up from 0.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One at 0, for arrays and statics.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts one.
    pub fn one(&self) {
        self.add(1);
    }

    /// Counts several.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// How many there have been.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How many of something there are now: whoever is one of them holds an [`Occupied`].
#[derive(Debug, Clone, Default)]
pub struct Level(Arc<AtomicUsize>);

impl Level {
    /// One more, for as long as what this returns lives.
    #[must_use]
    pub fn occupy(&self) -> Occupied {
        self.0.fetch_add(1, Relaxed);
        Occupied(self.0.clone())
    }

    /// How many there are.
    pub fn get(&self) -> usize {
        self.0.load(Relaxed)
    }
}

/// One of those that a [`Level`] counts.
#[derive(Debug)]
pub struct Occupied(Arc<AtomicUsize>);

impl Drop for Occupied {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Cells of a [`Spread`]: a few more than the threads of a small machine's runtime.
const CELLS: usize = 8;

/// A counter for the hottest paths: each thread counts in a cell that few others use, so that cores do not take one
/// cache line from each other.
#[derive(Debug, Default)]
pub struct Spread([Alone; CELLS]);

/// Alone in its cache lines: processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Alone(AtomicU64);

impl Spread {
    /// Counts one.
    pub fn one(&self) {
        self.0[own_cell()].0.fetch_add(1, Relaxed);
    }

    /// How many there have been.
    pub fn get(&self) -> u64 {
        self.0.iter().map(|cell| cell.0.load(Relaxed)).sum()
    }
}

/// The cell of this thread: threads take them by turn.
fn own_cell() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    // A thread that is ending has no cell any more; it may count in any.
    OWN.try_with(|own| {
        if own.get() == usize::MAX {
            own.set(NEXT.fetch_add(1, Relaxed) % CELLS);
        }
        own.get()
    })
    .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_goes_down_when_its_guards_do() {
        let level = Level::default();
        let held = [level.occupy(), level.occupy()];
        assert_eq!(level.get(), 2);
        drop(held);
        assert_eq!(level.get(), 0);
    }

    #[test]
    fn a_spread_counter_loses_nothing_whoever_counts() {
        let spread = Spread::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * CELLS {
                scope.spawn(|| (0..1000).for_each(|_| spread.one()));
            }
        });
        assert_eq!(spread.get(), 2 * CELLS as u64 * 1000);
    }
}
