//! Sends one batch, and finds out what became of it.
//!
//! # A batch whose answer was lost
//!
//! It is sent again under the same key, and as long as the store remembers that, it gives the first answer. It forgets a key
//! after 50,000 changes. A batch that is sent again later than that is a new one to the store:
//! `--existing keep` leaves its items as they are, `update` writes the same over them, and both come to the same whether it was
//! done before or not (only what is counted as added is then counted as kept or updated). `refuse` would say that the numbers are
//! taken, and be wrong in the matter: taken by this very file. So a batch that may have been done, and of which *all* numbers
//! are taken, is compared with the store: if each item has title and topic of its row, it was done. Cost and stock
//! are not compared, since both may have moved on. If one differs the operator decides, and is told the lines.

use futures::{StreamExt, stream};
use serde::Deserialize;

use super::batches::Batch;
use crate::{
    http::{Ask, Store, Trouble},
    wire::{Added, Item, Problem},
};

/// Items that are looked at side by side.
const LOOKS: usize = 16;

/// Why a batch is not done.
#[derive(Debug, PartialEq)]
pub enum NotDone {
    /// The store refuses it: nothing of it was done.
    Refused(Refused),
    /// Nobody could do it.
    Unavailable(String),
    /// It may have been done.
    Unknown(String),
}

/// A refusal of a batch.
#[derive(Debug, PartialEq)]
pub struct Refused {
    /// In one sentence.
    pub why: String,
    /// Lines at fault, and what is wrong there; the first of them.
    pub lines: Vec<(u64, String)>,
    /// How many there are.
    pub count: u64,
}

/// The members of a refusal that say which rows it is about.
#[derive(Deserialize)]
struct AtFault {
    #[serde(default)]
    items: Vec<RowAtFault>,
    count: Option<u64>,
}

#[derive(Deserialize)]
struct RowAtFault {
    index: usize,
    item_number: serde_json::Value,
    why: String,
}

/// Has `batch` done under `key`. `may_be_done`: whether it was sent before, and what became of it was not learnt.
///
/// # Errors
/// Why it is not done, or is not known to be.
pub async fn send(store: &Store, batch: &Batch, key: &str, may_be_done: bool) -> Result<Added, NotDone> {
    let ask = Ask::post("/v1/items:batch", batch.body.clone(), key);
    match store.send(&ask).await {
        Ok(answer) => {
            // It was done, whatever this means.
            answer.json().map_err(|_| NotDone::Unknown("the answer is not one".to_owned()))
        }
        Err(Trouble::Refused { problem, doubt }) => refused(store, batch, &problem, doubt || may_be_done).await,
        Err(Trouble::Unavailable(why)) if may_be_done => Err(NotDone::Unknown(why)),
        Err(Trouble::Unavailable(why)) => Err(NotDone::Unavailable(why)),
        Err(Trouble::Unknown(why)) => Err(NotDone::Unknown(why)),
    }
}

async fn refused(store: &Store, batch: &Batch, problem: &Problem, doubt: bool) -> Result<Added, NotDone> {
    let refusal = refusal(batch, problem);
    match problem.code.as_str() {
        // It was too long on its way. Sent again it is a new one.
        "expired" if doubt => Err(NotDone::Unknown(problem.detail.clone())),
        "expired" => Err(NotDone::Unavailable(problem.detail.clone())),
        "number-taken" if doubt && refusal.count == batch.lines.len() as u64 => {
            let different = different(store, batch).await?;
            if different.is_empty() {
                return Ok(Added { added: batch.lines.len() as u64, ..Added::default() });
            }
            let why = "an earlier run has sent these rows and lost the answer, and what has their numbers now is not as in the file";
            let count = different.len() as u64;
            Err(NotDone::Refused(Refused { why: why.to_owned(), lines: different, count }))
        }
        _ => Err(NotDone::Refused(refusal)),
    }
}

fn refusal(batch: &Batch, problem: &Problem) -> Refused {
    let fault: AtFault =
        serde_json::from_value(problem.members.clone()).unwrap_or(AtFault { items: Vec::new(), count: None });
    let count = fault.count.unwrap_or(fault.items.len() as u64);
    let line = |row: RowAtFault| {
        let why = match row.why.as_str() {
            "taken" => format!("item {} is there already", row.item_number),
            "withdrawn" => format!("item {} was withdrawn, and its number is never given again", row.item_number),
            why => format!("item {}: {why}", row.item_number),
        };
        Some((*batch.lines.get(row.index)?, why))
    };
    let why = match problem.code.as_str() {
        "number-taken" => {
            format!("{count} rows have numbers that are given already, and nothing of their part was added")
        }
        _ => problem.detail.clone(),
    };
    Refused { why, lines: fault.items.into_iter().filter_map(line).collect(), count }
}

/// The rows that are not, by title and topic, what the store has under their numbers.
async fn different(store: &Store, batch: &Batch) -> Result<Vec<(u64, String)>, NotDone> {
    let looks = batch.rows().into_iter().zip(&batch.lines).map(|(row, line)| async move {
        // The present: an item of another state may be one of before the batch.
        let ask = Ask::get(format!("/v1/items/{}?read=linearizable", row.item_number));
        let n = row.item_number;
        match store.send(&ask).await {
            Ok(answer) => {
                let item: Item = answer.json().map_err(|_| NotDone::Unknown("the answer is not one".to_owned()))?;
                let same = (&item.title, &item.topic) == (&row.title, &row.topic);
                Ok((!same).then(|| (*line, format!("item {n} has another title or topic"))))
            }
            Err(Trouble::Refused { .. }) => Ok(Some((*line, format!("item {n} was withdrawn")))),
            Err(Trouble::Unavailable(why) | Trouble::Unknown(why)) => Err(NotDone::Unknown(why)),
        }
    });
    let looks: Vec<Result<Option<(u64, String)>, NotDone>> = stream::iter(looks).buffered(LOOKS).collect().await;
    looks.into_iter().filter_map(Result::transpose).collect()
}
