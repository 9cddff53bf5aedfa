//! JSON text as Python's `json.dumps` writes it by default: ASCII only.
//!
//! Owns the escapes. Must not know what is written.

use std::io::Write;

use bytes::Bytes;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// A growing JSON text. The caller puts the punctuation.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// Appends `text` as it is.
    pub(super) fn raw(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    /// Appends a number.
    pub(super) fn number(&mut self, number: u64) {
        write!(self.0, "{number}").expect("writing to memory does not fail");
    }

    /// Appends `text` as a string, with its quotes.
    pub(super) fn string(&mut self, text: &str) {
        self.0.reserve(text.len() + 2);
        self.0.push(b'"');
        let mut plain_from = 0;
        for (at, c) in text.char_indices() {
            if matches!(c, ' '..='~') && c != '"' && c != '\\' {
                continue;
            }
            self.raw(&text[plain_from..at]);
            plain_from = at + c.len_utf8();
            self.escape(c);
        }
        self.raw(&text[plain_from..]);
        self.0.push(b'"');
    }

    /// The text.
    pub(super) fn finish(self) -> Bytes {
        self.0.into()
    }

    fn escape(&mut self, c: char) {
        match c {
            '"' => self.raw("\\\""),
            '\\' => self.raw("\\\\"),
            '\n' => self.raw("\\n"),
            '\r' => self.raw("\\r"),
            '\t' => self.raw("\\t"),
            '\x08' => self.raw("\\b"),
            '\x0c' => self.raw("\\f"),
            // Beyond the basic plane this is a surrogate pair, as in Python.
            c => c.encode_utf16(&mut [0; 2]).iter().for_each(|&unit| self.escape_unit(unit)),
        }
    }

    fn escape_unit(&mut self, unit: u16) {
        self.raw("\\u");
        for shift in [12, 8, 4, 0] {
            self.0.push(HEX[usize::from(unit >> shift & 0xf)]);
        }
    }
}
