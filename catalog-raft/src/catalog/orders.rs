//! Orders: when two commands have the same body, and how an order is placed.
//!
//! Owns the rule of all lines or none, and that stock is never negative.

use std::sync::Arc;

use catalog_client::{Action, Line, MAX_LINES, MAX_NUMBER, Order, OrderId, OrderLine, Outcome, mutant::Mutant};

use super::{draft::Draft, rows, view::View};

/// The body of a command, in the one form that all spellings of it share.
pub(super) struct Body {
    // Of an order: its lines by item, added up.
    lines: Option<Vec<Line>>,
    fingerprint: u64,
}

impl Body {
    pub fn of(action: &Action) -> Self {
        match action {
            Action::PlaceOrder { lines } => {
                let lines = merged(lines);
                Self { fingerprint: rows::fingerprint(&(true, &lines)), lines: Some(lines) }
            }
            other => Self { fingerprint: rows::fingerprint(&(false, other)), lines: None },
        }
    }

    /// The body of the command that placed `order`.
    pub fn of_order(order: &Order) -> Self {
        let line = |line: &OrderLine| Line { item_number: line.item_number, quantity: line.quantity };
        let lines: Vec<Line> = order.lines.iter().map(line).collect();
        Self { fingerprint: rows::fingerprint(&(true, &lines)), lines: Some(lines) }
    }

    /// Equal for equal bodies. It is stored, so what goes into it never changes.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The lines by item, added up; none of other commands than orders.
    pub fn lines(&self) -> &[Line] {
        self.lines.as_deref().unwrap_or_default()
    }

    /// Whether this body placed `order`.
    pub fn is_of(&self, order: &Order) -> bool {
        let ordered = order.lines.iter().map(|line| (line.item_number, line.quantity));
        self.lines().iter().map(|line| (line.item_number, line.quantity)).eq(ordered)
    }
}

/// Lines of one item added up, by item. A sum beyond `u64` stays there: it is refused in any case.
fn merged(lines: &[Line]) -> Vec<Line> {
    let mut merged = lines.to_vec();
    merged.sort_unstable_by_key(|line| line.item_number);
    merged.dedup_by(|line, before| {
        let same = line.item_number == before.item_number;
        if same {
            before.quantity = before.quantity.saturating_add(line.quantity);
        }
        same
    });
    merged
}

/// Places an order: `asked` are its lines as they came, `lines` the same by item and added up.
pub(super) fn place(view: &mut View, draft: &mut Draft, id: OrderId, asked: &[Line], lines: &[Line]) -> Outcome {
    if !(1..=MAX_LINES).contains(&asked.len()) || asked.iter().any(|line| line.quantity == 0) {
        return Outcome::Invalid;
    }
    if lines.iter().any(|line| line.quantity > MAX_NUMBER) {
        return Outcome::TooLarge;
    }
    let priced = match Mutant::OrderLineByLine.is_on() {
        true => price_line_by_line(view, lines),
        false => price(view, lines),
    };
    let lines = match priced {
        Ok(lines) => lines,
        Err(refusal) => return refusal,
    };
    for line in &lines {
        let item = view.item_mut(line.item_number).expect("each line was just priced");
        draft.sells(item);
        item.quantity -= line.quantity;
        item.version = draft.version;
    }
    let time_ms = if Mutant::ApplyReadsClock.is_on() { own_clock() } else { draft.time_ms };
    let order = Arc::new(Order { id, version: draft.version, time_ms, lines });
    draft.placed.push(order.clone());
    Outcome::Placed(order)
}

/// What [`Mutant::OrderLineByLine`] breaks: the lines that can be had are placed without the others.
fn price_line_by_line(view: &View, lines: &[Line]) -> Result<Vec<OrderLine>, Outcome> {
    let priced: Vec<_> = lines.iter().map(|line| price(view, std::slice::from_ref(line))).collect();
    match priced.iter().any(Result::is_ok) {
        true => Ok(priced.into_iter().flatten().flatten().collect()),
        false => price(view, lines),
    }
}

/// What [`Mutant::ApplyReadsClock`] breaks: milliseconds since the Unix epoch, on each replica its own.
fn own_clock() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The lines with their items' titles and costs, if all can be had: a missing item is told before a short one.
fn price(view: &View, lines: &[Line]) -> Result<Vec<OrderLine>, Outcome> {
    let mut short = None;
    let mut total = 0_u128;
    let mut priced = Vec::with_capacity(lines.len());
    for &Line { item_number, quantity } in lines {
        let item = view.item(item_number).ok_or(Outcome::NoSuchItem { item_number })?;
        if item.quantity < quantity && short.is_none() {
            short = Some(Outcome::OutOfStock { item_number, wanted: quantity, left: item.quantity });
        }
        total += u128::from(quantity) * u128::from(item.cost);
        priced.push(OrderLine { item_number, title: item.title.clone(), quantity, unit_cost: item.cost });
    }
    match short {
        Some(refusal) => Err(refusal),
        None if total > u128::from(MAX_NUMBER) => Err(Outcome::TooLarge),
        None => Ok(priced),
    }
}
