//! One proxy: accepts connections to a server, learns who made each, and carries it. Must not decide what is cut.

use std::{
    io,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use bytes::BytesMut;
use catalog_client::frame::{Hello, Purpose, decode, take_frame};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    ANYBODY, Cut, Rules, Target,
    pump::{Way, pump},
};

/// How long a connection may take to name its sender.
const HELLO_PATIENCE: Duration = Duration::from_secs(2);
/// The pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Accepts until it is aborted.
pub(super) async fn serve(
    listener: TcpListener,
    target: Arc<Target>,
    rules: watch::Receiver<Rules>,
    carried: Arc<AtomicU64>,
) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (target, rules, carried) = (target.clone(), rules.clone(), carried.clone());
                connections.spawn(async move {
                    // Whatever ends it, both ends see their connection closed.
                    let _ = carry(stream, &target, rules, &carried).await;
                });
            }
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn carry(
    mut client: TcpStream,
    target: &Target,
    mut rules: watch::Receiver<Rules>,
    carried: &AtomicU64,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut first = BytesMut::new();
    let sender = match target.has_handshake {
        true => sender(&mut client, &mut first).await?,
        false => ANYBODY.to_owned(),
    };
    let there = Way { from: sender.clone(), to: target.name.clone(), rules: rules.clone() };
    let back = Way { from: target.name.clone(), to: sender.clone(), rules: rules.clone() };
    let carrying = async {
        // A connection is made by a message there and one back.
        there.clone().open().await;
        back.clone().open().await;
        let server = TcpStream::connect(&target.real).await?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::try_join!(
            pump(there.clone(), first, from_client, to_server, carried),
            pump(back.clone(), BytesMut::new(), from_server, to_client, carried),
        )?;
        Ok(())
    };
    let refused = async {
        let is_refused = |rules: &Rules| {
            let cut = |from: &str, to: &str| rules.link(from, to).cut == Cut::Refused;
            cut(&sender, &target.name) || cut(&target.name, &sender)
        };
        // An error means that the whole network is gone.
        let _ = rules.wait_for(is_refused).await;
    };
    tokio::select! {
        result = carrying => result,
        () = refused => Err(io::ErrorKind::ConnectionRefused.into()),
    }
}

/// Who sends the handshake that `client` begins with; what was read of it stays in `bytes`.
async fn sender(client: &mut TcpStream, bytes: &mut BytesMut) -> io::Result<String> {
    let reading = async {
        loop {
            if let Some(frame) = take_frame(&mut bytes.clone())? {
                let hello: Hello = decode(&frame.payload)?;
                let part = if hello.purpose == Purpose::Watch { "/watch" } else { "" };
                return io::Result::Ok(format!("{}{part}", hello.sender));
            }
            if client.read_buf(bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    };
    match timeout(HELLO_PATIENCE, reading).await {
        Ok(Ok(sender)) => Ok(sender),
        Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => Ok(ANYBODY.to_owned()),
        Ok(Err(error)) => Err(error),
        Err(_) => Ok(ANYBODY.to_owned()),
    }
}
