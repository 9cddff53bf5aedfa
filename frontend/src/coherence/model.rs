//! The rules against a model: random interleavings of writes, deliveries of the watch, reads that are slow and
//! overtake one another, cuts and compactions of the stream, late ReadIndex answers.
//!
//! The model keeps the whole history of every item. An answer about an item is judged by the stretch of revisions
//! over which its portion of the view was what the answer says: the stretch must not end before any revision at which
//! the front end had told of that item when the read began, nor before what was acknowledged elsewhere longer ago
//! than the freshness bound.

use std::{collections::BTreeMap, ops::RangeInclusive};

use catalog_client::{Action, Answer, Change, Event, Item, ItemNumber, Line, Order, Outcome, Revision, Version};
use proptest::prelude::*;

use super::{Coherence, Micros, Verdict};
use crate::{
    cache::{Bounds, Cache, Key},
    invalidation::{items_named_by, items_told_of},
};

const ITEMS: ItemNumber = 3;
const TOPICS: u64 = 2;
const BOUND: Micros = 10;

/// An item as it stood from a revision on.
#[derive(Debug, Clone, PartialEq)]
struct State {
    topic: u64,
    /// The revision at which title or topic last moved.
    named: Revision,
}

#[derive(Debug, Clone)]
enum Step {
    /// Elsewhere or here, of an item; `topic` moves it, else its stock moves. Acknowledged after `ack` more steps.
    Write {
        item: ItemNumber,
        topic: Option<u64>,
        here: bool,
        ack: usize,
    },
    /// A buy made here, refused: nothing changes but the revision.
    Refused {
        item: ItemNumber,
    },
    Deliver {
        events: usize,
    },
    Read {
        key: Key,
        served_after: usize,
        ahead: u64,
        done_after: usize,
        min_ahead: u64,
    },
    Cut,
    Live,
    Compact,
    AskIndex {
        answered_after: usize,
    },
    Wait {
        micros: Micros,
    },
}

/// What a replica said, on its way.
#[derive(Debug)]
struct Reading {
    key: Key,
    need: Revision,
    /// Steps until a replica serves it, and until its answer is here.
    serve_at: usize,
    done_at: usize,
    ahead: u64,
    read_at: Option<Revision>,
    /// What each read that waits for it requires, of each item.
    required: Vec<Vec<Revision>>,
}

/// What the front end has to know when an acknowledgement arrives.
struct Ack {
    at: usize,
    action: Action,
    answer: Answer,
    item: ItemNumber,
}

struct World {
    now: Micros,
    step: usize,
    /// Of each item, every revision at which it changed.
    history: Vec<BTreeMap<Revision, State>>,
    events: Vec<Event>,
    last: Revision,
    /// When each revision was acknowledged elsewhere.
    committed: BTreeMap<Revision, (Micros, ItemNumber)>,
    live: bool,
    delivered: usize,
    cache: Cache<Revision>,
    coherence: Coherence,
    readings: Vec<Reading>,
    acks: Vec<Ack>,
    indexes: Vec<(usize, Micros, Revision)>,
    /// Of each item, the greatest revision at which an answer so far told of it.
    told: Vec<Revision>,
    hits: usize,
}

impl World {
    fn new(tombstones: usize) -> Self {
        let first = State { topic: 0, named: 1 };
        Self {
            now: 100,
            step: 0,
            history: (0..=ITEMS).map(|_| BTreeMap::from([(1, first.clone())])).collect(),
            events: Vec::new(),
            last: 1,
            committed: BTreeMap::new(),
            live: true,
            delivered: 0,
            cache: Cache::new(Bounds { entries: 8, weight: 1000, tombstones }, 1),
            coherence: {
                let coherence = Coherence::new(BOUND);
                coherence.advance(1);
                coherence.raise_floor(1);
                coherence.prove(100, 1);
                coherence
            },
            readings: Vec::new(),
            acks: Vec::new(),
            indexes: Vec::new(),
            told: vec![1; ITEMS as usize + 1],
            hits: 0,
        }
    }

    /// The stretch of revisions around `at` over which `key` shows of `item` what it shows at `at`.
    fn stretch(&self, key: &Key, item: ItemNumber, at: Revision) -> RangeInclusive<Revision> {
        let history = &self.history[item as usize];
        let portion = |state: &State, changed: Revision| match key {
            Key::Search(topic) => (**topic == *topic_name(state.topic)).then_some(state.named),
            _ => Some(changed),
        };
        let mut stretches: Vec<(Option<Revision>, Revision)> = Vec::new();
        for (&changed, state) in history {
            let shown = portion(state, changed);
            if stretches.last().is_none_or(|(last, _)| *last != shown) {
                stretches.push((shown, changed));
            }
        }
        let next = stretches.iter().position(|(_, from)| *from > at).unwrap_or(stretches.len());
        let end = stretches.get(next).map_or(Revision::MAX, |(_, from)| from - 1);
        stretches[next - 1].1..=end
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Write { item, topic, here, ack } => self.write(*item, *topic, *here, *ack),
            Step::Refused { item } => self.refuse(*item),
            Step::Deliver { events } => (0..*events).for_each(|_| self.deliver()),
            Step::Read { key, served_after, ahead, done_after, min_ahead } => {
                let min = if *min_ahead == 0 { 0 } else { self.last.saturating_sub(*min_ahead) };
                self.read(key.clone(), *served_after, *ahead, *done_after, min);
            }
            Step::Cut => self.live = false,
            Step::Live => self.live = true,
            Step::Compact => self.compact(),
            Step::AskIndex { answered_after } => {
                self.indexes.push((self.step + answered_after, self.now, self.last));
            }
            Step::Wait { micros } => self.now += micros,
        }
        self.step += 1;
        self.arrivals();
    }

    fn write(&mut self, item: ItemNumber, topic: Option<u64>, here: bool, ack: usize) {
        self.last += 1;
        let at = self.last;
        let history = &mut self.history[item as usize];
        let before = history.values().next_back().expect("it has a first state").clone();
        let state = match topic {
            Some(topic) => State { topic, named: at },
            None => before.clone(),
        };
        history.insert(at, state.clone());
        let old_topic = (state.topic != before.topic).then(|| topic_name(before.topic));
        let row = row(item, state.topic, at);
        self.events.push(Event { revision: at, changes: vec![Change::Put { item: row.clone(), old_topic }] });
        if !here {
            self.committed.insert(at, (self.now, item));
            return;
        }
        let (action, outcome) = match topic {
            Some(topic) => (change_topic(item, topic), Outcome::Changed(row)),
            None => (buy(item), Outcome::Placed(order(at).into())),
        };
        let answer = Answer { version: Version { revision: at, n: 0 }, outcome };
        self.acks.push(Ack { at: self.step + ack, action, answer, item });
    }

    fn refuse(&mut self, item: ItemNumber) {
        self.last += 1;
        let outcome = Outcome::OutOfStock { item_number: item, wanted: 1, left: 0 };
        self.events.push(Event { revision: self.last, changes: Vec::new() });
        let answer = Answer { version: Version { revision: self.last, n: 0 }, outcome };
        self.acks.push(Ack { at: self.step, action: buy(item), answer, item });
    }

    fn deliver(&mut self) {
        let Some(event) = self.events.get(self.delivered).filter(|_| self.live) else { return };
        self.cache.apply(std::slice::from_ref(event), event.revision);
        self.coherence.advance(event.revision);
        self.delivered += 1;
    }

    /// History up to the present is gone: everything is dropped, and the stream goes on from the present.
    fn compact(&mut self) {
        self.cache.clear(self.last);
        self.delivered = self.events.len();
        self.coherence.advance(self.last);
    }

    fn read(&mut self, key: Key, served_after: usize, ahead: u64, done_after: usize, min: Revision) {
        let required = (0..=ITEMS).map(|item| self.required(item).max(min)).collect::<Vec<_>>();
        let mut need = self.coherence.need(min);
        match self.coherence.verdict(self.now, min) {
            Verdict::Cache => {
                if let Some(read_at) = self.cache.get(&key) {
                    self.hits += 1;
                    return self.answered(&key, read_at, &required);
                }
            }
            Verdict::Replica => {}
            Verdict::Linearizable => need = need.max(self.last),
        }
        let under_way = self.readings.iter_mut().find(|r| r.key == key && r.need >= need && r.done_at > self.step);
        if let Some(reading) = under_way {
            return reading.required.push(required);
        }
        let serve_at = self.step + served_after;
        let done_at = serve_at + done_after;
        self.readings.push(Reading { key, need, serve_at, done_at, ahead, read_at: None, required: vec![required] });
    }

    /// The least revision at which what a read that begins now says about `item` must still have been so.
    fn required(&self, item: ItemNumber) -> Revision {
        let since = self.now - BOUND;
        let elsewhere = self.committed.iter().filter(|(_, (when, of))| *of == item && *when < since);
        elsewhere.map(|(at, _)| *at).max().unwrap_or(1).max(self.told[item as usize])
    }

    fn answered(&mut self, key: &Key, read_at: Revision, required: &[Revision]) {
        for item in shown(key) {
            let stretch = self.stretch(key, item, read_at);
            assert!(
                *stretch.end() >= required[item as usize],
                "{key:?} answered from {read_at}: of item {item} true during {stretch:?}, required {}",
                required[item as usize],
            );
            self.tell(item, read_at);
        }
    }

    fn arrivals(&mut self) {
        for (_, asked, index) in self.indexes.iter().filter(|(at, ..)| *at <= self.step) {
            self.coherence.prove(*asked, *index);
        }
        let (step, position) = (self.step, self.coherence.position());
        // As the prober does: an answer is of use once the position is there.
        self.indexes.retain(|(at, _, index)| *at > step || *index > position);
        for ack in std::mem::take(&mut self.acks) {
            if ack.at > self.step {
                self.acks.push(ack);
                continue;
            }
            let at = ack.answer.version.revision;
            self.cache.answer(&items_told_of(items_named_by(&ack.action), &ack.answer.outcome), at);
            self.coherence.raise_floor(at);
            self.tell(ack.item, at);
        }
        for mut reading in std::mem::take(&mut self.readings) {
            if reading.read_at.is_none() && reading.serve_at <= self.step {
                // Any replica that has reached the need may serve it, however far ahead or behind.
                reading.read_at = Some((reading.need + reading.ahead).min(self.last));
            }
            match reading.read_at.filter(|_| reading.done_at <= self.step) {
                Some(at) if self.settled(at) => self.finish(&reading, at),
                _ => self.readings.push(reading),
            }
        }
    }

    /// Whether what was read at `at` may be answered now.
    fn settled(&self, at: Revision) -> bool {
        self.coherence.position() >= at || !self.live
    }

    fn finish(&mut self, reading: &Reading, at: Revision) {
        if self.coherence.position() >= at {
            self.cache.fill(reading.key.clone(), at, 1, at);
        } else {
            self.coherence.answer_beyond(at);
        }
        self.coherence.raise_floor(at);
        for required in &reading.required {
            self.answered(&reading.key, at, required);
        }
    }

    fn tell(&mut self, item: ItemNumber, at: Revision) {
        let told = &mut self.told[item as usize];
        *told = (*told).max(at);
    }
}

fn shown(key: &Key) -> RangeInclusive<ItemNumber> {
    match key {
        Key::Lookup(n) | Key::Quantity(n) | Key::V1Item(n) => *n..=*n,
        Key::List | Key::Search(_) => 1..=ITEMS,
    }
}

fn topic_name(topic: u64) -> std::sync::Arc<str> {
    format!("topic {topic}").into()
}

fn row(item_number: ItemNumber, topic: u64, revision: Revision) -> Item {
    let version = Version { revision, n: 0 };
    Item { item_number, title: "t".into(), topic: topic_name(topic), cost: 1, quantity: 1, version }
}

fn order(revision: Revision) -> Order {
    Order { id: Default::default(), version: Version { revision, n: 0 }, time_ms: 0, lines: Vec::new() }
}

fn buy(item_number: ItemNumber) -> Action {
    Action::PlaceOrder { lines: vec![Line { item_number, quantity: 1 }] }
}

fn change_topic(item_number: ItemNumber, topic: u64) -> Action {
    let topic = Some(topic_name(topic));
    Action::ChangeItem { item_number, title: None, topic, cost: None, add_quantity: None, if_match: None }
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        3 => (1..=ITEMS).prop_map(Key::Lookup),
        1 => (1..=ITEMS).prop_map(Key::Quantity),
        2 => Just(Key::List),
        2 => (0..TOPICS).prop_map(|topic| Key::Search(topic_name(topic))),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let write = (1..=ITEMS, proptest::option::of(0..TOPICS), any::<bool>(), 0..6usize);
    let read = (key(), 0..4usize, 0..4u64, 0..8usize, prop_oneof![4 => Just(0), 1 => 1..4u64]);
    prop_oneof![
        6 => write.prop_map(|(item, topic, here, ack)| Step::Write { item, topic, here, ack }),
        1 => (1..=ITEMS).prop_map(|item| Step::Refused { item }),
        6 => (1..3usize).prop_map(|events| Step::Deliver { events }),
        12 => read.prop_map(|(key, served_after, ahead, done_after, min_ahead)| {
            Step::Read { key, served_after, ahead, done_after, min_ahead }
        }),
        1 => Just(Step::Cut),
        2 => Just(Step::Live),
        1 => Just(Step::Compact),
        4 => (0..4usize).prop_map(|answered_after| Step::AskIndex { answered_after }),
        3 => (1..6u64).prop_map(|micros| Step::Wait { micros }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_answer_is_older_than_it_may_be(steps in proptest::collection::vec(step(), 1..80), tombstones in 1..4usize) {
        let mut world = World::new(tombstones);
        for step in &steps {
            world.run(step);
        }
    }
}

#[test]
fn the_model_reaches_hits() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let steps = proptest::collection::vec(step(), 4000).new_tree(&mut runner).expect("a strategy without filters");
    let mut world = World::new(2);
    steps.current().iter().for_each(|step| world.run(step));
    assert!(world.hits > 50, "{} hits: the model tests nothing", world.hits);
}
