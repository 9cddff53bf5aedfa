//! Carries the bytes of one direction of a connection as its link allows: late, in order, or not at all for now.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use rand::Rng;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use super::{Cut, Link, Rules};

/// Bytes of one piece: about what a network card is given at a time.
const PIECE: usize = 16 << 10;
/// Pieces under way at most: beyond it the sender waits, as it does for a full window.
const UNDER_WAY: usize = 64;
/// The first wait until a lost piece is sent again (RFC 6298 as Linux has it).
const RETRANSMISSION: Duration = Duration::from_millis(200);
/// Losses of one piece in a row at most.
const MAX_LOSSES: u32 = 4;

/// One direction.
#[derive(Debug, Clone)]
pub(super) struct Way {
    pub from: String,
    pub to: String,
    pub rules: watch::Receiver<Rules>,
}

impl Way {
    fn link(&self) -> Link {
        self.rules.borrow().link(&self.from, &self.to)
    }

    /// Waits until bytes arrive again.
    pub async fn open(&mut self) {
        let (from, to) = (self.from.clone(), self.to.clone());
        let _ = self.rules.wait_for(|rules| rules.link(&from, &to).cut == Cut::Open).await;
    }
}

/// Carries `first` and then all that comes until `from` ends, and ends `to` then.
///
/// # Errors
/// As the sockets'.
pub(super) async fn pump(
    way: Way,
    first: BytesMut,
    from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    carried: &AtomicU64,
) -> io::Result<()> {
    let (pieces, mut arriving) = mpsc::channel::<(Instant, Bytes)>(UNDER_WAY);
    let mut gate = way.clone();
    let sending = send(way, first, from, pieces);
    let receiving = async move {
        while let Some((due, piece)) = arriving.recv().await {
            sleep_until(due).await;
            gate.open().await;
            to.write_all(&piece).await?;
            carried.fetch_add(piece.len() as u64, Relaxed);
        }
        // The end of the stream travels like its bytes.
        gate.open().await;
        to.shutdown().await
    };
    tokio::try_join!(sending, receiving).map(drop)
}

async fn send(
    way: Way,
    first: BytesMut,
    mut from: OwnedReadHalf,
    pieces: mpsc::Sender<(Instant, Bytes)>,
) -> io::Result<()> {
    let mut last = Instant::now();
    let mut next = first;
    loop {
        if !next.is_empty() {
            last = due(way.link(), next.len(), last);
            if pieces.send((last, next.split().freeze())).await.is_err() {
                return Ok(());
            }
        }
        next.reserve(PIECE);
        if from.read_buf(&mut next).await? == 0 {
            return Ok(());
        }
    }
}

/// When a piece of `bytes` arrives that is sent now, behind one that arrives at `last`.
fn due(link: Link, bytes: usize, last: Instant) -> Instant {
    let mut rng = rand::rng();
    let now = Instant::now();
    let mut due = now + link.latency + link.jitter.mul_f64(rng.random());
    let mut wait = RETRANSMISSION;
    for _ in 0..MAX_LOSSES {
        if !rng.random_bool(link.loss) {
            break;
        }
        due += wait;
        wait *= 2;
    }
    if let Some(rate) = link.rate {
        due = due.max(last) + Duration::from_secs_f64(bytes as f64 / rate as f64);
    }
    due.max(last)
}
