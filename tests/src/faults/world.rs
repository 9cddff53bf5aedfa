//! Brings a cluster into the state that all faults of the moment ask for together, and notes what was done when. Must not
//! decide what is done.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    time::Duration,
};

use anyhow::Context;

use super::{
    disks::Disks,
    effect::{Effect, View, merged},
    plan::Planned,
    strangers::Strangers,
};
use crate::{
    checks::Violation,
    cluster::{STOP_PATIENCE, TestCluster},
    disk::Disk,
    net::Cut,
};

/// The folder in which a replica makes and installs snapshots, and the most changes to it that one of them takes.
const SNAPSHOTS: (&str, f64) = ("snapshots", 8.0);
/// What a replica says that ends because of a damaged disk: what to do.
const SAYS_WHAT_TO_DO: [&str; 2] = ["new id", "this replica ends"];
/// Lines of a server's log that tell why it ended.
const LAST_WORDS: usize = 12;

/// What is done once to a server that is down, before it is started again.
#[derive(Debug, Clone, Copy)]
enum Blow {
    /// What it has not synced is gone.
    PowerLost,
    /// It dies at the n-th change that it makes to its snapshots.
    Doom(u64),
    /// A bit on its disk flips.
    Damage,
    /// The disk of before the damage is put back.
    Repair,
    /// It is only started again.
    Revive,
}

/// A cluster and the faults that are on.
#[derive(Debug)]
pub struct World<'a> {
    cluster: &'a TestCluster,
    disks: &'a Disks,
    /// Of what a loss of power takes; the next one gets the next number.
    seed: u64,
    view: View,
    active: BTreeMap<usize, Effect>,
    strangers: BTreeMap<usize, Strangers>,
    down: BTreeSet<String>,
    paused: BTreeSet<String>,
    full: BTreeSet<String>,
    /// How long the log of a damaged replica was before it was started.
    said: usize,
    /// How often each kind of fault did something.
    pub counts: BTreeMap<&'static str, u64>,
    /// What was done, one line a step.
    pub log: String,
    /// Servers that ended by themselves.
    pub violations: Vec<Violation>,
}

impl<'a> World<'a> {
    /// A cluster that is whole.
    pub fn new(cluster: &'a TestCluster, disks: &'a Disks, seed: u64) -> Self {
        let names = |kind: &str| cluster.cluster.nodes().into_iter().filter(|node| node.starts_with(kind)).collect();
        let (catalogs, orders, fronts) = (cluster.catalogs(), names("order"), names("frontend"));
        Self {
            cluster,
            disks,
            seed,
            view: View { catalogs, orders, fronts, leader: None },
            active: BTreeMap::new(),
            strangers: BTreeMap::new(),
            down: BTreeSet::new(),
            paused: BTreeSet::new(),
            full: BTreeSet::new(),
            said: 0,
            counts: BTreeMap::new(),
            log: String::new(),
            violations: Vec::new(),
        }
    }

    /// Begins a fault, at this moment of the history.
    pub async fn begin(&mut self, now: Duration, id: usize, planned: &Planned) {
        self.view.leader = self.leader().await;
        let effect = Effect::of(&planned.fault, &self.view);
        let lasts = planned.end.saturating_sub(planned.start).as_millis();
        let Effect { down, paused, full, .. } = &effect;
        let mut hits: Vec<&str> = [down, paused, full].into_iter().flatten().map(String::as_str).collect();
        hits.extend(effect.mortal().map(String::as_str));
        let (hits, links) = (hits.join(", "), merged([&effect]));
        let links: Vec<String> = links.into_iter().map(|((from, to), link)| format!("{from}>{to} {link:?}")).collect();
        let (name, leader) = (planned.fault.kind.name(), self.view.leader.as_deref().unwrap_or("nobody"));
        let how = planned.fault.how;
        self.note(
            now,
            &format!("begins {id}: {name} for {lasts} ms ({leader} leads) {how:?} {hits} {}", links.join("; ")),
        );
        if !self.does_something(&effect) {
            self.note(now, "that changes nothing");
            if !effect.damaged.is_empty() {
                return;
            }
        } else if effect.doomed.is_empty() {
            // Whether somebody dies within a snapshot is not known before.
            *self.counts.entry(name).or_default() += 1;
        }
        let (pestered, crowded, severity) = (&effect.pestered, &effect.crowded, planned.fault.severity);
        if !pestered.is_empty() {
            self.strangers.insert(id, Strangers::pester(self.cluster, pestered, self.seed));
        } else if !crowded.is_empty() {
            self.strangers.insert(id, Strangers::crowd(self.cluster, crowded, severity));
        }
        let damaged = effect.damaged.clone();
        self.active.insert(id, effect);
        self.settle(now, &damaged, Blow::Damage);
    }

    /// A fault strikes: power goes, whoever met a sync that failed is gone, whoever is to die within a snapshot starts.
    pub fn strike(&mut self, now: Duration, id: usize, planned: &Planned) {
        let Some(effect) = self.active.get_mut(&id) else { return };
        effect.strike();
        let (powerless, doomed) = (effect.powerless.clone(), effect.doomed.clone());
        if !powerless.is_empty() {
            self.settle(now, &powerless, Blow::PowerLost);
        }
        if !doomed.is_empty() {
            let nth = 1 + (planned.fault.severity * SNAPSHOTS.1) as u64;
            self.settle(now, &doomed, Blow::Doom(nth));
        }
    }

    /// Ends a fault.
    pub fn end(&mut self, now: Duration, id: usize, planned: &Planned) {
        self.note(now, &format!("ends {id}"));
        let Some(effect) = self.active.remove(&id) else { return };
        if let Some(strangers) = self.strangers.remove(&id) {
            self.note(now, &format!("they were {} times there, or answered", strangers.served()));
        }
        for node in &effect.damaged {
            self.judge_damaged(now, node);
        }
        let dead = effect.doomed.iter().filter(|node| self.has_died(node)).cloned().collect::<Vec<_>>();
        effect.doomed.iter().for_each(|node| self.layer().die_at(node, 0, ""));
        if !dead.is_empty() {
            self.note(now, &format!("{} died within a snapshot", dead.join(", ")));
            *self.counts.entry(planned.fault.kind.name()).or_default() += 1;
        }
        let blow = match planned.fault.how {
            _ if !effect.damaged.is_empty() => Blow::Repair,
            Cut::Refused => Blow::PowerLost,
            _ => Blow::Revive,
        };
        let hit = if effect.damaged.is_empty() { &dead } else { &effect.damaged };
        self.settle(now, hit, blow);
    }

    /// Looks whether all faults have ended.
    ///
    /// # Panics
    /// When the plan forgot to end one.
    pub fn end_all(&mut self, now: Duration) {
        assert!(self.active.is_empty(), "faults without an end: {:?}", self.active);
        self.note(now, "all is healed");
        self.settle(now, &[], Blow::Revive);
    }

    fn layer(&self) -> &Disk {
        self.disks.layer().expect("a plan has no faults that its disks cannot have")
    }

    /// Whether a replica that was to die within a snapshot has done so, or is about to be gone.
    fn has_died(&self, node: &str) -> bool {
        !self.down.contains(node) && !self.layer().is_to_die(node)
    }

    /// A replica on a damaged disk may have gone on, if the bit meant nothing; if it has ended, it must have said what to do.
    fn judge_damaged(&mut self, now: Duration, node: &str) {
        if self.cluster.cluster.process(node).is_some() || self.down.contains(node) {
            self.note(now, &format!("{node} runs with a flipped bit, or was ended"));
            return;
        }
        let log = self.cluster.log(node);
        let told = log.get(self.said..).unwrap_or_default();
        self.note(now, &format!("{node} does not run with a flipped bit"));
        if !SAYS_WHAT_TO_DO.iter().any(|what| told.contains(what)) {
            let what = format!("{node} ended of a flipped bit and says only: {told:.1500}");
            self.violations.push(Violation { property: "damage", what });
        }
    }

    /// Whether an effect is more than to keep down who is down already.
    fn does_something(&self, effect: &Effect) -> bool {
        if !effect.damaged.is_empty() {
            // One at a time: it takes part in nothing, and is no part of a majority.
            return self.active.values().all(|active| active.damaged.is_empty());
        }
        let ends = effect.down.iter().chain(&effect.paused).any(|node| !self.down.contains(node));
        let fills = effect.full.iter().any(|node| !self.full.contains(node));
        let Effect { powerless, links, slow, clocks, pestered, crowded, .. } = effect;
        let nobody = powerless.is_empty() && pestered.is_empty() && crowded.is_empty();
        ends || fills || !(nobody && links.is_empty() && slow.is_empty() && clocks.is_empty())
    }

    /// Notes servers that have ended although nothing ended them.
    fn look_for_the_dead(&mut self, now: Duration, but: &[String]) {
        for node in self.cluster.cluster.nodes() {
            if but.contains(&node)
                || self.may_end(&node)
                || self.down.contains(&node)
                || self.cluster.cluster.process(&node).is_some()
            {
                continue;
            }
            let log = self.cluster.log(&node);
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(LAST_WORDS)..].join(" | ");
            let what = format!("{node} ended by itself before {} ms: {last}", now.as_millis());
            self.note(now, &what);
            self.violations.push(Violation { property: "no_exit", what });
            // As an operator would, and so that the rest of the episode is worth something.
            self.down.insert(node);
        }
    }

    async fn leader(&self) -> Option<String> {
        let statuses = self.cluster.statuses().await;
        let leads = statuses.into_values().filter(|status| status.role == "leader");
        leads.max_by_key(|status| status.term).map(|status| status.node)
    }

    /// Brings everything into the state that is wanted. Those who are `hit` are dead on the way, and the blow is done to them.
    fn settle(&mut self, now: Duration, hit: &[String], blow: Blow) {
        self.look_for_the_dead(now, hit);
        self.cluster.net().replace(merged(self.active.values()));
        let wanted = |of: fn(&Effect) -> &Vec<String>| -> BTreeSet<String> {
            self.active.values().flat_map(|effect| of(effect).iter().cloned()).collect()
        };
        let (down, paused) = (wanted(|effect| &effect.down), wanted(|effect| &effect.paused));
        let full = wanted(|effect| &effect.full);
        let start: Vec<String> = self.down.iter().chain(hit).filter(|node| !down.contains(*node)).cloned().collect();
        let mut done = Vec::new();
        let failed = tokio::task::block_in_place(|| {
            let mut failed = self.end_those(&down, hit);
            for node in hit {
                match self.strike_at(node, blow) {
                    Ok(what) => done.push(format!("{node}: {what}")),
                    Err(error) => failed.push((node.clone(), error)),
                }
            }
            failed.extend(self.fill_those(&full));
            self.set_disks();
            for node in &start {
                if let Err(error) = self.cluster.start_node(node) {
                    failed.push((node.clone(), error));
                }
            }
            failed.extend(self.pause_those(&paused, &down, &start));
            failed
        });
        self.seed = self.seed.wrapping_add(1);
        (self.down, self.full) = (down, full);
        self.paused = paused.into_iter().filter(|node| !self.down.contains(node)).collect();
        done.into_iter().for_each(|what| self.note(now, &what));
        for (node, error) in failed {
            // What cannot be signalled has ended by itself, which is seen next time; what cannot be started is a find too.
            let what = format!("{node}: {error:#}");
            self.note(now, &what);
            if start.contains(&node) && !self.may_end(&node) {
                self.violations.push(Violation { property: "no_exit", what });
            }
        }
    }

    /// Whether a server may end by itself at present.
    fn may_end(&self, node: &str) -> bool {
        self.active.values().any(|effect| effect.mortal().any(|mortal| mortal == node))
    }

    /// Ends a server if it runs, and does to it what is to be done. Gives what that was.
    fn strike_at(&mut self, node: &str, blow: Blow) -> anyhow::Result<String> {
        let cluster = &self.cluster.cluster;
        if cluster.process(node).is_some() {
            cluster.kill(node)?;
        }
        Ok(match blow {
            // Whoever was dead already has a disk all the same.
            Blow::PowerLost => format!("{:?}", self.layer().lose_power(node, self.seed)?),
            Blow::Doom(nth) => {
                self.layer().die_at(node, nth, SNAPSHOTS.0);
                format!("dies at change {nth} to its snapshots")
            }
            Blow::Damage => {
                self.said = self.cluster.log(node).len();
                self.layer().damage(node, self.seed)?
            }
            Blow::Repair => {
                self.layer().repair(node)?;
                "has its disk back".to_owned()
            }
            Blow::Revive => "is started again".to_owned(),
        })
    }

    /// Fills the disks of `full` that are not full yet, and clears the others.
    fn fill_those(&self, full: &BTreeSet<String>) -> Vec<(String, anyhow::Error)> {
        let volume = |node: &String| self.disks.volume(node).context("it has no small disk");
        let fill = |node: &String| volume(node)?.fill().map(drop).context("its disk cannot be filled");
        let clear = |node: &String| volume(node)?.clear().context("its disk cannot be cleared");
        let filled = full.difference(&self.full).map(|node| (node.clone(), fill(node)));
        let cleared = self.full.difference(full).map(|node| (node.clone(), clear(node)));
        filled.chain(cleared).filter_map(|(node, result)| Some((node, result.err()?))).collect()
    }

    /// Ends those of `down` that are not down yet.
    fn end_those(&self, down: &BTreeSet<String>, hit: &[String]) -> Vec<(String, anyhow::Error)> {
        let cluster = &self.cluster.cluster;
        let hard = |node: &&String| self.active.values().any(|effect| !effect.gently && effect.down.contains(*node));
        let (kill, stop): (Vec<&String>, Vec<&String>) = down.difference(&self.down).partition(hard);
        // All are signalled before the first is waited for.
        let ended: Vec<_> = std::thread::scope(|scope| {
            let kills = kill.iter().map(|node| (*node, scope.spawn(|| cluster.kill(node)))).collect::<Vec<_>>();
            let stops = stop.iter().map(|node| (*node, scope.spawn(|| cluster.stop(node, STOP_PATIENCE))));
            let all: Vec<_> = kills.into_iter().chain(stops.collect::<Vec<_>>()).collect();
            all.into_iter().map(|(node, done)| (node, done.join().expect("ending does not panic"))).collect()
        });
        // Who has ended of EIO cannot be killed any more.
        let ended = ended.into_iter().filter(|(node, _)| !hit.contains(node));
        ended.filter_map(|(node, result)| Some((node.clone(), result.err()?))).collect()
    }

    /// Sets what every disk and clock goes through.
    fn set_disks(&self) {
        let Some(disk) = self.disks.layer() else { return };
        for node in &self.view.catalogs {
            let effects = || self.active.values();
            let slow = effects().flat_map(|effect| &effect.slow).filter(|(slow, _)| slow == node);
            let off = effects().flat_map(|effect| &effect.clocks).filter(|(wrong, _)| wrong == node);
            let (slow, off) = (slow.map(|(_, more)| *more).max(), off.map(|(_, off)| *off).next_back());
            let fails = effects().any(|effect| effect.failing.contains(node));
            disk.set(node, slow.unwrap_or_default(), off.unwrap_or_default(), fails);
        }
    }

    /// Pauses `paused`, but for those who are down, and resumes the others.
    fn pause_those(
        &self,
        paused: &BTreeSet<String>,
        down: &BTreeSet<String>,
        fresh: &[String],
    ) -> Vec<(String, anyhow::Error)> {
        let cluster = &self.cluster.cluster;
        let mut failed = Vec::new();
        for node in cluster.nodes() {
            let (is, should) = (self.paused.contains(&node), paused.contains(&node) && !down.contains(&node));
            let result = match (is && !fresh.contains(&node), should) {
                (false, true) => cluster.pause(&node),
                (true, false) if !down.contains(&node) => cluster.resume(&node),
                _ => Ok(()),
            };
            failed.extend(result.err().map(|error| (node.clone(), error)));
        }
        failed
    }

    fn note(&mut self, now: Duration, what: &str) {
        writeln!(self.log, "{:>7} ms  {what}", now.as_millis()).expect("text takes everything");
    }
}
