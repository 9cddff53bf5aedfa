//! `snapshot` and `transfer-leader`: what replicas do for an operator, asked over their peer ports.

use std::time::Duration;

use catalog_client::{
    NodeId,
    client::{Catalog, Error, Options, Peer},
};
use cluster_config::CatalogNode;
use futures::future::join_all;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::Tools;
use crate::{failure::Failure, output::spinner};

/// Between two looks whether a snapshot is there.
const POLL: Duration = Duration::from_millis(100);
/// How long one look may take.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize)]
struct Built {
    node: String,
    /// Up to which revision.
    snapshot: u64,
    /// Whether it was there already.
    nothing_new: bool,
}

#[derive(Debug, Serialize)]
struct Leads<'a> {
    leader: &'a str,
}

/// `snapshot`.
///
/// # Errors
/// When a replica does not answer, or says why not.
pub async fn snapshot(tools: &mut Tools, node: &str) -> Result<(), Failure> {
    let catalog = catalog(tools)?;
    let patience = tools.store.timeout();
    let known = replicas(&catalog, patience).await;
    let wanted: Vec<(NodeId, String)> = match node {
        "all" => known,
        _ => vec![named(&known, node)?],
    };
    let progress = spinner("entries in snapshots");
    let builds = wanted.iter().map(|(id, name)| build(&catalog, *id, name, patience, &progress));
    let built = join_all(builds).await;
    progress.finish_and_clear();
    let mut failed = None;
    for built in built {
        match built {
            Err(failure) => {
                failed.get_or_insert(failure);
            }
            Ok(built) if tools.out.is_json() => tools.out.json(&built)?,
            Ok(Built { node, snapshot, nothing_new: true }) => {
                tools
                    .out
                    .line(format_args!("{node}: the snapshot up to revision {snapshot} has everything already"))?;
            }
            Ok(Built { node, snapshot, .. }) => {
                tools.out.line(format_args!("{node}: a snapshot up to revision {snapshot}"))?
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Waits as long as it takes, and the replica answers: one of everything may take minutes.
async fn build(
    catalog: &Catalog,
    id: NodeId,
    name: &str,
    patience: Duration,
    progress: &indicatif::ProgressBar,
) -> Result<Built, Failure> {
    let asked = catalog.snapshot(id, Instant::now() + patience).await.map_err(|error| not_asked(&error))?;
    if asked.is_there() {
        return Ok(Built { node: name.to_owned(), snapshot: asked.snapshot, nothing_new: true });
    }
    let mut heard = Instant::now();
    loop {
        match catalog.status(id, Instant::now() + LOOK).await {
            Ok(status) if status.snapshot >= asked.applied => {
                return Ok(Built { node: name.to_owned(), snapshot: status.snapshot, nothing_new: false });
            }
            Ok(_) => heard = Instant::now(),
            Err(error) if heard.elapsed() >= patience => return Err(not_asked(&error)),
            Err(_) => {}
        }
        progress.tick();
        sleep(POLL).await;
    }
}

/// `transfer-leader`.
///
/// # Errors
/// Why the leader stays.
pub async fn transfer_leader(tools: &mut Tools, node: Option<&str>) -> Result<(), Failure> {
    let catalog = catalog(tools)?;
    let patience = tools.store.timeout();
    let known = replicas(&catalog, patience).await;
    let to = node.map(|node| named(&known, node)).transpose()?.map(|(id, _)| id);
    match catalog.transfer_leader(to, Instant::now() + patience).await {
        Ok(Ok(id)) => {
            let name = known.iter().find(|(of, _)| *of == id).map_or(catalog.name_of(id), |(_, name)| name.as_str());
            if tools.out.is_json() {
                return tools.out.json(&Leads { leader: name });
            }
            tools.out.line(format_args!("{name} leads now"))
        }
        Ok(Err(why)) => Err(Failure::refused(why)),
        Err(Error::Unknown) => Err(Failure::unknown(
            "the outcome is unknown: no answer came in time; see who leads (catalogctl status), and run this again",
        )),
        Err(error @ Error::Refused(_)) => Err(not_asked(&error)),
    }
}

fn not_asked(error: &Error) -> Failure {
    Failure::unavailable(format_args!("{error}: see who is up (catalogctl status), and run this again"))
}

/// The peer ports stand in the layout alone.
fn catalog(tools: &Tools) -> Result<Catalog, Failure> {
    let Some(layout) = &tools.store.place.layout else {
        return Err(Failure::usage(
            "this is asked of replicas over their peer ports, which stand in the layout: name it by -c instead of an address",
        ));
    };
    let peer = |node: &CatalogNode| Peer { id: node.id, name: node.name.clone(), address: node.peer.clone() };
    Ok(Catalog::new(Options {
        cluster: layout.cluster.clone(),
        sender: "catalogctl".to_owned(),
        replicas: layout.catalogs.iter().map(peer).collect(),
    }))
}

/// Who belongs to the group; while no leader says so, who does by the layout.
async fn replicas(catalog: &Catalog, patience: Duration) -> Vec<(NodeId, String)> {
    match catalog.members(Instant::now() + patience).await {
        Ok(members) if !members.all.is_empty() => {
            members.all.into_iter().map(|member| (member.id, member.name)).collect()
        }
        _ => catalog.replicas().map(|peer| (peer.id, peer.name.clone())).collect(),
    }
}

fn named(known: &[(NodeId, String)], node: &str) -> Result<(NodeId, String), Failure> {
    known.iter().find(|(_, name)| name == node).cloned().ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|(_, name)| name.as_str()).collect();
        Failure::usage(format_args!("there is no replica `{node}`: name one of {}", names.join(", ")))
    })
}
