//! Waiting for a condition with a deadline, the only kind of waiting that a test does.

use std::{
    future::Future,
    time::{Duration, Instant},
};

/// How long most conditions may take: generous, for a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(20);

/// Looks again and again until `look` returns `Ok`, and returns that.
///
/// # Errors
/// When `patience` is over: `what` was waited for, and what the last look missed.
pub async fn try_eventually<T, E, F, Fut>(what: &str, patience: Duration, mut look: F) -> anyhow::Result<T>
where
    E: std::fmt::Display,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let give_up = Instant::now() + patience;
    loop {
        match look().await {
            Ok(found) => return Ok(found),
            Err(missing) if Instant::now() >= give_up => {
                anyhow::bail!("{what}: not within {:.1} s: {missing:#}", patience.as_secs_f64())
            }
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// As [`try_eventually`] with [`PATIENCE`]; the test fails when the time is over.
///
/// # Panics
/// When the time is over.
pub async fn eventually<T, E, F, Fut>(what: &str, look: F) -> T
where
    E: std::fmt::Display,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    match try_eventually(what, PATIENCE, look).await {
        Ok(found) => found,
        Err(error) => panic!("{error}"),
    }
}
