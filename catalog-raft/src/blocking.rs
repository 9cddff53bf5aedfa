//! Work that waits for the disk or takes long, kept away from the tasks of Raft. In a simulation there is one thread, and
//! time that is not the machine's: the work is done at once, and its time passes before.

use std::io;

/// Does `work` on a thread for such work.
///
/// # Errors
/// When it panicked.
#[cfg(not(feature = "simulation"))]
pub async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    Ok(tokio::task::spawn_blocking(work).await?)
}

/// Does `work` here, while the other tasks of this thread go on elsewhere.
#[cfg(not(feature = "simulation"))]
pub fn in_place<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

#[cfg(feature = "simulation")]
pub async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    crate::simulation::work_time().await;
    Ok(work())
}

#[cfg(feature = "simulation")]
pub fn in_place<T>(work: impl FnOnce() -> T) -> T {
    work()
}
