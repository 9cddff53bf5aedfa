//! A histogram whose buckets double: which one a value falls into is a count of leading zeros, and observing it is two
//! relaxed additions.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Buckets, the one without an upper bound among them.
const BUCKETS: usize = 21;
/// The first bucket of times ends at 2^4 = 16 microseconds, the last but one at 2^23, which is 8.4 seconds.
const TIMES_FROM: u32 = 4;

/// Counts values by their size. The values themselves are whole: times are microseconds.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
    /// The first bucket ends at two to the power of this.
    from: u32,
    /// How many make one of the unit that is told.
    in_one: f64,
}

impl Histogram {
    /// Of times, told in seconds: buckets up to 16 µs, 32 µs, and so on to 8.4 s.
    pub const fn times() -> Self {
        Self::new(TIMES_FROM, 1e6)
    }

    /// Of sizes: buckets up to 1, 2, 4, and so on to 524,288.
    pub const fn sizes() -> Self {
        Self::new(0, 1.0)
    }

    const fn new(from: u32, in_one: f64) -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BUCKETS], sum: AtomicU64::new(0), from, in_one }
    }

    /// Counts a time.
    pub fn time(&self, time: Duration) {
        self.observe(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// Counts a size, or a time in microseconds.
    pub fn observe(&self, value: u64) {
        let power = u64::BITS - value.saturating_sub(1).leading_zeros();
        let bucket = (power.saturating_sub(self.from) as usize).min(BUCKETS - 1);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }

    /// How many values there have been.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Relaxed)).sum()
    }

    /// The sum of all values, in the unit that is told.
    pub fn sum(&self) -> f64 {
        self.sum.load(Relaxed) as f64 / self.in_one
    }

    /// The upper bound of each bucket, in the unit that is told, and how many values are in it and in none before. The
    /// last has the bound that stands for infinity.
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let bound = |bucket: usize| match bucket + 1 {
            BUCKETS => f64::MAX,
            _ => 2f64.powi(bucket as i32 + self.from as i32) / self.in_one,
        };
        self.buckets.iter().enumerate().map(|(n, count)| (bound(n), count.load(Relaxed))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bound of the bucket that `value` falls into.
    fn bound_of(histogram: Histogram, value: u64) -> f64 {
        histogram.observe(value);
        histogram.buckets().into_iter().find(|(_, count)| *count == 1).unwrap().0
    }

    #[test]
    fn a_value_falls_into_the_first_bucket_that_is_no_smaller() {
        for (value, bound) in [(0, 1.0), (1, 1.0), (2, 2.0), (3, 4.0), (4, 4.0), (5, 8.0), (1024, 1024.0)] {
            assert_eq!(bound_of(Histogram::sizes(), value), bound, "{value}");
        }
        for (micros, bound) in [(0, 16e-6), (16, 16e-6), (17, 32e-6), (1000, 1024e-6), (8_388_608, 8.388608)] {
            let found = bound_of(Histogram::times(), micros);
            assert!((found - bound).abs() < 1e-9, "{micros} µs: {found}");
        }
        assert_eq!(bound_of(Histogram::times(), 8_388_609), f64::MAX);
        assert_eq!(bound_of(Histogram::sizes(), u64::MAX), f64::MAX);
    }

    #[test]
    fn count_and_sum_are_of_all_values() {
        let histogram = Histogram::times();
        histogram.time(Duration::from_millis(5));
        histogram.time(Duration::from_secs(60));
        assert_eq!(histogram.count(), 2);
        assert!((histogram.sum() - 60.005).abs() < 1e-9);
    }
}
