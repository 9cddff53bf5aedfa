//! What the disk takes, whoever writes to it: three files that are appended to and synced at once, as three replicas on one
//! machine do. Must not know any system.

use std::{
    fs::File,
    io::Write,
    path::Path,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};

use crate::drive::Sample;

/// Files.
const FILES: usize = 3;
/// Bytes that are appended before each sync.
const PAGE: [u8; 4096] = [1; 4096];

/// Appends 4 KiB to each of three files and syncs all at once, again and again for so many seconds.
///
/// # Errors
/// When the disk fails.
pub fn three_files(folder: &Path, seconds: u32) -> anyhow::Result<Sample> {
    let (barrier, until) = (Barrier::new(FILES), Instant::now() + Duration::from_secs(seconds.into()));
    // One decides when it is over, so that none waits for another that has gone.
    let over = std::sync::atomic::AtomicBool::new(false);
    let times: anyhow::Result<Vec<Vec<Duration>>> = thread::scope(|scope| {
        let write = |at: usize| {
            let (barrier, over) = (&barrier, &over);
            scope.spawn(move || -> anyhow::Result<Vec<Duration>> {
                let mut file = File::create(folder.join(format!("file-{at}"))).context("a file to sync")?;
                let mut times = Vec::new();
                let mut failed = None;
                loop {
                    barrier.wait();
                    if over.load(std::sync::atomic::Ordering::SeqCst) {
                        break;
                    }
                    let began = Instant::now();
                    match file.write_all(&PAGE).and_then(|()| file.sync_data()) {
                        Ok(()) => times.push(began.elapsed()),
                        Err(error) => failed = Some(error),
                    }
                    barrier.wait();
                    if at == 0 && Instant::now() >= until || failed.is_some() {
                        over.store(true, std::sync::atomic::Ordering::SeqCst);
                    }
                }
                failed.map_or(Ok(times), |error| Err(error.into()))
            })
        };
        let all: Vec<_> = (0..FILES).map(write).collect();
        all.into_iter().map(|one| one.join().map_err(|_| anyhow!("a thread panicked"))?).collect()
    });
    let mut times: Vec<f64> = times?.iter().flatten().map(|time| time.as_secs_f64() * 1e6).collect();
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied();
    Ok(Sample {
        per_second: times.len() as f64 / f64::from(seconds.max(1)),
        p50_us: at(0.5),
        p99_us: at(0.99),
        max_us: times.last().copied(),
        ..Sample::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_are_written_as_often() {
        let folder = tempfile::tempdir().unwrap();
        let sample = three_files(folder.path(), 0).unwrap();
        let lengths: Vec<u64> =
            (0..FILES).map(|at| folder.path().join(format!("file-{at}")).metadata().unwrap().len()).collect();
        assert!(lengths[0] >= 4096 && lengths.iter().all(|length| *length == lengths[0]), "{lengths:?}");
        assert!(
            sample.p50_us.is_some_and(|us| us > 0.0)
                && sample.p99_us >= sample.p50_us
                && sample.max_us >= sample.p99_us,
            "{sample:?}"
        );
    }
}
