//! Linearizable reads: many share one round of read-index.
//!
//! One round is under way at a time. It serves those who were waiting when it began; who comes
//! later waits for the next, since a round says nothing about what was written after it began.

use std::sync::Arc;
use std::time::Duration;

use openraft::error::{CheckIsLeaderError, RaftError};
use tokio::sync::{mpsc, oneshot};

use crate::clock;
use crate::leadership;
use crate::raft::Raft;
use crate::state::State;
use crate::view::Views;

/// Reads that may wait for one round.
const QUEUE: usize = 65_536;

/// How long a read is held while nobody leads.
const HOLD: Duration = crate::batch::HOLD;

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
    /// Nobody led for about three seconds.
    #[error("no cluster leader")]
    NoLeader,
    /// Too many reads are waiting.
    #[error("too many reads are waiting ({QUEUE})")]
    Overloaded,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

type Answer = oneshot::Sender<Result<Arc<State>, ReadError>>;

/// The way in for linearizable reads.
#[derive(Clone, Debug)]
pub struct Reads {
    queue: mpsc::Sender<Answer>,
}

impl Reads {
    /// Starts the task that makes the rounds.
    #[must_use]
    pub fn start(raft: Raft, views: Views) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(run(raft, views, waiting));
        Self { queue }
    }

    /// The state as it is, or as it was at some moment after the call.
    pub async fn linearizable(&self) -> Result<Arc<State>, ReadError> {
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(answer).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => ReadError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => ReadError::Stopping,
        })?;
        answered.await.unwrap_or(Err(ReadError::Stopping))
    }
}

async fn run(raft: Raft, views: Views, mut queue: mpsc::Receiver<Answer>) {
    let mut waiting = Vec::new();
    while queue.recv_many(&mut waiting, QUEUE).await > 0 {
        let result = round(&raft, &views).await;
        for answer in waiting.drain(..) {
            // Nobody may be there any more to hear it.
            let _ = answer.send(result.clone());
        }
    }
}

/// One round of read-index: when it is through, our view holds all that was committed before it.
async fn round(raft: &Raft, views: &Views) -> Result<Arc<State>, ReadError> {
    let deadline = clock::now() + HOLD;
    loop {
        if !leadership::wait_until_mine(raft, deadline).await {
            return Err(ReadError::NoLeader);
        }
        match raft.ensure_linearizable().await {
            Ok(_) => return Ok(views.current()),
            Err(RaftError::APIError(
                CheckIsLeaderError::ForwardToLeader(_) | CheckIsLeaderError::QuorumNotEnough(_),
            )) => {
                if clock::now() >= deadline {
                    return Err(ReadError::NoLeader);
                }
                // What is known of the leader lags behind what Raft says: not to be asked in a spin.
                clock::sleep(Duration::from_millis(10)).await;
            }
            Err(RaftError::Fatal(_)) => return Err(ReadError::Stopping),
        }
    }
}
