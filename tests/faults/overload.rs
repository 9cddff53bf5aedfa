//! More load than can be served: memory stays bounded, refusals are quick, what is accepted is answered in time, nobody
//! is voted out, and normal work goes on as soon as the load is gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures::future::join_all;
use hdrhistogram::Histogram;
use tests::{Options, TestCluster, load::connection::Connection, try_eventually};
use tokio::time::{sleep, sleep_until};

/// Connections of the overload.
const CONNECTIONS: u64 = 2000;
/// Connections of normal work.
const NORMAL: u64 = 64;
/// How long normal work is measured.
const MEASURED: Duration = Duration::from_secs(3);
/// How much more is asked for than was served.
const TIMES: f64 = 10.0;
/// Seconds of overload, unless `OVERLOAD_SECONDS` says otherwise.
const SECONDS: u64 = 12;
/// Orders that may wait: fewer than there are connections, so that there is something to refuse.
const QUEUE: u64 = 512;
/// Kilobytes that a server may be resident in at any moment of the overload.
const MEMORY: u64 = 1 << 20;
/// The bounds on a busy machine; the figures are printed.
const REFUSED_WITHIN: Duration = Duration::from_secs(2);
const ACCEPTED_WITHIN: Duration = Duration::from_secs(5);
/// How soon after the load is gone a buy takes no longer than usual; generous for a busy machine, the figure is printed.
const NORMAL_AGAIN: Duration = Duration::from_secs(10);

/// What clients saw.
struct Seen {
    accepted: Histogram<u64>,
    refused: Histogram<u64>,
    /// What refusals say of when to ask again, in seconds.
    retry_after: BTreeSet<u64>,
    /// From the moment at which a request was due, whether or not a connection was free to send it.
    from_due: Histogram<u64>,
    wrong: Vec<String>,
}

impl Seen {
    fn new() -> Self {
        let histogram = || Histogram::new_with_bounds(1, 120_000_000, 3).expect("bounds that go together");
        let (accepted, refused, from_due) = (histogram(), histogram(), histogram());
        Self { accepted, refused, retry_after: BTreeSet::new(), from_due, wrong: Vec::new() }
    }

    fn add(&mut self, other: &Self) {
        self.accepted += &other.accepted;
        self.refused += &other.refused;
        self.retry_after.extend(&other.retry_after);
        self.from_due += &other.from_due;
        self.wrong.extend(other.wrong.iter().cloned());
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Buys at `rate` a second over `connections` for `time`, whether or not answers keep up (an open loop); without a
/// rate, each connection sends its next request when it has its answer.
async fn buy(front: &str, connections: u64, rate: Option<f64>, time: Duration) -> Seen {
    let began = Instant::now();
    let next = Arc::new(AtomicU64::new(0));
    let clients = (0..connections).map(|_| {
        let (next, front) = (next.clone(), front.to_owned());
        tokio::spawn(async move {
            let mut seen = Seen::new();
            let mut open: Option<Connection> = None;
            while began.elapsed() < time {
                let place = next.fetch_add(1, Relaxed);
                let due = rate.map_or_else(Instant::now, |rate| began + Duration::from_secs_f64(place as f64 / rate));
                sleep_until(due.into()).await;
                let mut connection = match open.take() {
                    Some(connection) => connection,
                    None => match Connection::open(&front).await {
                        Ok(connection) => connection,
                        Err(error) => {
                            seen.wrong.push(format!("cannot connect: {error}"));
                            sleep(Duration::from_millis(50)).await;
                            continue;
                        }
                    },
                };
                let sent = Instant::now();
                match connection.ask(b"GET /buy/1 HTTP/1.1\r\nhost: x\r\n\r\n").await {
                    Ok(answer) => {
                        let took = micros(sent.elapsed());
                        match (answer.status, answer.retry_after) {
                            (200, _) => seen.accepted.saturating_record(took),
                            (429 | 503, Some(after)) => {
                                seen.refused.saturating_record(took);
                                seen.retry_after.insert(after);
                            }
                            (status, _) => {
                                seen.wrong.push(format!("{status}: {}", String::from_utf8_lossy(answer.body)))
                            }
                        }
                        seen.from_due.saturating_record(micros(due.elapsed()));
                        open = answer.keeps.then_some(connection);
                    }
                    Err(error) => seen.wrong.push(format!("no answer: {error}")),
                }
            }
            seen
        })
    });
    let clients: Vec<_> = clients.collect();
    let mut all = Seen::new();
    for seen in join_all(clients).await {
        all.add(&seen.expect("a client does not panic"));
    }
    all
}

fn shown(histogram: &Histogram<u64>) -> String {
    let ms = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    format!("{} (p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms)", histogram.len(), ms(0.5), ms(0.99), ms(1.0))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_times_the_load_is_refused_quickly_and_forgotten_soon() {
    let seconds = std::env::var("OVERLOAD_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let items = "item_number,title,topic,cost,quantity\n1,Book,Shelf,1,1000000000\n";
    let cluster = TestCluster::start("overload", Options::new().set("queue", QUEUE).items_csv(items)).await;
    let front = cluster.front().trim_start_matches("http://").to_owned();
    let normal = buy(&front, NORMAL, None, MEASURED).await;
    let served = normal.accepted.len() as f64 / MEASURED.as_secs_f64();
    let usual = Duration::from_micros(normal.accepted.value_at_quantile(0.99));
    cluster.say(&format!("normal, {NORMAL} connections: {served:.0} buys/s, {}", shown(&normal.accepted)));
    let leader = cluster.leader().await;
    let term = cluster.status(&leader).await.term;

    let resident = |nodes: &[(String, i32)]| -> BTreeMap<String, u64> {
        nodes.iter().map(|(node, pid)| (node.clone(), super::resident_kilobytes(*pid))).collect()
    };
    let nodes = cluster.cluster.nodes();
    let nodes: Vec<(String, i32)> =
        nodes.into_iter().filter_map(|node| Some((node.clone(), cluster.cluster.pid(&node)?))).collect();
    let before = resident(&nodes);
    let most = Arc::new(Mutex::new(before.clone()));
    let watching = tokio::spawn({
        let most = most.clone();
        async move {
            loop {
                for (node, kilobytes) in resident(&nodes) {
                    let mut most = most.lock().expect("nobody panics with it");
                    most.entry(node).and_modify(|most| *most = kilobytes.max(*most));
                }
                sleep(Duration::from_millis(200)).await;
            }
        }
    });
    let seen = buy(&front, CONNECTIONS, Some(served * TIMES), Duration::from_secs(seconds)).await;
    watching.abort();
    let gone = Instant::now();
    let again = try_eventually("a buy takes no longer than usual", NORMAL_AGAIN, || async {
        let seen = buy(&front, NORMAL, None, Duration::from_millis(200)).await;
        let p99 = Duration::from_micros(seen.accepted.value_at_quantile(0.99));
        let fine = seen.refused.is_empty() && seen.wrong.is_empty() && p99 <= usual * 3;
        if fine { Ok(()) } else { Err(format!("p99 {p99:?}, usually {usual:?}; {} refused", seen.refused.len())) }
    });
    let again = again.await.map(|()| gone.elapsed());

    // On one machine the clients take turns with the servers: they fall behind what they were to ask for.
    let sent = (seen.accepted.len() + seen.refused.len()) as f64 / seconds as f64;
    let times = sent / served;
    cluster.say(&format!("overload, {CONNECTIONS} connections, {TIMES} times the rate due, {seconds} s:"));
    cluster.say(&format!("  sent     {sent:.0} a second, {times:.1} times the rate"));
    cluster.say(&format!("  accepted {}", shown(&seen.accepted)));
    cluster.say(&format!("  refused  {}, Retry-After {:?} s", shown(&seen.refused), seen.retry_after));
    cluster.say(&format!("  from the moment a request was due {}", shown(&seen.from_due)));
    let most = most.lock().expect("nobody panics with it").clone();
    for (node, kilobytes) in &most {
        cluster.say(&format!("  {node}: {} MB before, {} MB at most", before[node] >> 10, kilobytes >> 10));
    }
    let now = cluster.status(&cluster.leader().await).await;
    cluster.say(&format!("  {} elections; normal again after {again:?}", now.term - term));
    assert!(seen.wrong.is_empty(), "{} answers that no client should see, first {}", seen.wrong.len(), seen.wrong[0]);
    assert!(seen.accepted.len() > 1000, "the store goes on selling");
    assert!(seen.refused.len() > 100, "there was nothing to refuse: no overload");
    assert!(Duration::from_micros(seen.refused.value_at_quantile(0.99)) < REFUSED_WITHIN, "refusals are quick");
    assert!(Duration::from_micros(seen.accepted.value_at_quantile(0.99)) < ACCEPTED_WITHIN, "answers are in time");
    assert!(most.values().all(|kilobytes| *kilobytes < MEMORY), "memory is bounded");
    assert_eq!((now.term, now.node), (term, leader), "no election");
    again.unwrap_or_else(|error| panic!("{error}"));
    cluster.wait_equal_hashes().await;
}
