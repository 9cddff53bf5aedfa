//! What becomes of the store's figures as it grows: items, orders, what a replica has missed, connections, watchers.
//!
//! Whatever is compared with a small store is compared with one that runs beside it, within the same minute: a machine
//! has slow ones. Must not know how a server does its work.

pub mod behind;
pub mod buyers;
pub mod connections;
pub mod items;
pub mod ledger;
pub mod orders;
pub mod report;
pub mod snapshots;
pub mod store;
pub mod watchers;

use crate::{
    drive::{Ask, Driver, Sample},
    targets::{Bound, Held},
};

use report::Report;

/// Parts of a run that can be chosen, in their order.
pub const PARTS: [(&str, &str); 6] = [
    ("items", "more and more items"),
    ("connections", "more and more clients"),
    ("watchers", "more and more clients that watch"),
    ("orders", "more and more orders; the start of a replica that has them"),
    ("behind", "a replica that has missed many commands"),
    ("snapshots", "a snapshot that is built, and one that is sent"),
];

/// Connections of the loads that are compared.
pub const CONNECTIONS: u32 = 64;
/// What a rate may be of that of a small store.
const KEEPS: f64 = 0.9;

/// How large, and how long.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Numbers of items, the least first.
    pub items: Vec<u64>,
    /// Numbers of orders, the least first.
    pub orders: Vec<u64>,
    /// Commands that a replica has missed.
    pub behind: u64,
    /// Numbers of watchers, the least first.
    pub watchers: Vec<u32>,
    /// How often each figure is taken.
    pub rounds: u32,
    /// How long each is taken for, in seconds.
    pub seconds: u32,
}

/// One load on one server.
#[derive(Debug, Clone)]
pub struct Load {
    /// What it is, for people.
    pub name: String,
    /// `host:port`.
    pub address: String,
    /// What is asked; `None` is a buy of item 1 under a key of the client's own.
    pub ask: Option<Ask>,
    /// Connections, each with one request outstanding.
    pub connections: u32,
}

impl Load {
    /// A load of [`CONNECTIONS`].
    pub fn new(name: &str, address: &str, ask: Ask) -> Self {
        Self { name: name.to_owned(), address: address.to_owned(), ask: Some(ask), connections: CONNECTIONS }
    }

    /// Drives it.
    ///
    /// # Errors
    /// When nothing is answered.
    pub async fn run(&self, driver: &Driver, seconds: u32) -> anyhow::Result<Sample> {
        match &self.ask {
            Some(ask) => driver.ask(&self.address, ask, self.connections, seconds).await,
            None => {
                let arguments = ["--mix", "buy", "--items", "1", "--key"].map(str::to_owned);
                driver.loadgen(&self.address, &arguments, self.connections, seconds).await
            }
        }
    }
}

/// Measures the same load on a small store and on a large one by turns, and holds the large one's rate against the small
/// one's. Without a small one, only tells.
///
/// # Errors
/// When one does not serve.
pub async fn compare(
    report: &mut Report,
    driver: &Driver,
    plan: &Plan,
    (part, at): (&'static str, &str),
    small: Option<&Load>,
    large: &Load,
) -> anyhow::Result<()> {
    let (mut rates, mut beside, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for load in small.into_iter().chain([large]) {
        load.run(driver, 1).await?;
    }
    for _ in 0..plan.rounds {
        let reference = match small {
            Some(small) => Some(small.run(driver, plan.seconds).await?.per_second),
            None => None,
        };
        let rate = large.run(driver, plan.seconds).await?.per_second;
        rates.push(rate);
        beside.extend(reference);
        ratios.extend(reference.filter(|reference| *reference > 0.0).map(|reference| rate / reference));
    }
    report.row(part, &large.name, at, "/s", rates)?;
    if small.is_some() {
        report.row(part, &format!("{}: small store beside it", large.name), at, "/s", beside)?;
        let work = format!("{}, {at}", large.name);
        report.hold(Held::new(&work, "against a small store", Bound::AtLeast(KEEPS), "x", ratios));
    }
    Ok(())
}

/// A number for people: `1,000,000`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_grouped_by_thousands() {
        let grouped = [0, 999, 1_000, 1_234_567, 10_000_000].map(super::grouped);
        assert_eq!(grouped, ["0", "999", "1,000", "1,234,567", "10,000,000"]);
    }
}
