//! Rows of the state, spoiled, and what is made of those that can still be read.

use fuzzing::{claimed_by, frugal, fuzz, fuzz_values, made, spoil, spoilings};
use proptest::{collection::vec, prelude::*};

use super::{
    super::{Limits, Restore, tests::hash_of_items},
    *,
};

fn fuzz_row<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(target: &str) {
    fuzz_values(target, made::<T>(), written, |bytes| read::<T>(bytes).ok());
}

fn written<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_onto(&mut bytes, value);
    bytes
}

#[test]
fn fuzz_rows() {
    fuzz_row::<Row>("items' rows");
    fuzz_row::<Vec<Order>>("orders' rows");
    fuzz_row::<Version>("rows of orders' ids");
    fuzz_row::<Vec<(u32, DedupRecord)>>("rows of the dedup window");
    fuzz_row::<Meta>("what is stored beside the rows");
}

#[test]
fn fuzz_keys() {
    fuzz_values("keys of items", any::<u64>(), |n| item_key(*n).to_vec(), |key| read_item_key(key).ok());
    fuzz_values(
        "keys of dedup records",
        any::<u64>(),
        |n| revision_key(*n).to_vec(),
        |key| read_revision_key(key).ok(),
    );
    fuzz_values("keys of orders", made(), |version| version_key(*version).to_vec(), |key| read_version_key(key).ok());
}

/// A state of rows that came from elsewhere, all readable but put together by chance: refused, or a catalogue that has the
/// hash that was claimed.
#[test]
fn fuzz_restored_states() {
    let rows = (
        vec((any::<u16>(), made::<Row>()), 0..4),
        vec(vec(made::<Order>(), 0..3), 0..4),
        vec((any::<u16>(), vec(made::<(u32, DedupRecord)>(), 0..3)), 0..4),
    );
    let inputs = (rows, any::<u64>(), made::<Meta>(), any::<bool>(), spoilings());
    fuzz("restored states", inputs, |((items, orders, records), applied, mut meta, honest, spoilings)| {
        let mut restore = Restore::with_limits(Limits { revisions: 10, records: 3 }, meta.horizon);
        let mut hashes = Hashes::default();
        let (mut kept, mut placed) = (Vec::new(), Vec::new());
        let numbers: Vec<_> = items.iter().map(|(number, _)| u64::from(*number)).collect();
        let (mut count, mut remembered) = (0, 0);
        for (number, mut row) in items {
            let number = u64::from(number);
            if let Row::Live(item) = &mut row {
                item.item_number = number;
            }
            let (key, value) = (item_key(number), spoil(written(&row), &spoilings));
            if frugal(claimed_by(value.len()), || restore.item(&key, &value)).is_ok() {
                kept.push((key.to_vec(), value));
            }
        }
        for mut row in orders {
            // Most lines are of items that there are.
            for line in row.iter_mut().flat_map(|order| &mut order.lines) {
                let at = usize::try_from(line.item_number).unwrap_or(0);
                line.item_number = numbers.get(at % 5).copied().unwrap_or(line.item_number);
            }
            let key = version_key(row.first().map_or(Version { revision: applied, n: 0 }, |order| order.version));
            let value = spoil(written(&row), &spoilings);
            if let Ok(orders) = frugal(claimed_by(value.len()), || restore.orders(&key, &value)) {
                hashes.add(Table::Orders, &key, &value);
                count += orders.len() as u64;
                remembered += orders.iter().filter(|order| order.version.revision >= meta.horizon).count() as u64;
                placed.extend(orders);
            }
        }
        for (revision, row) in records {
            let (key, value) = (revision_key(revision.into()), spoil(written(&row), &spoilings));
            if frugal(claimed_by(value.len()), || restore.dedup(&key, &value)).is_ok() {
                hashes.add(Table::Dedup, &key, &value);
                remembered += read_dedup(&value).expect("it was just read").len() as u64;
            }
        }
        hashes.items = hash_of_items(kept.iter().map(|(key, value)| (key, value)), &placed, meta.horizon);
        if honest {
            (meta.orders, meta.hashes, meta.remembered) = (count, hashes, remembered);
        }
        if let Ok(catalog) = restore.verified(applied, &meta) {
            assert_eq!(catalog.meta().hashes, hashes);
        }
    });
}
