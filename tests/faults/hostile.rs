//! Peers and clients that send garbage, stall, or lie: refused, and nothing is lost, leaked or disturbed.

use std::time::Duration;

use bytes::BytesMut;
use catalog_client::frame::{HANDSHAKE, Hello, MAGIC, Purpose, VERSION, encode, put_frame};
use futures::future::join_all;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tests::{Client, Options, TestCluster, eventually, try_eventually};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long a server may take to answer or to close what it refuses: beyond every deadline of its own.
const PATIENCE: Duration = Duration::from_secs(120);
/// Connections that say nothing, or too little.
const CROWD: usize = 400;
/// Descriptors that may be open beyond those before: what the cluster opens for itself meanwhile.
const SPARE_FILES: usize = 24;
/// Kilobytes of memory that a server may have gained.
const SPARE_MEMORY: u64 = 200 << 10;

/// What a server has open, and its resident memory in kilobytes.
fn holds(cluster: &TestCluster, node: &str) -> (usize, u64) {
    let pid = cluster.cluster.pid(node).expect("it runs");
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("a process that runs").count();
    (files, super::resident_kilobytes(pid))
}

struct Before {
    held: Vec<(String, (usize, u64))>,
    pids: Vec<Option<i32>>,
    term: u64,
}

async fn before(cluster: &TestCluster) -> Before {
    let nodes = cluster.cluster.nodes();
    let held = nodes.iter().map(|node| (node.clone(), holds(cluster, node))).collect();
    let pids = nodes.iter().map(|node| cluster.cluster.pid(node)).collect();
    Before { held, pids, term: cluster.status(&cluster.leader().await).await.term }
}

/// Everything is as it was: processes, leader's term, what they hold; and the store sells.
async fn is_undisturbed(cluster: &TestCluster, before: &Before) {
    let client = Client::new();
    let answer = client.get(&format!("{}/buy/1", cluster.front())).await;
    assert_eq!(answer.text(), "\"Record successfully bought\"");
    let pids: Vec<_> = cluster.cluster.nodes().iter().map(|node| cluster.cluster.pid(node)).collect();
    assert_eq!(pids, before.pids, "every server is still the same process");
    assert_eq!(cluster.status(&cluster.leader().await).await.term, before.term, "no election");
    for (node, (files, memory)) in &before.held {
        let what = format!("{node} has given back what strangers took");
        let settled = try_eventually(&what, PATIENCE, || async {
            let (now, kilobytes) = holds(cluster, node);
            if now > files + SPARE_FILES || kilobytes > memory + SPARE_MEMORY {
                return Err(format!("{files} files and {memory} KB before, {now} and {kilobytes} KB now"));
            }
            Ok(())
        });
        settled.await.unwrap_or_else(|error| panic!("{error}"));
    }
}

/// Sends `bytes`, and gives all that is answered until the server closes; whether it did.
async fn send(address: &str, bytes: &[u8]) -> (String, bool) {
    let mut stream = TcpStream::connect(address).await.expect("the port is open");
    // The server may close before it has read all.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let closed = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.is_ok();
    (String::from_utf8_lossy(&answer).into_owned(), closed)
}

fn statuses(answer: &str) -> Vec<u16> {
    answer.split("HTTP/1.1 ").skip(1).filter_map(|rest| rest.get(..3)?.parse().ok()).collect()
}

fn http_ports(cluster: &TestCluster) -> Vec<(String, String)> {
    let port = |node: &str| (node.to_owned(), cluster.url(node).trim_start_matches("http://").to_owned());
    ["frontend-1", "order-1", "catalog-1"].map(port).to_vec()
}

/// Each shape is refused by its status, or by a closed connection; never obeyed, never a 5xx.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_too_large_or_make_no_sense_are_refused() {
    let cluster = TestCluster::start("hostile-http", Options::new()).await;
    let before = before(&cluster).await;
    let long = "a".repeat(1 << 20);
    let many: String = (0..2000).map(|at| format!("x-{at}: y\r\n")).collect();
    let head = "host: x\r\nconnection: close\r\ncontent-type: application/json\r\n";
    let shapes: Vec<(&str, String)> = vec![
        (
            "a body beyond the limit",
            format!("POST /buy/ HTTP/1.1\r\n{head}content-length: {}\r\n\r\n{long}", long.len()),
        ),
        ("a header beyond the limit", format!("GET /lookup/1 HTTP/1.1\r\n{head}x-long: {long}\r\n\r\n")),
        ("too many headers", format!("GET /lookup/1 HTTP/1.1\r\n{head}{many}\r\n")),
        ("a path beyond the limit", format!("GET /lookup/{long} HTTP/1.1\r\n{head}\r\n")),
        ("no HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\r\n\r\n".to_owned()),
        ("a length that is no number", format!("POST /buy/ HTTP/1.1\r\n{head}content-length: -5\r\n\r\n")),
        ("two lengths", format!("POST /buy/ HTTP/1.1\r\n{head}content-length: 3\r\ncontent-length: 4\r\n\r\nabcd")),
        (
            "a chunk that lies",
            format!("POST /buy/ HTTP/1.1\r\n{head}transfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\nx"),
        ),
        (
            "a chunk that is none",
            format!("POST /buy/ HTTP/1.1\r\n{head}transfer-encoding: chunked\r\n\r\nzz\r\nx\r\n0\r\n\r\n"),
        ),
        ("another version", "GET /lookup/1 HTTP/9.9\r\nhost: x\r\n\r\n".to_owned()),
    ];
    for (node, address) in http_ports(&cluster) {
        for (what, bytes) in &shapes {
            let (answer, closed) = send(&address, bytes.as_bytes()).await;
            let statuses = statuses(&answer);
            assert!(closed, "{node} keeps the connection after {what}");
            let refused = statuses.iter().all(|status| (400..500).contains(status)) && statuses.len() <= 1;
            assert!(refused, "{node} answers {what} with {statuses:?}: {answer:.300}");
        }
    }
    is_undisturbed(&cluster, &before).await;
}

/// A request that is two, depending on who counts: the second must not be carried out on the word of the first's body.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_cannot_be_smuggled_in_a_body() {
    let cluster = TestCluster::start("smuggle", Options::new()).await;
    let client = Client::new();
    let front = cluster.front();
    let hidden = "GET /buy/2 HTTP/1.1\r\nhost: x\r\n\r\n";
    let both = format!(
        "POST /lookup/ HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
        5 + hidden.len()
    );
    let obscured = format!(
        "POST /lookup/ HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: xchunked\r\ncontent-length: {}\r\n\r\n{hidden}",
        hidden.len()
    );
    for (node, address) in http_ports(&cluster) {
        for (what, bytes) in [("a length and chunks", &both), ("an encoding nobody knows", &obscured)] {
            let mut stream = TcpStream::connect(&address).await.expect("the port is open");
            stream.write_all(bytes.as_bytes()).await.expect("it takes a few bytes");
            let mut answer = vec![0; 64 << 10];
            let read = timeout(PATIENCE, stream.read(&mut answer)).await.expect("an answer in time").unwrap_or(0);
            let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
            assert!(!answer.contains("bought"), "{node} carried out what was hidden behind {what}: {answer}");
        }
    }
    let stock = client.get(&format!("{front}/get_quantity/2?read=linearizable")).await;
    assert_eq!(stock.text(), "{\"quantity\": 101}");
}

/// Hundreds of clients that send half a head, half a body, or never read, on every server: others are served meanwhile,
/// and the slow ones are let go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_hold_up_nobody() {
    let cluster = TestCluster::start("slow", Options::new().set("deadline_ms", 3_000)).await;
    let before = before(&cluster).await;
    let client = Client::new();
    let half_head = "GET /lookup/1 HTTP/1.1\r\nhost: x\r\nx-slow: ".to_owned();
    let half_body =
        "POST /buy/ HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 18\r\n\r\n{\"item"
            .to_owned();
    let never_reads = "GET /list HTTP/1.1\r\nhost: x\r\n\r\n".repeat(2000);
    let mut held = Vec::new();
    for (node, address) in http_ports(&cluster) {
        for (kind, bytes) in [("half a head", &half_head), ("half a body", &half_body), ("no reading", &never_reads)] {
            let opened = join_all((0..CROWD / 3).map(|_| async {
                let mut stream = TcpStream::connect(&address).await.expect("the port is open");
                // Who never reads is not read from any more either, some day.
                let _ = timeout(Duration::from_millis(500), stream.write_all(bytes.as_bytes())).await;
                stream
            }));
            held.push((node.clone(), kind, opened.await));
        }
    }
    for _ in 0..20 {
        let answer = client.get(&format!("{}/buy/1", cluster.front())).await;
        assert_eq!(answer.text(), "\"Record successfully bought\"");
        for node in cluster.cluster.nodes() {
            eventually(&format!("{node} serves"), || cluster.ready(&node)).await;
        }
    }
    // Half a head is closed by the server; the others go when they are let go of, or with the deadline of a body.
    for (node, kind, streams) in held {
        if kind == "no reading" {
            drop(streams);
            continue;
        }
        let closed = join_all(streams.into_iter().map(|mut stream| async move {
            let mut bytes = Vec::new();
            timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.is_ok()
        }));
        let open = closed.await.iter().filter(|closed| !**closed).count();
        assert_eq!(open, 0, "{node} still holds connections with {kind}");
    }
    is_undisturbed(&cluster, &before).await;
}

fn hello(cluster: &str, sender_replica: Option<(u64, u128)>, purpose: Purpose) -> Vec<u8> {
    let hello = Hello {
        magic: MAGIC,
        version: VERSION,
        cluster: cluster.to_owned(),
        sender: "stranger".to_owned(),
        sender_replica,
        receiver: 1,
        purpose,
    };
    let mut bytes = BytesMut::new();
    put_frame(&mut bytes, HANDSHAKE, &encode(&hello));
    bytes.to_vec()
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    put_frame(&mut bytes, kind, payload);
    bytes.to_vec()
}

/// Garbage, lies about lengths, strangers, and friends gone mad on the port where replicas talk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_peer_port_disturbs_nobody() {
    let cluster = TestCluster::start("hostile-peer", Options::new()).await;
    let before = before(&cluster).await;
    let name = cluster.cluster.layout.cluster.clone();
    let peer = cluster.cluster.layout.catalogs[0].listen_peer.clone();
    let seed: u64 = rand::random();
    cluster.say(&format!("seed {seed}"));
    let mut rng = StdRng::seed_from_u64(seed);
    let mut attacks: Vec<Vec<u8>> = vec![
        vec![0xff; 64],
        vec![0; 64],
        [&u32::MAX.to_le_bytes()[..], &[0; 60]].concat(),
        [&(33_u32 << 20).to_le_bytes()[..], &[0; 60]].concat(),
        hello("another-shop", None, Purpose::Client),
        frame(HANDSHAKE, b""),
        frame(HANDSHAKE, &[0xff; 4000]),
        frame(HANDSHAKE, &vec![7; 1 << 20]),
        frame(99, b"hello"),
        hello(&name, None, Purpose::Client)[..12].to_vec(),
    ];
    for purpose in Purpose::ALL {
        let good = hello(&name, None, purpose);
        attacks.push(hello(&name, Some((2, 0xbad)), purpose));
        attacks.push(hello(&name, Some((77, 1)), purpose));
        for kind in [0, 1, 2, 5, 200, 255] {
            attacks.push([good.clone(), frame(kind, b"")].concat());
            attacks.push([good.clone(), frame(kind, &[0xff; 200])].concat());
            let payload: Vec<u8> = (0..rng.random_range(1..5000)).map(|_| rng.random()).collect();
            attacks.push([good.clone(), frame(kind, &payload)].concat());
        }
        attacks.push([good.clone(), good.clone(), good.clone()].concat());
        attacks.push([&good[..], &(31_u32 << 20).to_le_bytes(), &[1; 40]].concat());
        attacks.push([&good[..], &u32::MAX.to_le_bytes(), &[1; 40]].concat());
    }
    for _ in 0..200 {
        attacks.push((0..rng.random_range(1..20_000)).map(|_| rng.random()).collect());
    }
    let count = attacks.len();
    for chunk in attacks.chunks(16) {
        join_all(chunk.iter().map(|bytes| async {
            let mut stream = TcpStream::connect(&peer).await.expect("the port is open");
            let _ = stream.write_all(bytes).await;
            // What is refused is closed; what waits for more is left by us.
            let mut answer = vec![0; 4096];
            let _ = timeout(Duration::from_millis(50), stream.read(&mut answer)).await;
        }))
        .await;
    }
    let silent = join_all((0..CROWD).map(|_| TcpStream::connect(&peer))).await;
    let silent: Vec<TcpStream> = silent.into_iter().map(|stream| stream.expect("the port is open")).collect();
    let closed = join_all(silent.into_iter().map(|mut stream| async move {
        let mut bytes = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.is_ok()
    }));
    assert!(closed.await.iter().all(|closed| *closed), "who says nothing is let go");
    cluster.say(&format!("{count} attacks and {CROWD} silent connections"));
    is_undisturbed(&cluster, &before).await;
    cluster.wait_equal_hashes().await;
}
