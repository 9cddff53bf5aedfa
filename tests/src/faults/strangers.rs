//! Strangers at the ports of a cluster: some send garbage or nothing at all, some ask for more than can be served. None of
//! them ever asks for something that would take effect. Must not know what the servers make of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::BytesMut;
use catalog_client::frame::{HANDSHAKE, Hello, MAGIC, Purpose, VERSION, encode, put_frame};
use rand::{Rng, RngCore, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use crate::{cluster::TestCluster, load::connection::Connection};

/// Strangers at each port.
const AT_EACH_PORT: usize = 4;
/// How long a stranger stays after it has said what it had to say, at most, in milliseconds.
const STAYS_MS: std::ops::Range<u64> = 1..400;
/// Further clients of an overload: at least so many, and up to so many more.
const CROWD: (usize, f64) = (150, 350.0);
/// The pause after a connection that could not be made, or broke.
const PAUSE: Duration = Duration::from_millis(20);
/// More than there is: it passes through everything, and is refused in the end.
const TOO_MUCH: &str = r#"{"lines": [{"item_number": 1, "quantity": 900000000}]}"#;

/// Strangers at work. They go when this is dropped.
#[derive(Debug)]
pub struct Strangers {
    served: Arc<AtomicU64>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl Strangers {
    /// Garbage and silence, at every port of `nodes`.
    pub fn pester(cluster: &TestCluster, nodes: &[String], seed: u64) -> Self {
        let served = Arc::new(AtomicU64::new(0));
        let name = &cluster.cluster.layout.cluster;
        let http = nodes.iter().filter_map(|node| Some((cluster.cluster.address(node)?.to_owned(), None)));
        let catalogs = cluster.cluster.layout.catalogs.iter().filter(|node| nodes.contains(&node.name));
        let peers = catalogs.map(|node| (node.listen_peer.clone(), Some(name.clone())));
        let ports: Vec<_> = http.chain(peers).flat_map(|port| std::iter::repeat_n(port, AT_EACH_PORT)).collect();
        let start = |(at, (port, peer)): (u64, (String, Option<String>))| {
            let (served, rng) = (served.clone(), StdRng::seed_from_u64(seed.wrapping_add(at)));
            AbortOnDropHandle::new(tokio::spawn(pester(port, peer, rng, served)))
        };
        let tasks = (0..).zip(ports).map(start).collect();
        Self { served, _tasks: tasks }
    }

    /// A crowd at the front ends `nodes`, the larger the more severe.
    pub fn crowd(cluster: &TestCluster, nodes: &[String], severity: f64) -> Self {
        let served = Arc::new(AtomicU64::new(0));
        let count = CROWD.0 + (CROWD.1 * severity) as usize;
        let fronts: Vec<_> = nodes.iter().filter_map(|node| cluster.cluster.address(node)).collect();
        let clients = fronts.into_iter().cycle().take(count);
        let start =
            |front: &str| AbortOnDropHandle::new(tokio::spawn(ask_for_too_much(front.to_owned(), served.clone())));
        let tasks = clients.map(start).collect();
        Self { served, _tasks: tasks }
    }

    /// How often they said something, or were answered.
    pub fn served(&self) -> u64 {
        self.served.load(Relaxed)
    }
}

async fn pester(port: String, peer: Option<String>, mut rng: StdRng, served: Arc<AtomicU64>) {
    loop {
        sleep(PAUSE).await;
        let Ok(mut stream) = TcpStream::connect(&port).await else { continue };
        let bytes = match &peer {
            Some(cluster) => to_a_peer(cluster, &mut rng),
            None => to_a_web_server(&mut rng),
        };
        // The server may close before it has read all; whoever is still listened to stays for a while.
        let _ = stream.write_all(&bytes).await;
        let mut answer = [0; 1024];
        let _ = timeout(Duration::from_millis(rng.random_range(STAYS_MS)), stream.read(&mut answer)).await;
        served.fetch_add(1, Relaxed);
    }
}

fn noise(rng: &mut StdRng, most: usize) -> Vec<u8> {
    let mut bytes = vec![0; rng.random_range(1..most)];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// What a replica's peer port is sent. No frame of these can be a request by chance: their payloads decode as nothing.
fn to_a_peer(cluster: &str, rng: &mut StdRng) -> Vec<u8> {
    let replica = [None, Some((2, 0xbad)), Some((77, 1))].choose(rng).copied().flatten();
    let mut hello = |cluster: &str| {
        let hello = Hello {
            magic: MAGIC,
            version: VERSION,
            cluster: cluster.to_owned(),
            sender: "stranger".to_owned(),
            sender_replica: replica,
            receiver: rng.random_range(1..4),
            purpose: *Purpose::ALL.choose(rng).expect("there are some"),
        };
        frame(HANDSHAKE, &encode(&hello))
    };
    let (known, unknown) = (hello(cluster), hello("another-shop"));
    match rng.random_range(0..7) {
        0 => Vec::new(),
        1 => noise(rng, 20_000),
        2 => unknown,
        3 => known[..rng.random_range(1..known.len())].to_vec(),
        4 => [known, frame(rng.random(), &vec![0xff; rng.random_range(0..4000)])].concat(),
        // A length that is a lie.
        5 => [&known[..], &(31_u32 << 20).to_le_bytes(), &noise(rng, 200)].concat(),
        _ => [&known[..], &u32::MAX.to_le_bytes(), &noise(rng, 200)].concat(),
    }
}

/// What an HTTP port is sent.
fn to_a_web_server(rng: &mut StdRng) -> Vec<u8> {
    let long = "a".repeat(rng.random_range(1..200_000));
    match rng.random_range(0..7) {
        0 => Vec::new(),
        1 => noise(rng, 20_000),
        2 => b"GET /lookup/1 HTTP/1.1\r\nhost: x\r\nx-slow: ".to_vec(),
        3 => format!("GET /lookup/{long} HTTP/1.1\r\nhost: x\r\n\r\n").into_bytes(),
        4 => format!("GET /lookup/1 HTTP/1.1\r\nhost: x\r\nx-long: {long}\r\n\r\n").into_bytes(),
        5 => b"POST /buy/ HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n".to_vec(),
        // A body that never comes to its end.
        _ => b"POST /buy/ HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 18\r\n\r\n{\"item"
            .to_vec(),
    }
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    put_frame(&mut bytes, kind, payload);
    bytes.to_vec()
}

async fn ask_for_too_much(front: String, served: Arc<AtomicU64>) {
    let length = TOO_MUCH.len();
    let request = format!(
        "POST /v1/orders HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{TOO_MUCH}"
    );
    loop {
        let Ok(mut connection) = Connection::open(&front).await else {
            sleep(PAUSE).await;
            continue;
        };
        while let Ok(answer) = connection.ask(request.as_bytes()).await {
            served.fetch_add(1, Relaxed);
            if !answer.keeps {
                break;
            }
        }
        sleep(PAUSE).await;
    }
}
