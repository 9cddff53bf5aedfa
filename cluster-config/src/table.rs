//! Columns of plain text. Must not know what stands in them.

use unicode_width::UnicodeWidthStr;

/// On which side of its column a cell stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// The rows under their headings, each column as wide as its widest cell.
pub fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    Columns::new(headings.map(|heading| (heading, Align::Left))).part(rows)
}

/// A table that is made part by part, for lists too long to be held: a column is as wide as its widest cell so far.
#[derive(Debug)]
pub struct Columns<'a, const N: usize> {
    headings: Option<[&'a str; N]>,
    aligned: [Align; N],
    widths: [usize; N],
}

impl<'a, const N: usize> Columns<'a, N> {
    /// Columns under these headings.
    pub fn new(columns: [(&'a str, Align); N]) -> Self {
        let headings = columns.map(|(heading, _)| heading);
        Self { headings: Some(headings), aligned: columns.map(|(_, align)| align), widths: headings.map(|h| h.width()) }
    }

    /// The next rows; before the first of all, the headings. Lines are divided, and not ended, by line feeds.
    pub fn part(&mut self, rows: &[[String; N]]) -> String {
        for row in rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        let headings = self.headings.take().map(|headings| self.line(headings));
        let body = rows.iter().map(|row| self.line(row.each_ref().map(String::as_str)));
        headings.into_iter().chain(body).collect::<Vec<_>>().join("\n")
    }

    fn line(&self, cells: [&str; N]) -> String {
        let mut line = String::new();
        for ((cell, width), align) in cells.iter().zip(self.widths).zip(self.aligned) {
            // A wide character takes two places of a terminal: what `format!` counts are characters.
            let padding = " ".repeat(width.saturating_sub(cell.width()));
            match align {
                Align::Left => line.extend([cell, padding.as_str(), "  "]),
                Align::Right => line.extend([padding.as_str(), cell, "  "]),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_their_headings_whatever_the_characters() {
        let rows = [["1", "日本", "a"], ["22", "é", "b"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(["N", "TITLE", "X"], &rows), "N   TITLE  X\n1   日本   a\n22  é      b");
        let mut columns = Columns::new([("N", Align::Right), ("TITLE", Align::Left), ("X", Align::Left)]);
        assert_eq!(columns.part(&rows), " N  TITLE  X\n 1  日本   a\n22  é      b");
        assert_eq!(columns.part(&rows[..1]), " 1  日本   a", "later parts have no headings, and the widths of before");
    }
}
