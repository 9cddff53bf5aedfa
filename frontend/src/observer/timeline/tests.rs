//! What a timeline tells of servers that come, go, lead and lag.

use super::*;

/// Three replicas of which `leader` leads in `term`, all at `revision`.
fn look(leader: &str, term: u64, revision: Revision) -> Look {
    let status = |name: &str, id: u64| Status {
        node: name.to_owned(),
        id,
        role: if name == leader { "leader" } else { "follower" }.to_owned(),
        leader: None,
        term,
        last_log: revision,
        committed: revision,
        applied: revision,
        snapshot: 0,
        purged: 0,
        state_hash: String::new(),
        items: 7,
        orders: 0,
        voters: vec![1, 2, 3],
        learners: Vec::new(),
        durability: "fsync".to_owned(),
        version: "0".to_owned(),
    };
    let replica = |id: u64| (format!("catalog-{id}"), Some(status(&format!("catalog-{id}"), id)));
    Look {
        replicas: (1..=3).map(replica).collect(),
        orders: vec![("order-1".to_owned(), true)],
        leader: Some(leader.to_owned()),
        stream: true,
    }
}

fn down(mut look: Look, index: usize) -> Look {
    let (name, status) = &mut look.replicas[index];
    *status = None;
    if look.leader.as_ref() == Some(name) {
        look.leader = None;
    }
    look
}

fn told(timeline: &mut Timeline, now_ms: u64, look: &Look) -> Vec<(String, What)> {
    timeline.observe(now_ms, look).into_iter().map(|event| (event.node, event.what)).collect()
}

fn event(node: &str, what: What) -> (String, What) {
    (node.to_owned(), what)
}

#[test]
fn a_beginning_and_a_quiet_time_tell_nothing() {
    let mut timeline = Timeline::default();
    assert_eq!(told(&mut timeline, 0, &down(down(look("catalog-1", 1, 5), 0), 1)), []);
    assert_eq!(told(&mut timeline, 200, &look("catalog-1", 1, 5)), []);
    assert_eq!(told(&mut timeline, 400, &look("catalog-1", 1, 9)), []);
}

#[test]
fn a_killed_leader_an_election_a_return_and_a_catching_up() {
    let mut timeline = Timeline::default();
    timeline.observe(0, &look("catalog-1", 1, 5));
    let gone = told(&mut timeline, 1000, &down(look("catalog-1", 1, 5), 0));
    assert_eq!(gone, [event("catalog-1", What::Down { led: true })]);
    let elected = told(&mut timeline, 1400, &down(look("catalog-3", 2, 6), 0));
    assert_eq!(elected, [event("catalog-3", What::Elected { term: 2, after_ms: Some(400) })]);
    let mut back = look("catalog-3", 2, 90);
    back.replicas[0].1.as_mut().unwrap().applied = 5;
    let returned = told(&mut timeline, 3000, &back);
    assert_eq!(returned, [event("catalog-1", What::Up { after_ms: 2000, behind: 85 })]);
    let caught_up = told(&mut timeline, 3250, &look("catalog-3", 2, 95));
    assert_eq!(caught_up, [event("catalog-1", What::CaughtUp { entries: 85, after_ms: 250 })]);
}

#[test]
fn an_election_between_two_looks_is_seen_by_its_term() {
    let mut timeline = Timeline::default();
    timeline.observe(0, &look("catalog-1", 1, 5));
    let again = told(&mut timeline, 200, &look("catalog-1", 3, 5));
    assert_eq!(again, [event("catalog-1", What::Elected { term: 3, after_ms: None })]);
}

#[test]
fn who_is_said_to_lead_leads_once_it_says_so() {
    let mut timeline = Timeline::default();
    timeline.observe(0, &look("catalog-1", 1, 5));
    let mut claimed = look("catalog-1", 1, 5);
    claimed.leader = Some("catalog-2".to_owned());
    assert_eq!(told(&mut timeline, 200, &claimed), []);
}

#[test]
fn order_servers_the_stream_snapshots_and_voters_are_told_of() {
    let mut timeline = Timeline::default();
    timeline.observe(0, &look("catalog-1", 1, 5));
    let mut second = look("catalog-1", 1, 5);
    (second.orders[0].1, second.stream) = (false, false);
    let expected = [event("order-1", What::Down { led: false }), event("stream", What::StreamCut)];
    assert_eq!(told(&mut timeline, 100, &second), expected);
    let mut third = look("catalog-1", 1, 9);
    for (_, status) in &mut third.replicas {
        let status = status.as_mut().unwrap();
        (status.snapshot, status.voters) = (8, vec![2, 3, 4]);
    }
    let mut expected: Vec<_> =
        (1..=3).map(|id| event(&format!("catalog-{id}"), What::Snapshot { revision: 8 })).collect();
    expected.push(event("order-1", What::Up { after_ms: 300, behind: 0 }));
    expected.push(event("catalog-1", What::Voters { voters: vec![2, 3, 4] }));
    expected.push(event("stream", What::StreamLive));
    assert_eq!(told(&mut timeline, 400, &third), expected);
}
