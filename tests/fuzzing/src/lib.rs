//! Fuzzing of whatever reads bytes that a stranger may have made: what is fed to it, and what it must keep to.
//!
//! A target takes good values and spoils their bytes: no panic, no memory that the input does not pay for, and what is
//! understood is the same when it is said again. Readers that are private to `catalog-raft` have their targets beside them.
//! Must not know any reader.

mod made;
mod spoiled;

use std::{
    cell::Cell,
    fmt::Debug,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    time::Instant,
};

use catalog_client::frame::{decode, encode};
use proptest::{
    strategy::Strategy,
    test_runner::{Config, TestRunner},
};
use serde::{Serialize, de::DeserializeOwned};

pub use made::made;
pub use spoiled::{Spoiling, spoil, spoilings};

/// Inputs of a target, unless `PROPTEST_CASES` says otherwise: few, so that all tests together stay quick.
const CASES: u32 = 512;
/// What any reader may hold beside its input and what that pays for, in bytes.
const OVERHEAD: u64 = 64 << 10;
/// What a length alone may claim. Those of lists within lists hold at once: no type has more than two, and a text.
const CLAIMS: u64 = 3 << 20;
/// Bytes in memory that one byte of input may pay for: the shortest command is 5 bytes, and more than a hundred decoded,
/// in a list that may have grown to twice its length and is being moved to where there is room.
const BYTES_A_BYTE: u64 = 128;

/// Feeds inputs of a strategy to a property, which panics when it does not hold; says how many there were.
///
/// # Panics
/// When the property did, with the smallest input that makes it.
pub fn fuzz<S: Strategy>(target: &str, inputs: S, property: impl Fn(S::Value))
where
    S::Value: Debug,
{
    let config = Config { failure_persistence: None, max_local_rejects: u32::MAX, ..Config::default() };
    let is_told = std::env::var_os("PROPTEST_CASES").is_some();
    let config = if is_told { config } else { Config { cases: CASES, ..config } };
    let fed = Cell::new(0_u64);
    let began = Instant::now();
    let result = TestRunner::new(config).run(&inputs, |input| {
        fed.set(fed.get() + 1);
        property(input);
        Ok(())
    });
    let seconds = began.elapsed().as_secs_f64();
    println!("fuzz {target}: {} inputs, {seconds:.1} s, {} violations", fed.get(), u8::from(result.is_err()));
    if let Err(violation) = result {
        panic!("{target}: {violation}");
    }
}

/// How much memory, in bytes, an input of `length` bytes pays for.
pub fn paid_by(length: usize) -> u64 {
    OVERHEAD + BYTES_A_BYTE * length as u64
}

/// As [`paid_by`], for values that [`decode`] reads: their lengths may claim some beforehand.
pub fn claimed_by(length: usize) -> u64 {
    CLAIMS + paid_by(length)
}

/// Runs a reader and looks at how much memory it holds at once.
///
/// # Panics
/// When that is more than `allowed` bytes.
pub fn frugal<R>(allowed: u64, read: impl FnOnce() -> R) -> R {
    let mut result = None;
    // A panic that passed through the measuring would leave its count of depths wrong.
    let held = allocation_counter::measure(|| result = Some(catch_unwind(AssertUnwindSafe(read))));
    let result = result.expect("it was called").unwrap_or_else(|panic| resume_unwind(panic));
    assert!(held.bytes_max <= allowed, "{} bytes held at once, beyond {allowed}", held.bytes_max);
    result
}

/// Good values of a type are understood as they were meant, and spoiled ones are refused or understood as something that
/// can be said again.
///
/// # Panics
/// When that does not hold.
pub fn fuzz_encoded<T: Serialize + DeserializeOwned + PartialEq + Debug>(target: &str) {
    fuzz_values(target, made::<T>(), encode::<T>, |bytes| decode::<T>(bytes).ok());
}

/// As [`fuzz_encoded`], for values, a writer and a reader of its own.
///
/// # Panics
/// When it does not hold.
pub fn fuzz_values<T: PartialEq + Debug>(
    target: &str,
    values: impl Strategy<Value = T>,
    write: impl Fn(&T) -> Vec<u8>,
    read: impl Fn(&[u8]) -> Option<T>,
) {
    fuzz(target, (values, spoilings()), |(good, spoilings)| {
        let bytes = write(&good);
        assert_eq!(frugal(claimed_by(bytes.len()), || read(&bytes)).as_ref(), Some(&good), "what was written");
        let bytes = spoil(bytes, &spoilings);
        if let Some(understood) = frugal(claimed_by(bytes.len()), || read(&bytes)) {
            assert_eq!(read(&write(&understood)), Some(understood), "what was understood");
        }
    });
}
