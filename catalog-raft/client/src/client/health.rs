//! Asks each replica for its status in the background: who is live, and who leads.
//!
//! Must not know what requests are under way.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{Shared, link::Link};
use crate::protocol::{Request, Response, Status};

/// Between two questions to a replica.
const INTERVAL: Duration = Duration::from_millis(250);
/// Between two questions when a request has had no answer for long.
const HURRIED_INTERVAL: Duration = Duration::from_millis(50);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_millis(500);
/// A connection on which nothing has come for so long is given up.
const SILENCE: Duration = Duration::from_secs(3);

/// One task a replica; they end when the set is dropped.
pub(super) fn start(shared: &Arc<Shared>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for index in 0..shared.links.len() {
        tasks.spawn(watch(shared.clone(), index));
    }
    tasks
}

async fn watch(shared: Arc<Shared>, index: usize) {
    let link = &shared.links[index];
    loop {
        match status(link, Instant::now() + PATIENCE).await {
            Ok(status) => {
                shared.learn_leader(&status);
                link.set_last_status(status);
                link.set_live();
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

/// The state of a replica, or why it is not known.
pub(super) async fn status(link: &Arc<Link>, deadline: Instant) -> Result<Status, String> {
    let answer = timeout_at(deadline, async {
        let connection = link.open().await.map_err(|why| why.to_string())?;
        let mut pending = connection.send(&Request::Status).map_err(|why| why.to_string())?;
        pending.answer().await.ok_or_else(|| "the connection was lost".to_owned())
    });
    match answer.await {
        Ok(Ok(Response::Status(status))) => Ok(*status),
        Ok(Ok(Response::Refused(refusal))) => Err(refusal.to_string()),
        Ok(Ok(_)) => Err("it answered something else".to_owned()),
        Ok(Err(why)) => Err(why),
        Err(_) => Err("it does not answer".to_owned()),
    }
}
