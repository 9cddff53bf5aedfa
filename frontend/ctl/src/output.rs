//! What a command prints: tables for people, JSON for programs, and nothing more once nobody reads.
//!
//! Must not know what is told.

use std::{
    borrow::Cow,
    fmt::Display,
    io::{self, BufWriter, IsTerminal, Stdout, Write},
};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::failure::Failure;

/// The form of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One JSON document; of long lists and streams, one a line.
    Json,
}

/// Standard output.
#[derive(Debug)]
pub struct Output {
    /// In which form.
    pub format: Format,
    out: BufWriter<Stdout>,
}

impl Output {
    /// Prints in this form.
    pub fn new(format: Format) -> Self {
        Self { format, out: BufWriter::with_capacity(64 << 10, io::stdout()) }
    }

    /// Whether JSON is wanted.
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Prints a line, or lines.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        writeln!(self.out, "{text}").map_err(|error| Failure::output(&error))
    }

    /// Prints a JSON document on a line.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).expect("structs of text and numbers are always JSON");
        self.line(text)
    }

    /// Prints bytes as they are.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.out.write_all(bytes).map_err(|error| Failure::output(&error))
    }

    /// Has everything read that was printed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(|error| Failure::output(&error))
    }
}

/// Says something beside the output. Whether anybody reads it changes nothing.
pub fn note(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Text of the catalogue on one line of a terminal: what would move its cursor is replaced.
pub fn shown(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        return text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
    }
    Cow::Borrowed(text)
}

/// A bar of `total` steps on standard error while that is a terminal, else nothing.
pub fn bar(total: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), target());
    let template = format!("{what} {{bar:30}} {{human_pos}} of {{human_len}}, {{per_sec}}, {{eta}} left {{msg}}");
    bar.with_style(ProgressStyle::with_template(&template).expect("the template above"))
}

/// As [`bar`], where nobody knows the total.
pub fn spinner(what: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, target());
    let template = format!("{what}: {{human_pos}}, {{per_sec}} {{msg}}");
    bar.with_style(ProgressStyle::with_template(&template).expect("the template above"))
}

fn target() -> ProgressDrawTarget {
    if io::stderr().is_terminal() { ProgressDrawTarget::stderr_with_hz(5) } else { ProgressDrawTarget::hidden() }
}
