//! What a fault does, once it is known who leads: which servers are down or paused, which links are bad. Pure, so that
//! faults that overlap add up: the state of the cluster is what all effects together ask for.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Kind,
    plan::{Fault, Victim},
};
use crate::net::{ANYBODY, Cut, Link, Pair};

/// An hour, in milliseconds.
const HOUR_MS: f64 = 3_600_000.0;

/// The names of all servers, and who leads.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The catalogs.
    pub catalogs: Vec<String>,
    /// The order servers.
    pub orders: Vec<String>,
    /// The front ends.
    pub fronts: Vec<String>,
    /// The catalog that leads, if one is known to.
    pub leader: Option<String>,
}

/// What a fault does for as long as it lasts.
#[derive(Debug, Clone, Default)]
pub struct Effect {
    /// These do not run.
    pub down: Vec<String>,
    /// They are ended by SIGTERM, and not by SIGKILL.
    pub gently: bool,
    /// Those who lose power when it strikes: what they have not synced is gone, whether or not they run.
    pub powerless: Vec<String>,
    /// Their syncs fail until it strikes, and they end by themselves.
    pub failing: Vec<String>,
    /// These die by themselves at a step of a snapshot, once it has struck; until then they are down.
    pub doomed: Vec<String>,
    /// These start with a flipped bit on their disk, cut from all others.
    pub damaged: Vec<String>,
    /// These have full disks.
    pub full: Vec<String>,
    /// Strangers talk to these.
    pub pestered: Vec<String>,
    /// Many more clients ask these.
    pub crowded: Vec<String>,
    /// These have slow disks: how long a sync takes more.
    pub slow: Vec<(String, Duration)>,
    /// These have wall clocks that are off, by milliseconds.
    pub clocks: Vec<(String, i64)>,
    /// These are paused.
    pub paused: Vec<String>,
    /// These links are bad.
    pub links: Vec<(Pair, Link)>,
}

impl View {
    fn catalog(&self, victim: Victim) -> &String {
        match (victim, &self.leader) {
            (Victim::Leader, Some(leader)) => leader,
            (Victim::Leader, None) => &self.catalogs[0],
            (Victim::Nth(n), _) => &self.catalogs[n % self.catalogs.len()],
        }
    }

    /// The victim and the catalogs behind it, as many as asked for.
    fn catalogs_from(&self, victim: Victim, count: usize) -> Vec<String> {
        let first = self.catalogs.iter().position(|name| name == self.catalog(victim)).unwrap_or(0);
        (0..count).map(|at| self.catalogs[(first + at) % self.catalogs.len()].clone()).collect()
    }

    fn others(&self, than: &[String]) -> Vec<String> {
        self.catalogs.iter().filter(|name| !than.contains(name)).cloned().collect()
    }
}

/// One of `servers`; a leader is not among them, so any will do.
fn one(servers: &[String], victim: Victim) -> String {
    let at = if let Victim::Nth(n) = victim { n } else { 0 };
    servers[at % servers.len()].clone()
}

impl Effect {
    /// What `fault` does in a cluster like this.
    pub fn of(fault: &Fault, view: &View) -> Self {
        let Fault { kind, victim, how, severity } = *fault;
        let victim_alone = || view.catalogs_from(victim, 1);
        match kind {
            Kind::KillOne => Self { down: victim_alone(), ..Self::default() },
            Kind::KillTwo => Self { down: view.catalogs_from(victim, 2), ..Self::default() },
            Kind::KillAll => Self { down: view.catalogs.clone(), ..Self::default() },
            Kind::KillOrder => Self { down: vec![one(&view.orders, victim)], ..Self::default() },
            Kind::KillFront => Self { down: vec![one(&view.fronts, victim)], ..Self::default() },
            Kind::Stop | Kind::Rolling => Self { down: victim_alone(), gently: true, ..Self::default() },
            Kind::PauseCatalog => Self { paused: victim_alone(), ..Self::default() },
            Kind::PauseEdge => {
                let edges = [view.orders.clone(), view.fronts.clone()].concat();
                Self { paused: vec![one(&edges, victim)], ..Self::default() }
            }
            Kind::Halves => {
                let here = view.catalogs_from(victim, view.catalogs.len() / 2);
                Self::links(both_ways(&here, &view.others(&here)), Link::cut(how))
            }
            Kind::Ring => Self::links(across_the_ring(&view.catalogs), Link::cut(how)),
            Kind::Unheard => {
                let here = victim_alone();
                Self::links(one_way(&here, &view.others(&here)), Link::cut(Cut::Silent))
            }
            Kind::Deaf => {
                let here = victim_alone();
                Self::links(one_way(&view.others(&here), &here), Link::cut(Cut::Silent))
            }
            Kind::CutFromClients => {
                let clients = [view.orders.clone(), view.fronts.clone()].concat();
                Self::links(both_ways(&victim_alone(), &clients), Link::cut(how))
            }
            Kind::CutStream => {
                let stream = format!("{}/watch", one(&view.fronts, victim));
                Self::links(both_ways(&[stream], &view.catalogs), Link::cut(how))
            }
            Kind::Strand => {
                let catalog = victim_alone();
                let here = [catalog.clone(), vec![one(&view.fronts, victim)]].concat();
                Self::links(both_ways(&here, &view.others(&catalog)), Link::cut(how))
            }
            Kind::CutOrder => {
                let order = one(&view.orders, victim);
                Self::links(both_ways(&[order], &view.catalogs), Link::cut(how))
            }
            Kind::Delay => {
                let latency = Duration::from_millis(40).mul_f64(severity);
                Self::links(everywhere(view), Link { latency, jitter: latency * 2, ..Link::default() })
            }
            Kind::Loss => Self::links(everywhere(view), Link { loss: 0.08 * severity, ..Link::default() }),
            Kind::PowerOne => Self { down: victim_alone(), powerless: victim_alone(), ..Self::default() },
            Kind::PowerAll => Self { down: view.catalogs.clone(), powerless: view.catalogs.clone(), ..Self::default() },
            Kind::SyncFails => Self { failing: victim_alone(), powerless: victim_alone(), ..Self::default() },
            Kind::SnapshotDeath => Self { down: victim_alone(), doomed: victim_alone(), ..Self::default() },
            Kind::Flip => {
                let here = victim_alone();
                let all = [view.others(&here), view.orders.clone(), view.fronts.clone()].concat();
                Self { damaged: here.clone(), ..Self::links(both_ways(&here, &all), Link::cut(Cut::Refused)) }
            }
            Kind::FullOne => Self { full: victim_alone(), ..Self::default() },
            Kind::FullAll => Self { full: view.catalogs.clone(), ..Self::default() },
            Kind::Strangers => {
                let all = [view.catalogs.clone(), view.orders.clone(), view.fronts.clone()].concat();
                Self { pestered: all, ..Self::default() }
            }
            Kind::Overload => Self { crowded: view.fronts.clone(), ..Self::default() },
            Kind::SlowDisk => {
                let more = Duration::from_millis(300).mul_f64(severity);
                Self { slow: victim_alone().into_iter().map(|node| (node, more)).collect(), ..Self::default() }
            }
            Kind::ClockJump => {
                let off = ((severity - 0.5) * 2.0 * HOUR_MS) as i64;
                Self { clocks: victim_alone().into_iter().map(|node| (node, off)).collect(), ..Self::default() }
            }
            Kind::Narrow => {
                let here = victim_alone();
                let rate = Some(10_000 + (115_000.0 * severity) as u64);
                Self::links(one_way(&view.others(&here), &here), Link { rate, ..Link::default() })
            }
        }
    }

    /// It strikes: whose syncs failed is gone by now, or is ended; who is to die within a snapshot is started for it.
    pub fn strike(&mut self) {
        self.down.append(&mut self.failing);
        self.down.retain(|node| !self.doomed.contains(node));
    }

    /// The servers that may end by themselves meanwhile.
    pub fn mortal(&self) -> impl Iterator<Item = &String> {
        self.failing.iter().chain(&self.doomed).chain(&self.damaged)
    }

    fn links(pairs: Vec<Pair>, link: Link) -> Self {
        Self { links: pairs.into_iter().map(|pair| (pair, link)).collect(), ..Self::default() }
    }
}

fn one_way(from: &[String], to: &[String]) -> Vec<Pair> {
    from.iter().flat_map(|from| to.iter().map(move |to| (from.clone(), to.clone()))).collect()
}

fn both_ways(here: &[String], there: &[String]) -> Vec<Pair> {
    [one_way(here, there), one_way(there, here)].concat()
}

fn everywhere(view: &View) -> Vec<Pair> {
    let edges = [view.orders.clone(), view.fronts.clone()].concat();
    let within = one_way(&view.catalogs, &view.catalogs);
    let orders = both_ways(&[ANYBODY.to_owned()], &view.orders);
    [within, both_ways(&view.catalogs, &edges), orders].concat()
}

/// Those who are not neighbours; of three, the first and the last.
fn across_the_ring(catalogs: &[String]) -> Vec<Pair> {
    let count = catalogs.len();
    if count <= 3 {
        return both_ways(&catalogs[..1], &catalogs[count - 1..]);
    }
    let are_neighbours = |one: usize, other: usize| (one + 1) % count == other || (other + 1) % count == one;
    let pairs = (0..count).flat_map(|one| (0..count).map(move |other| (one, other)));
    pairs
        .filter(|(one, other)| one != other && !are_neighbours(*one, *other))
        .map(|(one, other)| (catalogs[one].clone(), catalogs[other].clone()))
        .collect()
}

/// All links that are bad when all these effects last.
pub fn merged<'a>(effects: impl IntoIterator<Item = &'a Effect>) -> BTreeMap<Pair, Link> {
    let mut links: BTreeMap<Pair, Link> = BTreeMap::new();
    for (pair, link) in effects.into_iter().flat_map(|effect| &effect.links) {
        let known = links.entry(pair.clone()).or_default();
        *known = Link {
            cut: worse(known.cut, link.cut),
            latency: known.latency.max(link.latency),
            jitter: known.jitter.max(link.jitter),
            loss: known.loss.max(link.loss),
            rate: match (known.rate, link.rate) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            },
        };
    }
    links
}

/// What two cuts of one link come to.
pub fn worse(one: Cut, other: Cut) -> Cut {
    match (one, other) {
        (Cut::Refused, _) | (_, Cut::Refused) => Cut::Refused,
        (Cut::Silent, _) | (_, Cut::Silent) => Cut::Silent,
        (Cut::Open, Cut::Open) => Cut::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(catalogs: usize) -> View {
        let names = |kind: &str, count| (1..=count).map(|id| format!("{kind}-{id}")).collect();
        let (catalogs, orders, fronts) = (names("catalog", catalogs), names("order", 2), names("frontend", 2));
        View { catalogs, orders, fronts, leader: Some("catalog-2".to_owned()) }
    }

    fn fault(kind: Kind) -> Fault {
        Fault { kind, victim: Victim::Leader, how: Cut::Refused, severity: 0.5 }
    }

    #[test]
    fn every_kind_does_something_to_servers_that_there_are() {
        for (kind, count) in Kind::ALL.into_iter().flat_map(|kind| [(kind, 3), (kind, 5)]) {
            let view = view(count);
            let effect = Effect::of(&fault(kind), &view);
            let known = [view.catalogs, view.orders, view.fronts, vec![ANYBODY.to_owned()]].concat();
            let ends = effect.links.iter().flat_map(|((from, to), _)| [from, to]);
            let disks = effect.slow.iter().map(|(node, _)| node).chain(effect.clocks.iter().map(|(node, _)| node));
            let Effect { down, paused, full, pestered, crowded, .. } = &effect;
            let servers = [down, paused, full, pestered, crowded].into_iter().flatten().chain(effect.mortal());
            let named: Vec<&String> = servers.chain(disks).chain(ends).collect();
            assert!(!named.is_empty(), "{kind:?} does nothing");
            for name in named {
                assert!(known.contains(&name.trim_end_matches("/watch").to_owned()), "{kind:?} hits {name}");
            }
            assert!(effect.links.iter().all(|(_, link)| *link != Link::default()), "{kind:?}");
        }
    }

    #[test]
    fn whose_syncs_fail_runs_until_it_strikes_and_loses_its_power_then() {
        let mut effect = Effect::of(&fault(Kind::SyncFails), &view(3));
        assert!(effect.down.is_empty() && effect.mortal().eq(["catalog-2"]));
        effect.strike();
        assert!(effect.down == ["catalog-2"] && effect.powerless == ["catalog-2"] && effect.failing.is_empty());
    }

    #[test]
    fn in_a_ring_each_of_five_sees_two() {
        let view = view(5);
        let effect = Effect::of(&fault(Kind::Ring), &view);
        for one in &view.catalogs {
            let blind = effect.links.iter().filter(|((from, _), _)| from == one).count();
            assert_eq!(blind, 2, "{one}");
        }
    }

    #[test]
    fn one_way_is_one_way() {
        let effect = Effect::of(&fault(Kind::Deaf), &view(3));
        assert!(effect.links.iter().all(|((_, to), _)| to == "catalog-2"));
        let effect = Effect::of(&fault(Kind::Unheard), &view(3));
        assert!(effect.links.iter().all(|((from, _), _)| from == "catalog-2"));
    }

    #[test]
    fn effects_that_overlap_add_up() {
        let view = view(3);
        let (delay, deaf) = (Effect::of(&fault(Kind::Delay), &view), Effect::of(&fault(Kind::Deaf), &view));
        let links = merged([&delay, &deaf]);
        let pair = ("catalog-1".to_owned(), "catalog-2".to_owned());
        assert_eq!((links[&pair].cut, links[&pair].latency), (Cut::Silent, Duration::from_millis(20)));
        let back = ("catalog-2".to_owned(), "catalog-1".to_owned());
        assert_eq!((links[&back].cut, links[&back].latency), (Cut::Open, Duration::from_millis(20)));
    }
}
