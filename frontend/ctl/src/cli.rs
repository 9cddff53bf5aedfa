//! The command line: what may be said, what is refused before anybody is asked, and the text of its help.
//!
//! Must not know how a command does its work.

use std::{fmt::Write, path::PathBuf, str::FromStr, sync::LazyLock};

use catalog_client::{MAX_LINES, MAX_NUMBER, MAX_TITLE, MAX_TOPIC};
use clap::{Args, Parser, Subcommand, ValueEnum, builder::RangedU64ValueParser, value_parser};
use clap_complete::Shell;
use serde::{Deserialize, Serialize};

use crate::{failure::STATUSES, find::Named, key, output::Format};

/// The longest that `bench` may load a store.
pub const MAX_BENCH_SECONDS: u64 = 300;
/// The most connections that it may open.
pub const MAX_BENCH_CONNECTIONS: u64 = 1024;

/// The exit statuses, as help and manual list them.
static EXIT_STATUSES: LazyLock<String> = LazyLock::new(|| {
    let mut text = "Exit status:\n".to_owned();
    for (status, meaning) in STATUSES {
        let _ = writeln!(text, "  {status}  {meaning}");
    }
    text += "\nReads are repeated freely. A write has a key that is made once, and is repeated under it after lost connections,\n\
             503 and 429, until --timeout: the store does it once, however often it is asked.";
    text
});

/// Lists, sells and changes the items of a catalog store, watches it, looks after it.
#[derive(Debug, Parser)]
#[command(name = "catalogctl", version, after_long_help = EXIT_STATUSES.as_str(), propagate_version = true)]
pub struct Cli {
    /// Which cluster.
    #[command(flatten)]
    pub named: Named,
    /// How it is printed: json is one document, of long lists and streams one a line; its names are those of the HTTP
    /// interface
    #[arg(short, long, global = true, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
    /// How long one request may take, with its repetitions, in seconds
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 15, value_parser = value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lists the items, by number
    List {
        /// Only those of this topic
        #[arg(long, value_parser = topic)]
        topic: Option<String>,
        /// What part of them, and how new.
        #[command(flatten)]
        part: Part,
    },
    /// Shows an item
    Show {
        /// Its number
        #[arg(value_parser = number())]
        item_number: u64,
        /// Asks for the present: a state that has every write that was acknowledged anywhere before
        #[arg(long)]
        linearizable: bool,
    },
    /// Finds items by words of their titles, or beginnings of words
    Search {
        /// All of them must be there
        #[arg(required = true)]
        words: Vec<String>,
        /// Only those of this topic
        #[arg(long, value_parser = topic)]
        topic: Option<String>,
        /// What part of them, and how new.
        #[command(flatten)]
        part: Part,
    },
    /// Buys items: all of them, or none if one is short
    #[command(
        after_help = "catalogctl buy 7         one of item 7\ncatalogctl buy 1 4x2     one of item 1 and two of item 4; 4:2 says the same"
    )]
    Buy {
        /// An item's number, and how many: 4x2 or 4:2; without, one
        #[arg(required = true, value_name = "ITEM[xQUANTITY]")]
        lines: Vec<Line>,
        /// Its key.
        #[command(flatten)]
        key: Key,
    },
    /// Shows an order, or lists them as they were placed
    Orders {
        /// Its id
        id: Option<String>,
        /// No more than so many
        #[arg(long, value_name = "COUNT", conflicts_with = "id", value_parser = value_parser!(u64).range(1..))]
        limit: Option<u64>,
        /// Only those placed after the one of this revision and place, as in the next of a page
        #[arg(long, value_name = "REVISION.PLACE", conflicts_with = "id")]
        after: Option<String>,
    },
    /// Sets what an item costs
    SetCost {
        /// Its number
        #[arg(value_parser = number())]
        item_number: u64,
        /// What one costs from now on
        #[arg(value_parser = amount())]
        cost: u64,
        /// Its key.
        #[command(flatten)]
        key: Key,
    },
    /// Adds to an item's stock, or takes from it
    AddStock {
        /// Its number
        #[arg(value_parser = number())]
        item_number: u64,
        /// How many; below zero to take away
        #[arg(allow_negative_numbers = true, value_parser = value_parser!(i64).range(-(MAX_NUMBER as i64)..=MAX_NUMBER as i64))]
        delta: i64,
        /// Its key.
        #[command(flatten)]
        key: Key,
    },
    /// Adds an item
    Add(Add),
    /// Withdraws an item; its number is never given again
    Withdraw {
        /// Its number
        #[arg(value_parser = number())]
        item_number: u64,
        /// Its key.
        #[command(flatten)]
        key: Key,
    },
    /// Follows the changes of items as they are committed, a line each; goes on by itself when it is cut off
    Watch {
        /// Begins behind this revision, instead of now
        #[arg(long, value_name = "REVISION")]
        after: Option<u64>,
        /// Ends after so many changes
        #[arg(long, value_name = "CHANGES", value_parser = value_parser!(u64).range(1..))]
        count: Option<u64>,
    },
    /// Shows every server: up or down, who leads, how far each replica is
    Status {
        /// Shows it anew every second
        #[arg(long)]
        watch: bool,
    },
    /// Adds the items of a CSV file, all of them once, however often it is interrupted and run again
    #[command(long_about = IMPORT)]
    Import(Import),
    /// Writes all items as CSV, in the form that import reads
    Export {
        /// The file, which is there in full or not at all; standard output without
        file: Option<PathBuf>,
    },
    /// Loads the store for some seconds, and tells what it could take
    Bench(Bench),
    /// Has a replica write a snapshot, and waits until it is there
    Snapshot {
        /// A replica's name, as catalog-2, or all
        #[arg(default_value = "all")]
        node: String,
    },
    /// Has the leader hand over to another replica
    TransferLeader {
        /// To which, as catalog-2; without, to the one that has the most of the log
        node: Option<String>,
    },
    /// Prints what has a shell complete this command's words
    Completions {
        /// Which
        shell: Shell,
    },
    /// Prints the manual page: catalogctl man | man -l -
    Man {
        /// Of this command alone
        #[arg(conflicts_with = "folder")]
        command: Option<String>,
        /// Writes all pages into this folder instead
        #[arg(long, value_name = "FOLDER")]
        folder: Option<PathBuf>,
    },
}

const IMPORT: &str = "\
Adds the items of a CSV file, all of them once, however often it is interrupted and run again.

The header is item_number,title,topic,cost,quantity, in any order. The whole file is checked first, and nothing is sent \
while a line is wrong. Then it goes out in parts of 1,000 rows, each added whole or not at all. What is done is noted in \
FILE.import-progress beside the file: after an interruption, of whatever kind, the same command goes on where it was, and no \
row takes effect twice. The note goes when all is done.";

/// A part of a list.
#[derive(Debug, Clone, Args)]
pub struct Part {
    /// No more than so many
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Only numbers above this one
    #[arg(long, value_name = "ITEM", value_parser = amount())]
    pub after: Option<u64>,
    /// Asks for the present: a state that has every write that was acknowledged anywhere before
    #[arg(long)]
    pub linearizable: bool,
}

/// What makes a write one write.
#[derive(Debug, Clone, Args)]
pub struct Key {
    /// The key of this write, 1 to 255 visible ASCII characters: given again, it is not done again. Made anew without
    #[arg(long, value_parser = key::parse)]
    key: Option<String>,
}

impl Key {
    /// The key that is given, or a new one.
    pub fn get(&self) -> String {
        self.key.clone().unwrap_or_else(key::fresh)
    }
}

/// A new item.
#[derive(Debug, Args)]
pub struct Add {
    /// 1 to 1024 bytes
    #[arg(long, value_parser = title)]
    pub title: String,
    /// 1 to 256 bytes
    #[arg(long, value_parser = topic)]
    pub topic: String,
    /// What one costs
    #[arg(long, value_parser = amount())]
    pub cost: u64,
    /// How many there are
    #[arg(long, value_parser = amount())]
    pub quantity: u64,
    /// Its number; without, the next free one
    #[arg(long, value_parser = number())]
    pub number: Option<u64>,
    /// Its key.
    #[command(flatten)]
    pub key: Key,
}

/// An import.
#[derive(Debug, Args)]
pub struct Import {
    /// The file; - reads standard input, which cannot be gone on with after an interruption
    #[arg(value_name = "FILE.csv")]
    pub file: PathBuf,
    /// What becomes of rows whose number is an item's already
    #[arg(long, value_enum, default_value = "refuse")]
    pub existing: Existing,
    /// Checks the file and sends nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Forgets an import of this file that was interrupted, and begins with the first row
    #[arg(long)]
    pub restart: bool,
    /// How many parts are under way at a time
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = value_parser!(u8).range(1..=16))]
    pub in_flight: u8,
}

/// What becomes of rows whose number is an item's already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Existing {
    /// Their part of the file is refused
    Refuse,
    /// The item stays as it is
    Keep,
    /// The item gets title, topic and cost of the row, and keeps its stock
    Update,
}

/// A load.
#[derive(Debug, Clone, Args)]
pub struct Bench {
    /// How many connections ask, each one request after the other
    #[arg(long, default_value_t = 16, value_parser = value_parser!(u64).range(1..=MAX_BENCH_CONNECTIONS))]
    pub connections: u64,
    /// For how long
    #[arg(long, default_value_t = 10, value_parser = value_parser!(u64).range(1..=MAX_BENCH_SECONDS))]
    pub seconds: u64,
    /// How many of a hundred requests buy one of an item, for good; the others look an item up
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = value_parser!(u8).range(0..=100))]
    pub buys: u8,
    /// The items: the first so many of the catalogue
    #[arg(long, default_value_t = 1000, value_parser = value_parser!(u64).range(1..=1000))]
    pub items: u64,
}

/// A line of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Which item.
    pub item_number: u64,
    /// How many.
    pub quantity: u64,
}

impl FromStr for Line {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (item, units) = text.split_once(['x', ':']).unwrap_or((text, "1"));
        let whole = |text: &str| text.parse::<u64>().ok().filter(|number| (1..=MAX_NUMBER).contains(number));
        match (whole(item), whole(units)) {
            (Some(item_number), Some(quantity)) => Ok(Self { item_number, quantity }),
            _ => Err("write an item's number, or number and quantity as in 4x2".to_owned()),
        }
    }
}

impl Cli {
    /// What is wrong with the words together, where each by itself is right.
    ///
    /// # Errors
    /// One sentence.
    pub fn check(&self) -> Result<(), String> {
        match &self.command {
            Command::Buy { lines, .. } if lines.len() > MAX_LINES => {
                Err(format!("an order has at most {MAX_LINES} lines, and this one {}: place several", lines.len()))
            }
            Command::Search { words, .. } if words.iter().map(|word| word.len() + 1).sum::<usize>() > MAX_TITLE => {
                Err(format!("these words are longer than {MAX_TITLE} bytes, and so is no title: give fewer"))
            }
            Command::Import(import) if import.restart && import.file.as_os_str() == "-" => {
                Err("an import of standard input is never gone on with: leave out --restart".to_owned())
            }
            _ => Ok(()),
        }
    }
}

fn number() -> RangedU64ValueParser {
    value_parser!(u64).range(1..=MAX_NUMBER)
}

fn amount() -> RangedU64ValueParser {
    value_parser!(u64).range(0..=MAX_NUMBER)
}

fn title(text: &str) -> Result<String, String> {
    of_length(text, MAX_TITLE)
}

fn topic(text: &str) -> Result<String, String> {
    of_length(text, MAX_TOPIC)
}

fn of_length(text: &str, most: usize) -> Result<String, String> {
    if (1..=most).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err(format!("it must be 1 to {most} bytes long"))
    }
}
