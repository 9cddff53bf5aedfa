//! `replace`, `add`, `remove`: who belongs to the group. Each looks at the layout and at the group first, and goes on from
//! there: it may be interrupted anywhere, and run again.

use std::collections::BTreeSet;

use anyhow::{Context, bail, ensure};
use catalog_client::{NodeId, protocol::Members};
use cluster_config::{
    CatalogNode,
    launch::{Cluster, free_addresses},
    layout::edit,
};

use super::{group::Change, signals::STOP_PATIENCE, status};
use crate::ask;

/// Where a new replica is to be.
#[derive(Debug, clap::Args)]
pub struct At {
    /// `host:port` of its client port. Default: of the replica that it replaces, or a free port of this machine.
    #[arg(long, requires = "peer")]
    client: Option<String>,
    /// `host:port` of its peer port.
    #[arg(long, requires = "client")]
    peer: Option<String>,
}

impl At {
    fn node(&self, id: NodeId) -> Option<CatalogNode> {
        let (client, peer) = (self.client.clone()?, self.peer.clone()?);
        let (listen_client, listen_peer) = (client.clone(), peer.clone());
        Some(CatalogNode { id, name: name(id), client, peer, listen_client, listen_peer, replaces: None })
    }
}

/// Has a replica with a new id take the place of `node`, which is down for good.
///
/// # Errors
/// Why it is refused, or cannot go on, and what to do.
pub async fn replace(cluster: Cluster, node: &str, at: &At) -> anyhow::Result<()> {
    let old = id_of(node)?;
    let mut change = Change::begin(cluster)?;
    let members = change.members().await?;
    let begun = change.cluster.layout.catalogs.iter().find(|known| known.replaces == Some(old)).cloned();
    let successor = match (begun, layout_node(&change, old)) {
        (Some(successor), _) => {
            change.say(format_args!("{} is to take the place of {node}", successor.name));
            successor
        }
        (None, Some(lost)) => begin_replacement(&mut change, &members, &lost, at).await?,
        (None, None) if change.cluster.layout.retired.contains(&old) => {
            if let Some((successor, lost)) = unfinished(&change.cluster, &members) {
                bail!("{successor} is to take the place of {lost}: run make replace NODE={lost}");
            }
            bail!("{node} was removed for good, and nobody is to take its place: make add adds a replica")
        }
        (None, None) => bail!("there is no catalog `{node}`: name one of {}", catalogs(&change.cluster)),
    };
    // One that was itself to replace another, and was lost before it could vote, leaves that to its own successor.
    let old = successor.replaces.unwrap_or(old);
    let was_replaced = members.get(old).is_none() && members.votes(successor.id);
    change.join(&successor).await?;
    change.vote(|members| voters(members, Some(successor.id), Some(old))).await?;
    change.drop_retired_learners().await?;
    change.seen().await?;
    let name = &successor.name;
    if was_replaced {
        println!("{name} has taken the place of {node} before; nothing was changed");
    } else {
        println!("{name} has taken the place of {node}, whose disk is refused should it come back");
    }
    status::status(&change.cluster, false).await
}

/// Refuses what must not be replaced, and writes the successor of `lost` into the layout.
async fn begin_replacement(
    change: &mut Change,
    members: &Members,
    lost: &CatalogNode,
    at: &At,
) -> anyhow::Result<CatalogNode> {
    let name = &lost.name;
    let member = members.get(lost.id);
    let member =
        member.with_context(|| format!("{name} is in the layout and has not joined: make add goes on with it"))?;
    ensure!(
        change.cluster.process(name).is_none(),
        "{name} runs: run make stop NODE={name} first if its disk is lost; to have another replica instead of one that is \
         well, run make add and then make remove NODE={name}, which keep every voter meanwhile"
    );
    change.must_be_silent(member).await?;
    change.must_have_quorum(&change.members().await?)?;
    let unfinished = lost.replaces.filter(|old| members.get(*old).is_some());
    let id = next_id(&change.cluster, members);
    let place = at.node(id).unwrap_or_else(|| CatalogNode { id, name: self::name(id), ..lost.clone() });
    let successor = CatalogNode { replaces: Some(unfinished.unwrap_or(lost.id)), ..place };
    change.say(format_args!("{name} does not answer; {} shall take its place at {}", successor.name, successor.peer));
    let what = format!("{} stands in the place of {name}", successor.name);
    change.rewrite(&what, |text| edit::replace(text, lost.id, &successor))?;
    Ok(successor)
}

/// Has one more replica vote: `node` of the layout, or one that has not joined yet, or a new one.
///
/// # Errors
/// Why it is refused, or cannot go on, and what to do.
pub async fn add(cluster: Cluster, node: Option<&str>, at: &At) -> anyhow::Result<()> {
    let mut change = Change::begin(cluster)?;
    let members = change.members().await?;
    let newcomer = match node {
        Some(node) => {
            let known = layout_node(&change, id_of(node)?);
            known.with_context(|| {
                format!("{node} is not in the layout: add it there, or name none and give its addresses")
            })?
        }
        None => match pending(&change.cluster, &members)? {
            Some(pending) => {
                change.say(format_args!("{} is in the layout and has no vote yet", pending.name));
                pending
            }
            None => begin_addition(&mut change, &members, at)?,
        },
    };
    change.join(&newcomer).await?;
    change.vote(|members| voters(members, Some(newcomer.id), None)).await?;
    change.seen().await?;
    let count = change.members().await?.voters.len();
    if count % 2 == 0 {
        println!("{count} voters survive no more failures than {}: add one more", count - 1);
    }
    status::status(&change.cluster, false).await
}

/// The replica of the layout that was added and does not vote yet.
fn pending(cluster: &Cluster, members: &Members) -> anyhow::Result<Option<CatalogNode>> {
    if let Some((successor, lost)) = unfinished(cluster, members) {
        bail!("{successor} is to take the place of {lost}: let make replace NODE={lost} finish first");
    }
    Ok(cluster.layout.catalogs.iter().find(|node| !members.votes(node.id)).cloned())
}

/// A replacement that has begun and is not done: who is to take whose place.
fn unfinished(cluster: &Cluster, members: &Members) -> Option<(String, String)> {
    let of = |node: &CatalogNode| node.replaces.filter(|old| members.get(*old).is_some());
    cluster.layout.catalogs.iter().find_map(|node| Some((node.name.clone(), name(of(node)?))))
}

fn begin_addition(change: &mut Change, members: &Members, at: &At) -> anyhow::Result<CatalogNode> {
    change.must_have_quorum(members)?;
    let id = next_id(&change.cluster, members);
    let newcomer = match at.node(id) {
        Some(newcomer) => newcomer,
        None => {
            let is_here = change.cluster.layout.catalogs.iter().all(|node| change.cluster.is_local(&node.name));
            ensure!(
                is_here && !change.cluster.layout.insecure,
                "say where the new replica is to be: make add CLIENT=host:port PEER=host:port"
            );
            let mut free = free_addresses(2)?.into_iter();
            let (client, peer) = free.next().zip(free.next()).context("two addresses were asked for")?;
            At { client: Some(client), peer: Some(peer) }.node(id).context("both addresses are there")?
        }
    };
    change.say(format_args!("{} shall join at {}", newcomer.name, newcomer.peer));
    change.rewrite(&format!("{} stands", newcomer.name), |text| edit::add(text, &newcomer))?;
    Ok(newcomer)
}

/// Ends the membership of `node`, stops it, and takes it out of the layout.
///
/// # Errors
/// Why it is refused, or cannot go on, and what to do.
pub async fn remove(cluster: Cluster, node: &str) -> anyhow::Result<()> {
    let mut change = Change::begin(cluster)?;
    let members = change.members().await?;
    let statuses = change.ask.statuses(&change.cluster).await;
    let leader = ask::leader(&statuses).map(|(name, _)| name.to_owned());
    let node = match node {
        "leader" => leader.clone().context("there is no leader; see make status")?,
        node => node.to_owned(),
    };
    let old = id_of(&node)?;
    let known = layout_node(&change, old);
    if known.is_none() && members.get(old).is_some() {
        bail!("another replica is to take the place of {node}: run make replace NODE={node}");
    }
    if known.is_none() && change.cluster.layout.retired.contains(&old) {
        println!("{node} was removed before; nothing was changed");
        return Ok(());
    }
    ensure!(known.is_some(), "there is no catalog `{node}`: name one of {}", catalogs(&change.cluster));
    ensure!(change.cluster.layout.catalogs.len() > 1, "{node} is the last replica: make down ends the cluster");
    if members.votes(old) {
        if leader.as_ref() == Some(&node) {
            change.say(format_args!("{node} leads, and hands over first"));
        }
        change.vote(|members| voters(members, None, Some(old))).await?;
    }
    if members.learners().any(|id| id == old) {
        change.drop_learner(old).await?;
    }
    // It would end by itself, as one that runs elsewhere does.
    if change.cluster.process(&node).is_some() {
        match change.cluster.stop(&node, STOP_PATIENCE) {
            Err(error) if change.cluster.process(&node).is_some() => return Err(error),
            _ => {
                let kept = change.cluster.run_dir.join(&node);
                change.say(format_args!("{node} stopped; its data is kept in {}", kept.display()));
            }
        }
    }
    change.rewrite(&format!("{node} is retired"), |text| edit::remove(text, old))?;
    change.seen().await?;
    status::status(&change.cluster, false).await
}

/// The voters of now with `new` and without `old`.
fn voters(members: &Members, new: Option<NodeId>, old: Option<NodeId>) -> BTreeSet<NodeId> {
    members.voters.iter().copied().chain(new).filter(|id| Some(*id) != old).collect()
}

/// An id greater than all that are or were in use.
fn next_id(cluster: &Cluster, members: &Members) -> NodeId {
    let layout = &cluster.layout;
    let known = layout.catalogs.iter().map(|node| node.id).chain(layout.retired.iter().copied());
    known.chain(members.all.iter().map(|member| member.id)).max().unwrap_or(0) + 1
}

fn layout_node(change: &Change, id: NodeId) -> Option<CatalogNode> {
    change.cluster.layout.catalogs.iter().find(|node| node.id == id).cloned()
}

fn name(id: NodeId) -> String {
    format!("catalog-{id}")
}

fn id_of(node: &str) -> anyhow::Result<NodeId> {
    let id = node.strip_prefix("catalog-").and_then(|id| id.parse().ok());
    id.with_context(|| format!("`{node}` is no replica: name a catalog, as catalog-2"))
}

fn catalogs(cluster: &Cluster) -> String {
    cluster.layout.catalogs.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(", ")
}
