//! The page by which faults are ordered while a server runs. The server has it mapped; here it is written as a file.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path, time::Duration};

const PAGE: u64 = 4096;
/// Where the words of `control.h` stand.
const SYNC_DELAY_US: u64 = 0;
const WRITE_DELAY_US: u64 = 8;
const FAIL_SYNCS: u64 = 16;
const CLOCK_OFFSET_MS: u64 = 24;
const DIE_IN: u64 = 32;
const STEPS: u64 = 40;
const FAILED_SYNCS: u64 = 56;
const DIE_PATH: u64 = 64;
const DIE_PATH_BYTES: usize = 64;

/// One server's page.
#[derive(Debug)]
pub(super) struct Control(File);

impl Control {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
        file.set_len(PAGE)?;
        Ok(Self(file))
    }

    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(File::options().read(true).write(true).open(path)?))
    }

    pub(super) fn slow_syncs(&self, time: Duration) {
        self.set(SYNC_DELAY_US, micros(time));
    }

    pub(super) fn slow_writes(&self, time: Duration) {
        self.set(WRITE_DELAY_US, micros(time));
    }

    pub(super) fn fail_syncs(&self, fail: bool) {
        self.set(FAIL_SYNCS, u64::from(fail));
    }

    pub(super) fn shift_clock(&self, ms: i64) {
        self.set(CLOCK_OFFSET_MS, ms.cast_unsigned());
    }

    pub(super) fn die_at(&self, nth: u64, path: &str) {
        assert!(path.len() < DIE_PATH_BYTES, "{path} is too long for the page");
        self.set(DIE_IN, 0);
        let mut bytes = [0; DIE_PATH_BYTES];
        bytes[..path.len()].copy_from_slice(path.as_bytes());
        self.put(DIE_PATH, &bytes);
        self.set(DIE_IN, nth);
    }

    pub(super) fn is_to_die(&self) -> bool {
        self.get(DIE_IN) > 0
    }

    pub(super) fn heal(&self) {
        for word in [SYNC_DELAY_US, WRITE_DELAY_US, FAIL_SYNCS, CLOCK_OFFSET_MS, DIE_IN] {
            self.set(word, 0);
        }
    }

    pub(super) fn steps(&self) -> u64 {
        self.get(STEPS)
    }

    pub(super) fn failed_syncs(&self) -> u64 {
        self.get(FAILED_SYNCS)
    }

    fn set(&self, at: u64, value: u64) {
        self.put(at, &value.to_ne_bytes());
    }

    fn put(&self, at: u64, bytes: &[u8]) {
        self.0.write_all_at(bytes, at).expect("the control page can be written");
    }

    fn get(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, at).expect("the control page can be read");
        u64::from_ne_bytes(bytes)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).expect("a fault of less than 500,000 years")
}
