//! Group commit: the writes that are waiting become one log entry, and one fsync serves them all.
//!
//! No timer: while two entries are on their way, what comes in waits, and that is the next
//! batch. One client alone waits for nobody. A server that does not lead takes its batches to the one that does,
//! under request ids, so that what is asked twice happens once. openraft 0.9 syncs once a proposal, so this is what
//! makes many writers fast. A batch is cut at [`MAX_COMMANDS`] and [`MAX_BYTES`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openraft::error::{ClientWriteError, RaftError};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::chance;
use crate::clock;
use crate::command::{Command, FORMAT, Proposal, Reply, RequestId};
use crate::leadership::{Leader, Leadership};
use crate::peer::ask::{Ask, Told};
use crate::peer::links::{Links, PeerError};
use crate::room::NoRoom;

/// The most commands of one log entry.
pub const MAX_COMMANDS: usize = 1024;

/// The most bytes of one log entry, but for a single command that is larger by itself.
pub const MAX_BYTES: usize = 64 << 10;

/// Log entries on their way at a time.
const IN_FLIGHT: usize = 2;

/// Writes that may wait, and their bytes; beyond that they are refused, so that memory stays
/// bounded.
const QUEUE: usize = 16_384;
const QUEUE_BYTES: usize = 256 << 20;

/// How soon it is tried again to reach a leader.
const AGAIN: Duration = Duration::from_millis(20);

/// Why a write was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum ProposeError {
    /// Nobody led for as long as a write is held ([`crate::raft::Pace::hold`]). Nothing was done.
    #[error("no cluster leader")]
    NoLeader,
    /// It was proposed, and its end is not known.
    #[error("the write may or may not have happened: {0}")]
    Unknown(String),
    /// Too many writes are waiting. Nothing was done.
    #[error("too many writes are waiting ({QUEUE}, or {} MiB)", QUEUE_BYTES >> 20)]
    Overloaded,
    /// The disk is nearly full. Nothing was done.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// The server is stopping. Nothing was done.
    #[error("the server is stopping")]
    Stopping,
}

struct Waiting {
    command: Command,
    /// What it takes in the log.
    bytes: usize,
    answer: oneshot::Sender<Result<Reply, ProposeError>>,
    /// Its share of [`QUEUE_BYTES`], until it is answered.
    _room: OwnedSemaphorePermit,
}

impl Waiting {
    fn new(command: Command, answer: oneshot::Sender<Result<Reply, ProposeError>>, room: OwnedSemaphorePermit) -> Self {
        Self {
            bytes: command.weight(),
            command,
            answer,
            _room: room,
        }
    }

    /// Nobody may be there any more to hear it.
    fn tell(self, result: Result<Reply, ProposeError>) {
        let _ = self.answer.send(result);
    }
}

/// The way in for writes. Clones share the queue; the task ends when the last is dropped.
#[derive(Clone, Debug)]
pub struct Batcher {
    queue: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
    made: Arc<Made>,
}

/// Batches that were made, and the commands in them.
#[derive(Debug, Default)]
struct Made {
    batches: AtomicU64,
    commands: AtomicU64,
}

impl Batcher {
    /// Starts the task that makes batches and proposes them.
    #[must_use]
    pub(crate) fn start(leadership: Leadership, links: Links) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let made = Arc::<Made>::default();
        tokio::spawn(run(leadership, links, waiting, Arc::clone(&made)));
        Self {
            queue,
            room: Arc::new(Semaphore::new(QUEUE_BYTES)),
            made,
        }
    }

    /// Writes that wait for a batch, and the bytes of those that have no answer yet.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        let writes = self.queue.max_capacity() - self.queue.capacity();
        (writes, QUEUE_BYTES.saturating_sub(self.room.available_permits()))
    }

    /// Batches that were made since the start, and the commands in them.
    #[must_use]
    pub fn made(&self) -> (u64, u64) {
        let Made { batches, commands } = &*self.made;
        (batches.load(Ordering::Relaxed), commands.load(Ordering::Relaxed))
    }

    /// Waits until the command is applied, or is known not to be, or cannot be known.
    pub async fn propose(&self, command: Command) -> Result<Reply, ProposeError> {
        // The answer takes room too, but not in the log.
        let share = u32::try_from(command.burden().min(QUEUE_BYTES)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room)
            .try_acquire_many_owned(share)
            .map_err(|_| ProposeError::Overloaded)?;
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting::new(command, answer, room);
        self.queue.try_send(waiting).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => ProposeError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => ProposeError::Stopping,
        })?;
        answered.await.unwrap_or_else(|_| {
            Err(ProposeError::Unknown(
                "the server stopped before the answer came".into(),
            ))
        })
    }
}

/// Gives names to writes. They follow each other in the order of texts, and that is the order in which answers are kept:
/// names by chance alone would have every replica copy another part of that map for each write.
#[derive(Debug)]
struct Names {
    stem: String,
    next: AtomicU64,
}

impl Names {
    /// `stem` is nobody else's.
    fn new(stem: String) -> Self {
        Self {
            stem,
            next: AtomicU64::new(0),
        }
    }

    fn next(&self) -> RequestId {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        RequestId(format!("{}-{number:016x}", self.stem).into())
    }
}

async fn run(leadership: Leadership, links: Links, mut queue: mpsc::Receiver<Waiting>, made: Arc<Made>) {
    let slots = Arc::new(Semaphore::new(IN_FLIGHT));
    let names = Arc::new(Names::new(chance::id()));
    let mut waiting = VecDeque::new();
    let mut fresh = Vec::new();
    loop {
        // The slot first: whatever arrives while we wait for it joins the batch.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        if waiting.is_empty() && queue.recv_many(&mut fresh, MAX_COMMANDS).await == 0 {
            return;
        }
        waiting.extend(fresh.drain(..));
        // No more than one batch can use: what stays in the queue is bounded by it.
        while waiting.len() < MAX_COMMANDS
            && let Ok(more) = queue.try_recv()
        {
            waiting.push_back(more);
        }
        let batch = take_batch(&mut waiting);
        made.batches.fetch_add(1, Ordering::Relaxed);
        made.commands.fetch_add(batch.len() as u64, Ordering::Relaxed);
        let (leadership, links, names) = (leadership.clone(), links.clone(), Arc::clone(&names));
        tokio::spawn(async move {
            propose(&leadership, &links, &names, batch).await;
            drop(slot);
        });
    }
}

/// The longest batch from the front that keeps within the bounds; at least one command.
fn take_batch(waiting: &mut VecDeque<Waiting>) -> Vec<Waiting> {
    let mut bytes = 0;
    let mut count = 0;
    for next in waiting.iter().take(MAX_COMMANDS) {
        bytes += next.bytes;
        if count > 0 && bytes > MAX_BYTES {
            break;
        }
        count += 1;
    }
    waiting.drain(..count).collect()
}

/// A batch on its way: what is left of it, and whether any of that may have been done.
struct Journey {
    batch: Vec<Waiting>,
    maybe: Option<String>,
    deadline: clock::Instant,
}

/// Takes a batch to the leader, wherever that is, until it is answered or its time is over.
async fn propose(leadership: &Leadership, links: &Links, names: &Names, batch: Vec<Waiting>) {
    let mut journey = Journey {
        batch,
        maybe: None,
        deadline: clock::now() + leadership.hold(),
    };
    if !leadership.is_mine() {
        // It is going to be held, and may be proposed more than once.
        journey.name(names);
    }
    while !journey.batch.is_empty() {
        match leadership.known(journey.deadline).await {
            Some(Leader::Me) => journey.write(leadership).await,
            Some(Leader::Other(id)) => {
                journey.name(names);
                journey.forward(leadership, links, id).await;
            }
            None => return journey.give_up(),
        }
        if !journey.batch.is_empty() {
            if clock::now() >= journey.deadline {
                return journey.give_up();
            }
            // What is known of the leader lags behind: not to be asked in a spin.
            clock::sleep(AGAIN).await;
        }
    }
}

impl Journey {
    /// What is held or forwarded may be tried again, so it needs names. What has none yet has been proposed to nobody.
    fn name(&mut self, names: &Names) {
        for waiting in &mut self.batch {
            waiting.command.request.get_or_insert_with(|| names.next());
        }
    }

    fn commands(&self) -> Vec<Command> {
        self.batch.iter().map(|waiting| waiting.command.clone()).collect()
    }

    /// Proposes it here. What is left has to be tried again.
    async fn write(&mut self, leadership: &Leadership) {
        let proposal = Proposal {
            format: FORMAT,
            at: clock::wall_ms(),
            commands: self.commands(),
        };
        let written = leadership.raft().client_write(proposal);
        let written = if leadership.is_alone() {
            // Only the disk is waited for, and that has no way to do without us.
            Some(written.await)
        } else {
            clock::timeout_at(self.deadline, written).await.ok()
        };
        match written {
            Some(Ok(response)) => {
                debug_assert_eq!(response.data.len(), self.batch.len(), "one reply for each command");
                for (waiting, reply) in self.batch.drain(..).zip(response.data) {
                    waiting.tell(Ok(reply));
                }
            }
            // It may be in the log, and the next leader may keep it.
            Some(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => {
                self.lose("the leader changed before it was carried out");
            }
            Some(Err(e)) => {
                let e = ProposeError::Unknown(e.to_string());
                self.batch.drain(..).for_each(|waiting| waiting.tell(Err(e.clone())));
            }
            None => self.lose("it is in the log, and no majority of the servers has taken it in time"),
        }
    }

    /// Has the leader carry it out. What is left has to be tried again.
    async fn forward(&mut self, leadership: &Leadership, links: &Links, leader: u64) {
        let ask = Ask::Propose {
            commands: self.commands(),
        };
        let limit = self.deadline.saturating_duration_since(clock::now());
        let asked = links.ask(leader, &ask, limit);
        let Some(answer) = leadership.while_led_by(leader, asked).await else {
            self.maybe = Some("the leader changed before it answered".to_owned());
            return;
        };
        match answer {
            Ok(Told::Proposed(results)) if results.len() == self.batch.len() => {
                let batch = std::mem::take(&mut self.batch);
                for (waiting, result) in batch.into_iter().zip(results) {
                    match result {
                        Err(ProposeError::NoLeader | ProposeError::Stopping) => self.batch.push(waiting),
                        Err(ProposeError::Unknown(reason)) => {
                            self.maybe = Some(reason);
                            self.batch.push(waiting);
                        }
                        result => waiting.tell(result),
                    }
                }
            }
            Ok(Told::NotLeader) | Err(PeerError::Unreachable { .. } | PeerError::Refused { .. }) => {}
            Ok(told) => self.maybe = Some(format!("the leader answers {told:?}")),
            Err(e @ PeerError::Lost { .. }) => self.maybe = Some(e.to_string()),
        }
    }

    /// It may have been done. What has no name cannot be tried again.
    fn lose(&mut self, reason: &str) {
        self.maybe = Some(reason.to_owned());
        let (named, nameless) = std::mem::take(&mut self.batch)
            .into_iter()
            .partition(|waiting| waiting.command.request.is_some());
        self.batch = named;
        for waiting in nameless {
            waiting.tell(Err(ProposeError::Unknown(reason.to_owned())));
        }
    }

    fn give_up(self) {
        let e = self.maybe.map_or(ProposeError::NoLeader, ProposeError::Unknown);
        self.batch.into_iter().for_each(|waiting| waiting.tell(Err(e.clone())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Action, Op};
    use kvapi::Key;

    fn waiting(action: Action) -> Waiting {
        let command = Command::from(action);
        Waiting::new(command, oneshot::channel().0, room())
    }

    fn of_bytes(bytes: usize) -> Waiting {
        let action = Action::Delete {
            key: Key::new("a").unwrap(),
            cas: None,
        };
        Waiting {
            bytes,
            ..waiting(action)
        }
    }

    fn room() -> OwnedSemaphorePermit {
        Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap()
    }

    fn sizes(sizes: &[usize]) -> Vec<usize> {
        let mut queue: VecDeque<_> = sizes.iter().copied().map(of_bytes).collect();
        let mut batches = Vec::new();
        while !queue.is_empty() {
            batches.push(take_batch(&mut queue).len());
        }
        batches
    }

    #[test]
    fn a_batch_is_cut_at_its_bytes_and_at_its_count() {
        assert_eq!(sizes(&[100; 10]), [10]);
        assert_eq!(sizes(&[MAX_BYTES / 2, MAX_BYTES / 2, 1]), [2, 1]);
        assert_eq!(sizes(&[1; MAX_COMMANDS + 1]), [MAX_COMMANDS, 1]);
    }

    #[test]
    fn names_follow_each_other_so_that_their_answers_lie_side_by_side() {
        let (one, other) = (Names::new("a".into()), Names::new("b".into()));
        let given: Vec<_> = (0..1000).map(|_| one.next()).collect();

        assert!(given.is_sorted_by(|a, b| a < b), "each is new, and behind those before");
        assert!(
            given.iter().all(|name| *name < other.next()),
            "another server's are elsewhere"
        );
        assert!(given[0].0.len() < crate::command::MAX_REQUEST_ID_BYTES - chance::id().len());
    }

    #[test]
    fn transactions_that_show_a_tree_share_a_batch() {
        let ops = vec![Op::GetTree { prefix: "a/".into() }];
        let one = || waiting(Action::Txn { ops: ops.clone() });
        let mut queue: VecDeque<_> = (0..64).map(|_| one()).collect();

        assert_eq!(take_batch(&mut queue).len(), 64);
    }

    #[test]
    fn a_command_larger_than_a_batch_goes_alone() {
        assert_eq!(sizes(&[1, MAX_BYTES * 8, 1]), [1, 1, 1]);
    }
}
