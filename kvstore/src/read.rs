//! Linearizable reads: many share one round of read-index.
//!
//! One round is under way at a time. It serves those who were waiting when it began; who comes
//! later waits for the next, since a round says nothing about what was written after it began.
//! On the leader, a round asks a majority whether it still leads; the other servers' rounds share it. On another
//! server, a round asks the leader up to where a read has to see, and waits until that is applied here.

use std::sync::Arc;
use std::time::Duration;

use openraft::error::{CheckIsLeaderError, RaftError};
use tokio::sync::{mpsc, oneshot};

use crate::clock;
use crate::leadership::{Leader, Leadership};
use crate::peer::ask::{Ask, Told};
use crate::peer::links::Links;
use crate::state::State;
use crate::view::Views;

/// Reads that may wait for one round.
const QUEUE: usize = 65_536;

/// How soon a leader is asked again.
const AGAIN: Duration = Duration::from_millis(10);

/// How fresh a read has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadMode {
    /// Shows every write that was acknowledged before the read came in.
    Linearizable,
    /// Shows what this server has.
    Stale,
}

/// Why there is nothing to read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Nobody led for as long as a read is held.
    #[error("no cluster leader")]
    NoLeader,
    /// Too many reads are waiting.
    #[error("too many reads are waiting ({QUEUE})")]
    Overloaded,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

/// Who waits for a round.
enum Waiting {
    /// A read here.
    Read(oneshot::Sender<Result<Arc<State>, ReadError>>),
    /// A round of another server; `None` if this one does not lead.
    Round(oneshot::Sender<Result<Option<u64>, ReadError>>),
}

/// The way in for linearizable reads.
#[derive(Clone, Debug)]
pub struct Reads {
    queue: mpsc::Sender<Waiting>,
}

impl Reads {
    /// Starts the task that makes the rounds.
    #[must_use]
    pub(crate) fn start(leadership: Leadership, links: Links, views: Views) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let rounds = Rounds {
            leadership,
            links,
            views,
        };
        tokio::spawn(rounds.run(waiting));
        Self { queue }
    }

    /// The state as it is, or as it was at some moment after the call.
    pub async fn linearizable(&self) -> Result<Arc<State>, ReadError> {
        let (answer, answered) = oneshot::channel();
        self.wait(Waiting::Read(answer))?;
        answered.await.unwrap_or(Err(ReadError::Stopping))
    }

    /// The log index that a read which comes now has to see; `None` if this server does not lead.
    pub(crate) async fn index(&self) -> Result<Option<u64>, ReadError> {
        let (answer, answered) = oneshot::channel();
        self.wait(Waiting::Round(answer))?;
        answered.await.unwrap_or(Err(ReadError::Stopping))
    }

    fn wait(&self, waiting: Waiting) -> Result<(), ReadError> {
        self.queue.try_send(waiting).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => ReadError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => ReadError::Stopping,
        })
    }
}

struct Rounds {
    leadership: Leadership,
    links: Links,
    views: Views,
}

/// What a round came to.
#[derive(Clone)]
struct Round {
    index: u64,
    /// Whether it was this server's own, as the leader.
    ours: bool,
}

impl Rounds {
    async fn run(self, mut queue: mpsc::Receiver<Waiting>) {
        let mut waiting = Vec::new();
        while queue.recv_many(&mut waiting, QUEUE).await > 0 {
            // One hop at most: who asks us because we lead is not sent on, and does not hold up those here.
            if !self.leadership.is_mine() {
                waiting.retain_mut(|waiting| matches!(waiting, Waiting::Read(_)) || !decline(waiting));
            }
            if waiting.is_empty() {
                continue;
            }
            let round = self.round().await;
            let mut reads = Vec::new();
            for waiting in waiting.drain(..) {
                match waiting {
                    Waiting::Read(answer) => reads.push(answer),
                    Waiting::Round(answer) => {
                        let index = round.clone().map(|round| round.ours.then_some(round.index));
                        // Nobody may be there any more to hear it.
                        let _ = answer.send(index);
                    }
                }
            }
            let state = match round {
                Ok(round) => self.applied(round.index).await,
                Err(e) => Err(e),
            };
            for answer in reads {
                let _ = answer.send(state.clone());
            }
        }
    }

    /// One round of read-index, held for a while if nobody leads.
    async fn round(&self) -> Result<Round, ReadError> {
        let deadline = clock::now() + self.leadership.hold();
        loop {
            match self.leadership.known(deadline).await {
                None => return Err(ReadError::NoLeader),
                Some(Leader::Me) => {
                    if let Some(index) = self.ours(deadline).await? {
                        return Ok(Round { index, ours: true });
                    }
                }
                Some(Leader::Other(id)) => {
                    let limit = deadline.saturating_duration_since(clock::now());
                    let asked = self.links.ask(id, &Ask::ReadIndex, limit);
                    match self.leadership.while_led_by(id, asked).await {
                        Some(Ok(Told::ReadIndex(index))) => return Ok(Round { index, ours: false }),
                        Some(Ok(_)) | None => {}
                        Some(Err(error)) => tracing::debug!(%error, "a read is asked again"),
                    }
                }
            }
            if clock::now() >= deadline {
                return Err(ReadError::NoLeader);
            }
            // What is known of the leader lags behind what Raft says: not to be asked in a spin.
            clock::sleep(AGAIN).await;
        }
    }

    /// The index, if a majority says in time that we lead.
    async fn ours(&self, deadline: clock::Instant) -> Result<Option<u64>, ReadError> {
        let asked = self.leadership.raft().get_read_log_id();
        match clock::timeout_at(deadline, asked).await {
            Ok(Ok((index, _))) => Ok(Some(index.map_or(0, |id| id.index))),
            Ok(Err(RaftError::APIError(
                CheckIsLeaderError::ForwardToLeader(_) | CheckIsLeaderError::QuorumNotEnough(_),
            )))
            | Err(_) => Ok(None),
            Ok(Err(RaftError::Fatal(_))) => Err(ReadError::Stopping),
        }
    }

    /// The state, once it has that log index.
    async fn applied(&self, index: u64) -> Result<Arc<State>, ReadError> {
        let raft = self.leadership.raft();
        let applied = raft.data_metrics().borrow().last_applied;
        if applied.is_none_or(|id| id.index < index) {
            let wait = raft.wait(Some(self.leadership.hold()));
            let waited = wait.applied_index_at_least(Some(index), "a read").await;
            waited.map_err(|_| ReadError::NoLeader)?;
        }
        Ok(self.views.current())
    }
}

/// Says to a round of another server that this one does not lead. `false` if it was none.
fn decline(waiting: &mut Waiting) -> bool {
    let Waiting::Round(answer) = waiting else { return false };
    let (closed, _) = oneshot::channel();
    let _ = std::mem::replace(answer, closed).send(Ok(None));
    true
}
