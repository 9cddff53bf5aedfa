//! Snapshot files written, read back, damaged, and received.

use super::*;

fn header(rows: &[(Table, Vec<u8>, Vec<u8>)]) -> Header {
    let mut state = Meta::default();
    for (table, key, value) in rows {
        state.hashes.add(*table, key, value);
    }
    Header {
        format: FORMAT,
        last_log_id: Some(StoredLogId { term: 3, index: 77 }),
        membership_log_id: None,
        membership: (&raft::Membership::default()).into(),
        state,
    }
}

fn rows() -> Vec<(Table, Vec<u8>, Vec<u8>)> {
    let row = |table, n: u32| (table, n.to_be_bytes().to_vec(), vec![n as u8; (n as usize * 37) % 5000]);
    (0..300)
        .map(|n| row(Table::Items, n))
        .chain((0..300).map(|n| row(Table::Orders, n)))
        .chain((0..9).map(|n| row(Table::Dedup, n)))
        .collect()
}

fn write(folder: &Path) -> SnapshotFile {
    let rows = rows();
    let mut writer = SnapshotWriter::begin(folder, header(&rows)).unwrap();
    for (table, key, value) in &rows {
        writer.row(*table, key, value).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn what_was_written_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut reader = write(folder.path()).read().unwrap();
    let mut read = Vec::new();
    while let Some(rows) = reader.next_rows().unwrap() {
        let table = rows.table;
        read.extend(rows.map(|row| row.map(|(key, value)| (table, key.to_vec(), value.to_vec())).unwrap()));
    }
    assert_eq!(read, rows());
    assert_eq!(newest(folder.path()).unwrap().unwrap().0, header(&rows()));
}

#[test]
fn a_flipped_byte_anywhere_or_a_missing_end_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path()).path().to_owned();
    let good = fs::read(&path).unwrap();
    for at in (0..good.len()).step_by(good.len() / 199) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(&path, &bad).unwrap();
        assert!(verify(&path).is_err(), "byte {at} flipped went unnoticed");
        fs::write(&path, &good[..at]).unwrap();
        assert!(verify(&path).is_err(), "a file cut at {at} went unnoticed");
    }
    fs::write(&path, &good).unwrap();
    verify(&path).unwrap();
}

/// In format 2 every row of an item was as the item is, so the state hash was that of the rows.
#[test]
fn a_file_of_the_format_before_is_read_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path()).path().to_owned();
    let mut bytes = BytesMut::from(&fs::read(&path).unwrap()[..]);
    let (mut older, mut lost) = (BytesMut::new(), BytesMut::new());
    while let Some(frame) = catalog_client::frame::take_frame(&mut bytes).unwrap() {
        let payload = match frame.kind {
            HEADER => encode(&Header { format: OLDEST_FORMAT, ..header(&rows()) }),
            TRAILER => encode(&(rows().len() as u64)),
            _ => frame.payload.to_vec(),
        };
        put_frame(&mut older, frame.kind, &payload);
        // A row of another item, with a checksum that fits.
        let spoilt = payload.iter().enumerate().map(|(at, byte)| if at == 12 { byte ^ 1 } else { *byte });
        put_frame(&mut lost, frame.kind, &if frame.kind == ROWS { spoilt.collect() } else { payload });
    }
    fs::write(&path, &older).unwrap();
    assert_eq!(verify(&path).unwrap().state, header(&rows()).state);
    fs::write(&path, &lost).unwrap();
    assert!(verify(&path).is_err());
}

#[tokio::test]
async fn a_received_file_appears_only_when_it_is_whole() {
    let (near, far) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = write(near.path());
    let meta = header(&rows()).meta();
    for whole in [false, true] {
        let mut receiver = SnapshotReceiver::begin(far.path(), file.len()).await.unwrap();
        let mut at = 0;
        while at < file.len() {
            let mut chunk = file.read_at(at, 10_000).await.unwrap();
            at += chunk.len() as u64;
            if !whole && at > file.len() / 2 {
                chunk[0] ^= 1;
            }
            receiver.take(chunk.into()).await.unwrap();
        }
        assert_eq!(receiver.finish(&meta).await.is_ok(), whole);
        assert_eq!(newest(far.path()).unwrap().is_some(), whole);
    }
}
