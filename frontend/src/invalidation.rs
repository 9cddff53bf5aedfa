//! Of which items an outcome tells something, so that nothing older is answered about them afterwards.
//!
//! PURE. Must not know the cache's entries, nor who asked for the write.

use catalog_client::{Action, ItemNumber, Outcome};

/// Whether an outcome tells anything of the items that its command names.
pub fn tells_of_items(outcome: &Outcome) -> bool {
    !matches!(outcome, Outcome::KeyReused | Outcome::Expired | Outcome::Invalid)
}

/// The items of a command of which its outcome tells something. A refusal tells something too: that an item is sold
/// out, or gone, or changed since.
pub fn items_told_of(action: &Action, outcome: &Outcome) -> Vec<ItemNumber> {
    match (action, outcome) {
        _ if !tells_of_items(outcome) => Vec::new(),
        (Action::AddItem { .. }, Outcome::Added(item)) => vec![item.item_number],
        (Action::AddItem { item_number, .. }, _) => item_number.iter().copied().collect(),
        (Action::ChangeItem { item_number, .. } | Action::WithdrawItem { item_number, .. }, _) => vec![*item_number],
        (Action::PlaceOrder { lines }, _) => lines.iter().map(|line| line.item_number).collect(),
        (Action::LoadItems { items } | Action::ImportItems { items, .. }, _) => {
            items.iter().map(|item| item.item_number).collect()
        }
    }
}
