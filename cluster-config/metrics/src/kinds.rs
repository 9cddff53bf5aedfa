//! Counters of the same thing that differ in one label, all of whose values are known before.

use crate::Counter;

/// One counter for each of `N` kinds.
#[derive(Debug)]
pub struct Kinds<const N: usize> {
    names: [&'static str; N],
    counts: [Counter; N],
}

impl<const N: usize> Kinds<N> {
    /// None of any kind. The names are what the label says.
    pub const fn new(names: [&'static str; N]) -> Self {
        Self { names, counts: [const { Counter::new() }; N] }
    }

    /// Counts one of a kind, by its place among the names.
    pub fn one(&self, kind: usize) {
        self.counts[kind].one();
    }

    /// Counts one by its name; what has none of the names is of the last kind. Looks through all of them.
    pub fn one_named(&self, name: &str) {
        self.one(self.names.iter().position(|known| *known == name).unwrap_or(N - 1));
    }

    /// How many there were of each kind.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.names.into_iter().zip(self.counts.iter().map(Counter::get))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_of_the_last_kind() {
        let kinds = Kinds::new(["full", "late", "other"]);
        kinds.one(1);
        ["full", "late", "lost", "other"].iter().for_each(|name| kinds.one_named(name));
        assert_eq!(kinds.all().collect::<Vec<_>>(), [("full", 1), ("late", 2), ("other", 2)]);
    }
}
