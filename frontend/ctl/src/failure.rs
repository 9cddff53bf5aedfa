//! How a command fails: one of the documented exit statuses, and a sentence that says what to do next.
//!
//! Must not know what failed.

use std::{fmt, io};

/// The exit statuses other than 0. Scripts rely on them: none is ever given another meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The store said no, or a file is not as it must be. Nothing was done.
    Refused = 1,
    /// The command line is not one.
    Usage = 2,
    /// Nobody answered, or nobody could serve. Nothing was done.
    Unavailable = 3,
    /// It may have been done.
    Unknown = 4,
    /// The user has interrupted it, as shells count SIGINT.
    Interrupted = 130,
}

/// What the help and the manual say about exit statuses: status, meaning.
pub const STATUSES: [(u8, &str); 6] = [
    (0, "done"),
    (
        1,
        "refused by the store (out of stock, no such item, ...), or a file that is not as it must be; nothing was done",
    ),
    (2, "the command line is wrong"),
    (3, "the store cannot be reached, or is unavailable after all repetitions; nothing was done"),
    (4, "the outcome is unknown: the message names the key, and how to ask again"),
    (130, "interrupted by Ctrl-C"),
];

/// Why a command ends without success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Exit status and message: what is wrong, and what to do.
    Told(Exit, String),
    /// Whoever reads the output has gone: nothing is wrong, and nobody is left to be told.
    BrokenPipe,
}

impl Failure {
    /// The store said no, or a file did.
    pub fn refused(message: impl fmt::Display) -> Self {
        Self::Told(Exit::Refused, message.to_string())
    }

    /// The command line is wrong.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::Told(Exit::Usage, message.to_string())
    }

    /// Nobody answered.
    pub fn unavailable(message: impl fmt::Display) -> Self {
        Self::Told(Exit::Unavailable, message.to_string())
    }

    /// It may have been done.
    pub fn unknown(message: impl fmt::Display) -> Self {
        Self::Told(Exit::Unknown, message.to_string())
    }

    /// Output that cannot be written.
    pub fn output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::refused(format_args!(
                "the output cannot be written: {error}; make room there, or write elsewhere"
            )),
        }
    }

    /// The exit status.
    pub fn status(&self) -> u8 {
        match self {
            Self::Told(exit, _) => *exit as u8,
            Self::BrokenPipe => 0,
        }
    }
}
