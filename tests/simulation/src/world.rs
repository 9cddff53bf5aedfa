//! The hosts and the network between them, and what the faults of the moment do to both.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use cluster_config::{Layout, server};
use frontend::front::Front;
use tests::{
    disk::Layer,
    faults::{
        Plan,
        effect::{Effect, View, merged, worse},
        plan::Planned,
    },
    net::{ANYBODY, Cut, Link},
};
use turmoil::{Builder, Sim};

/// The host of all clients.
pub const CLIENTS: &str = "clients";
/// One step in time.
const TICK: Duration = Duration::from_millis(1);
/// The longest that a message takes where nothing is wrong; the mean is a fifth of it.
const LATENCY: Duration = Duration::from_millis(5);
/// Segments under way on one connection.
const SEGMENTS: usize = 4096;
/// What TCP waits before it sends what was lost again.
const SENT_AGAIN: Duration = Duration::from_millis(200);

/// How two hosts are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// Nothing arrives until it is open again.
    Held,
    /// Nothing arrives from the first one.
    HeldFromFirst,
    /// Nothing arrives from the second one.
    HeldFromSecond,
    /// What is sent is lost for good: connections are of no more use.
    Lost,
}

/// All hosts.
pub struct World<'a> {
    sim: Sim<'static>,
    layer: &'a Layer,
    view: View,
    active: BTreeMap<usize, Effect>,
    down: BTreeSet<String>,
    ways: BTreeMap<(String, String), (Way, Duration)>,
    /// Where in the disk layer's journal the present life of each replica began.
    since: BTreeMap<String, u64>,
    seed: u64,
    losses: (u64, u64),
}

impl<'a> World<'a> {
    /// All servers of a layout, each on a host of its name, about to start.
    pub fn new(layer: &'a Layer, layout: &Layout, plan: &Plan) -> Self {
        let mut sim = Builder::new()
            .rng_seed(plan.seed)
            .enable_random_order()
            .simulation_duration(Duration::from_secs(3600))
            .tick_duration(TICK)
            .min_message_latency(Duration::ZERO)
            .max_message_latency(LATENCY)
            .tcp_capacity(SEGMENTS)
            .build();
        for node in &layout.catalogs {
            let (layout, node, run_dir) = (layout.clone(), node.clone(), layer.root().to_owned());
            sim.host(node.name.clone(), move || {
                let (layout, node, run_dir) = (layout.clone(), node.clone(), run_dir.clone());
                async move { Ok(catalog_raft::replica::run(layout, node, &run_dir).await?) }
            });
        }
        for node in &layout.orders {
            let (layout, node) = (layout.clone(), node.clone());
            sim.host(node.name.clone(), move || {
                let (layout, node) = (layout.clone(), node.clone());
                async move {
                    let listener = server::bind(&layout, &node.listen).await?;
                    order::server::run(&layout, &node.name, listener, server::terminated()).await;
                    Ok(())
                }
            });
        }
        for node in &layout.frontends {
            let (layout, node) = (layout.clone(), node.clone());
            sim.host(node.name.clone(), move || {
                let (layout, node) = (layout.clone(), node.clone());
                async move {
                    let listener = server::bind(&layout, &node.listen).await?;
                    let front = Front::start(layout, &node.name);
                    frontend::server::run(front, listener, server::terminated()).await;
                    Ok(())
                }
            });
        }
        let view = View {
            catalogs: layout.catalogs.iter().map(|node| node.name.clone()).collect(),
            orders: layout.orders.iter().map(|node| node.name.clone()).collect(),
            fronts: layout.frontends.iter().map(|node| node.name.clone()).collect(),
            leader: None,
        };
        Self {
            sim,
            layer,
            view,
            active: BTreeMap::new(),
            down: BTreeSet::new(),
            ways: BTreeMap::new(),
            since: BTreeMap::new(),
            seed: plan.seed,
            losses: (0, 0),
        }
    }

    /// The simulation.
    pub fn sim(&mut self) -> &mut Sim<'static> {
        &mut self.sim
    }

    /// Losses of power, and changes to files that were lost.
    pub fn losses(&self) -> (u64, u64) {
        self.losses
    }

    /// One step in time. Returns whether the clients are done.
    ///
    /// # Errors
    /// When a server has ended by itself.
    pub fn step(&mut self) -> turmoil::Result<bool> {
        self.let_through();
        self.sim.step()
    }

    /// Begins a fault.
    ///
    /// # Errors
    /// When a disk cannot be rewritten.
    pub fn begin(&mut self, id: usize, planned: &Planned, leader: Option<String>) -> anyhow::Result<()> {
        self.view.leader = leader;
        let effect = Effect::of(&planned.fault, &self.view);
        let lasts = planned.end.saturating_sub(planned.start).as_millis();
        let leader = self.view.leader.as_deref().unwrap_or("nobody");
        let (name, down) = (planned.fault.kind.name(), effect.down.join(", "));
        let links: BTreeSet<String> =
            merged([&effect]).into_iter().map(|((from, to), link)| format!("{from}>{to} {:?}", link.cut)).collect();
        let links = links.into_iter().collect::<Vec<_>>().join(", ");
        tracing::info!("FAULT {id} begins: {name} for {lasts} ms ({leader} leads) {down}{links}");
        let powerless = effect.powerless.clone();
        self.active.insert(id, effect);
        self.settle(&powerless)
    }

    /// Ends a fault.
    ///
    /// # Errors
    /// As [`World::begin`].
    pub fn end(&mut self, id: usize) -> anyhow::Result<()> {
        tracing::info!("FAULT {id} ends");
        self.active.remove(&id);
        self.settle(&[])
    }

    /// Brings every host into the state that the faults ask for; power fails at the `powerless`.
    fn settle(&mut self, powerless: &[String]) -> anyhow::Result<()> {
        let down: BTreeSet<String> = self.active.values().flat_map(|effect| effect.down.iter().cloned()).collect();
        let fallen: Vec<String> = down.difference(&self.down).cloned().collect();
        for node in &fallen {
            if powerless.contains(node) {
                // A machine without power says no farewell.
                self.silence(node);
            }
            self.sim.crash(node.as_str());
        }
        // Also at those that were killed before: what they had written was in memory only.
        for node in powerless {
            self.lose_power(node)?;
        }
        let up: Vec<String> = self.down.difference(&down).cloned().collect();
        for node in &up {
            self.sim.bounce(node.as_str());
        }
        self.down = down;
        self.seed = self.seed.wrapping_add(1);
        for node in &self.view.catalogs {
            let slow = self.active.values().flat_map(|effect| &effect.slow).filter(|(slow, _)| slow == node);
            let by = slow.map(|(_, by)| *by).max().unwrap_or_default();
            catalog_raft::simulation::slow_syncs(&self.layer.root().join(node), by);
        }
        self.connect();
        Ok(())
    }

    /// What was not synced is lost, at all that lose power at one moment by the same seed: what matters most is when all of
    /// them lose everything.
    fn lose_power(&mut self, node: &str) -> anyhow::Result<()> {
        let since = self.since.get(node).copied().unwrap_or(0);
        let loss = self.layer.lose_part(&self.layer.root().join(node), since, self.seed)?;
        self.since.insert(node.to_owned(), self.layer.journal_end()?);
        tracing::info!("FAULT {node} has lost power: {loss:?}");
        self.losses.0 += 1;
        self.losses.1 += (loss.undone + loss.names_undone) as u64;
        Ok(())
    }

    /// Whatever the host sends from now on is lost, until [`World::connect`].
    fn silence(&mut self, node: &str) {
        for other in self.hosts() {
            if other != node {
                self.sim.partition(node, other.as_str());
                self.ways.insert(pair(node, &other), (Way::Lost, Duration::ZERO));
            }
        }
    }

    /// Brings every link into the state that the faults ask for.
    fn connect(&mut self) {
        let mut wanted: BTreeMap<(String, String), (Cut, Cut, Duration)> = BTreeMap::new();
        for ((from, to), link) in merged(self.active.values()) {
            for from in self.meant(&from) {
                for to in self.meant(&to) {
                    if from == to {
                        continue;
                    }
                    let known = wanted.entry(pair(&from, &to)).or_default();
                    let cut = if from < to { &mut known.0 } else { &mut known.1 };
                    *cut = worse(*cut, link.cut);
                    known.2 = known.2.max(later(&link));
                }
            }
        }
        let known: BTreeSet<_> = self.ways.keys().chain(wanted.keys()).cloned().collect();
        for (one, other) in known {
            let (there, back, late) = wanted.remove(&(one.clone(), other.clone())).unwrap_or_default();
            let way = match (there, back) {
                (Cut::Refused, _) | (_, Cut::Refused) => Way::Lost,
                (Cut::Silent, Cut::Silent) => Way::Held,
                (Cut::Silent, Cut::Open) => Way::HeldFromFirst,
                (Cut::Open, Cut::Silent) => Way::HeldFromSecond,
                (Cut::Open, Cut::Open) => Way::Open,
            };
            let before = self.ways.insert((one.clone(), other.clone()), (way, late));
            let (was, was_late) = before.unwrap_or((Way::Open, Duration::ZERO));
            if was != way {
                match was {
                    Way::Open => {}
                    Way::Lost => self.sim.repair(one.as_str(), other.as_str()),
                    Way::Held | Way::HeldFromFirst | Way::HeldFromSecond => {
                        self.sim.release(one.as_str(), other.as_str())
                    }
                }
                match way {
                    Way::Open => {}
                    Way::Lost => self.sim.partition(one.as_str(), other.as_str()),
                    Way::Held | Way::HeldFromFirst | Way::HeldFromSecond => self.sim.hold(one.as_str(), other.as_str()),
                }
            }
            if was_late != late {
                self.sim.set_link_latency(one.as_str(), other.as_str(), Duration::ZERO);
                self.sim.set_link_max_message_latency(one.as_str(), other.as_str(), LATENCY + late);
            }
        }
        self.ways.retain(|_, state| *state != (Way::Open, Duration::ZERO));
    }

    /// Links that are held in one direction: the other one goes on.
    fn let_through(&mut self) {
        let mut open: BTreeSet<(IpAddr, IpAddr)> = BTreeSet::new();
        for ((one, other), (way, _)) in &self.ways {
            let (one, other) = (self.sim.lookup(one.as_str()), self.sim.lookup(other.as_str()));
            match way {
                Way::HeldFromFirst => _ = open.insert((other, one)),
                Way::HeldFromSecond => _ = open.insert((one, other)),
                Way::Open | Way::Held | Way::Lost => {}
            }
        }
        if open.is_empty() {
            return;
        }
        self.sim.links(|links| {
            for sent in links.flatten() {
                let (from, to) = sent.pair();
                if open.contains(&(from.ip(), to.ip())) {
                    sent.deliver();
                }
            }
        });
    }

    fn hosts(&self) -> Vec<String> {
        let View { catalogs, orders, fronts, .. } = &self.view;
        [catalogs.as_slice(), orders, fronts, &[CLIENTS.to_owned()]].concat()
    }

    /// The hosts that a name of an effect means.
    fn meant(&self, name: &str) -> Vec<String> {
        match name {
            ANYBODY => [self.view.fronts.as_slice(), &[CLIENTS.to_owned()]].concat(),
            name => vec![name.trim_end_matches("/watch").to_owned()],
        }
    }
}

fn pair(one: &str, other: &str) -> (String, String) {
    let (first, second) = if one < other { (one, other) } else { (other, one) };
    (first.to_owned(), second.to_owned())
}

/// How much later a message comes at most. A loss is a wait: TCP sends again.
fn later(link: &Link) -> Duration {
    link.latency + link.jitter + if link.loss > 0.0 { SENT_AGAIN } else { Duration::ZERO }
}
