//! Brings a cluster into the state that all faults of the moment ask for together, and notes what was done when. Must not
//! decide what is done.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    time::Duration,
};

use super::{
    effect::{Effect, View, merged},
    plan::Planned,
};
use crate::{checks::Violation, cluster::STOP_PATIENCE, cluster::TestCluster, disk::Disk};

/// Lines of a server's log that tell why it ended.
const LAST_WORDS: usize = 12;

/// A cluster and the faults that are on.
#[derive(Debug)]
pub struct World<'a> {
    cluster: &'a TestCluster,
    disk: &'a Disk,
    /// Of what a loss of power takes; the next one gets the next number.
    seed: u64,
    view: View,
    active: BTreeMap<usize, Effect>,
    down: BTreeSet<String>,
    paused: BTreeSet<String>,
    /// How often each kind of fault did something.
    pub counts: BTreeMap<&'static str, u64>,
    /// What was done, one line a step.
    pub log: String,
    /// Servers that ended by themselves.
    pub violations: Vec<Violation>,
}

impl<'a> World<'a> {
    /// A cluster that is whole.
    pub fn new(cluster: &'a TestCluster, disk: &'a Disk, seed: u64) -> Self {
        let names = |kind: &str| cluster.cluster.nodes().into_iter().filter(|node| node.starts_with(kind)).collect();
        let (catalogs, orders, fronts) = (cluster.catalogs(), names("order"), names("frontend"));
        Self {
            cluster,
            disk,
            seed,
            view: View { catalogs, orders, fronts, leader: None },
            active: BTreeMap::new(),
            down: BTreeSet::new(),
            paused: BTreeSet::new(),
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
        let hits = [effect.down.clone(), effect.paused.clone()].concat().join(", ");
        let links = merged([&effect]);
        let links: Vec<String> = links.into_iter().map(|((from, to), link)| format!("{from}>{to} {link:?}")).collect();
        let (name, leader) = (planned.fault.kind.name(), self.view.leader.as_deref().unwrap_or("nobody"));
        let how = planned.fault.how;
        self.note(
            now,
            &format!("begins {id}: {name} for {lasts} ms ({leader} leads) {how:?} {hits}{}", links.join("; ")),
        );
        if self.does_something(&effect) {
            *self.counts.entry(name).or_default() += 1;
        } else {
            self.note(now, "that changes nothing");
        }
        self.active.insert(id, effect);
        self.settle(now, &[]);
    }

    /// A fault strikes: power goes, and whoever met a sync that failed is gone.
    pub fn strike(&mut self, now: Duration, id: usize) {
        let Some(effect) = self.active.get_mut(&id) else { return };
        effect.strike();
        let powerless = effect.powerless.clone();
        if !powerless.is_empty() {
            self.settle(now, &powerless);
        }
    }

    /// Ends a fault.
    pub fn end(&mut self, now: Duration, id: usize) {
        self.note(now, &format!("ends {id}"));
        self.active.remove(&id);
        self.settle(now, &[]);
    }

    /// Ends all faults. Returns once every server has been started.
    pub fn end_all(&mut self, now: Duration) {
        self.note(now, "all is healed");
        self.active.clear();
        self.settle(now, &[]);
    }

    /// Whether an effect is more than to keep down who is down already.
    fn does_something(&self, effect: &Effect) -> bool {
        let ends = effect.down.iter().chain(&effect.paused).any(|node| !self.down.contains(node));
        let Effect { powerless, links, slow, clocks, .. } = effect;
        ends || !(powerless.is_empty() && links.is_empty() && slow.is_empty() && clocks.is_empty())
    }

    /// Notes servers that have ended although nothing ended them.
    pub fn look_for_the_dead(&mut self, now: Duration) {
        for node in self.cluster.cluster.nodes() {
            let may_end = self.active.values().any(|effect| effect.mortal().any(|mortal| *mortal == node));
            if may_end || self.down.contains(&node) || self.cluster.cluster.process(&node).is_some() {
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

    /// Brings everything into the state that is wanted; power fails at `powerless` on the way.
    fn settle(&mut self, now: Duration, powerless: &[String]) {
        self.look_for_the_dead(now);
        self.cluster.net().replace(merged(self.active.values()));
        let wanted = |of: fn(&Effect) -> &Vec<String>| -> BTreeSet<String> {
            self.active.values().flat_map(|effect| of(effect).iter().cloned()).collect()
        };
        let (down, paused) = (wanted(|effect| &effect.down), wanted(|effect| &effect.paused));
        let start: Vec<String> = self.down.difference(&down).cloned().collect();
        let failed = tokio::task::block_in_place(|| {
            let mut failed = self.end_those(&down, powerless);
            for node in powerless {
                // Whoever is dead already has a disk all the same.
                if let Err(error) = self.disk.lose_power(node, self.seed) {
                    failed.push((node.clone(), error));
                }
            }
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
        self.down = down;
        self.paused = paused.into_iter().filter(|node| !self.down.contains(node)).collect();
        for (node, error) in failed {
            // What cannot be signalled has ended by itself, which is seen next time; what cannot be started is a find too.
            let what = format!("{node}: {error:#}");
            self.note(now, &what);
            if start.contains(&node) {
                self.violations.push(Violation { property: "no_exit", what });
            }
        }
    }

    /// Ends those of `down` that are not down yet.
    fn end_those(&self, down: &BTreeSet<String>, powerless: &[String]) -> Vec<(String, anyhow::Error)> {
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
        let ended = ended.into_iter().filter(|(node, _)| !powerless.contains(node));
        ended.filter_map(|(node, result)| Some((node.clone(), result.err()?))).collect()
    }

    /// Sets what every disk and clock goes through.
    fn set_disks(&self) {
        let effects = || self.active.values();
        for node in &self.view.catalogs {
            if effects().any(|effect| effect.failing.contains(node)) {
                self.disk.fail_syncs(node);
                continue;
            }
            self.disk.heal(node);
            for (_, more) in effects().flat_map(|effect| &effect.slow).filter(|(slow, _)| slow == node) {
                self.disk.slow(node, *more);
            }
            for (_, off) in effects().flat_map(|effect| &effect.clocks).filter(|(wrong, _)| wrong == node) {
                self.disk.shift_clock(node, *off);
            }
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
