//! The catalogue written down as plainly as can be: whole copies, whole histories, nothing incremental.

use std::collections::BTreeMap;

use catalog_client::{
    Action, Answer, Command, CommandId, Existing, Item, KeyOrigin, Line, MAX_NUMBER, NewItem, Order, OrderLine,
    Outcome, Revision, TakenRow, Version,
};

use super::Limits;

#[derive(Debug, Clone)]
struct Executed {
    command: Command,
    answer: Answer,
}

#[derive(Debug, Clone)]
pub struct Model {
    limits: Limits,
    /// `None` for a withdrawn item.
    pub items: BTreeMap<u64, Option<Item>>,
    pub orders: Vec<Order>,
    horizon: Revision,
    /// Every command ever executed.
    executed: Vec<Executed>,
}

impl Model {
    pub fn new(limits: Limits) -> Self {
        Self { limits, items: BTreeMap::new(), orders: Vec::new(), horizon: 0, executed: Vec::new() }
    }

    pub fn apply(&mut self, index: Revision, time_ms: u64, commands: &[Command]) -> Vec<Answer> {
        let mut answers = Vec::new();
        for (n, command) in (0..).zip(commands) {
            answers.push(self.answer(Version { revision: index, n }, time_ms, command));
        }
        self.horizon = self.horizon.max(index.saturating_sub(self.limits.revisions));
        while self.remembered().count() > self.limits.records {
            let oldest = self.remembered().map(|e| e.answer.version.revision).min().unwrap();
            if oldest == index {
                break;
            }
            self.horizon = oldest + 1;
        }
        answers
    }

    fn remembered(&self) -> impl Iterator<Item = &Executed> {
        self.executed.iter().filter(|e| e.answer.version.revision >= self.horizon)
    }

    fn answer(&mut self, version: Version, time_ms: u64, command: &Command) -> Answer {
        let refuse = |outcome| Answer { version, outcome };
        if let Some(first) = self.remembered().find(|e| e.command.id == command.id) {
            let same = body(&first.command.action) == body(&command.action);
            return if same { first.answer.clone() } else { refuse(Outcome::KeyReused) };
        }
        let expired = command.born < self.horizon;
        let ordered =
            self.executed.iter().find(|e| e.command.id == command.id && matches!(e.answer.outcome, Outcome::Placed(_)));
        if let Some(first) = ordered
            && (expired || command.origin == KeyOrigin::Client)
        {
            let same = body(&first.command.action) == body(&command.action);
            return if same { first.answer.clone() } else { refuse(Outcome::KeyReused) };
        }
        if expired || command.born > version.revision {
            return refuse(if expired { Outcome::Expired } else { Outcome::Invalid });
        }
        let before = self.items.clone();
        let outcome = self.execute(version, time_ms, command.id, &command.action);
        if !outcome.took_effect() {
            self.items = before;
        }
        let answer = Answer { version, outcome };
        self.executed.push(Executed { command: command.clone(), answer: answer.clone() });
        answer
    }

    fn execute(&mut self, version: Version, time_ms: u64, id: CommandId, action: &Action) -> Outcome {
        match action {
            Action::AddItem { item_number, title, topic, cost, quantity } => {
                let next = self.items.keys().max().map_or(1, |greatest| greatest + 1);
                let item_number = item_number.unwrap_or(next);
                if item_number == 0 || title.is_empty() || topic.is_empty() {
                    return Outcome::Invalid;
                }
                if [item_number, *cost, *quantity].iter().any(|n| *n > MAX_NUMBER) {
                    return Outcome::TooLarge;
                }
                if self.items.contains_key(&item_number) {
                    return Outcome::NumberTaken { item_number };
                }
                let (title, topic) = (title.clone(), topic.clone());
                let item = Item { item_number, title, topic, cost: *cost, quantity: *quantity, version };
                self.items.insert(item_number, Some(item.clone()));
                Outcome::Added(item)
            }
            Action::ChangeItem { item_number, title, topic, cost, add_quantity, if_match } => {
                if (title, topic, cost, add_quantity) == (&None, &None, &None, &None) {
                    return Outcome::Invalid;
                }
                if cost.unwrap_or(0) > MAX_NUMBER {
                    return Outcome::TooLarge;
                }
                let item = match self.live(*item_number, *if_match) {
                    Ok(item) => item,
                    Err(refusal) => return refusal,
                };
                let left = item.quantity;
                let quantity = i128::from(left) + i128::from(add_quantity.unwrap_or(0));
                item.title = title.clone().unwrap_or(item.title.clone());
                item.topic = topic.clone().unwrap_or(item.topic.clone());
                item.cost = cost.unwrap_or(item.cost);
                item.version = version;
                match quantity {
                    ..0 => return Outcome::BelowZero { item_number: *item_number, left },
                    _ if quantity > i128::from(MAX_NUMBER) => return Outcome::TooLarge,
                    _ => item.quantity = quantity as u64,
                }
                Outcome::Changed(item.clone())
            }
            Action::WithdrawItem { item_number, if_match } => match self.live(*item_number, *if_match) {
                Ok(_) => {
                    self.items.insert(*item_number, None);
                    Outcome::Withdrawn
                }
                Err(refusal) => refusal,
            },
            Action::PlaceOrder { lines } => self.place(version, time_ms, id, lines),
            Action::LoadItems { items } => {
                let above = |new: &NewItem| self.items.keys().all(|given| *given < new.item_number);
                if !items.iter().all(above) {
                    return Outcome::Loaded(0);
                }
                for new in items {
                    let (title, topic) = (new.title.clone(), new.topic.clone());
                    let item_number = new.item_number;
                    let item = Item { item_number, title, topic, cost: new.cost, quantity: new.quantity, version };
                    self.items.insert(item_number, Some(item));
                }
                Outcome::Loaded(items.len() as u64)
            }
            Action::ImportItems { items, existing } => self.import(version, items, *existing),
        }
    }

    /// Row by row, as if each came alone: what is refused is undone whole.
    fn import(&mut self, version: Version, items: &[NewItem], existing: Existing) -> Outcome {
        let mut numbers: Vec<_> = items.iter().map(|new| new.item_number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let fits = |new: &NewItem| {
            (1..=MAX_NUMBER).contains(&new.item_number)
                && new.cost.max(new.quantity) <= MAX_NUMBER
                && !new.title.is_empty()
        };
        if items.is_empty() || numbers.len() < items.len() || !items.iter().all(fits) {
            return Outcome::Invalid;
        }
        let (mut added, mut updated, mut kept) = (0, 0, 0);
        let mut rows = Vec::new();
        for (index, new) in (0..).zip(items) {
            let item_number = new.item_number;
            let (title, topic) = (new.title.clone(), new.topic.clone());
            let item = Item { item_number, title, topic, cost: new.cost, quantity: new.quantity, version };
            match self.items.get(&item_number).cloned() {
                None => {
                    self.items.insert(item_number, Some(item));
                    added += 1;
                }
                Some(None) => rows.push(TakenRow { index, withdrawn: true, item_number }),
                Some(Some(_)) if existing == Existing::Refuse => {
                    rows.push(TakenRow { index, withdrawn: false, item_number });
                }
                Some(Some(old)) => {
                    let with_its_stock = Item { quantity: old.quantity, ..item };
                    let is_same = Item { version: old.version, ..with_its_stock.clone() } == old;
                    if is_same || existing == Existing::Keep {
                        kept += 1;
                    } else {
                        self.items.insert(item_number, Some(with_its_stock));
                        updated += 1;
                    }
                }
            }
        }
        if rows.is_empty() {
            Outcome::Imported { added, updated, kept }
        } else {
            Outcome::RowsTaken { count: rows.len() as u64, rows }
        }
    }

    fn place(&mut self, version: Version, time_ms: u64, id: CommandId, asked: &[Line]) -> Outcome {
        if asked.is_empty() || asked.iter().any(|line| line.quantity == 0) {
            return Outcome::Invalid;
        }
        let wanted = added_up(asked);
        if wanted.values().any(|wanted| *wanted > u128::from(MAX_NUMBER)) {
            return Outcome::TooLarge;
        }
        for &item_number in wanted.keys() {
            if self.live(item_number, None).is_err() {
                return Outcome::NoSuchItem { item_number };
            }
        }
        let mut lines = Vec::new();
        let mut total = 0;
        for (&item_number, &wanted) in &wanted {
            let item = self.live(item_number, None).unwrap();
            let (quantity, left) = (wanted as u64, item.quantity);
            if quantity > left {
                return Outcome::OutOfStock { item_number, wanted: quantity, left };
            }
            item.quantity -= quantity;
            item.version = version;
            total += wanted * u128::from(item.cost);
            lines.push(OrderLine { item_number, title: item.title.clone(), quantity, unit_cost: item.cost });
        }
        if total > u128::from(MAX_NUMBER) {
            return Outcome::TooLarge;
        }
        let order = Order { id, version, time_ms, lines };
        self.orders.push(order.clone());
        Outcome::Placed(order.into())
    }

    fn live(&mut self, item_number: u64, if_match: Option<Version>) -> Result<&mut Item, Outcome> {
        let item = self.items.get_mut(&item_number).and_then(Option::as_mut);
        let item = item.ok_or(Outcome::NoSuchItem { item_number })?;
        match if_match {
            Some(version) if version != item.version => Err(Outcome::ChangedSince { version: item.version }),
            _ => Ok(item),
        }
    }
}

fn added_up(lines: &[Line]) -> BTreeMap<u64, u128> {
    let mut wanted = BTreeMap::new();
    for line in lines {
        *wanted.entry(line.item_number).or_default() += u128::from(line.quantity);
    }
    wanted
}

/// What makes two bodies the same.
fn body(action: &Action) -> (Option<BTreeMap<u64, u128>>, Option<&Action>) {
    match action {
        Action::PlaceOrder { lines } => (Some(added_up(lines)), None),
        other => (None, Some(other)),
    }
}
