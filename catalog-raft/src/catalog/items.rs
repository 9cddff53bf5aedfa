//! The commands on items: add, change, withdraw, the first load, and imports.
//!
//! Owns their rules. Each checks everything first and then changes; a refusal has changed nothing.

use std::{collections::BTreeSet, sync::Arc};

use catalog_client::{
    Existing, Item, ItemNumber, MAX_IMPORT, MAX_NAMED_ROWS, MAX_NUMBER, MAX_TITLE, MAX_TOPIC, NewItem, Outcome,
    TakenRow, Version,
};

use super::{
    Row,
    draft::Draft,
    search::Gathered,
    view::{NewRow, View},
};

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
    give(view, draft, vec![item.clone()]);
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
    let Some(numbers) = distinct(rows) else { return Outcome::Invalid };
    // Many rows come in parts, in ascending order. So one that comes again, or late, loads nothing.
    let least = numbers.first();
    if view.greatest_number().is_some_and(|greatest| least.is_none_or(|least| *least <= greatest)) {
        return Outcome::Loaded(0);
    }
    let items = rows.iter().map(|row| item_of(row, draft.version)).collect();
    give(view, draft, items);
    Outcome::Loaded(rows.len() as u64)
}

/// Adds the rows whose numbers were never given. Of the others, an item stays, or changes but for its stock.
pub(super) fn import(view: &mut View, draft: &mut Draft, rows: &[NewItem], existing: Existing) -> Outcome {
    if !(1..=MAX_IMPORT).contains(&rows.len()) || distinct(rows).is_none() {
        return Outcome::Invalid;
    }
    let taken = |(index, row): (u32, &NewItem)| {
        let withdrawn = view.item(row.item_number).is_none();
        let is_taken = view.was_given(row.item_number) && (withdrawn || existing == Existing::Refuse);
        is_taken.then_some(TakenRow { index, withdrawn, item_number: row.item_number })
    };
    let mut taken: Vec<TakenRow> = (0..).zip(rows).filter_map(taken).collect();
    if !taken.is_empty() {
        let count = taken.len() as u64;
        taken.truncate(MAX_NAMED_ROWS);
        // It is remembered for as long as the key is.
        taken.shrink_to_fit();
        return Outcome::RowsTaken { count, rows: taken };
    }
    let (mut updated, mut kept) = (0, 0);
    let mut new = Vec::new();
    for row in rows {
        match view.item(row.item_number) {
            None => new.push(item_of(row, draft.version)),
            Some(item) if existing == Existing::Update && differs(item, row) => {
                // What is equal stays the same text: those of one topic share it.
                let text = |old: &Arc<str>, new: &Arc<str>| if old == new { old.clone() } else { new.clone() };
                let (title, topic) = (text(&item.title, &row.title), text(&item.topic, &row.topic));
                let changed = Item { title, topic, cost: row.cost, version: draft.version, ..*item };
                draft.changes(item);
                view.replace(changed);
                updated += 1;
            }
            Some(_) => kept += 1,
        }
    }
    let added = new.len() as u64;
    give(view, draft, new);
    Outcome::Imported { added, updated, kept }
}

/// Whether an import changes anything of an item.
fn differs(item: &Item, row: &NewItem) -> bool {
    (&item.title, &item.topic, item.cost) != (&row.title, &row.topic, row.cost)
}

fn item_of(row: &NewItem, version: Version) -> Item {
    let NewItem { item_number, cost, quantity, .. } = *row;
    Item { item_number, title: row.title.clone(), topic: row.topic.clone(), cost, quantity, version }
}

/// The numbers of rows, if each row is one that an item can be, and no number comes twice.
fn distinct(rows: &[NewItem]) -> Option<BTreeSet<ItemNumber>> {
    let mut numbers = BTreeSet::new();
    let mut fits = |row: &NewItem| {
        (1..=MAX_NUMBER).contains(&row.item_number)
            && row.cost <= MAX_NUMBER
            && row.quantity <= MAX_NUMBER
            && is_title(&row.title)
            && is_topic(&row.topic)
            && numbers.insert(row.item_number)
    };
    rows.iter().all(&mut fits).then_some(numbers)
}

/// Adds items under numbers that were never given, each of them once.
fn give(view: &mut View, draft: &mut Draft, mut items: Vec<Item>) {
    items.sort_unstable_by_key(|item| item.item_number);
    items.iter().for_each(|item| draft.added(item.item_number));
    // Not stored yet, so there is no hash to take out later.
    let row = |item: Item| NewRow { item_number: item.item_number, row: Row::Live(item), hash: 0 };
    let mut gathered = Gathered::default();
    view.insert(items.into_iter().map(row).collect(), &mut gathered);
    view.index(gathered);
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
