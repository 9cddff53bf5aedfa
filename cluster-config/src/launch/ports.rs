//! Finds addresses on loopback that nobody uses, for clusters beside the one on the well-known ports.

use std::{
    collections::{BTreeSet, hash_map::RandomState},
    hash::{BuildHasher, Hasher},
    net::TcpListener,
    sync::{Mutex, PoisonError},
};

use anyhow::ensure;

/// Below the range from which Linux takes the near ends of outgoing connections (32768 and up by default): a port
/// from that range may be gone again before the server that it was meant for binds it.
const PORTS: std::ops::Range<u16> = 10_000..32_000;
/// Tries for one address.
const TRIES: usize = 1000;

/// What this process was given: a port on which nobody listens may be that of a server that was killed and will be started
/// again. Forgotten once it is half of all.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// `count` different addresses `127.0.0.1:port` on which nothing listens now, taken at random so that programs that
/// ask at the same time get different ones.
///
/// # Errors
/// When there are none.
pub fn free_addresses(count: usize) -> anyhow::Result<Vec<String>> {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    if given.len() > PORTS.len() / 2 {
        given.clear();
    }
    // Held until all are found, so that they differ.
    let mut held = Vec::with_capacity(count);
    let mut addresses = Vec::with_capacity(count);
    for _ in 0..count.saturating_mul(TRIES) {
        if addresses.len() == count {
            break;
        }
        let random = RandomState::new().build_hasher().finish();
        let port = PORTS.start + u16::try_from(random % u64::from(PORTS.end - PORTS.start))?;
        if !given.contains(&port)
            && let Ok(listener) = TcpListener::bind(("127.0.0.1", port))
        {
            given.insert(port);
            held.push(listener);
            addresses.push(format!("127.0.0.1:{port}"));
        }
    }
    ensure!(addresses.len() == count, "no {count} free ports on 127.0.0.1 from {} to {}", PORTS.start, PORTS.end);
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_never_given_a_port_twice() {
        let found: BTreeSet<String> = (0..50).flat_map(|_| free_addresses(20).expect("there are many")).collect();
        assert_eq!(found.len(), 1_000);
    }
}
