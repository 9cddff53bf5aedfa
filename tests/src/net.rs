//! The network between servers, in the harness's hands: a proxy before each port at which servers look for each other
//! carries every connection, and knows who made it. Each ordered pair of servers is a [`Link`] that can be cut, slowed,
//! made to lose and narrowed. Must not know what the bytes mean, beyond the handshake that names the sender.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{net::TcpListener, sync::watch};
use tokio_util::task::AbortOnDropHandle;

mod proxy;
mod pump;

/// What happens to the bytes that one server sends to another.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Link {
    /// Whether they arrive at all.
    pub cut: Cut,
    /// How much later each arrives.
    pub latency: Duration,
    /// How much later still, at most, drawn anew for each piece; order is kept.
    pub jitter: Duration,
    /// The share of pieces that are lost on their way, from 0 to 1. TCP hides a loss from those who use it but for the
    /// time until it sends again, 200 ms and twice that each further time: so it is a wait here too.
    pub loss: f64,
    /// Bytes a second, if they are bounded.
    pub rate: Option<u64>,
}

/// Whether bytes arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cut {
    /// They do.
    #[default]
    Open,
    /// They vanish, and nobody is told: connections stand still until the link is healed.
    Silent,
    /// Connections are closed, and new ones refused.
    Refused,
}

impl Link {
    /// A link that is cut.
    pub fn cut(how: Cut) -> Self {
        Self { cut: how, ..Self::default() }
    }
}

/// Who sends to whom: names of servers; a sender may be `frontend-1/watch`, its stream of changes alone. What asks over
/// HTTP names itself nowhere, and is [`ANYBODY`].
pub type Pair = (String, String);

/// The sender of an HTTP request to an order server: front ends, in a cluster.
pub const ANYBODY: &str = "anybody";

/// All links that are not as they should be.
#[derive(Debug, Clone, Default)]
struct Rules {
    links: BTreeMap<Pair, Link>,
}

impl Rules {
    /// The link from `from` to `to`, where either may be a part of a server.
    fn link(&self, from: &str, to: &str) -> Link {
        let names = |name: &str| {
            let server = name.split('/').next().unwrap_or(name).to_owned();
            [name.to_owned(), server]
        };
        let mut found = Link::default();
        for from in names(from) {
            for to in names(to) {
                match self.links.get(&(from.clone(), to)) {
                    Some(link) if link.cut != Cut::Open => return *link,
                    Some(link) => found = *link,
                    None => {}
                }
            }
        }
        found
    }
}

/// A port to stand before.
#[derive(Debug)]
pub struct Target {
    /// The server whose port it is.
    pub name: String,
    /// Where the others look for it.
    pub shown: String,
    /// Where it listens.
    pub real: String,
    /// Whether connections begin with a handshake that names the sender.
    pub has_handshake: bool,
}

/// The network of one cluster. Dropping it cuts everything.
#[derive(Debug)]
pub struct Net {
    rules: watch::Sender<Rules>,
    carried: Arc<AtomicU64>,
    _proxies: Vec<AbortOnDropHandle<()>>,
}

impl Net {
    /// Stands before all `targets`; must be called within a tokio runtime.
    ///
    /// # Errors
    /// When an address cannot be listened on.
    pub async fn start(targets: Vec<Target>) -> std::io::Result<Self> {
        let rules = watch::Sender::new(Rules::default());
        let carried = Arc::new(AtomicU64::new(0));
        let mut proxies = Vec::new();
        for target in targets {
            let listener = TcpListener::bind(&target.shown).await?;
            let serving = proxy::serve(listener, Arc::new(target), rules.subscribe(), carried.clone());
            proxies.push(AbortOnDropHandle::new(tokio::spawn(serving)));
        }
        Ok(Self { rules, carried, _proxies: proxies })
    }

    /// Sets what happens to bytes from `from` to `to`.
    pub fn set(&self, from: &str, to: &str, link: Link) {
        self.rules.send_modify(|rules| _ = rules.links.insert((from.to_owned(), to.to_owned()), link));
    }

    /// Sets what happens to bytes between two servers, both ways.
    pub fn set_both(&self, one: &str, other: &str, link: Link) {
        self.rules.send_modify(|rules| {
            rules.links.insert((one.to_owned(), other.to_owned()), link);
            rules.links.insert((other.to_owned(), one.to_owned()), link);
        });
    }

    /// Cuts every link between a server of `here` and one of `there`.
    pub fn part(&self, here: &[String], there: &[String], how: Cut) {
        for one in here {
            for other in there {
                self.set_both(one, other, Link::cut(how));
            }
        }
    }

    /// Sets all links at once: those that are not among these become as they should be.
    pub fn replace(&self, links: BTreeMap<Pair, Link>) {
        self.rules.send_modify(|rules| rules.links = links);
    }

    /// Makes every link as it should be.
    pub fn heal(&self) {
        self.rules.send_modify(|rules| rules.links.clear());
    }

    /// Bytes carried so far.
    pub fn carried(&self) -> u64 {
        self.carried.load(Relaxed)
    }
}
