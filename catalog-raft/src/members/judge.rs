//! What may become of the group: whether a change keeps openraft's rules and the quorum. Pure: must not know Raft's tasks,
//! clocks or sockets.
//!
//! Rules: an id is never used again; whoever is to vote has been a learner and has caught up; one change at a time; a
//! leader that is to go hands over first; and of the voters before and after, a majority answers.

use std::collections::BTreeSet;

use catalog_client::{
    NodeId,
    protocol::{Member, MemberChange, Members},
};
use openraft::ChangeMembers;

use crate::raft::Peer;

/// A learner that lacks no more than so many entries has caught up: it is sent them while the change is committed.
const CAUGHT_UP: u64 = 1_000;

/// A voter that lacks no more than so many entries can lead: nothing is proposed until it has them, which must not be felt.
const CLOSE: u64 = 200;

/// A change as openraft makes it.
pub(super) type Changes = ChangeMembers<NodeId, Peer>;

/// The group as its leader sees it.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// The leader.
    pub own: NodeId,
    /// The voters; while a change is half done, the old ones and then the new ones.
    pub configs: Vec<BTreeSet<NodeId>>,
    /// How long ago the change was asked for, in milliseconds: whoever was heard since then answers. One that was heard
    /// just before may be gone, and a change that counts on it would cost the quorum.
    pub asked_ms: u64,
    /// Whether no later membership waits to be committed.
    pub is_committed: bool,
    /// Who belongs to it, and how far each is.
    pub members: Members,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing: it is so already.
    Done,
    /// Make the change.
    Make(Changes),
    /// Finish the change of the voters that is half done, and then look again.
    Finish,
    /// Have one of these lead first.
    HandOver(BTreeSet<NodeId>),
}

/// Why nothing is done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum No {
    /// It may be possible in a moment.
    NotYet(String),
    /// Somebody has to do something first.
    Never(String),
}

pub(super) fn judge(group: &Group, based_on: u64, change: &MemberChange) -> Result<Verdict, No> {
    let Group { members, .. } = group;
    if !group.is_committed {
        return Err(No::NotYet("another change of the group is under way".to_owned()));
    }
    if members.index != based_on {
        return Err(No::Never("the group has changed meanwhile: look at it again".to_owned()));
    }
    // A leader that has lost its majority would keep the change in its log, to be made whenever the majority is back.
    for config in &group.configs {
        keeps_quorum(group, config)?;
    }
    if let [_, .., new] = group.configs.as_slice() {
        // A leader that ended between the two halves of a change has left it to whoever comes next.
        return lead_or(group, new, Verdict::Finish);
    }
    match change {
        MemberChange::AddLearner(newcomer) => add_learner(group, newcomer),
        MemberChange::Voters(voters) => change_voters(group, voters.iter().copied().collect()),
        MemberChange::RemoveLearner(id) if members.votes(*id) => {
            Err(No::Never(format!("{} is a voter", name(members, *id))))
        }
        MemberChange::RemoveLearner(id) if members.get(*id).is_none() => Ok(Verdict::Done),
        MemberChange::RemoveLearner(id) => Ok(Verdict::Make(ChangeMembers::RemoveNodes([*id].into()))),
    }
}

fn add_learner(group: &Group, newcomer: &Member) -> Result<Verdict, No> {
    let members = &group.members;
    match members.get(newcomer.id) {
        Some(known) if known.incarnation == newcomer.incarnation => return Ok(Verdict::Done),
        Some(known) => {
            return Err(No::Never(format!(
                "{} has joined with another disk: a disk that is lost is replaced under a new id",
                known.name
            )));
        }
        None => {}
    }
    let greatest = members.all.iter().map(|member| member.id).max().unwrap_or(0);
    if newcomer.id <= greatest {
        return Err(No::Never(format!(
            "replica {} may have been a member before, and an id is never used again: the next one is {}",
            newcomer.id,
            greatest + 1
        )));
    }
    let peer =
        Peer { name: newcomer.name.clone(), address: newcomer.address.clone(), incarnation: newcomer.incarnation };
    Ok(Verdict::Make(ChangeMembers::AddNodes([(newcomer.id, peer)].into())))
}

fn change_voters(group: &Group, voters: BTreeSet<NodeId>) -> Result<Verdict, No> {
    let members = &group.members;
    if group.configs == [voters.clone()] {
        return Ok(Verdict::Done);
    }
    if voters.is_empty() {
        return Err(No::Never("a group without voters serves nobody".to_owned()));
    }
    for id in voters.iter().filter(|id| !members.votes(**id)) {
        caught_up(members, *id)?;
    }
    keeps_quorum(group, &voters)?;
    lead_or(group, &voters, Verdict::Make(ChangeMembers::ReplaceAllVoters(voters.clone())))
}

/// `otherwise`, if the leader stays among `voters`; else one of them has to lead first.
fn lead_or(group: &Group, voters: &BTreeSet<NodeId>, otherwise: Verdict) -> Result<Verdict, No> {
    if voters.contains(&group.own) {
        return Ok(otherwise);
    }
    let members = &group.members;
    let may_lead = |id: &NodeId| members.votes(*id) && answers(group, *id);
    let successors: BTreeSet<NodeId> = voters.iter().copied().filter(may_lead).collect();
    if successors.is_empty() {
        let leader = name(members, group.own);
        return Err(No::Never(format!("{leader} leads, and nobody who could lead instead would be left")));
    }
    Ok(Verdict::HandOver(successors))
}

/// Who can lead instead of the leader: `to`, or all that can, the one that is furthest on first.
pub(super) fn successors(group: &Group, to: Option<NodeId>) -> Result<Vec<NodeId>, No> {
    let members = &group.members;
    let leader = name(members, group.own);
    if let Some(to) = to {
        let named = name(members, to);
        if to == group.own {
            return Err(No::Never(format!("{named} leads already: name another voter, or nobody in particular")));
        }
        if !members.votes(to) {
            let voters = names(members, &members.voters.iter().copied().collect());
            return Err(No::Never(format!("{named} is no voter, and only a voter can lead: name one of {voters}")));
        }
    }
    let others = || members.voters.iter().copied().filter(|id| *id != group.own);
    if others().next().is_none() {
        return Err(No::Never(format!("{leader} is the only voter: add a replica first, so that there is another")));
    }
    if members.changing {
        return Err(No::NotYet("a change of the group is under way: let it end, and try again".to_owned()));
    }
    let matched = |id: NodeId| members.progress(id).map_or(0, |progress| progress.matched);
    let mut able = Vec::new();
    let mut unable = Vec::new();
    for id in others().filter(|id| to.is_none_or(|to| to == *id)) {
        let (named, last) = (name(members, id), members.last_log);
        if !answers(group, id) {
            unable.push(format!("{named} does not answer"));
        } else if matched(id).saturating_add(CLOSE) < last {
            unable.push(format!("{named} is at entry {} of {last}", matched(id)));
        } else {
            able.push(id);
        }
    }
    if able.is_empty() {
        let unable = unable.join(", ");
        return Err(No::NotYet(format!(
            "{leader} stays, for {unable}: start what is down, or wait until it has caught up, and try again"
        )));
    }
    able.sort_by_key(|id| std::cmp::Reverse(matched(*id)));
    Ok(able)
}

fn caught_up(members: &Members, id: NodeId) -> Result<(), No> {
    if members.get(id).is_none() {
        return Err(No::Never(format!("replica {id} is no member: it has to join as a learner first")));
    }
    let matched = members.progress(id).map_or(0, |progress| progress.matched);
    if matched == 0 || matched.saturating_add(CAUGHT_UP) < members.last_log {
        let last = members.last_log;
        return Err(No::NotYet(format!("{} has not caught up: entry {matched} of {last}", name(members, id))));
    }
    Ok(())
}

/// Whether a majority of `voters` answers the leader.
fn keeps_quorum(group: &Group, voters: &BTreeSet<NodeId>) -> Result<(), No> {
    let needed = voters.len() / 2 + 1;
    let (answering, silent): (BTreeSet<NodeId>, BTreeSet<NodeId>) = voters.iter().partition(|id| answers(group, **id));
    if answering.len() >= needed {
        return Ok(());
    }
    Err(No::NotYet(format!(
        "there is no quorum for it: of the voters {}, {needed} must answer, and {} does not; start what is down first",
        names(&group.members, voters),
        names(&group.members, &silent)
    )))
}

fn answers(group: &Group, id: NodeId) -> bool {
    let heard = || group.members.progress(id).and_then(|progress| progress.heard_ms);
    id == group.own || heard().is_some_and(|ms| ms < group.asked_ms)
}

/// What a replica is called.
pub(super) fn name(members: &Members, id: NodeId) -> String {
    members.get(id).map_or_else(|| format!("replica {id}"), |member| member.name.clone())
}

fn names(members: &Members, ids: &BTreeSet<NodeId>) -> String {
    ids.iter().map(|id| name(members, *id)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
