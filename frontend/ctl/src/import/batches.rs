//! Rows cut into batches. The same file gives the same batches, whenever it is read: their numbers name them.
//!
//! Must not know what becomes of a batch.

use std::io::Read;

use super::rows::{Row, Rows, Unreadable};
use crate::cli::Existing;

/// The most rows of a batch, as the store takes them.
pub const ROWS: usize = 1000;
/// The most bytes of their JSON. The store takes a body of 1 MiB, and what stands around the rows is short.
const BYTES: usize = 1_000_000;

/// Some rows, as they are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// From 0.
    pub number: u64,
    /// The line of each row.
    pub lines: Vec<u64>,
    /// `{"items": […], "existing": …}`
    pub body: Vec<u8>,
}

/// Cuts.
#[derive(Debug)]
pub struct Batches<R> {
    rows: Rows<R>,
    existing: &'static str,
    number: u64,
    /// A row that did not fit the batch before.
    held: Option<(u64, Vec<u8>)>,
}

impl<R: Read> Batches<R> {
    /// The batches of these rows, which have been checked.
    pub fn new(rows: Rows<R>, existing: Existing) -> Self {
        let existing = match existing {
            Existing::Refuse => "refuse",
            Existing::Keep => "keep",
            Existing::Update => "update",
        };
        Self { rows, existing, number: 0, held: None }
    }

    /// The next batch.
    ///
    /// # Errors
    /// When a row is not one: the file is another one than was checked.
    pub fn cut(&mut self) -> Result<Option<Batch>, Unreadable> {
        let mut body = b"{\"items\":[".to_vec();
        let mut lines = Vec::new();
        while lines.len() < ROWS {
            let Some((line, row)) = self.next_row()? else { break };
            if !lines.is_empty() && body.len() + row.len() > BYTES {
                self.held = Some((line, row));
                break;
            }
            if !lines.is_empty() {
                body.push(b',');
            }
            body.extend(row);
            lines.push(line);
        }
        if lines.is_empty() {
            return Ok(None);
        }
        body.extend(format!("],\"existing\":\"{}\"}}", self.existing).bytes());
        let number = self.number;
        self.number += 1;
        Ok(Some(Batch { number, lines, body }))
    }

    /// A digest of all that was read: behind the last batch, of the whole file.
    pub fn digest(&self) -> String {
        self.rows.digest()
    }

    fn next_row(&mut self) -> Result<Option<(u64, Vec<u8>)>, Unreadable> {
        if let Some(held) = self.held.take() {
            return Ok(Some(held));
        }
        let Some(found) = self.rows.read().transpose()? else { return Ok(None) };
        let row = found.row.map_err(|why| Unreadable { line: found.line, why })?;
        Ok(Some((found.line, serde_json::to_vec(&row).expect("a struct of text and numbers is always JSON"))))
    }
}

impl Batch {
    /// Its rows.
    pub fn rows(&self) -> Vec<Row> {
        #[derive(serde::Deserialize)]
        struct Body {
            items: Vec<Row>,
        }
        let body: Body = serde_json::from_slice(&self.body).expect("a batch is written above");
        body.items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(text: &str) -> Vec<Batch> {
        let mut batches = Batches::new(Rows::new(text.as_bytes()).expect("a header"), Existing::Keep);
        std::iter::from_fn(|| batches.cut().expect("rows")).collect()
    }

    #[test]
    fn every_row_is_in_one_batch_and_none_is_too_large() {
        // Characters that JSON writes as six, so that bytes and not rows end a batch.
        let rows: String =
            (1..=5000).map(|n| format!("{n},{},t,1,1\n", "\u{1}".repeat(if n > 2500 { 1000 } else { 1 }))).collect();
        let text = format!("item_number,title,topic,cost,quantity\n{rows}");
        let batches = batches(&text);
        let numbers: Vec<u64> = batches.iter().flat_map(Batch::rows).map(|row| row.item_number).collect();
        assert_eq!(numbers, (1..=5000).collect::<Vec<_>>());
        assert_eq!(
            batches.iter().map(|batch| batch.number).collect::<Vec<_>>(),
            (0..batches.len() as u64).collect::<Vec<_>>()
        );
        for batch in &batches {
            let body: serde_json::Value = serde_json::from_slice(&batch.body).expect("JSON");
            assert_eq!((body["existing"].as_str(), batch.rows().len()), (Some("keep"), batch.lines.len()));
            assert!(batch.body.len() <= 1 << 20 && batch.lines.len() <= ROWS);
        }
        assert_eq!(batches[0].lines.len(), ROWS);
        assert!(batches[3].lines.len() < 200, "rows of 6 KB: {}", batches[3].lines.len());
        assert_eq!(batches, self::batches(&text), "the same file gives the same batches");
    }

    #[test]
    fn a_file_without_rows_has_no_batch() {
        assert!(batches("item_number,title,topic,cost,quantity\n").is_empty());
    }
}
