//! Which changes are made, which are made later, and which never.

use catalog_client::protocol::Progress;

use super::*;

const INDEX: u64 = 40;
const LAST: u64 = 5_000;
const ASKED_MS: u64 = 60;

/// Replica 1 leads `voters` and `learners`; all answer and have everything.
fn group(voters: &[NodeId], learners: &[NodeId]) -> Group {
    let ids = || voters.iter().chain(learners).copied();
    let progress = Progress { matched: LAST, heard_ms: Some(30) };
    let members = Members {
        index: INDEX,
        voters: voters.to_vec(),
        all: ids().map(member).collect(),
        changing: false,
        last_log: LAST,
        progress: ids().map(|id| (id, progress)).collect(),
        client: String::new(),
    };
    Group { own: 1, configs: vec![voters.iter().copied().collect()], asked_ms: ASKED_MS, is_committed: true, members }
}

fn member(id: NodeId) -> Member {
    Member { id, name: format!("catalog-{id}"), address: format!("host:{id}"), incarnation: u128::from(id) << 70 }
}

fn with(mut group: Group, id: NodeId, progress: Progress) -> Group {
    group.members.progress.iter_mut().filter(|(of, _)| *of == id).for_each(|(_, known)| *known = progress);
    group
}

fn silent(group: Group, id: NodeId) -> Group {
    with(group, id, Progress { matched: LAST, heard_ms: Some(ASKED_MS) })
}

fn voters(ids: &[NodeId]) -> MemberChange {
    MemberChange::Voters(ids.to_vec())
}

fn replaced(ids: &[NodeId]) -> Verdict {
    Verdict::Make(ChangeMembers::ReplaceAllVoters(ids.iter().copied().collect()))
}

#[track_caller]
fn never(group: &Group, change: MemberChange, words: &str) {
    match judge(group, INDEX, &change) {
        Err(No::Never(why)) => assert!(why.contains(words), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn not_yet(group: &Group, change: MemberChange, words: &str) {
    match judge(group, INDEX, &change) {
        Err(No::NotYet(why)) => assert!(why.contains(words), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_newcomer_joins_once_and_never_under_an_id_that_was_used() {
    let now = group(&[1, 2, 3], &[]);
    let peer = Peer { name: "catalog-4".into(), address: "host:4".into(), incarnation: 4 << 70 };
    let added = Ok(Verdict::Make(ChangeMembers::AddNodes([(4, peer)].into())));
    assert_eq!(judge(&now, INDEX, &MemberChange::AddLearner(member(4))), added);
    assert_eq!(judge(&now, INDEX, &MemberChange::AddLearner(member(3))), Ok(Verdict::Done));
    never(&now, MemberChange::AddLearner(Member { incarnation: 9, ..member(3) }), "catalog-3 has joined with another");
    never(&group(&[1, 3, 4], &[]), MemberChange::AddLearner(member(2)), "never used again: the next one is 5");
}

#[test]
fn a_learner_that_has_caught_up_takes_the_place_of_one_that_is_down() {
    let now = silent(group(&[1, 2, 3], &[4]), 2);
    assert_eq!(judge(&now, INDEX, &voters(&[1, 3, 4])), Ok(replaced(&[1, 3, 4])));
    assert_eq!(judge(&group(&[1, 3, 4], &[]), INDEX, &voters(&[4, 3, 1])), Ok(Verdict::Done));
}

#[test]
fn nobody_votes_who_has_not_joined_and_caught_up() {
    let now = group(&[1, 2, 3], &[4]);
    never(&now, voters(&[1, 2, 3, 5]), "replica 5 is no member");
    let behind = Progress { matched: LAST - CAUGHT_UP - 1, heard_ms: Some(1) };
    not_yet(&with(now.clone(), 4, behind), voters(&[1, 3, 4]), "catalog-4 has not caught up: entry 3999 of 5000");
    not_yet(&with(now.clone(), 4, Progress::default()), voters(&[1, 3, 4]), "entry 0 of");
    let near = Progress { matched: LAST - CAUGHT_UP, heard_ms: Some(1) };
    assert_eq!(judge(&with(now, 4, near), INDEX, &voters(&[1, 3, 4])), Ok(replaced(&[1, 3, 4])));
}

#[test]
fn a_change_that_would_cost_the_quorum_is_not_made() {
    // Removing a replica that answers, while one of the two others does not.
    let two_left = silent(group(&[1, 2, 3], &[]), 3);
    not_yet(
        &two_left,
        voters(&[1, 3]),
        "no quorum for it: of the voters catalog-1, catalog-3, 2 must answer, and catalog-3",
    );
    assert_eq!(judge(&two_left, INDEX, &voters(&[1, 2])), Ok(replaced(&[1, 2])));
    // Neither is one that the old voters cannot commit.
    let none = silent(silent(group(&[1, 2, 3], &[4]), 2), 3);
    for change in [voters(&[1, 3, 4]), MemberChange::AddLearner(member(5)), MemberChange::RemoveLearner(4)] {
        not_yet(&none, change, "catalog-2, catalog-3 does not");
    }
    // Five voters spare one more.
    let five = silent(silent(group(&[1, 2, 3, 4, 5], &[6]), 2), 3);
    assert_eq!(judge(&five, INDEX, &voters(&[1, 3, 4, 5, 6])), Ok(replaced(&[1, 3, 4, 5, 6])));
    never(&group(&[1], &[]), voters(&[]), "without voters");
}

#[test]
fn a_leader_that_is_to_go_hands_over_to_a_voter_that_answers_and_stays() {
    let now = silent(group(&[1, 2, 3, 4, 5], &[]), 3);
    assert_eq!(judge(&now, INDEX, &voters(&[2, 3, 4])), Ok(Verdict::HandOver([2, 4].into())));
    never(&group(&[1], &[4]), voters(&[4]), "catalog-1 leads");
}

#[test]
fn one_change_at_a_time_and_only_on_the_group_that_was_seen() {
    let under_way = Group { is_committed: false, ..group(&[1, 2, 3], &[4]) };
    not_yet(&under_way, voters(&[1, 3, 4]), "under way");
    let late = judge(&group(&[1, 2, 3], &[4]), INDEX - 1, &voters(&[1, 3, 4]));
    assert!(matches!(late, Err(No::Never(why)) if why.contains("changed meanwhile")));
}

#[test]
fn a_change_that_is_half_done_is_finished_before_any_other_is_made() {
    let mut half = silent(group(&[1, 2, 3, 4], &[]), 2);
    half.configs = vec![[1, 2, 3].into(), [1, 3, 4].into()];
    for change in [voters(&[1, 3, 4]), voters(&[1, 2, 3]), MemberChange::AddLearner(member(5))] {
        assert_eq!(judge(&half, INDEX, &change), Ok(Verdict::Finish));
    }
    half.configs = vec![[1, 2, 3].into(), [3, 4].into()];
    assert_eq!(judge(&half, INDEX, &voters(&[3, 4])), Ok(Verdict::HandOver([3, 4].into())));
}

#[test]
fn a_learner_can_be_given_up_and_a_voter_cannot() {
    let now = group(&[1, 2, 3], &[4]);
    let removed = Ok(Verdict::Make(ChangeMembers::RemoveNodes([4].into())));
    assert_eq!(judge(&now, INDEX, &MemberChange::RemoveLearner(4)), removed);
    assert_eq!(judge(&now, INDEX, &MemberChange::RemoveLearner(9)), Ok(Verdict::Done));
    never(&now, MemberChange::RemoveLearner(3), "catalog-3 is a voter");
}

#[test]
fn whoever_is_to_lead_votes_answers_and_is_close_behind() {
    let far = Progress { matched: LAST - CLOSE - 1, heard_ms: Some(30) };
    let close = Progress { matched: LAST - CLOSE, heard_ms: Some(30) };
    let all = group(&[1, 2, 3], &[4]);
    assert_eq!(successors(&all, Some(3)), Ok(vec![3]));
    assert_eq!(successors(&with(all.clone(), 2, close), None), Ok(vec![3, 2]), "the furthest on first");
    assert_eq!(successors(&with(all.clone(), 2, far), None), Ok(vec![3]));
    assert_eq!(successors(&silent(all.clone(), 3), None), Ok(vec![2]));
    for (to, words) in [(1, "leads already"), (4, "no voter"), (9, "replica 9 is no voter")] {
        assert!(matches!(successors(&all, Some(to)), Err(No::Never(why)) if why.contains(words)), "{words}");
    }
    assert!(matches!(successors(&group(&[1], &[2]), None), Err(No::Never(why)) if why.contains("only voter")));
    let nobody = silent(with(all.clone(), 2, far), 3);
    for (group, to, words) in [
        (with(all.clone(), 2, far), Some(2), "catalog-2 is at entry 4799 of 5000"),
        (silent(all.clone(), 3), Some(3), "catalog-3 does not answer"),
        (nobody, None, "catalog-2 is at entry 4799 of 5000, catalog-3 does not answer"),
        (Group { members: Members { changing: true, ..all.members.clone() }, ..all }, None, "under way"),
    ] {
        assert!(matches!(successors(&group, to), Err(No::NotYet(why)) if why.contains(words)), "{words}");
    }
}
