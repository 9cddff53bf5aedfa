//! The bytes of every kind of row, fixed: a change of format must be meant, and raise [`rows::FORMAT`].

use std::sync::Arc;

use catalog_client::{
    Action, CommandId, Existing, Item, Line, NewItem, Order, OrderLine, Outcome, TakenRow, Version, frame::encode,
};

use super::{
    super::{
        Row,
        orders::Body,
        rows::{self, DedupRecord, Hashes, Meta, Remembered, RowWrite},
    },
    add, command, order,
};

const VERSION: Version = Version { revision: 0x0102_0304, n: 5 };

fn item() -> Item {
    let (title, topic) = ("RPCs".into(), "Dist".into());
    Item { item_number: 7, title, topic, cost: 51, quantity: 1000, version: VERSION }
}

fn placed() -> Order {
    let line = OrderLine { item_number: 7, title: "RPCs".into(), quantity: 2, unit_cost: 51 };
    Order { id: CommandId(0xABCD), version: VERSION, time_ms: 1_700_000_000_000, lines: vec![line] }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[track_caller]
fn assert_row(row: &RowWrite, key: &str, value: &str) {
    assert_eq!((hex(row.key()), hex(row.value().unwrap())), (key.to_owned(), value.to_owned()));
    assert_eq!(row.hash(), rows::row_hash(row.table(), row.key(), row.value().unwrap()));
}

#[test]
fn rows_keep_their_bytes() {
    assert_row(
        &rows::put_item(7, &Row::Live(item())),
        "0000000000000007",
        "0200070452504373044469737433fbe803fc0403020105",
    );
    assert_row(&rows::put_item(7, &Row::Withdrawn), "0000000000000007", "0201");
    let orders: Vec<_> = rows::put_orders(&[Arc::new(placed())]).collect();
    let order = "fbcdabfc0403020105fd0068e5cf8b010000010704525043730233";
    assert_row(&orders[0], "000000000102030400000005", &format!("0201{order}"));
    assert_eq!(rows::read_orders(orders[0].value().unwrap()).unwrap(), [placed()]);
    assert_row(&rows::put_order_id(&placed()), "0000000000000000000000000000abcd", "02fc0403020105");
    let outcomes = [
        (Outcome::Added(item()), "00070452504373044469737433fbe803fc0403020105"),
        (Outcome::Changed(item()), "01070452504373044469737433fbe803fc0403020105"),
        (Outcome::Withdrawn, "02"),
        (Outcome::Loaded(7), "0407"),
        (Outcome::NumberTaken { item_number: 7 }, "0507"),
        (Outcome::NoSuchItem { item_number: 7 }, "0607"),
        (Outcome::BelowZero { item_number: 7, left: 3 }, "070703"),
        (Outcome::OutOfStock { item_number: 7, wanted: 4, left: 3 }, "08070403"),
        (Outcome::ChangedSince { version: VERSION }, "09fc0403020105"),
        (Outcome::TooLarge, "0a"),
        (Outcome::Invalid, "0b"),
        (Outcome::Imported { added: 3, updated: 2, kept: 1 }, "0e030201"),
        (
            Outcome::RowsTaken { count: 200, rows: vec![TakenRow { index: 4, withdrawn: true, item_number: 7 }] },
            "0fc801040107",
        ),
    ];
    let prefix = "020105fe00000000000000000000000010000000fdffffffffffffffff01";
    for (outcome, bytes) in outcomes {
        let outcome = Remembered::Other(Box::new(outcome));
        let records = [(VERSION.n, DedupRecord { id: CommandId(1 << 100), fingerprint: u64::MAX, outcome })];
        let row = rows::put_dedup(VERSION.revision, &records);
        assert_row(&row, "0000000001020304", &format!("{prefix}{bytes}"));
        assert_eq!(rows::read_dedup(row.value().unwrap()).unwrap(), records);
    }
    let deleted = rows::delete_dedup(VERSION.revision);
    assert_eq!((hex(deleted.key()), deleted.value()), ("0000000001020304".to_owned(), None));
}

/// Whatever an entry places, each of its orders is in one row, and no row is much longer than its bound.
#[test]
fn rows_of_orders_are_bounded() {
    let line = OrderLine { item_number: 7, title: "t".into(), quantity: 1, unit_cost: 1 };
    for lines in [1, 2, 100] {
        let orders: Vec<_> = (0..1000)
            .map(|n| {
                Arc::new(Order { version: Version { n, ..VERSION }, lines: vec![line.clone(); lines], ..placed() })
            })
            .collect();
        let mut found = Vec::new();
        for row in rows::put_orders(&orders) {
            let row_orders = rows::read_orders(row.value().unwrap()).unwrap();
            assert_eq!(rows::read_version_key(row.key()).unwrap(), row_orders[0].version);
            assert!(row_orders.len() * lines < 256 + 100, "{} orders of {lines} lines", row_orders.len());
            found.extend(row_orders.into_iter().map(Arc::new));
        }
        assert_eq!(found, orders);
    }
}

#[test]
fn the_meta_keeps_its_bytes() {
    let hashes = Hashes { items: 1, orders: u128::MAX, dedup: 3 };
    let meta = Meta { horizon: 300, orders: 2, hashes, remembered: 4 };
    assert_eq!(hex(&rows::meta_value(&meta)), "02fb2c010201feffffffffffffffffffffffffffffffff0304");
    assert_eq!(rows::read_meta(&rows::meta_value(&meta)).unwrap(), meta);
    assert_eq!(hashes.state_hash(), "00000000000000000000000000000003");
}

/// Commands are stored in the log.
#[test]
fn imports_keep_their_bytes() {
    let row = NewItem { item_number: 7, title: "RPCs".into(), topic: "Dist".into(), cost: 51, quantity: 1000 };
    for (existing, last) in [(Existing::Refuse, "00"), (Existing::Keep, "01"), (Existing::Update, "02")] {
        let action = Action::ImportItems { items: vec![row.clone()], existing };
        assert_eq!(hex(&encode(&action)), format!("0501070452504373044469737433fbe803{last}"));
    }
}

/// Fingerprints and row hashes are stored and compared between replicas.
#[test]
fn hashes_keep_their_values() {
    let of = |action: &Action| Body::of(action).fingerprint();
    assert_eq!(of(&order(&[(2, 1), (1, 3)])), 14_101_037_943_516_211_867);
    assert_eq!(of(&order(&[(1, 1), (2, 1), (1, 2)])), of(&order(&[(1, 3), (2, 1)])));
    assert_eq!(of(&add(Some(1), "t")), 8_322_518_357_773_202_096);
    assert_eq!(rows::put_item(7, &Row::Live(item())).hash(), 55_484_291_464_870_682_872_142_722_375_542_079_092);
    // Lines are sorted for the hash only, not in the command.
    let Action::PlaceOrder { lines } = command(1, order(&[(2, 1), (1, 3)])).action else { unreachable!() };
    assert_eq!(lines[0], Line { item_number: 2, quantity: 1 });
}

#[test]
fn bytes_that_do_not_decode_are_an_error() {
    let row = rows::put_item(7, &Row::Live(item()));
    let value = row.value().unwrap();
    assert_eq!(rows::read_item(value).unwrap(), Row::Live(item()));
    for bad in [&[][..], &[2], &[1, 1], &[2, 2], &[2, 1, 1], &value[..value.len() - 1], &[value, &[0]].concat()] {
        assert_eq!(rows::read_item(bad).unwrap_err().kind(), std::io::ErrorKind::InvalidData);
    }
    assert!(rows::read_item_key(&[0; 7]).is_err() && rows::read_version_key(&[0; 13]).is_err());
    assert_eq!(rows::read_version_key(&rows::version_key(VERSION)).unwrap(), VERSION);
    assert_eq!(rows::read_item_key(&rows::item_key(7)).unwrap(), 7);
}
