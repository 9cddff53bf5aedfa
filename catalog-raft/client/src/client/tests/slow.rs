//! Replicas that take their time to come up.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::sleep,
};

use super::*;

/// How long what stands before a replica holds a connection up before it passes anything on, and then each answer: together
/// longer than one question may take, none of them alone.
const FIRST: Duration = Duration::from_millis(350);
const EACH: Duration = Duration::from_millis(100);

/// The address of something that stands before the replica at `to` and is slow.
async fn slow_way(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move {
                sleep(FIRST).await;
                let replica = TcpStream::connect(to).await.unwrap();
                let ((mut from, mut into), (mut asks, mut answers)) = (replica.into_split(), client.into_split());
                tokio::spawn(async move { tokio::io::copy(&mut asks, &mut into).await });
                let mut bytes = [0; 4096];
                while let Ok(read @ 1..) = from.read(&mut bytes).await {
                    sleep(EACH).await;
                    if answers.write_all(&bytes[..read]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

/// A front end that began while the replicas did called two of three down just after they had come up: the time in which
/// the first question must be answered was up, of which the connection had taken most. For a moment all reads went to
/// the third.
#[tokio::test]
async fn a_replica_that_has_just_come_up_is_given_time_to_answer() {
    let (replica, asked) = counting().await;
    let catalog = Catalog::new(options_at([(1, slow_way(replica.address).await)]));
    until(|| catalog.is_live(1)).await;
    until(|| {
        assert!(catalog.is_live(1), "called down while it was answering");
        asked.load(Ordering::SeqCst) >= 3
    })
    .await;
}
