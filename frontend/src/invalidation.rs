//! Of which items an outcome tells something, so that nothing older is answered about them afterwards.
//!
//! PURE. Must not know the cache's entries, nor who asked for the write.

use catalog_client::{Action, ItemNumber, Outcome};

/// Whether an outcome tells anything of the items that its command names.
pub fn tells_of_items(outcome: &Outcome) -> bool {
    !matches!(outcome, Outcome::KeyReused | Outcome::Expired | Outcome::Invalid)
}

/// The items of a command of which its outcome tells something, of those that it `named`. A refusal tells something too:
/// that an item is sold out, or gone, or changed since.
pub fn items_told_of(named: Vec<ItemNumber>, outcome: &Outcome) -> Vec<ItemNumber> {
    match outcome {
        _ if !tells_of_items(outcome) => Vec::new(),
        Outcome::Added(item) => vec![item.item_number],
        _ => named,
    }
}

/// The items that a command names.
pub fn items_named_by(action: &Action) -> Vec<ItemNumber> {
    match action {
        Action::AddItem { item_number, .. } => item_number.iter().copied().collect(),
        Action::ChangeItem { item_number, .. } | Action::WithdrawItem { item_number, .. } => vec![*item_number],
        Action::PlaceOrder { lines } => lines.iter().map(|line| line.item_number).collect(),
        Action::LoadItems { items } | Action::ImportItems { items, .. } => {
            items.iter().map(|item| item.item_number).collect()
        }
    }
}
