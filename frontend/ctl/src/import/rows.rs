//! Rows out of a CSV file, each with the line that it begins on, and what is wrong with it. Takes what the first items of a
//! store may be, and refuses what they may not.
//!
//! Must not know what becomes of rows. Holds one row at a time, and no more of the file than is buffered.

use std::{
    collections::VecDeque,
    fmt,
    io::{self, Read},
};

use catalog_client::{MAX_NUMBER, MAX_TITLE, MAX_TOPIC};
use csv::ByteRecord;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

/// The columns, as an export orders them.
pub const COLUMNS: [&str; 5] = ["item_number", "title", "topic", "cost", "quantity"];
/// The most bytes between two ends of rows. A quote that is never closed would take the rest of the file for one field.
const MAX_ROW: u64 = 64 << 10;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// From 1 to [`MAX_NUMBER`].
    pub item_number: u64,
    /// 1 to [`MAX_TITLE`] bytes.
    pub title: String,
    /// 1 to [`MAX_TOPIC`] bytes.
    pub topic: String,
    /// At most [`MAX_NUMBER`].
    pub cost: u64,
    /// At most [`MAX_NUMBER`].
    pub quantity: u64,
}

/// What stands on a line.
#[derive(Debug, PartialEq)]
pub struct Found {
    /// The line, from 1.
    pub line: u64,
    /// The row, or what is wrong with it, in a few words.
    pub row: Result<Row, String>,
}

/// Why a file cannot be read on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Where.
    pub line: u64,
    /// Why, and what to do.
    pub why: String,
}

/// Reads rows.
#[derive(Debug)]
pub struct Rows<R> {
    csv: csv::Reader<Traced<R>>,
    record: ByteRecord,
    /// Where each column stands.
    places: [usize; 5],
}

impl<R: Read> Rows<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// When it is another one.
    pub fn new(source: R) -> Result<Self, Unreadable> {
        let mut csv = csv::ReaderBuilder::new().flexible(true).from_reader(Traced::new(source));
        let at = |why| Unreadable { line: 1, why };
        let header = csv.byte_headers().map_err(|error| at(error.to_string()))?.clone();
        let expected = format!("the header is {}", COLUMNS.join(","));
        if header.is_empty() {
            return Err(at(format!("the file is empty: {expected}")));
        }
        let mut places = [usize::MAX; 5];
        for (place, name) in header.iter().enumerate() {
            let column = COLUMNS.iter().position(|column| column.as_bytes() == name);
            let name = String::from_utf8_lossy(name);
            let Some(column) = column else { return Err(at(format!("`{name}` is no column: {expected}"))) };
            if places[column] != usize::MAX {
                return Err(at(format!("the column {name} is there twice: {expected}")));
            }
            places[column] = place;
        }
        if let Some(missing) = COLUMNS.iter().zip(places).find(|(_, place)| *place == usize::MAX) {
            return Err(at(format!("the column {} is missing: {expected}", missing.0)));
        }
        Ok(Self { csv, record: ByteRecord::new(), places })
    }

    /// The next row.
    ///
    /// # Errors
    /// When the file cannot be read on.
    pub fn read(&mut self) -> Option<Result<Found, Unreadable>> {
        let began = self.csv.position().byte();
        self.csv.get_mut().row_began = began;
        let read = self.csv.read_byte_record(&mut self.record);
        let line = self.csv.get_mut().line_at(began);
        match read {
            Ok(false) => None,
            Ok(true) => Some(Ok(Found { line, row: self.row() })),
            Err(error) => Some(Err(Unreadable { line, why: reason(&error) })),
        }
    }

    /// A digest of all that was read so far: of the whole file behind its last row.
    pub fn digest(&self) -> String {
        format!("{:032x}", self.csv.get_ref().digest.digest128())
    }

    /// Bytes that were read so far.
    pub fn bytes(&self) -> u64 {
        self.csv.get_ref().offset
    }

    fn row(&self) -> Result<Row, String> {
        if self.record.len() != COLUMNS.len() {
            return Err(format!("{} fields, not {}", self.record.len(), COLUMNS.len()));
        }
        let text = |column: usize| {
            let field = &self.record[self.places[column]];
            std::str::from_utf8(field).map_err(|_| format!("{} is not UTF-8", COLUMNS[column]))
        };
        let number = |column: usize, least: u64| {
            let field = text(column)?;
            let number = field.parse::<u64>().ok().filter(|number| (least..=MAX_NUMBER).contains(number));
            // A field may be long, and a message is a line.
            let shown: String = field.chars().take(40).collect();
            number.ok_or_else(|| format!("{} is {shown:?}, not a whole number from {least} to 2^53", COLUMNS[column]))
        };
        let words = |column: usize, most: usize| {
            let field = text(column)?;
            let fits = (1..=most).contains(&field.len());
            fits.then(|| field.to_owned())
                .ok_or_else(|| format!("{} has {} bytes, not 1 to {most}", COLUMNS[column], field.len()))
        };
        Ok(Row {
            item_number: number(0, 1)?,
            title: words(1, MAX_TITLE)?,
            topic: words(2, MAX_TOPIC)?,
            cost: number(3, 0)?,
            quantity: number(4, 0)?,
        })
    }
}

fn reason(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Io(error) => error.to_string(),
        _ => error.to_string(),
    }
}

/// What is read, with its digest, and the lines that what is buffered begins on. The reader of CSV counts lines itself, but
/// counts one that is empty, or whose end is CR LF, to the row behind it.
struct Traced<R> {
    inner: R,
    digest: Xxh3,
    offset: u64,
    /// Where the present row began.
    row_began: u64,
    line: u64,
    is_line_new: bool,
    was_cr: bool,
    /// The first byte of each line that has one, and the line; those before the present row are forgotten.
    begins: VecDeque<(u64, u64)>,
}

impl<R> fmt::Debug for Traced<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes to line {}", self.offset, self.line)
    }
}

impl<R> Traced<R> {
    fn new(inner: R) -> Self {
        Self {
            inner,
            digest: Xxh3::new(),
            offset: 0,
            row_began: 0,
            line: 1,
            is_line_new: true,
            was_cr: false,
            begins: VecDeque::new(),
        }
    }

    /// The line of the first byte at or behind `offset` that is no line's end.
    fn line_at(&mut self, offset: u64) -> u64 {
        while self.begins.front().is_some_and(|(begin, _)| *begin < offset) {
            self.begins.pop_front();
        }
        self.begins.front().map_or(self.line, |(_, line)| *line)
    }

    fn trace(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        for (place, byte) in (self.offset..).zip(bytes) {
            match byte {
                b'\n' if self.was_cr => {}
                b'\r' | b'\n' => {
                    self.line += 1;
                    self.is_line_new = true;
                }
                _ if self.is_line_new => {
                    self.begins.push_back((place, self.line));
                    self.is_line_new = false;
                }
                _ => {}
            }
            self.was_cr = *byte == b'\r';
        }
        self.offset += bytes.len() as u64;
    }
}

impl<R: Read> Read for Traced<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.offset.saturating_sub(self.row_began) > MAX_ROW + buffer.len() as u64 {
            let why = format!("a row of more than {MAX_ROW} bytes begins here: is a quote not closed?");
            return Err(io::Error::other(why));
        }
        let count = self.inner.read(buffer)?;
        self.trace(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Vec<Found> {
        let mut rows = Rows::new(text).expect("a header");
        std::iter::from_fn(|| rows.read()).map(|found| found.expect("readable")).collect()
    }

    fn lines(text: &str) -> Vec<u64> {
        all(text.as_bytes()).iter().map(|found| found.line).collect()
    }

    #[test]
    fn columns_go_by_their_names() {
        let found = all("\u{feff}title,quantity,item_number,cost,topic\n\"a, \"\"b\"\"\nc\",5,7,3,t\n".as_bytes());
        let row = Row { item_number: 7, title: "a, \"b\"\nc".into(), topic: "t".into(), cost: 3, quantity: 5 };
        assert_eq!(found, [Found { line: 2, row: Ok(row) }]);
    }

    #[test]
    fn a_row_has_the_line_on_which_it_begins() {
        let rows = ["1,a,t,1,1", "", "", "2,\"a\nb\",t,1,1", "3,a,t,1,1", "", "4,a,t,1,1"];
        let text = format!("item_number,title,topic,cost,quantity\n{}", rows.join("\n"));
        assert_eq!(lines(&text), [2, 5, 7, 9]);
        assert_eq!(lines(&format!("{text}\n")), [2, 5, 7, 9]);
        assert_eq!(lines(&text.replace('\n', "\r\n")), [2, 5, 7, 9]);
        assert_eq!(lines(&text.replace('\n', "\r")), [2, 5, 7, 9]);
        // Rows beyond what is buffered at a time.
        let many: String = (1..=5000).map(|n| format!("{n},{},t,1,1\r\n\r\n", "x".repeat(n % 97 + 1))).collect();
        let expected: Vec<u64> = (0..5000).map(|n| 2 + 2 * n).collect();
        assert_eq!(lines(&format!("item_number,title,topic,cost,quantity\r\n{many}")), expected);
    }

    #[test]
    fn what_is_wrong_with_a_row_is_said() {
        for (row, expected) in [
            ("0,a,b,1,1", "item_number is \"0\", not a whole number from 1 to 2^53"),
            ("1.5,a,b,1,1", "item_number is \"1.5\""),
            ("1,,b,1,1", "title has 0 bytes, not 1 to 1024"),
            (&format!("1,{},b,1,1", "x".repeat(1025)), "title has 1025 bytes"),
            (&format!("1,a,{},1,1", "é".repeat(129)), "topic has 258 bytes, not 1 to 256"),
            ("1,a,b,-1,1", "cost is \"-1\", not a whole number from 0 to 2^53"),
            ("1,a,b,1,9007199254740993", "quantity is"),
            ("1,a,b,1", "4 fields, not 5"),
            ("1,a,b,1,1,1", "6 fields, not 5"),
        ] {
            let found = all(format!("item_number,title,topic,cost,quantity\n{row}\n").as_bytes());
            let why = found[0].row.as_ref().expect_err(row);
            assert!(why.contains(expected), "{why} does not say {expected}");
        }
        let found = all(b"item_number,title,topic,cost,quantity\n1,\xff,b,1,1\n2,a,b,1,1\n");
        assert_eq!(found[0].row, Err("title is not UTF-8".to_owned()));
        assert!(found[1].row.is_ok(), "the rows behind a bad one are read");
    }

    #[test]
    fn another_header_is_refused() {
        for (header, expected) in [
            ("", "empty"),
            ("item_number,title,topic,cost\n", "quantity is missing"),
            ("item_number,title,topic,cost,quantity,more\n", "`more` is no column"),
            ("item_number,title,title,topic,cost,quantity\n", "title is there twice"),
        ] {
            let error = Rows::new(header.as_bytes()).expect_err(header);
            assert!(error.why.contains(expected), "{error:?} does not say {expected}");
        }
    }

    #[test]
    fn a_quote_that_is_never_closed_does_not_take_the_whole_file_into_memory() {
        let text =
            format!("item_number,title,topic,cost,quantity\n1,a,t,1,1\n2,\"a,t,1,1\n{}", "3,a,t,1,1\n".repeat(1 << 20));
        let mut rows = Rows::new(text.as_bytes()).expect("a header");
        assert_eq!(rows.read().expect("a row").expect("readable").line, 2);
        let error = rows.read().expect("a row").expect_err("no row ends");
        assert!(error.line == 3 && error.why.contains("quote"), "{error:?}");
        assert!(rows.bytes() < 1 << 20, "{} bytes were read of {}", rows.bytes(), text.len());
    }

    #[test]
    fn a_digest_is_of_every_byte() {
        let digest = |text: &str| {
            let mut rows = Rows::new(text.as_bytes()).expect("a header");
            while rows.read().is_some() {}
            (rows.digest(), rows.bytes())
        };
        let text = "item_number,title,topic,cost,quantity\n1,a,t,1,1\n";
        assert_eq!(digest(text).1, text.len() as u64);
        assert_eq!(digest(text), digest(text));
        assert_ne!(digest(text).0, digest(&format!("{text}\n")).0);
        assert_ne!(digest(text).0, digest(&text.replace(",a,", ",b,")).0);
    }
}
