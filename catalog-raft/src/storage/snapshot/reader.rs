//! A snapshot file read back, row by row. Whatever is damaged or cut short is an error.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use bytes::{Buf, Bytes, BytesMut};
use catalog_client::frame::{Frame, decode, take_frame};

use super::{FORMAT, HEADER, Header, OLDEST_FORMAT, ROWS, TRAILER, invalid, removal};
use crate::catalog::rows::Table;

/// Reads a snapshot row by row.
#[derive(Debug)]
pub struct SnapshotReader {
    /// The first frame.
    pub header: Header,
    /// The hash of the items' rows, as the trailer says; before it has been read, as the header does.
    pub(super) items: u128,
    file: BufReader<File>,
    buffer: BytesMut,
    rows: u64,
    done: bool,
}

/// Rows of one table, in the order of their keys.
#[derive(Debug)]
pub struct Rows {
    /// Their table.
    pub table: Table,
    bytes: Bytes,
}

impl SnapshotReader {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut file = BufReader::new(removal::open(path)?);
        let mut buffer = BytesMut::new();
        let first = next_frame(&mut file, &mut buffer)?;
        let header: Header = match first {
            Some(frame) if frame.kind == HEADER => decode(&frame.payload)?,
            _ => return Err(invalid(path, "does not begin with a header")),
        };
        if !(OLDEST_FORMAT..=FORMAT).contains(&header.format) {
            let known = format!("is of format {}, not {OLDEST_FORMAT} to {FORMAT}", header.format);
            return Err(invalid(path, &known));
        }
        Ok(Self { items: header.state.hashes.items, header, file, buffer, rows: 0, done: false })
    }

    /// The next rows; `None` after the last, once the trailer has been checked.
    ///
    /// # Errors
    /// `InvalidData` when the file is damaged or cut short.
    pub fn next_rows(&mut self) -> io::Result<Option<Rows>> {
        if self.done {
            return Ok(None);
        }
        let broken = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("a snapshot {what}"));
        match next_frame(&mut self.file, &mut self.buffer)? {
            Some(frame) if frame.kind == ROWS => {
                let mut bytes = frame.payload;
                if bytes.len() < 5 {
                    return Err(broken("with an empty frame of rows"));
                }
                let table = table(bytes.get_u8()).ok_or_else(|| broken("with rows of an unknown table"))?;
                self.rows += u64::from(bytes.get_u32_le());
                Ok(Some(Rows { table, bytes }))
            }
            Some(frame) if frame.kind == TRAILER => {
                let rows: u64 = if self.header.format == OLDEST_FORMAT {
                    decode(&frame.payload)?
                } else {
                    let (rows, items) = decode(&frame.payload)?;
                    self.items = items;
                    rows
                };
                if rows != self.rows || !self.buffer.is_empty() || self.file.read(&mut [0])? != 0 {
                    return Err(broken("whose trailer does not fit its rows"));
                }
                self.done = true;
                Ok(None)
            }
            Some(frame) => Err(broken(&format!("with a frame of kind {}", frame.kind))),
            None => Err(broken("cut short")),
        }
    }
}

impl Iterator for Rows {
    type Item = io::Result<(Bytes, Bytes)>;

    /// The next key and value.
    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let mut piece = || {
            (self.bytes.len() >= 4)
                .then(|| self.bytes.get_u32_le() as usize)
                .filter(|length| *length <= self.bytes.len())
                .map(|length| self.bytes.split_to(length))
        };
        let row = piece().zip(piece());
        Some(row.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a row of a snapshot cut short")))
    }
}

fn next_frame(file: &mut impl Read, buffer: &mut BytesMut) -> io::Result<Option<Frame>> {
    loop {
        if let Some(frame) = take_frame(buffer)? {
            return Ok(Some(frame));
        }
        let mut bytes = [0; 64 << 10];
        match file.read(&mut bytes)? {
            0 if buffer.is_empty() => return Ok(None),
            0 => return Err(io::Error::new(io::ErrorKind::InvalidData, "a snapshot cut short")),
            read => buffer.extend_from_slice(&bytes[..read]),
        }
    }
}

fn table(tag: u8) -> Option<Table> {
    [Table::Items, Table::Orders, Table::Dedup].into_iter().find(|table| *table as u8 == tag)
}
