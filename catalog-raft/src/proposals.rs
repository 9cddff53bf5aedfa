//! What waits to be proposed. While one entry is on its way through the log, everything that arrives is gathered for
//! the next: fdatasyncs and messages grow with time, not with commands. Must not know what commands do.

use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use catalog_client::{
    Answer, Command, NodeId,
    batch::{Batcher, Limits, NoResult},
    protocol::{MAX_SUBMIT, Refusal},
};
use openraft::error::{ClientWriteError, RaftError};
use tokio::time::Instant;

use crate::{
    figures::{Figures, Micros},
    raft::{Batch, Commands, Raft},
    storage::Space,
};

/// Submissions (each of 1 to [`MAX_SUBMIT`] commands) that may wait; one more is refused as overloaded.
const WAITING: usize = 512;
/// Submissions that are gathered together.
const TOGETHER: usize = 256;
/// The longest entry: a follower must be able to take it in one frame, and decode it within the frames' limit.
const MAX_ENTRY_BYTES: usize = 20 << 20;
/// Entries on their way at once. More make smaller batches and more wake-ups, and are slower where HTTP shares the
/// cores.
const IN_FLIGHT: usize = 1;

/// What came together, and when.
type Submission = (Micros, Vec<Command>);

/// The way to the log. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Proposals {
    waiting: Batcher<Submission, Vec<Answer>, Refusal>,
    name: Arc<str>,
    space: Arc<Space>,
    figures: Arc<Figures>,
}

impl Proposals {
    /// Proposes through `raft` as the replica `name`, while there is `space` to store it.
    pub fn new(name: &str, raft: Raft, space: Arc<Space>, figures: Arc<Figures>) -> Self {
        let raft = Arc::new(raft);
        let counted = figures.clone();
        let limits = Limits { queued: WAITING, batch: TOGETHER, in_flight: IN_FLIGHT, gather: false, few: 0 };
        let waiting = Batcher::new(limits, move |submissions, _deadline| {
            let (raft, figures) = (raft.clone(), counted.clone());
            async move { propose_all(&raft, &figures, submissions).await }
        });
        Self { waiting, name: name.into(), space, figures }
    }

    /// Has commands committed, in order, and gives their answers.
    ///
    /// # Errors
    /// [`Refusal::Unknown`] when they were proposed and may yet take effect; all others mean that they never will.
    pub async fn submit(&self, commands: Vec<Command>, wait: Duration) -> Result<Vec<Answer>, Refusal> {
        if commands.is_empty() || commands.len() > MAX_SUBMIT {
            return Err(Refusal::Invalid(format!("{} commands in one request, not 1 to {MAX_SUBMIT}", commands.len())));
        }
        if self.space.is_low() {
            return Err(Refusal::Unavailable(format!("{}: {}", self.name, self.space)));
        }
        let submission = (self.figures.stages.now(), commands);
        self.waiting.run(submission, Instant::now() + wait).await.map_err(|reason| match reason {
            NoResult::Full => Refusal::Overloaded,
            NoResult::NotSent => Refusal::Unavailable("not proposed by the deadline".to_owned()),
            NoResult::InFlight => Refusal::Unknown,
            NoResult::Failed(refusal) => refusal,
            NoResult::Closed => Refusal::Unavailable("this replica is shutting down".to_owned()),
        })
    }

    /// How many submissions wait.
    pub fn waiting(&self) -> usize {
        self.waiting.queued()
    }

    /// Takes no more, and returns when all that was taken is answered.
    pub async fn close(&self) {
        self.waiting.close().await;
    }
}

/// Proposes whole submissions in as few entries as their bound allows, and gives each its answers back.
async fn propose_all(
    raft: &Raft,
    figures: &Figures,
    submissions: Vec<Submission>,
) -> Result<Vec<Vec<Answer>>, Refusal> {
    let mut results = Vec::with_capacity(submissions.len());
    let mut gathered = Vec::new();
    let mut lengths = Vec::new();
    let mut weight = 0;
    let mut submissions = submissions.into_iter().peekable();
    while let Some((arrived, mut submission)) = submissions.next() {
        figures.stages.taken(arrived);
        lengths.push(submission.len());
        weight += weight_of(&submission);
        gathered.append(&mut submission);
        if submissions.peek().is_some_and(|(_, next)| weight + weight_of(next) <= MAX_SUBMIT) {
            continue;
        }
        weight = 0;
        let answers = match propose(raft, figures, std::mem::take(&mut gathered)).await {
            Ok(answers) => answers,
            // What was committed before must not be reported as refused, and a batch has one error for all.
            Err(_) if !results.is_empty() => return Err(Refusal::Unknown),
            Err(refusal) => return Err(refusal),
        };
        let mut answers = answers.into_iter();
        results.extend(lengths.drain(..).map(|length| answers.by_ref().take(length).collect()));
    }
    Ok(results)
}

/// What commands count for in an entry: more than there are when some bring many items.
fn weight_of(commands: &[Command]) -> usize {
    commands.iter().map(|command| command.action.weight()).sum()
}

/// One entry: proposed, committed, applied.
async fn propose(raft: &Raft, figures: &Figures, commands: Vec<Command>) -> Result<Vec<Answer>, Refusal> {
    let count = commands.len();
    let taken = figures.stages.now();
    let batch = Batch::encode(&Commands { time_ms: now_ms(), commands });
    if batch.0.len() > MAX_ENTRY_BYTES {
        return Err(Refusal::Invalid(format!("{} bytes in one log entry, beyond {MAX_ENTRY_BYTES}", batch.0.len())));
    }
    match raft.client_write(batch).await {
        Ok(response) if response.data.0.len() == count => {
            figures.commands.observe(count as u64);
            figures.stages.answered(response.log_id.index, taken);
            Ok(response.data.0)
        }
        Ok(response) => {
            let found = response.data.0.len();
            tracing::error!("{found} answers to {count} commands");
            Err(Refusal::Unknown)
        }
        // openraft gives this one only for what was never appended.
        Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
            Err(Refusal::NotLeader { leader: forward.leader_id.filter(|leader: &NodeId| *leader != *raft.node_id()) })
        }
        Err(error) => {
            tracing::warn!("a proposal of {count} commands has an unknown outcome: {error}");
            Err(Refusal::Unknown)
        }
    }
}

/// The proposer's clock: it is carried in the entry, so that every replica sees the same time.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
