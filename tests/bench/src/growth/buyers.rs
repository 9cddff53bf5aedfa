//! Clients that buy all the time, on a thread of their own, so that nothing but the servers can make them pause; and the
//! longest pause that they saw. Must not know what goes on meanwhile.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use tests::load::connection::Connection;
use tokio::{task::LocalSet, time::sleep};

/// After a refusal, or a connection that broke.
const RETRY: Duration = Duration::from_millis(5);

/// What was seen in a stretch of time.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// The longest time in which no buy was acknowledged.
    pub pause: Duration,
    /// The longest time that one buy took.
    pub slowest: Duration,
    /// Buys a second.
    pub per_second: f64,
    /// Answers other than 200, and broken connections.
    pub refused: u64,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    last: Instant,
    pause: Duration,
    slowest: Duration,
    bought: u64,
    refused: u64,
}

impl Window {
    fn new() -> Self {
        let (now, none) = (Instant::now(), Duration::ZERO);
        Self { began: now, last: now, pause: none, slowest: none, bought: 0, refused: 0 }
    }
}

/// The clients. They end when this is dropped.
#[derive(Debug)]
pub struct Buyers {
    window: Arc<Mutex<Window>>,
    over: Arc<AtomicBool>,
}

impl Buyers {
    /// Starts so many, who buy item 1 of the front end at `address`.
    pub fn start(address: String, clients: usize) -> Self {
        let buyers = Self { window: Arc::new(Mutex::new(Window::new())), over: Arc::default() };
        let (window, over) = (buyers.window.clone(), buyers.over.clone());
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let set = LocalSet::new();
            for _ in 0..clients {
                set.spawn_local(buy(address.clone(), window.clone(), over.clone()));
            }
            runtime.expect("a runtime of one thread can be made").block_on(set);
        });
        buyers
    }

    /// Begins a stretch of time, and tells of the one before.
    pub fn turn(&self) -> Seen {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let Window { began, last, pause, slowest, bought, refused } = std::mem::replace(&mut *window, Window::new());
        // One that goes on counts as far as it has come.
        let pause = pause.max(last.elapsed());
        let per_second = bought as f64 / began.elapsed().as_secs_f64();
        Seen { pause, slowest, per_second, refused }
    }
}

impl Drop for Buyers {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
    }
}

async fn buy(address: String, window: Arc<Mutex<Window>>, over: Arc<AtomicBool>) {
    let request = format!("GET /buy/1 HTTP/1.1\r\nhost: {address}\r\n\r\n");
    let mut open: Option<Connection> = None;
    while !over.load(Relaxed) {
        let mut connection = match open.take() {
            Some(connection) => connection,
            None => match Connection::open(&address).await {
                Ok(connection) => connection,
                Err(_) => {
                    sleep(RETRY).await;
                    continue;
                }
            },
        };
        let began = Instant::now();
        let answer = connection.ask(request.as_bytes()).await;
        let (is_bought, keeps) = answer.map_or((false, false), |answer| (answer.status == 200, answer.keeps));
        {
            let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            if is_bought {
                window.pause = window.pause.max(now - window.last);
                window.slowest = window.slowest.max(now - began.max(window.began));
                window.last = now;
                window.bought += 1;
            } else {
                window.refused += 1;
            }
        }
        if keeps {
            open = Some(connection);
        }
        if !is_bought {
            sleep(RETRY).await;
        }
    }
}
