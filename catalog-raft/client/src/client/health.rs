//! Asks each replica for its status in the background: who is live, who leads, and who belongs to the group.
//!
//! Must not know what requests are under way.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::{Shared, link::Link, links::bit, members::members_of};
use crate::protocol::{Request, Response, Status};

/// Between two questions to a replica.
const INTERVAL: Duration = Duration::from_millis(250);
/// Between two questions when a request has had no answer for long.
const HURRIED_INTERVAL: Duration = Duration::from_millis(50);
/// How long a connection may take, and then an answer.
const PATIENCE: Duration = Duration::from_millis(500);
/// Before a replica that has not said who belongs to the group is asked again.
const MEMBERS_PAUSE: Duration = Duration::from_secs(2);
/// A connection on which nothing has come for so long is given up.
const SILENCE: Duration = Duration::from_secs(3);

/// Watches each replica that is asked, in a task of its own; all end when the handle is dropped.
pub(super) fn start(shared: &Arc<Shared>) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(watch_all(shared.clone())))
}

async fn watch_all(shared: Arc<Shared>) {
    let mut watched: BTreeMap<usize, AbortOnDropHandle<()>> = BTreeMap::new();
    loop {
        let asked = shared.links.asked();
        watched.retain(|index, _| asked & bit(*index) != 0);
        for index in shared.links.round(0) {
            let begin = || AbortOnDropHandle::new(tokio::spawn(watch(shared.clone(), index)));
            watched.entry(index).or_insert_with(begin);
        }
        shared.links.changed().await;
    }
}

async fn watch(shared: Arc<Shared>, index: usize) {
    let link = shared.links.at(index);
    let is_given = shared.options.replicas.iter().any(|peer| peer.id == link.peer.id);
    let mut ask_members = Instant::now();
    loop {
        match patiently(link).await {
            Ok(status) => {
                shared.learn_leader(&status);
                let others_vote = shared.links.differ(&status.voters);
                link.set_last_status(status);
                link.set_live();
                let is_new = !is_given && link.client_address().is_none();
                if (others_vote || is_new) && Instant::now() >= ask_members {
                    ask_members = Instant::now() + learn_members(&shared, link).await;
                }
            }
            Err(why) => {
                link.set_down(&why);
                if let Some(connection) = link.opened().filter(|connection| connection.silence() > SILENCE) {
                    connection.give_up();
                }
            }
        }
        sleep(HURRIED_INTERVAL).await;
        let hurried = timeout(INTERVAL - HURRIED_INTERVAL, shared.hurry.notified());
        // Asked for, or due.
        drop(hurried.await);
    }
}

/// Asks a replica who belongs to the group, and gives the pause before it may be asked again.
async fn learn_members(shared: &Shared, link: &Link) -> Duration {
    match members_of(&shared.options, &link.peer).await {
        Ok(members) => {
            link.set_client_address(&members.client);
            shared.learn(&members);
            Duration::ZERO
        }
        Err(error) => {
            tracing::info!("{} does not say who belongs to the group: {error}", link.peer.name);
            MEMBERS_PAUSE
        }
    }
}

/// As [`status`]. A replica that has just come up has as long to answer as any other, however long its connection took.
async fn patiently(link: &Arc<Link>) -> Result<Status, String> {
    match timeout(PATIENCE, link.open()).await {
        Ok(Ok(_)) => status(link, Instant::now() + PATIENCE).await,
        Ok(Err(why)) => Err(why.to_string()),
        Err(_) => Err("it does not answer".to_owned()),
    }
}

/// The state of a replica, or why it is not known.
pub(super) async fn status(link: &Arc<Link>, deadline: Instant) -> Result<Status, String> {
    match ask(link, &Request::Status, deadline).await? {
        Response::Status(status) => Ok(*status),
        Response::Refused(refusal) => Err(refusal.to_string()),
        _ => Err("it answered something else".to_owned()),
    }
}

/// What a replica answers, asked once, or why it has not answered.
pub(super) async fn ask(link: &Arc<Link>, request: &Request, deadline: Instant) -> Result<Response, String> {
    let answer = timeout_at(deadline, async {
        let connection = link.open().await.map_err(|why| why.to_string())?;
        let mut pending = connection.send(request).map_err(|why| why.to_string())?;
        pending.answer().await.ok_or_else(|| "the connection was lost".to_owned())
    });
    answer.await.unwrap_or_else(|_| Err("it does not answer".to_owned()))
}
