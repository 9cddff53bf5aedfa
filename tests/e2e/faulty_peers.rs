//! Strangers at a replica's peer port: another cluster, another id, another disk, another protocol.

use std::{io::ErrorKind, time::Duration};

use bytes::BytesMut;
use catalog_client::frame::{HANDSHAKE, Hello, MAGIC, MAX_PAYLOAD, Purpose, VERSION, connect, encode, put_frame};
use cluster_config::Layout;
use order_client::BATCH_PATH;
use tests::{Client, Shared, eventually};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::shop::Shop;

const PATIENCE: Duration = Duration::from_secs(10);

/// Who speaks for the wrong cluster, to the wrong replica, in the wrong version, or as a replica with a disk that is
/// not in the membership, is refused and told why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_refused_at_the_peer_port() {
    let cluster = Shared::get().await;
    let layout = &cluster.cluster.layout;
    let node = &layout.catalogs[0];
    let good = client_of(layout, node.id);
    let welcome = connect(&node.peer, &good, PATIENCE).await.expect("a hello that is right");
    assert_eq!(welcome.id, node.id);
    let replica = |purpose, incarnation| Hello { sender_replica: Some((2, incarnation)), purpose, ..good.clone() };
    let wrong = [
        ("another cluster", Hello { cluster: "another".to_owned(), ..good.clone() }),
        ("another receiver", Hello { receiver: 2, ..good.clone() }),
        ("another version", Hello { version: VERSION + 1, ..good.clone() }),
        ("an unknown disk under id 2", replica(Purpose::RaftData, 4711)),
        ("an unknown disk that votes", replica(Purpose::RaftVote, 4711)),
        ("an unknown disk with a snapshot", replica(Purpose::RaftSnapshot, 4711)),
        ("a sender without a name", Hello { sender: String::new(), ..good.clone() }),
        ("a name that breaks a line", Hello { sender: "a\nb".to_owned(), ..good.clone() }),
        ("another replica under its own id", Hello { sender_replica: Some((node.id, 4711)), ..good.clone() }),
        ("Raft from nobody", Hello { purpose: Purpose::RaftVote, ..good.clone() }),
    ];
    for (what, hello) in wrong {
        let refused = connect(&node.peer, &hello, PATIENCE).await.expect_err(what);
        cluster.say(&format!("{what}: {refused}"));
        assert!(matches!(refused.kind(), ErrorKind::PermissionDenied), "{what}: {refused:?}");
    }
    let magic = Hello { magic: *b"HTTP", ..good };
    connect(&node.peer, &magic, PATIENCE).await.expect_err("another protocol");
}

/// What a client of a replica says first.
fn client_of(layout: &Layout, receiver: u64) -> Hello {
    Hello {
        magic: MAGIC,
        version: VERSION,
        cluster: layout.cluster.clone(),
        sender: "a test".to_owned(),
        sender_replica: None,
        receiver,
        purpose: Purpose::Client,
    }
}

/// Peer and internal requests are answered at the peer port alone: a hello that is right there is no request of HTTP, and the
/// front ends' way to order servers is nowhere else. A peer port in turn knows no HTTP.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn internal_requests_are_answered_where_they_belong_alone() {
    let cluster = Shared::get().await;
    let layout = &cluster.cluster.layout;
    let node = &layout.catalogs[0];
    let hello = client_of(layout, node.id);
    connect(&node.peer, &hello, PATIENCE).await.expect("a hello that is right");
    let mut frame = BytesMut::new();
    put_frame(&mut frame, HANDSHAKE, &encode(&hello));
    for (what, address) in
        [("catalog", &node.client), ("order", &layout.orders[0].address), ("frontend", &layout.frontends[0].address)]
    {
        let answer = answer_to(address, &frame).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{what} answers a hello: {answer}");
    }
    // A front end has orders of clients under the same path, in JSON.
    for (address, refusals) in [(&node.client, [404, 405]), (&layout.frontends[0].address, [400, 415])] {
        let posted = Client::new().post(format!("http://{address}{BATCH_PATH}"), "").await;
        assert!(refusals.contains(&posted.status), "{address}: {posted:?}");
    }
    for catalog in &layout.catalogs {
        let answer = answer_to(&catalog.peer, b"GET /v1/status HTTP/1.1\r\nHost: it\r\n\r\n").await;
        assert_eq!(answer, "", "a peer port speaks HTTP");
    }
}

/// What is answered to `bytes` until the connection is closed.
async fn answer_to(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("the port is open");
    stream.write_all(bytes).await.expect("it takes a few bytes");
    stream.shutdown().await.expect("its own half can be closed");
    let mut answer = Vec::new();
    // A reset is an end too.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it is closed");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Who is let in may not announce frames longer than what the connection is for: it is closed on the header's word, while
/// one that announces as much as it may is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_takes_no_longer_frames_than_it_is_for() {
    let cluster = Shared::get().await;
    let layout = &cluster.cluster.layout;
    let (node, other) = (&layout.catalogs[0], &layout.catalogs[1]);
    let hello = |receiver, sender_replica, purpose| Hello {
        magic: MAGIC,
        version: VERSION,
        cluster: layout.cluster.clone(),
        sender: "a test".to_owned(),
        sender_replica,
        receiver,
        purpose,
    };
    let probed = connect(&other.peer, &hello(other.id, None, Purpose::Probe), PATIENCE).await.expect("it is up");
    let member = Some((other.id, probed.incarnation));
    for purpose in Purpose::ALL {
        let longest = purpose.max_payload();
        assert!(longest <= MAX_PAYLOAD);
        for (length, is_closed) in [(longest, false), (longest + 1, true)] {
            let hello = hello(node.id, member, purpose);
            let mut connected = connect(&node.peer, &hello, PATIENCE).await.expect("a hello that is right");
            let header = [&u32::try_from(length).expect("a length").to_le_bytes()[..], &[0; 5]].concat();
            connected.writer.write_all(&header).await.expect("nine bytes");
            let patience = if is_closed { PATIENCE } else { Duration::from_millis(300) };
            let end = tokio::time::timeout(patience, connected.reader.next()).await;
            assert_eq!(end.is_ok(), is_closed, "{purpose:?} with {length} bytes announced");
        }
    }
}

/// What is no frame at all closes the connection, and costs nobody else anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_at_the_peer_port_does_no_harm() {
    let cluster = Shared::get().await;
    let shop = Shop::new(&cluster);
    let pids: Vec<_> = cluster.catalogs().iter().map(|node| cluster.cluster.pid(node)).collect();
    let mut flipped = BytesMut::new();
    put_frame(&mut flipped, 0, b"hello");
    flipped[4] ^= 1;
    let garbage = [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
        vec![0xff; 1 << 16],
        vec![0; 1 << 16],
        flipped.to_vec(),
        Vec::new(),
    ];
    for bytes in garbage {
        for node in &cluster.cluster.layout.catalogs {
            let mut stream = TcpStream::connect(&node.peer).await.expect("the port is open");
            // The replica may close before everything is written.
            let _ = stream.write_all(&bytes).await;
            let mut rest = Vec::new();
            let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
            assert!(closed.is_ok(), "{} keeps a stranger's connection open", node.name);
        }
    }
    let now: Vec<_> = cluster.catalogs().iter().map(|node| cluster.cluster.pid(node)).collect();
    assert_eq!(now, pids, "the replicas are still the same processes");
    eventually("the store serves", || async {
        let answer = shop.get("/lookup/1").await;
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
}
