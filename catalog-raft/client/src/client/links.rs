//! The replicas that a client knows: those that it was given, and those that it has learnt of since.
//!
//! Slots are only ever added, and who is asked is a bit each: whoever holds an index or a name holds no lock. Must not know
//! what is asked.

use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use tokio::sync::Notify;

use super::{MAX_REPLICAS, Options, Peer, link::Link};
use crate::{NodeId, frame::Purpose, protocol::Members};

/// All replicas known, at most [`MAX_REPLICAS`] in the life of a client.
#[derive(Debug)]
pub(super) struct Links {
    slots: [OnceLock<Arc<Link>>; MAX_REPLICAS],
    filled: AtomicUsize,
    /// Those that vote, as far as is known: never none.
    asked: AtomicU64,
    /// Where the membership that was learnt last stands in the log. Whoever changes slots holds the lock.
    learnt: Mutex<u64>,
    changed: Notify,
}

impl Links {
    pub(super) fn new(options: &Options) -> Self {
        let links = Self {
            slots: [const { OnceLock::new() }; MAX_REPLICAS],
            filled: AtomicUsize::new(0),
            asked: AtomicU64::new(0),
            learnt: Mutex::new(0),
            changed: Notify::new(),
        };
        let given = options.replicas.iter().filter_map(|peer| links.add(options, peer.clone()));
        let asked = given.fold(0, |asked, index| asked | bit(index));
        links.asked.store(asked, Ordering::Release);
        links
    }

    fn add(&self, options: &Options, peer: Peer) -> Option<usize> {
        let index = self.filled.load(Ordering::Acquire);
        let hello = options.hello(peer.id, Purpose::Client);
        self.slots.get(index)?.set(Arc::new(Link::new(peer, hello))).ok()?;
        self.filled.store(index + 1, Ordering::Release);
        Some(index)
    }

    /// The link in a slot: an index comes from here, so there is one.
    pub(super) fn at(&self, index: usize) -> &Arc<Link> {
        self.slots[index].get().expect("an index is given out once its slot is filled")
    }

    pub(super) fn index_of(&self, id: NodeId) -> Option<usize> {
        (0..self.filled.load(Ordering::Acquire)).find(|index| self.at(*index).peer.id == id)
    }

    /// A bit for each that is asked.
    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Acquire)
    }

    /// How many are asked: at least one.
    pub(super) fn count(&self) -> usize {
        self.asked().count_ones() as usize
    }

    /// Those that are asked, from the one whose turn it is at `turn` round to the one before it.
    pub(super) fn round(&self, turn: usize) -> impl Iterator<Item = usize> + Clone + use<> {
        let asked = self.asked();
        let all = (0..MAX_REPLICAS).filter(move |index| asked & bit(*index) != 0);
        let count = asked.count_ones() as usize;
        all.clone().chain(all).skip(turn % count.max(1)).take(count)
    }

    /// The one whose turn it is.
    pub(super) fn turn(&self, turn: usize) -> usize {
        self.round(turn).next().unwrap_or(0)
    }

    /// The one after `index`, which need not be asked any longer.
    pub(super) fn after(&self, index: usize) -> usize {
        let all = self.round(0);
        all.clone().find(|next| *next > index).or_else(|| all.clone().next()).unwrap_or(index)
    }

    /// Whether other replicas vote than are asked. Nobody votes before the group is founded: that tells nothing.
    pub(super) fn differ(&self, voters: &[NodeId]) -> bool {
        let bits = voters.iter().try_fold(0, |bits, id| Some(bits | bit(self.index_of(*id)?)));
        !voters.is_empty() && bits != Some(self.asked())
    }

    /// From now on asks those that vote; what is older than what was learnt before is ignored. A replica that was known
    /// before keeps its address: the layout knows by which way it is reached from here.
    pub(super) fn learn(&self, options: &Options, members: &Members) {
        let mut learnt = self.learnt.lock().unwrap_or_else(PoisonError::into_inner);
        if members.index <= *learnt {
            return;
        }
        let mut asked = 0;
        for voter in &members.voters {
            let added = || {
                let member = members.get(*voter)?;
                let peer = Peer { id: member.id, name: member.name.clone(), address: member.address.clone() };
                tracing::info!("{} is a replica, at {}", peer.name, peer.address);
                self.add(options, peer)
            };
            match self.index_of(*voter).or_else(added) {
                Some(index) => asked |= bit(index),
                None => tracing::warn!("replica {voter} is not asked: restart this server, which has known too many"),
            }
        }
        if asked == 0 {
            return;
        }
        *learnt = members.index;
        let before = self.asked.swap(asked, Ordering::AcqRel);
        for index in (0..MAX_REPLICAS).filter(|index| before & !asked & bit(*index) != 0) {
            self.at(index).retire();
        }
        self.changed.notify_one();
    }

    /// Returns when others are asked than before.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// The bit of a slot.
pub(super) fn bit(index: usize) -> u64 {
    1 << index
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Member;

    fn options(ids: &[NodeId]) -> Options {
        let peer = |id: &NodeId| Peer { id: *id, name: format!("catalog-{id}"), address: format!("given:{id}") };
        Options { cluster: "test".into(), sender: "tester".into(), replicas: ids.iter().map(peer).collect() }
    }

    fn members(index: u64, voters: &[NodeId]) -> Members {
        let member = |id: &NodeId| Member {
            id: *id,
            name: format!("catalog-{id}"),
            address: format!("learnt:{id}"),
            incarnation: 0,
        };
        Members { index, voters: voters.to_vec(), all: voters.iter().map(member).collect(), ..Members::default() }
    }

    fn asked(links: &Links) -> Vec<&str> {
        links.round(0).map(|index| links.at(index).peer.address.as_str()).collect()
    }

    #[test]
    fn voters_are_asked_in_the_place_of_those_that_were_given() {
        let options = options(&[1, 2, 3]);
        let links = Links::new(&options);
        assert!(links.differ(&[1, 3, 4]) && links.differ(&[1, 2]) && !links.differ(&[3, 1, 2]) && !links.differ(&[]));
        links.learn(&options, &members(7, &[1, 3, 4]));
        assert_eq!(asked(&links), ["given:1", "given:3", "learnt:4"]);
        assert!(!links.differ(&[1, 3, 4]));
        assert_eq!(links.index_of(2), Some(1), "whoever holds its index still finds it");
        assert_eq!((links.count(), links.after(0), links.after(1), links.after(3)), (3, 2, 2, 0));
        assert_eq!(links.round(4).collect::<Vec<_>>(), [2, 3, 0]);
    }

    #[test]
    fn an_older_membership_is_ignored_and_nobody_is_no_membership() {
        let options = options(&[1, 2, 3]);
        let links = Links::new(&options);
        links.learn(&options, &members(9, &[1, 3, 4]));
        for old in [members(8, &[1, 2, 3]), members(9, &[1]), members(10, &[])] {
            links.learn(&options, &old);
            assert_eq!(asked(&links), ["given:1", "given:3", "learnt:4"]);
        }
    }

    #[test]
    fn what_was_given_and_does_not_vote_yet_is_asked_once_it_does() {
        let options = options(&[1, 2, 3, 4]);
        let links = Links::new(&options);
        links.learn(&options, &members(2, &[1, 2, 3]));
        assert_eq!(links.count(), 3);
        links.learn(&options, &members(3, &[1, 2, 3, 4]));
        assert_eq!(asked(&links), ["given:1", "given:2", "given:3", "given:4"]);
    }

    #[test]
    fn more_than_there_is_room_for_are_not_asked() {
        let options = options(&[1]);
        let links = Links::new(&options);
        for id in 2..=MAX_REPLICAS as u64 + 3 {
            links.learn(&options, &members(id, &[1, id]));
        }
        assert_eq!(links.count(), 1);
        assert!(links.differ(&[1, MAX_REPLICAS as u64 + 3]));
    }
}
