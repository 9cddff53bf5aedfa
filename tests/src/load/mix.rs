//! What a load asks for: reads and buys in a given share, over items that are equally or unequally popular. Must not
//! know connections.

use std::str::FromStr;

use rand::Rng;
use uuid::Uuid;

/// The most items that a load may name.
pub const MAX_ITEMS: usize = 1_000_000;

/// The share of lookups; all else is buys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mix {
    /// From 0 to 100.
    pub percent_reads: u8,
}

/// Item numbers, in falling order of popularity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Items(pub Vec<u64>);

/// Something that is no mix or no list of items.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No mix.
    #[error("`{0}` is no mix: write buy, lookup, or mixed:<percent of lookups>")]
    Mix(String),
    /// No items.
    #[error("`{0}` is no list of items: write 1, 1,3,5, 1-7, or several of these joined by commas")]
    Items(String),
    /// Too many items.
    #[error("more than {MAX_ITEMS} items")]
    TooMany,
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
        let mut items = Vec::new();
        for part in text.split(',') {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let (from, to): (u64, u64) = (from.parse().map_err(|_| wrong())?, to.parse().map_err(|_| wrong())?);
            if from == 0 || to < from {
                return Err(wrong());
            }
            if to - from >= (MAX_ITEMS - items.len()) as u64 {
                return Err(Error::TooMany);
            }
            items.extend(from..=to);
        }
        Ok(Self(items))
    }
}

/// Makes requests: ready-made bytes, one of each kind for each item.
#[derive(Debug)]
pub struct Requests {
    percent_reads: u8,
    own_key: bool,
    /// At each item, the chance that it or one before it is taken.
    chances: Vec<f64>,
    lookups: Vec<Vec<u8>>,
    buys: Vec<Vec<u8>>,
}

impl Requests {
    /// Requests to `host`. `zipf` is the exponent of the items' popularity: the k-th is asked for in proportion to
    /// `1 / k^zipf`, so 0 makes them equal. With `own_key` each buy bears an `Idempotency-Key` of its own.
    pub fn new(host: &str, mix: Mix, items: &Items, zipf: f64, own_key: bool) -> Self {
        let weights = (1..=items.0.len()).map(|place| (place as f64).powf(-zipf));
        let sums: Vec<f64> = weights
            .scan(0.0, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect();
        let all = sums.last().copied().unwrap_or(1.0);
        // A buy with a key ends within the header, so that the key and the empty line are all that is added to it.
        let end = if own_key { "idempotency-key: " } else { "\r\n" };
        let get = |operation: &str, item: &u64, end: &str| {
            format!("GET /{operation}/{item} HTTP/1.1\r\nhost: {host}\r\n{end}").into_bytes()
        };
        Self {
            percent_reads: mix.percent_reads,
            own_key,
            chances: sums.into_iter().map(|sum| sum / all).collect(),
            lookups: items.0.iter().map(|item| get("lookup", item, "\r\n")).collect(),
            buys: items.0.iter().map(|item| get("buy", item, end)).collect(),
        }
    }

    /// Writes the next request into `request`, whatever it held.
    pub fn next(&self, rng: &mut impl Rng, request: &mut Vec<u8>) {
        let at = match self.chances.len() {
            1 => 0,
            len => {
                let chance: f64 = rng.random();
                self.chances.partition_point(|upto| *upto <= chance).min(len - 1)
            }
        };
        let read = match self.percent_reads {
            0 => false,
            100 => true,
            percent => rng.random_range(0..100) < percent,
        };
        request.clear();
        request.extend_from_slice(if read { &self.lookups[at] } else { &self.buys[at] });
        if self.own_key && !read {
            let key = uuid::Builder::from_random_bytes(rng.random()).into_uuid();
            let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
            request.extend_from_slice(Uuid::hyphenated(key).encode_lower(&mut text).as_bytes());
            request.extend_from_slice(b"\r\n\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::SmallRng};

    use super::*;

    #[test]
    fn reads_mixes_and_items() {
        assert_eq!("buy".parse(), Ok(Mix { percent_reads: 0 }));
        assert_eq!("mixed:90".parse(), Ok(Mix { percent_reads: 90 }));
        assert!("mixed:101".parse::<Mix>().is_err() && "sell".parse::<Mix>().is_err());
        assert_eq!("1-3,7".parse(), Ok(Items(vec![1, 2, 3, 7])));
        for wrong in ["", "0", "3-1", "a", "1-9999999"] {
            assert!(wrong.parse::<Items>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn asks_in_the_shares_that_were_wanted() {
        let mut rng = SmallRng::seed_from_u64(1);
        let requests = Requests::new("h", Mix { percent_reads: 80 }, &Items(vec![5, 6]), 1.0, true);
        let (mut reads, mut of_first, mut request) = (0, 0, Vec::new());
        for _ in 0..30_000 {
            requests.next(&mut rng, &mut request);
            let text = std::str::from_utf8(&request).unwrap();
            reads += u32::from(text.starts_with("GET /lookup/"));
            of_first += u32::from(text.contains("/5 HTTP/1.1"));
            assert!(text.ends_with("\r\n\r\n") && text.contains("idempotency-key: ") == text.starts_with("GET /buy/"));
        }
        assert!((23_500..24_500).contains(&reads), "{reads} of 24,000 reads");
        assert!((19_500..20_500).contains(&of_first), "{of_first} of 20,000 for the first item");
    }
}
