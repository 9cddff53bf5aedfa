//! What a change of the group is made of: each step says what it does, and does nothing where that is done already. Must
//! not know which steps a command takes.

use std::{
    collections::BTreeSet,
    fmt::Display,
    fs::File,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use catalog_client::{
    NodeId,
    client::{Catalog, Error, Options, Peer, incarnation_of},
    protocol::{Member, MemberChange, Members},
};
use cluster_config::{CatalogNode, launch::Cluster, layout};
use rustix::fs::{FlockOperation, flock};
use tokio::time::sleep;

use super::serving::log_end;
use crate::{ask::Ask, place};

/// How long the leader may take to be found and to answer, an election among it.
const LEADER_PATIENCE: Duration = Duration::from_secs(5);
/// How long one change may take, elections and answers that are lost among it.
const CHANGE_PATIENCE: Duration = Duration::from_secs(60);
/// How long a replica may take to answer after its start; one that somebody must start elsewhere.
const START_PATIENCE: Duration = Duration::from_secs(60);
const ELSEWHERE_PATIENCE: Duration = Duration::from_secs(600);
/// A replica that takes no entry for so long is not waited for: a snapshot of everything may take minutes.
const STALLED: Duration = Duration::from_secs(600);
/// How long servers may take to know the group as it is.
const SEEN_PATIENCE: Duration = Duration::from_secs(15);
/// A replica that the leader has heard so recently answers.
const ANSWERS_WITHIN_MS: u64 = 2_000;
/// A learner that lacks no more than so many entries has caught up.
const CAUGHT_UP: u64 = 1_000;
/// Between two looks, and between two lines about them.
const POLL: Duration = Duration::from_millis(100);
const SAY_EVERY: Duration = Duration::from_secs(1);

/// One change under way. No other program changes the group of this run folder meanwhile.
pub(super) struct Change {
    pub cluster: Cluster,
    pub ask: Ask,
    catalog: Catalog,
    steps: u32,
    _lock: File,
}

impl Change {
    pub fn begin(cluster: Cluster) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&cluster.run_dir)?;
        let path = cluster.run_dir.join("group.lock");
        let lock = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!("another command is changing the group: let it end, or end it; then run this one again");
        }
        let peer = |node: &CatalogNode| Peer { id: node.id, name: node.name.clone(), address: node.peer.clone() };
        let catalog = Catalog::new(Options {
            cluster: cluster.layout.cluster.clone(),
            sender: "cluster-config".to_owned(),
            replicas: cluster.layout.catalogs.iter().map(peer).collect(),
        });
        Ok(Self { cluster, ask: Ask::new()?, catalog, steps: 0, _lock: lock })
    }

    /// Says what has been done, or is so already.
    pub fn say(&mut self, what: impl Display) {
        self.steps += 1;
        println!("{:>2}. {what}", self.steps);
    }

    /// Who belongs to the group, as its leader sees it.
    pub async fn members(&self) -> anyhow::Result<Members> {
        let error = match self.catalog.members(within(LEADER_PATIENCE)).await {
            Ok(members) => return Ok(members),
            Err(error) => error,
        };
        let statuses = self.ask.statuses(&self.cluster).await;
        let catalogs = &self.cluster.layout.catalogs;
        let down = catalogs.iter().map(|node| node.name.as_str()).filter(|name| !statuses.contains_key(*name));
        let down = down.collect::<Vec<_>>().join(", ");
        if down.is_empty() {
            bail!("the group cannot be changed: {error}");
        }
        bail!(
            "the group cannot be changed without a quorum: a majority of its voters must answer, and of {} replicas \
             {down} does not; start first what still has its disk (make restart NODE=...); {error}",
            catalogs.len()
        )
    }

    /// Fails when no majority of the voters answers the leader: one that has lost it goes on to lead, and commits nothing.
    pub fn must_have_quorum(&self, members: &Members) -> anyhow::Result<()> {
        let name = |id: &NodeId| members.get(*id).map_or_else(|| id.to_string(), |member| member.name.clone());
        let answers = |id: &NodeId| {
            let heard = members.progress(*id).and_then(|progress| progress.heard_ms);
            self.catalog.leader() == Some(*id) || heard.is_some_and(|ms| ms <= ANSWERS_WITHIN_MS)
        };
        let silent: Vec<String> = members.voters.iter().filter(|id| !answers(id)).map(name).collect();
        let needed = members.voters.len() / 2 + 1;
        ensure!(
            members.voters.len() - silent.len() >= needed,
            "there is no quorum for it: of {} voters {needed} must answer, and {} does not; start first what still has its \
             disk (make restart NODE=...)",
            members.voters.len(),
            silent.join(", ")
        );
        Ok(())
    }

    /// Rewrites the layout's file.
    pub fn rewrite(
        &mut self,
        what: &str,
        change: impl FnOnce(&str) -> Result<String, layout::Error>,
    ) -> anyhow::Result<()> {
        place::rewrite(&mut self.cluster, change)?;
        let path = self.cluster.selector.clone();
        self.say(format_args!("{what} in {path}"));
        Ok(())
    }

    /// Fails when `member` answers.
    pub async fn must_be_silent(&self, member: &Member) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let heard = self.members().await?.progress(member.id).and_then(|progress| progress.heard_ms);
            let answers = incarnation_of(self.catalog.options(), member.id, &member.address).await;
            let lives = answers.is_ok_and(|incarnation| incarnation == member.incarnation);
            if !lives && heard.is_none_or(|ms| ms > ANSWERS_WITHIN_MS) {
                return Ok(());
            }
            // What has just been killed was heard a moment ago.
            let name = &member.name;
            ensure!(
                !lives && began.elapsed() < 2 * Duration::from_millis(ANSWERS_WITHIN_MS),
                "{name} runs and answers, so its disk is not lost: to have another replica instead, run make add and \
                 then make remove NODE={name}, which keep every voter meanwhile; or make stop NODE={name} first"
            );
            sleep(POLL).await;
        }
    }

    /// Has `node` up, a member, and caught up: whatever of it is not so yet.
    pub async fn join(&mut self, node: &CatalogNode) -> anyhow::Result<()> {
        let name = &node.name;
        if self.members().await?.votes(node.id) {
            self.say(format_args!("{name} votes already"));
            return Ok(());
        }
        if !self.cluster.is_local(name) {
            let (layout, id) = (&self.cluster.selector, node.id);
            println!("    waiting for {name}: start it on its host, by this layout: catalog-raft -c {layout} -i {id}");
        } else if self.cluster.start(name)? {
            let pid = self.cluster.pid(name).unwrap_or_default();
            self.say(format_args!("{name} started (pid {pid})"));
        }
        let incarnation = self.incarnation(node).await?;
        self.say(format_args!("{name} answers at {}; its disk is {incarnation:032x}", node.peer));
        let member = Member { id: node.id, name: name.clone(), address: node.peer.clone(), incarnation };
        let joining = |members: &Members| match members.get(member.id) {
            Some(known) if known.incarnation == incarnation => None,
            _ => Some(MemberChange::AddLearner(member.clone())),
        };
        self.change(joining).await.with_context(|| format!("{name} cannot join"))?;
        self.say(format_args!("{name} is a learner: it is sent the log, and has no vote yet"));
        self.caught_up(node).await
    }

    async fn incarnation(&self, node: &CatalogNode) -> anyhow::Result<u128> {
        let (began, local) = (Instant::now(), self.cluster.is_local(&node.name));
        let patience = if local { START_PATIENCE } else { ELSEWHERE_PATIENCE };
        loop {
            let error = match incarnation_of(self.catalog.options(), node.id, &node.peer).await {
                Ok(incarnation) => return Ok(incarnation),
                Err(error) => error,
            };
            let name = &node.name;
            if local && self.cluster.process(name).is_none() {
                bail!("{name} has ended{}", log_end(&self.cluster.run_dir, name));
            }
            ensure!(began.elapsed() < patience, "{name} does not answer at {}: {error}; run this again", node.peer);
            sleep(POLL).await;
        }
    }

    async fn caught_up(&mut self, node: &CatalogNode) -> anyhow::Result<()> {
        let (mut moved, mut said, mut before) = (Instant::now(), Instant::now(), 0);
        loop {
            let members = self.members().await?;
            let (matched, last) = (members.progress(node.id).unwrap_or_default().matched, members.last_log);
            if matched > 0 && matched.saturating_add(CAUGHT_UP) >= last {
                self.say(format_args!("{} has caught up: entry {matched} of {last}", node.name));
                return Ok(());
            }
            if matched != before {
                (moved, before) = (Instant::now(), matched);
            }
            ensure!(
                moved.elapsed() < STALLED,
                "{} has taken no entry for {} s: see why, and run this again{}",
                node.name,
                STALLED.as_secs(),
                log_end(&self.cluster.run_dir, &node.name)
            );
            if said.elapsed() >= SAY_EVERY {
                said = Instant::now();
                println!("    catching up: entry {matched} of {last}");
            }
            sleep(POLL).await;
        }
    }

    /// Has exactly those vote that `wanted` says of the group.
    pub async fn vote(&mut self, wanted: impl Fn(&Members) -> BTreeSet<NodeId>) -> anyhow::Result<()> {
        let members = self
            .change(|members| {
                let wanted = wanted(members);
                let is_so = !members.changing && members.voters.iter().copied().collect::<BTreeSet<_>>() == wanted;
                (!is_so).then(|| MemberChange::Voters(wanted.into_iter().collect()))
            })
            .await
            .context("the voters cannot be changed")?;
        let voters = members.voters.iter().filter_map(|id| members.get(*id)).map(|member| member.name.as_str());
        let voters = voters.collect::<Vec<_>>().join(", ");
        self.say(format_args!("the voters are {voters} (since entry {})", members.index));
        Ok(())
    }

    /// Ends the membership of learners whose ids are retired: of replacements that were themselves lost before they
    /// could vote.
    pub async fn drop_retired_learners(&mut self) -> anyhow::Result<()> {
        let learners: Vec<NodeId> = self.members().await?.learners().collect();
        for id in learners.into_iter().filter(|id| self.cluster.layout.retired.contains(id)).collect::<Vec<_>>() {
            self.drop_learner(id).await?;
        }
        Ok(())
    }

    /// Ends the membership of a learner.
    pub async fn drop_learner(&mut self, id: NodeId) -> anyhow::Result<()> {
        self.change(|members| members.get(id).map(|_| MemberChange::RemoveLearner(id))).await?;
        self.say(format_args!("replica {id}, a learner, is a member no longer"));
        Ok(())
    }

    /// Asks for what `decide` says until it says nothing, and gives the group as it is then.
    async fn change(&self, decide: impl Fn(&Members) -> Option<MemberChange>) -> anyhow::Result<Members> {
        let began = Instant::now();
        loop {
            let members = self.members().await?;
            let Some(change) = decide(&members) else { return Ok(members) };
            ensure!(
                began.elapsed() < CHANGE_PATIENCE,
                "the group does not settle: see make status, and run this again"
            );
            match self.catalog.change_members(members.index, change, within(CHANGE_PATIENCE)).await {
                Ok(Ok(_)) => {}
                // Another leader may have gone on with what one before it had begun.
                Ok(Err(why)) => ensure!(self.members().await?.index != members.index, "{why}"),
                // It may have been made: the group says.
                Err(Error::Unknown) => sleep(POLL).await,
                Err(Error::Refused(refusal)) => bail!("{refusal}"),
            }
        }
    }

    /// Waits until each front end names exactly the voters, and says how many do.
    pub async fn seen(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        let members = self.members().await?;
        let voters = members.voters.iter().filter_map(|id| members.get(*id));
        let voters: BTreeSet<String> = voters.map(|member| member.name.clone()).collect();
        let fronts = self.cluster.layout.frontends.clone();
        let (mut know, mut silent) = (0, Vec::new());
        for front in &fronts {
            loop {
                match self.ask.catalogs_seen_by(&front.address).await {
                    Some(seen) if seen == voters => know += 1,
                    Some(seen) => {
                        ensure!(
                            began.elapsed() < SEEN_PATIENCE,
                            "{} still sees the catalogs {seen:?}: restart it (make restart NODE={})",
                            front.name,
                            front.name
                        );
                        sleep(POLL).await;
                        continue;
                    }
                    None => silent.push(front.name.as_str()),
                }
                break;
            }
        }
        let silent = if silent.is_empty() { String::new() } else { format!("; no answer from {}", silent.join(", ")) };
        self.say(format_args!("{know} of {} front ends know the group as it is{silent}", fronts.len()));
        Ok(())
    }
}

fn within(patience: Duration) -> tokio::time::Instant {
    tokio::time::Instant::now() + patience
}
