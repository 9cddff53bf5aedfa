//! Who belongs to the group: asked of any replica to know whom to ask, and of the leader to change it.

use std::{io, time::Duration};

use tokio::time::{Instant, timeout};

use super::{Catalog, Error, Options, Peer, Shared, leader};
use crate::{
    NodeId,
    frame::{Connected, Purpose, connect, decode, encode, write_frame},
    protocol::{Envelope, MemberChange, Members, REQUEST, RESPONSE, Refusal, Request, Response},
};

/// How long a replica may take to say who belongs to the group, with the connection for it.
const PATIENCE: Duration = Duration::from_secs(1);

impl Catalog {
    /// Who belongs to the group, and how far each is, as the leader sees it.
    ///
    /// # Errors
    /// [`Error::Refused`] when no leader answered by `deadline`.
    pub async fn members(&self, deadline: Instant) -> Result<Members, Error> {
        let mut request = Request::Members { of_leader: true };
        match leader::ask(&self.0.shared, &mut request, deadline).await {
            Ok(Response::Members(members)) => {
                self.0.shared.learn(&members);
                Ok(*members)
            }
            Ok(_) | Err(Error::Unknown) => {
                Err(Error::Refused(Refusal::Unavailable("no leader answered in time".to_owned())))
            }
            Err(refused) => Err(refused),
        }
    }

    /// Has the leader make one change, decided on the members that stand at `based_on` in the log. `Ok(Err)` says why it
    /// was not made.
    ///
    /// # Errors
    /// [`Error::Unknown`] when it may have been made or may yet be: look at [`Catalog::members`] again.
    pub async fn change_members(
        &self,
        based_on: u64,
        change: MemberChange,
        deadline: Instant,
    ) -> Result<Result<Members, String>, Error> {
        let mut request = Request::ChangeMembers { based_on, change };
        match leader::ask(&self.0.shared, &mut request, deadline).await? {
            Response::Members(members) => {
                self.0.shared.learn(&members);
                Ok(Ok(*members))
            }
            Response::NotChanged(why) => Ok(Err(why)),
            _ => Err(Error::Unknown),
        }
    }
}

impl Shared {
    pub(super) fn learn(&self, members: &Members) {
        self.links.learn(&self.options, members);
    }
}

/// Who belongs to the group, as the replica at `peer` knows it. Over a connection of its own: one that does not know the
/// question closes it, and nothing else is lost with it.
///
/// # Errors
/// As the connection's; `InvalidData` when it answers something else.
pub async fn members_of(options: &Options, peer: &Peer) -> io::Result<Members> {
    let exchange = async {
        let mut connected = open(options, peer.id, &peer.address).await?;
        let body = Request::Members { of_leader: false };
        write_frame(&mut connected.writer, REQUEST, &encode(&Envelope { id: 1, body })).await?;
        match connected.reader.next().await? {
            Some(frame) if frame.kind == RESPONSE => match decode::<Envelope<Response>>(&frame.payload)?.body {
                Response::Members(members) => Ok(*members),
                _ => Err(io::Error::new(io::ErrorKind::InvalidData, "it answered something else")),
            },
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    };
    timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// The incarnation of the disk of the replica `id` at `address`.
///
/// # Errors
/// When none answers there, or another one.
pub async fn incarnation_of(options: &Options, id: NodeId, address: &str) -> io::Result<u128> {
    open(options, id, address).await.map(|connected| connected.incarnation)
}

async fn open(options: &Options, id: NodeId, address: &str) -> io::Result<Connected> {
    connect(address, &options.hello(id, Purpose::Client), PATIENCE).await
}
