//! The check of a whole file, before anything of it is sent.

use std::{
    collections::{HashMap, hash_map::Entry},
    io::Read,
};

use super::rows::{Rows, Unreadable};

/// The most rows of a file. What is remembered of each is its number and line, some 20 to 40 bytes.
pub const MAX_ROWS: u64 = 10_000_000;
/// How many faults are told one by one.
pub const TOLD: usize = 20;

/// What a file without a fault is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Of all its bytes.
    pub digest: String,
    /// How many rows it has.
    pub rows: u64,
}

/// What is wrong with a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// The first of them: the line, and what is wrong there.
    pub first: Vec<(u64, String)>,
    /// How many there are.
    pub count: u64,
    /// Whether lines behind the last of them were not looked at.
    pub cut_short: bool,
}

impl Faults {
    fn add(&mut self, line: u64, why: String) {
        self.count += 1;
        if self.first.len() < TOLD {
            self.first.push((line, why));
        }
    }

    fn unreadable(mut self, at: Unreadable) -> Self {
        self.add(at.line, at.why);
        self.cut_short = true;
        self
    }

    /// A line for each that is told, as compilers write them, and one for the others.
    pub fn lines(&self, file: &str) -> String {
        let mut lines: Vec<String> = self.first.iter().map(|(line, why)| format!("{file}:{line}: {why}")).collect();
        let others = self.count - self.first.len() as u64;
        if others > 0 {
            lines.push(format!("... and {others} more"));
        }
        if self.cut_short {
            lines.push("what follows was not looked at".to_owned());
        }
        lines.join("\n")
    }
}

/// Reads all of it. `tell` is told now and then how many bytes were read.
///
/// # Errors
/// What is wrong with it.
pub fn check(source: impl Read, mut tell: impl FnMut(u64)) -> Result<Checked, Faults> {
    let mut faults = Faults::default();
    let mut rows = match Rows::new(source) {
        Ok(rows) => rows,
        Err(unreadable) => return Err(faults.unreadable(unreadable)),
    };
    let mut seen: HashMap<u64, u32> = HashMap::new();
    let mut count = 0;
    while let Some(found) = rows.read() {
        let found = match found {
            Ok(found) => found,
            Err(unreadable) => return Err(faults.unreadable(unreadable)),
        };
        count += 1;
        if count > MAX_ROWS {
            let why = format!("more than {MAX_ROWS} rows: split the file");
            return Err(faults.unreadable(Unreadable { line: found.line, why }));
        }
        match found.row {
            Err(why) => faults.add(found.line, why),
            Ok(row) => match seen.entry(row.item_number) {
                Entry::Occupied(first) => {
                    faults.add(found.line, format!("item {} stands in line {} already", row.item_number, first.get()));
                }
                Entry::Vacant(place) => {
                    place.insert(u32::try_from(found.line).unwrap_or(u32::MAX));
                }
            },
        }
        if count % 4096 == 0 {
            tell(rows.bytes());
        }
    }
    if faults.count > 0 { Err(faults) } else { Ok(Checked { digest: rows.digest(), rows: count }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "item_number,title,topic,cost,quantity\n";

    #[test]
    fn every_fault_counts_and_the_first_are_told() {
        let bad: String = (1..=30).map(|n| format!("{n},,t,1,1\n")).collect();
        let text = format!("{HEADER}7,a,t,1,1\n{bad}7,b,t,1,1\n");
        let faults = check(text.as_bytes(), |_| ()).expect_err("it is full of them");
        assert_eq!((faults.count, faults.first.len(), faults.cut_short), (31, TOLD, false));
        let told = faults.lines("f.csv");
        assert!(told.starts_with("f.csv:3: title has 0 bytes"), "{told}");
        assert!(told.ends_with("... and 11 more"), "{told}");
    }

    #[test]
    fn a_number_that_stands_there_twice_is_a_fault_and_the_first_line_is_named() {
        let text = format!("{HEADER}5,a,t,1,1\n4,a,t,1,1\n5,a,t,1,1\n");
        let faults = check(text.as_bytes(), |_| ()).expect_err("twice");
        assert_eq!(faults.lines("f"), "f:4: item 5 stands in line 2 already");
    }

    #[test]
    fn a_file_that_ends_in_the_middle_is_said_to_be_not_looked_at() {
        let text = format!("{HEADER}1,\"a,t,1,1\n{}", "2,a,t,1,1\n".repeat(100_000));
        let faults = check(text.as_bytes(), |_| ()).expect_err("a quote is open");
        assert!(faults.cut_short && faults.lines("f").contains("f:2: a row of more than"), "{faults:?}");
    }

    #[test]
    fn a_good_file_has_a_digest_and_a_count() {
        let text = format!("{HEADER}1,a,t,1,1\n2,b,t,0,0\n");
        let checked = check(text.as_bytes(), |_| ()).expect("nothing is wrong");
        assert_eq!(checked.rows, 2);
        assert_eq!(check(HEADER.as_bytes(), |_| ()).expect("no rows are none that are wrong").rows, 0);
    }
}
