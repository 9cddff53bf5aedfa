//! What a stranger, a bad cable or a bad disk makes of good bytes.

use proptest::{collection::vec, prelude::*, sample::Index};

/// Lengths at the edges of what readers believe, and far beyond.
const LENGTHS: [u64; 12] = [
    0,
    250,
    0xffff,
    (1 << 20) - 1,
    (1 << 20) + 1,
    (8 << 20) + 1,
    (32 << 20) - 1,
    (32 << 20) + 1,
    u32::MAX as u64,
    1 << 40,
    i64::MAX as u64,
    u64::MAX,
];

/// One change to some bytes. Places are taken modulo their length.
#[derive(Debug, Clone)]
pub enum Spoiling {
    /// One bit is another.
    Flip(Index, u8),
    /// One byte is this one.
    Set(Index, u8),
    /// Nothing comes after here.
    Cut(Index),
    /// What is between two places is gone.
    Remove(Index, Index),
    /// Something comes in between.
    Insert(Index, Vec<u8>),
    /// What is between two places comes twice.
    Repeat(Index, Index),
    /// A byte becomes a number of several, as bincode writes them.
    Number(Index, u64),
    /// Four bytes become a number, the lowest byte first, or last.
    Word(Index, u32, bool),
    /// Something else altogether.
    Replace(Vec<u8>),
}

/// None, so that the bytes stay good, to three changes.
pub fn spoilings() -> impl Strategy<Value = Vec<Spoiling>> {
    vec(spoiling(), 0..4)
}

fn spoiling() -> impl Strategy<Value = Spoiling> {
    let place = any::<Index>;
    let length = || any::<Index>().prop_map(|at| *at.get(&LENGTHS));
    prop_oneof![
        4 => (place(), 0..8_u8).prop_map(|(at, bit)| Spoiling::Flip(at, bit)),
        2 => (place(), any::<u8>()).prop_map(|(at, byte)| Spoiling::Set(at, byte)),
        2 => place().prop_map(Spoiling::Cut),
        2 => (place(), place()).prop_map(|(from, to)| Spoiling::Remove(from, to)),
        2 => (place(), vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Spoiling::Insert(at, bytes)),
        2 => (place(), place()).prop_map(|(from, to)| Spoiling::Repeat(from, to)),
        6 => (place(), length()).prop_map(|(at, length)| Spoiling::Number(at, length)),
        3 => (place(), length(), any::<bool>()).prop_map(|(at, length, low)| Spoiling::Word(at, length as u32, low)),
        1 => vec(any::<u8>(), 0..300).prop_map(Spoiling::Replace),
    ]
}

/// Carries changes out, one after the other.
pub fn spoil(mut bytes: Vec<u8>, spoilings: &[Spoiling]) -> Vec<u8> {
    for spoiling in spoilings {
        apply(&mut bytes, spoiling);
    }
    bytes
}

fn apply(bytes: &mut Vec<u8>, spoiling: &Spoiling) {
    let end = bytes.len();
    let stretch = |from: &Index, to: &Index| {
        let (from, to) = (from.index(end + 1), to.index(end + 1));
        from.min(to)..from.max(to)
    };
    match spoiling {
        Spoiling::Replace(other) => bytes.clone_from(other),
        Spoiling::Insert(at, more) => drop(bytes.splice(at.index(end + 1)..at.index(end + 1), more.iter().copied())),
        Spoiling::Cut(at) => bytes.truncate(at.index(end + 1)),
        Spoiling::Remove(from, to) => drop(bytes.drain(stretch(from, to))),
        Spoiling::Repeat(from, to) => {
            let stretch = stretch(from, to);
            let again = bytes[stretch.clone()].to_vec();
            bytes.splice(stretch.end..stretch.end, again);
        }
        // The others need a byte to begin with.
        _ if bytes.is_empty() => {}
        Spoiling::Flip(at, bit) => bytes[at.index(end)] ^= 1 << bit,
        Spoiling::Set(at, byte) => bytes[at.index(end)] = *byte,
        Spoiling::Number(at, number) => {
            let at = at.index(end);
            let written = catalog_client::frame::encode(number);
            bytes.splice(at..=at, written);
        }
        Spoiling::Word(at, number, low_first) => {
            let at = at.index(end);
            let to = end.min(at + 4);
            let word = if *low_first { number.to_le_bytes() } else { number.to_be_bytes() };
            bytes.splice(at..to, word);
        }
    }
}
