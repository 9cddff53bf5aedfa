//! What a load asks for: reads and writes in a given share, over items that are equally or unequally popular. Must not
//! know connections.

use std::{cell::Cell, ops::RangeInclusive, str::FromStr};

use rand::{Rng, distr::Distribution};
use rand_distr::Zipf;
use uuid::Uuid;

use super::template::{Method, Template};

/// The share of reads; all else is writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mix {
    /// From 0 to 100.
    pub percent_reads: u8,
}

/// Item numbers, in falling order of popularity: ranges one after another, so that a million costs no more than one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Items {
    /// Each range, and how many items stand before it.
    ranges: Vec<(u64, RangeInclusive<u64>)>,
    count: u64,
}

/// Which item comes next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Order {
    /// All are equally popular.
    Uniform,
    /// The k-th is asked for in proportion to `1 / k^exponent`. The exponent is above 0.
    Zipf(f64),
    /// Each once, one after another, then from the first again.
    InTurn,
}

/// Something that is no mix or no list of items.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No mix.
    #[error("`{0}` is no mix: write buy, lookup, or mixed:<percent of lookups>")]
    Mix(String),
    /// No items.
    #[error("`{0}` is no list of items: write 1, 1,3,5, 1-7, or several of these joined by commas")]
    Items(String),
    /// No exponent.
    #[error("{0} is no exponent of popularity: it is a number above 0")]
    Exponent(String),
}

impl FromStr for Mix {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let percent_reads = match text {
            "buy" => Some(0),
            "lookup" => Some(100),
            _ => text.strip_prefix("mixed:").and_then(|percent| percent.parse().ok()).filter(|percent| *percent <= 100),
        };
        percent_reads.map(|percent_reads| Self { percent_reads }).ok_or_else(|| Error::Mix(text.to_owned()))
    }
}

impl FromStr for Items {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Items(text.to_owned());
        let (mut ranges, mut count) = (Vec::new(), 0_u64);
        for part in text.split(',') {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let (from, to): (u64, u64) = (from.parse().map_err(|_| wrong())?, to.parse().map_err(|_| wrong())?);
            if from == 0 || to < from {
                return Err(wrong());
            }
            ranges.push((count, from..=to));
            // From 1 on, so that there are never more than fit.
            count = count.checked_add(to - from + 1).ok_or_else(wrong)?;
        }
        Ok(Self { ranges, count })
    }
}

impl Items {
    /// How many there are, at least one.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The item at a place, counted from 0; the last one for places behind it.
    pub fn at(&self, place: u64) -> u64 {
        // The first range has nothing before it.
        let (before, range) = &self.ranges[self.ranges.partition_point(|(before, _)| *before <= place) - 1];
        (range.start() + (place - before)).min(*range.end())
    }
}

/// How the place of the next item is found.
#[derive(Debug)]
enum Choice {
    Only,
    Uniform,
    Zipf(Zipf<f64>),
    InTurn(Cell<u64>),
}

/// Makes requests.
#[derive(Debug)]
pub struct Requests {
    mix: Mix,
    items: Items,
    choice: Choice,
    read: Template,
    write: Template,
}

impl Requests {
    /// Requests that are reads and writes in the share of `mix`, to items in this order.
    ///
    /// # Errors
    /// When the order has an exponent that is none.
    pub fn new(mix: Mix, items: Items, order: Order, read: Template, write: Template) -> Result<Self, Error> {
        let choice = match order {
            _ if items.count == 1 => Choice::Only,
            Order::Uniform => Choice::Uniform,
            Order::InTurn => Choice::InTurn(Cell::new(0)),
            Order::Zipf(exponent) => {
                let zipf = (exponent > 0.0).then(|| Zipf::new(items.count as f64, exponent).ok()).flatten();
                Choice::Zipf(zipf.ok_or_else(|| Error::Exponent(exponent.to_string()))?)
            }
        };
        Ok(Self { mix, items, choice, read, write })
    }

    /// Requests to a front end at `host`, by GET. With `own_key` each buy bears an `Idempotency-Key` of its own; with
    /// `linearizable` each lookup asks for the present.
    pub fn templates(host: &str, linearizable: bool, own_key: bool) -> (Template, Template) {
        let lookup = if linearizable { "/lookup/{item}?read=linearizable" } else { "/lookup/{item}" };
        let buy = Template::new(Method::Get, host, "/buy/{item}", None);
        (Template::new(Method::Get, host, lookup, None), if own_key { buy.with_key() } else { buy })
    }

    /// Writes the next request into `request`, whatever it held.
    pub fn next(&self, rng: &mut impl Rng, request: &mut Vec<u8>) {
        let place = match &self.choice {
            Choice::Only => 0,
            Choice::Uniform => rng.random_range(0..self.items.count),
            // From 1 to the count, as a float that is whole.
            Choice::Zipf(zipf) => zipf.sample(rng) as u64 - 1,
            Choice::InTurn(next) => next.replace((next.get() + 1) % self.items.count),
        };
        let read = match self.mix.percent_reads {
            0 => false,
            100 => true,
            percent => rng.random_range(0..100) < percent,
        };
        let template = if read { &self.read } else { &self.write };
        let key = template.has_key().then(|| uuid::Builder::from_random_bytes(rng.random()).into_uuid());
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        let key = key.map(|key| &*Uuid::hyphenated(key).encode_lower(&mut text));
        template.fill(self.items.at(place), key, request);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::{SeedableRng, rngs::SmallRng};

    use super::*;

    /// How often each item was asked for in `asked` requests, and how many of them were reads.
    fn tally(mix: &str, items: &str, order: Order, asked: u32) -> (BTreeMap<u64, u32>, u32) {
        let mut rng = SmallRng::seed_from_u64(1);
        let (read, write) = Requests::templates("h", false, true);
        let requests = Requests::new(mix.parse().unwrap(), items.parse().unwrap(), order, read, write).unwrap();
        let (mut times, mut reads, mut request) = (BTreeMap::new(), 0, Vec::new());
        for _ in 0..asked {
            requests.next(&mut rng, &mut request);
            let text = std::str::from_utf8(&request).unwrap();
            assert!(text.ends_with("\r\n\r\n") && text.contains("idempotency-key: ") == text.starts_with("GET /buy/"));
            reads += u32::from(text.starts_with("GET /lookup/"));
            let path = text.split(' ').nth(1).unwrap();
            *times.entry(path.rsplit('/').next().unwrap().parse().unwrap()).or_default() += 1;
        }
        (times, reads)
    }

    #[test]
    fn reads_mixes_and_items() {
        assert_eq!("buy".parse(), Ok(Mix { percent_reads: 0 }));
        assert_eq!("mixed:90".parse(), Ok(Mix { percent_reads: 90 }));
        assert!("mixed:101".parse::<Mix>().is_err() && "sell".parse::<Mix>().is_err());
        let items: Items = "5-7,2,100-1000000".parse().unwrap();
        assert_eq!(items.count(), 999_905);
        assert_eq!(
            [0, 2, 3, 4, 5, 999_904, 999_999].map(|place| items.at(place)),
            [5, 7, 2, 100, 101, 1e6 as u64, 1e6 as u64]
        );
        for wrong in ["", "0", "3-1", "a", "1-18446744073709551615,1"] {
            assert!(wrong.parse::<Items>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn asks_in_the_shares_that_were_wanted() {
        let (times, reads) = tally("mixed:80", "5,6", Order::Zipf(1.0), 30_000);
        assert!((23_500..24_500).contains(&reads), "{reads} of 24,000 reads");
        assert!((19_500..20_500).contains(&times[&5]), "{} of 20,000 for the first item", times[&5]);
    }

    #[test]
    fn equal_items_are_equally_popular_and_zipf_s_are_not() {
        let (uniform, _) = tally("lookup", "1-10", Order::Uniform, 50_000);
        assert!(uniform.len() == 10 && uniform.values().all(|times| (4_600..5_400).contains(times)), "{uniform:?}");
        let (zipf, _) = tally("lookup", "1-1000000", Order::Zipf(1.0), 50_000);
        // 1 / (ln 1e6 + 0.577) = 6.95 % for the first; half of it for the second.
        assert!((3_200..3_750).contains(&zipf[&1]) && (1_550..1_950).contains(&zipf[&2]), "{} {}", zipf[&1], zipf[&2]);
        assert!(zipf.len() > 10_000, "{} items only", zipf.len());
    }

    #[test]
    fn items_in_turn_come_once_each_before_the_first_comes_again() {
        let (times, _) = tally("lookup", "3-5,9", Order::InTurn, 8);
        assert_eq!(times, BTreeMap::from([(3, 2), (4, 2), (5, 2), (9, 2)]));
        let (times, _) = tally("lookup", "3-5,9", Order::InTurn, 3);
        assert_eq!(times, BTreeMap::from([(3, 1), (4, 1), (5, 1)]));
    }

    #[test]
    fn an_exponent_that_is_none_is_refused() {
        let (read, write) = Requests::templates("h", false, false);
        for wrong in [0.0, -1.0, f64::NAN] {
            let order = Order::Zipf(wrong);
            let made =
                Requests::new(Mix { percent_reads: 1 }, "1-2".parse().unwrap(), order, read.clone(), write.clone());
            assert!(made.is_err(), "{wrong}");
        }
    }
}
