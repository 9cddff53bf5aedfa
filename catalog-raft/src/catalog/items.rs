//! The commands on single items: add, change, withdraw, and the first load.
//!
//! Owns their rules. Each checks everything first and then changes; a refusal has changed nothing.

use std::{collections::BTreeSet, sync::Arc};

use catalog_client::{Item, ItemNumber, MAX_NUMBER, MAX_TITLE, MAX_TOPIC, NewItem, Outcome, Version};

use super::{Row, draft::Draft, search::Gathered, view::View};

/// What to change of an item.
pub(super) struct ItemChange<'a> {
    pub title: &'a Option<Arc<str>>,
    pub topic: &'a Option<Arc<str>>,
    pub cost: Option<u64>,
    pub add_quantity: Option<i64>,
}

pub(super) fn add(
    view: &mut View,
    draft: &mut Draft,
    asked: Option<ItemNumber>,
    title: &Arc<str>,
    topic: &Arc<str>,
    cost: u64,
    quantity: u64,
) -> Outcome {
    if !is_title(title) || !is_topic(topic) || asked == Some(0) {
        return Outcome::Invalid;
    }
    // Numbers end at MAX_NUMBER, so the next one cannot overflow.
    let item_number = asked.unwrap_or_else(|| view.greatest_number().unwrap_or(0) + 1);
    if item_number > MAX_NUMBER || cost > MAX_NUMBER || quantity > MAX_NUMBER {
        return Outcome::TooLarge;
    }
    if view.was_given(item_number) {
        return Outcome::NumberTaken { item_number };
    }
    let (title, topic) = (title.clone(), topic.clone());
    let item = Item { item_number, title, topic, cost, quantity, version: draft.version };
    let mut gathered = Gathered::default();
    give(view, draft, item.clone(), &mut gathered);
    view.index(gathered);
    Outcome::Added(item)
}

pub(super) fn change(
    view: &mut View,
    draft: &mut Draft,
    item_number: ItemNumber,
    change: &ItemChange<'_>,
    if_match: Option<Version>,
) -> Outcome {
    let ItemChange { title, topic, cost, add_quantity } = change;
    let empty = title.is_none() && topic.is_none() && cost.is_none() && add_quantity.is_none();
    if empty || !title.as_deref().is_none_or(is_title) || !topic.as_deref().is_none_or(is_topic) {
        return Outcome::Invalid;
    }
    if cost.is_some_and(|cost| cost > MAX_NUMBER) {
        return Outcome::TooLarge;
    }
    let item = match matching(view, item_number, if_match) {
        Ok(item) => item,
        Err(refusal) => return refusal,
    };
    let quantity = i128::from(item.quantity) + i128::from(add_quantity.unwrap_or(0));
    if quantity > i128::from(MAX_NUMBER) {
        return Outcome::TooLarge;
    }
    let Ok(quantity) = u64::try_from(quantity) else {
        return Outcome::BelowZero { item_number, left: item.quantity };
    };
    let changed = Item {
        item_number,
        title: title.as_ref().unwrap_or(&item.title).clone(),
        topic: topic.as_ref().unwrap_or(&item.topic).clone(),
        cost: cost.unwrap_or(item.cost),
        quantity,
        version: draft.version,
    };
    draft.changes(item);
    view.replace(changed.clone());
    Outcome::Changed(changed)
}

pub(super) fn withdraw(
    view: &mut View,
    draft: &mut Draft,
    item_number: ItemNumber,
    if_match: Option<Version>,
) -> Outcome {
    match matching(view, item_number, if_match) {
        Ok(item) => draft.withdraws(item),
        Err(refusal) => return refusal,
    }
    view.withdraw(item_number);
    Outcome::Withdrawn
}

pub(super) fn load(view: &mut View, draft: &mut Draft, rows: &[NewItem]) -> Outcome {
    let mut numbers = BTreeSet::new();
    for row in rows {
        let numbers_fit = (1..=MAX_NUMBER).contains(&row.item_number)
            && row.cost <= MAX_NUMBER
            && row.quantity <= MAX_NUMBER
            && numbers.insert(row.item_number);
        if !numbers_fit || !is_title(&row.title) || !is_topic(&row.topic) {
            return Outcome::Invalid;
        }
    }
    // Many rows come in parts, in ascending order. So one that comes again, or late, loads nothing.
    let least = numbers.first();
    if view.greatest_number().is_some_and(|greatest| least.is_none_or(|least| *least <= greatest)) {
        return Outcome::Loaded(0);
    }
    let mut gathered = Gathered::default();
    for row in rows {
        let NewItem { item_number, cost, quantity, .. } = *row;
        let (title, topic) = (row.title.clone(), row.topic.clone());
        let item = Item { item_number, title, topic, cost, quantity, version: draft.version };
        give(view, draft, item, &mut gathered);
    }
    view.index(gathered);
    Outcome::Loaded(rows.len() as u64)
}

fn give(view: &mut View, draft: &mut Draft, item: Item, gathered: &mut Gathered) {
    draft.added(item.item_number);
    // Not stored yet, so there is no hash to take out later.
    view.insert(item.item_number, Row::Live(item), 0, gathered);
}

/// The live item of this number whose last change is `if_match`, if that is given.
fn matching(view: &View, item_number: ItemNumber, if_match: Option<Version>) -> Result<&Item, Outcome> {
    let item = view.item(item_number).ok_or(Outcome::NoSuchItem { item_number })?;
    match if_match {
        Some(version) if version != item.version => Err(Outcome::ChangedSince { version: item.version }),
        _ => Ok(item),
    }
}

fn is_title(title: &str) -> bool {
    (1..=MAX_TITLE).contains(&title.len())
}

fn is_topic(topic: &str) -> bool {
    (1..=MAX_TOPIC).contains(&topic.len())
}
