//! The first question: response times of lookups and buys, with the cache and without, side by side. Must not know what is
//! told of them.

use serde::{Deserialize, Serialize};

use super::{
    in_turn,
    setting::{CACHED, UNCACHED},
};
use crate::{drive::Driver, growth::store::Store};

/// Clients, each with one request outstanding.
pub const CLIENTS: [u32; 3] = [1, 5, 16];
/// What is asked: its name, the arguments of the load generator.
const WORKS: [(&str, &[&str]); 3] = [
    ("lookup", &["--get", "/lookup/5000"]),
    ("buy", &["--get", "/buy/{item}", "--items", "1-1000"]),
    ("mixed", &["--mix", "mixed:95", "--items", "1-10000", "--zipf", "1"]),
];
/// Of the mix, only with so many clients.
const MIXED_CLIENTS: u32 = 16;
/// Unmeasured, before the first round, in seconds: what is popular is in the cache of a front end that has run for a while.
const WARM_UP: u32 = 2;

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// `lookup`, `buy`, or `mixed`: 95 % lookups and 5 % buys, Zipf 1.0 over all items.
    pub what: String,
    /// With the cache, or without.
    pub cached: bool,
    /// How many ask.
    pub clients: u32,
    /// Half of the answers took no longer, in microseconds, round by round.
    pub p50_us: Vec<f64>,
    /// 99 of 100 took no longer, likewise.
    pub p99_us: Vec<f64>,
    /// Answers a second, likewise.
    pub per_second: Vec<f64>,
    /// The share that the cache answered, from 0 to 1, in the last round; of reads only.
    pub hit_rate: Option<f64>,
    /// Answers that were none.
    pub refused: u64,
}

/// Measures, by turns.
///
/// # Errors
/// When the store does not serve.
pub async fn run(store: &Store, driver: &Driver, rounds: u32, seconds: u32) -> anyhow::Result<Vec<Response>> {
    for node in [CACHED, UNCACHED] {
        for (_, arguments) in WORKS {
            ask(store, driver, node, arguments, MIXED_CLIENTS, WARM_UP).await?;
        }
    }
    let mut responses: Vec<Response> = Vec::new();
    for round in 1..=rounds {
        for (what, arguments) in WORKS {
            for clients in CLIENTS.into_iter().filter(|clients| what != "mixed" || *clients == MIXED_CLIENTS) {
                for cached in in_turn(round) {
                    let node = if cached { CACHED } else { UNCACHED };
                    let sample = ask(store, driver, node, arguments, clients, seconds).await?;
                    let found = responses
                        .iter_mut()
                        .find(|one| one.what == what && one.cached == cached && one.clients == clients);
                    let response = match found {
                        Some(response) => response,
                        None => {
                            let (p50_us, p99_us, per_second) = Default::default();
                            let what = what.to_owned();
                            let (hit_rate, refused) = (None, 0);
                            responses.push(Response {
                                what,
                                cached,
                                clients,
                                p50_us,
                                p99_us,
                                per_second,
                                hit_rate,
                                refused,
                            });
                            responses.last_mut().expect("it was just put there")
                        }
                    };
                    response.p50_us.extend(sample.p50_us);
                    response.p99_us.extend(sample.p99_us);
                    response.per_second.push(sample.per_second);
                    response.hit_rate = sample.hit_rate;
                    response.refused += sample.refused;
                }
            }
        }
        println!("response times: round {round} of {rounds}");
    }
    Ok(responses)
}

async fn ask(
    store: &Store,
    driver: &Driver,
    node: &str,
    arguments: &[&str],
    clients: u32,
    seconds: u32,
) -> anyhow::Result<crate::drive::Sample> {
    let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
    driver.loadgen(&store.address(node), &arguments, clients, seconds).await
}
