//! `bench`: a quick look at what a store takes, bounded in time and connections. One thread asks: a store that takes more
//! than that is measured by `make bench`.

use std::{sync::Arc, time::Duration};

use cluster_config::table::{Align, Columns};
use futures::future::join_all;
use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use reqwest::{Client, header::CONTENT_TYPE};
use serde::Serialize;
use tokio::time::{Instant, interval};

use super::Tools;
use crate::{
    cli::Bench,
    failure::Failure,
    http::{Ask, client, path_with},
    key,
    output::bar,
    wire::Items,
};

/// The longest that one request is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Latencies are counted in microseconds, to three digits.
const DIGITS: u8 = 3;
/// The width of the longest bar of a histogram.
const WIDTH: f64 = 40.0;

/// What was counted of one kind of request.
#[derive(Debug, Clone)]
struct Counted {
    /// Microseconds of those that were answered.
    latencies: Histogram<u64>,
    refused: u64,
    failed: u64,
}

/// One kind, as it is told.
#[derive(Debug, Serialize)]
struct Kind {
    kind: &'static str,
    requests: u64,
    per_second: f64,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// Answered by no: out of stock.
    refused: u64,
    /// Not answered, or by an error.
    failed: u64,
}

#[derive(Debug, Serialize)]
struct Told {
    connections: u64,
    seconds: f64,
    kinds: Vec<Kind>,
}

/// What all connections share.
#[derive(Debug)]
struct Load {
    items: Vec<u64>,
    buys: u8,
    until: Instant,
}

impl Counted {
    fn new() -> Self {
        Self { latencies: Histogram::new(DIGITS).expect("three digits are possible"), refused: 0, failed: 0 }
    }

    fn add(&mut self, other: &Self) {
        self.latencies.add(&other.latencies).expect("of the same kind");
        self.refused += other.refused;
        self.failed += other.failed;
    }
}

/// `bench`.
///
/// # Errors
/// When there is nothing to ask for, or nobody answers.
pub async fn bench(tools: &mut Tools, args: &Bench) -> Result<(), Failure> {
    let page: Items = tools.store.read(Ask::get(path_with("/v1/items", [("limit", args.items.to_string())]))).await?;
    let items: Vec<u64> = page.items.iter().map(|item| item.item_number).collect();
    if items.is_empty() {
        return Err(Failure::refused("the store has no items to ask for: add some, or import a file"));
    }
    let began = Instant::now();
    let load = Arc::new(Load { items, buys: args.buys, until: began + Duration::from_secs(args.seconds) });
    let fronts = &tools.store.place.fronts;
    let connections = (0..args.connections as usize).map(|at| {
        let front = fronts[at % fronts.len()].clone();
        Ok(tokio::spawn(connection(client()?, front, load.clone())))
    });
    let connections = connections.collect::<Result<Vec<_>, Failure>>()?;
    let progress = bar(args.seconds, "seconds:");
    let ticking = tokio::spawn(tick(progress.clone()));
    let counted = join_all(connections).await;
    ticking.abort();
    progress.finish_and_clear();
    let seconds = began.elapsed().as_secs_f64();
    let mut sums = [Counted::new(), Counted::new()];
    for counted in counted {
        let counted = counted.map_err(|error| Failure::refused(format_args!("a connection ended early: {error}")))?;
        sums.iter_mut().zip(&counted).for_each(|(sum, one)| sum.add(one));
    }
    tell(tools, args, &sums, seconds)
}

async fn tick(progress: ProgressBar) {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.tick().await;
    loop {
        seconds.tick().await;
        progress.inc(1);
    }
}

/// One request after the other until the time is over: look-ups and buys.
async fn connection(http: Client, front: String, load: Arc<Load>) -> [Counted; 2] {
    let mut counted = [Counted::new(), Counted::new()];
    while Instant::now() < load.until {
        let item = load.items[rand::random_range(0..load.items.len())];
        let buys = rand::random_range(0..100) < load.buys;
        let request = if buys {
            let body = format!("{{\"lines\":[{{\"item_number\":{item},\"quantity\":1}}]}}");
            let request = http.post(format!("{front}/v1/orders")).header("idempotency-key", key::fresh());
            request.header(CONTENT_TYPE, "application/json").body(body)
        } else {
            http.get(format!("{front}/v1/items/{item}"))
        };
        let began = Instant::now();
        let status = async {
            let answer = request.timeout(PATIENCE).send().await?;
            let status = answer.status().as_u16();
            answer.bytes().await?;
            Ok::<_, reqwest::Error>(status)
        };
        let status = status.await;
        let counted = &mut counted[usize::from(buys)];
        match status {
            Ok(200..300) => {
                let micros = began.elapsed().as_micros().min(u128::from(u64::MAX)) as u64;
                // It grows as far as it must.
                counted.latencies.record(micros.max(1)).expect("room for every latency");
            }
            Ok(404 | 409) => counted.refused += 1,
            Ok(_) => counted.failed += 1,
            Err(_) => {
                counted.failed += 1;
                // Who is not there is not asked as fast as can be.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    counted
}

fn tell(tools: &mut Tools, args: &Bench, sums: &[Counted; 2], seconds: f64) -> Result<(), Failure> {
    let named = ["look-up", "buy"].into_iter().zip(sums);
    let told: Vec<(&'static str, &Counted)> =
        named.filter(|(_, sum)| sum.latencies.len() + sum.refused + sum.failed > 0).collect();
    let kinds: Vec<Kind> = told.iter().map(|(kind, sum)| kind_of(kind, sum, seconds)).collect();
    if tools.out.is_json() {
        tools.out.json(&Told { connections: args.connections, seconds, kinds })?;
    } else {
        tools
            .out
            .line(format_args!("{} connections for {seconds:.1} s, latencies in milliseconds", args.connections))?;
        tools.out.line(rows(&kinds))?;
        for (kind, sum) in &told {
            tools.out.line(format_args!("\n{kind}, by latency in milliseconds"))?;
            tools.out.line(histogram(&sum.latencies))?;
        }
    }
    if told.iter().all(|(_, sum)| sum.latencies.is_empty() && sum.refused == 0) {
        return Err(Failure::unavailable("no request was answered: see catalogctl status"));
    }
    Ok(())
}

fn kind_of(kind: &'static str, sum: &Counted, seconds: f64) -> Kind {
    let ms = |micros: u64| micros as f64 / 1e3;
    let at = |quantile| ms(sum.latencies.value_at_quantile(quantile));
    let requests = sum.latencies.len();
    Kind {
        kind,
        requests,
        per_second: requests as f64 / seconds,
        p50_ms: at(0.5),
        p90_ms: at(0.9),
        p99_ms: at(0.99),
        max_ms: ms(sum.latencies.max()),
        refused: sum.refused,
        failed: sum.failed,
    }
}

fn rows(kinds: &[Kind]) -> String {
    let mut columns = Columns::new([
        ("KIND", Align::Left),
        ("ANSWERED", Align::Right),
        ("PER SECOND", Align::Right),
        ("P50", Align::Right),
        ("P90", Align::Right),
        ("P99", Align::Right),
        ("MAX", Align::Right),
        ("REFUSED", Align::Right),
        ("FAILED", Align::Right),
    ]);
    let rows = kinds.iter().map(|kind| {
        [
            kind.kind.to_owned(),
            kind.requests.to_string(),
            format!("{:.0}", kind.per_second),
            format!("{:.2}", kind.p50_ms),
            format!("{:.2}", kind.p90_ms),
            format!("{:.2}", kind.p99_ms),
            format!("{:.2}", kind.max_ms),
            kind.refused.to_string(),
            kind.failed.to_string(),
        ]
    });
    columns.part(&rows.collect::<Vec<_>>())
}

/// A line for each doubling of the latency: up to how much, what part of all, and a bar.
fn histogram(latencies: &Histogram<u64>) -> String {
    let mut lines = Vec::new();
    let steps: Vec<(u64, u64)> = latencies
        .iter_log(1, 2.0)
        .map(|step| (step.value_iterated_to() + 1, step.count_since_last_iteration()))
        .skip_while(|(_, count)| *count == 0)
        .collect();
    let most = steps.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
    for (upto, count) in steps {
        let bar = "#".repeat((count as f64 / most as f64 * WIDTH).ceil() as usize);
        let part = count as f64 / latencies.len() as f64 * 100.0;
        lines.push(format!("< {:>9.3}  {part:>5.1} %  {bar}", upto as f64 / 1e3).trim_end().to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_has_every_latency_once() {
        let mut latencies = Histogram::new(DIGITS).expect("three digits");
        for micros in [900, 900, 900, 3000, 70_000] {
            latencies.record(micros).expect("in range");
        }
        let text = histogram(&latencies);
        let parts: Vec<f64> = text
            .lines()
            .map(|line| line.split_whitespace().nth(2).expect("a part").parse().expect("a number"))
            .collect();
        assert!((parts.iter().sum::<f64>() - 100.0).abs() < 0.5, "{text}");
        assert!(text.starts_with("<     1.024   60.0 %  ########################################\n"), "{text}");
        assert!(text.contains("<     4.096   20.0 %  ##############"), "{text}");
        assert!(text.lines().last().is_some_and(|line| line.starts_with("<   131.072   20.0 %")), "{text}");
    }
}
