//! The log and the vote on disk: openraft's log trait over the crate `raft-log`.
//!
//! **An acknowledgement rests on this file alone**: openraft is told that entries are durable by
//! a callback that runs after one fdatasync of theirs, and a vote is durable before
//! `save_vote` returns. Everything is written in the order of the calls by one thread of
//! `raft-log`. A flush that fails ends the server and is never tried again.
//!
//! The commit position goes along with the next entries, so that it costs no write of its own: after
//! a kill it lags behind by those that were committed last, and Raft finds it again.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use openraft::StorageIOError;
use openraft::storage::{LogFlushed, LogState, RaftLogReader, RaftLogStorage};
use raft_log::RaftLog;
use raft_log::api::raft_log_writer::RaftLogWriter;
use tokio::sync::oneshot;

use super::codec::{LogId, Payload, Vote};
use super::fatal::Fatal;
use super::flushed::{Flushed, Told};
use super::size::LogSize;
use super::tail::{self, Torn};
use crate::disk;
use crate::failpoint;
use crate::raft::{self, Entry, NodeId, StorageError, TypeConfig};

/// A file of the log is closed at this size, and removed when all of it has been purged.
const CHUNK_BYTES: usize = 16 << 20;

/// How much of the log's end is kept in memory, for applying and for followers.
const CACHE_BYTES: usize = 64 << 20;

/// A reader takes no more than this at once, but always one entry.
const READ_BYTES: usize = 4 << 20;

/// The log. Clones are the same log: openraft reads in several places.
#[derive(Debug, Clone)]
pub struct LogStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// `None` once the log is closed.
    log: Mutex<Option<RaftLog<Types>>>,
    /// The commit position, if the log does not have it yet.
    committed: Mutex<Option<LogId>>,
    /// Whose log it is, once that is said.
    owner: OnceLock<NodeId>,
    size: LogSize,
    fatal: Fatal,
    #[cfg(test)]
    simulated: Option<crate::simulation::disk::Flushes>,
}

/// `raft-log`'s types with ours filled in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Types;

impl raft_log::Types for Types {
    type LogId = LogId;
    type LogPayload = Payload;
    type Vote = Vote;
    type Callback = Flushed;
    type UserData = String;

    fn log_index(log_id: &LogId) -> u64 {
        log_id.0.index
    }

    fn payload_size(payload: &Payload) -> u64 {
        payload.weight() as u64
    }
}

impl LogStore {
    /// Opens the log in a folder that exists. The record that a crash cut off is removed; a log
    /// that is damaged before its end stays as it is and is an error.
    pub(super) fn open(dir: &Path, fatal: Fatal) -> io::Result<Self> {
        let torn = tail::look(dir)?;
        make_durable(dir)?;
        #[cfg(test)]
        let simulated = crate::simulation::disk::flushes(dir);
        let dir = dir
            .to_str()
            .ok_or_else(|| io::Error::other("the folder's name is not UTF-8"))?;
        let log = RaftLog::<Types>::open(Arc::new(config(dir)))?;
        if let Some(Torn { file, at, bytes }) = torn {
            let file = file.display();
            tracing::info!(
                %file,
                at,
                bytes,
                "the log's last record was incomplete, as a crash in the middle of a write leaves it, and is removed"
            );
        }
        Ok(Self {
            shared: Arc::new(Shared {
                log: Mutex::new(Some(log)),
                committed: Mutex::default(),
                owner: OnceLock::new(),
                size: LogSize::default(),
                fatal,
                #[cfg(test)]
                simulated,
            }),
        })
    }

    /// Whose log it is. openraft 0.9 has a server that led lead on when it starts again, in the same term and without
    /// asking anybody. It may lack entries of that term which it had sent and not yet written, and would give their
    /// places to others; and it does not know how much was committed, so what is read from it may be old. Hence
    /// such a server has to be elected again: its vote is read as one that it gave, and not as an election.
    pub(crate) fn belongs_to(&self, owner: NodeId) {
        // Said once, at the start.
        let _ = self.shared.owner.set(owner);
    }

    /// How much has been written.
    pub(super) fn size(&self) -> LogSize {
        self.shared.size.clone()
    }

    /// Has [`LogStore::size`] begin with what is there, and with where the snapshots stand.
    pub(super) fn measure(&self, newest: Option<u64>, oldest_kept: Option<u64>) -> io::Result<()> {
        self.with(|log| {
            let state = log.log_state();
            let first = state.purged().map_or(0, |id| id.0.index + 1);
            let last = state.last().map_or(0, |id| id.0.index);
            self.shared.size.found(log.on_disk_size(), (first, last), newest);
            self.shared.size.superfluous_to(oldest_kept);
            Ok(())
        })
    }

    /// The last purged log id and the last one.
    pub(super) fn bounds(&self) -> io::Result<(Option<raft::LogId>, Option<raft::LogId>)> {
        self.with(|log| {
            let state = log.log_state();
            Ok((state.purged().map(|id| id.0), state.last().map(|id| id.0)))
        })
    }

    /// How far the log is known to be committed.
    pub(super) fn committed(&self) -> io::Result<Option<raft::LogId>> {
        self.with(|log| {
            let state = log.log_state();
            let waiting = self.waiting_committed().clone().filter(|id| Some(id) <= state.last());
            Ok(waiting.max(state.committed().cloned()).map(|id| id.0))
        })
    }

    /// Whether it has this very entry, or begins behind it. What it has before that follows from it.
    pub(super) fn has(&self, id: raft::LogId) -> io::Result<bool> {
        self.with(|log| {
            let index = id.index;
            let mut found = log.read(index, index + 1);
            let found = found.next().transpose()?.map(|(found, _)| found);
            Ok(found.as_ref().or(log.log_state().purged()) == Some(&LogId(id)))
        })
    }

    /// Says of an entry which it has that it is committed, from somebody else's knowledge.
    pub(super) fn is_committed_to(&self, id: raft::LogId) {
        let mut waiting = self.waiting_committed();
        *waiting = waiting.take().max(Some(LogId(id)));
    }

    /// Has it begin behind an entry that is committed and that it does not have: nothing in it leads there or
    /// follows from it. What it has may be of a leader who lost, so that it is longer all the same.
    pub(super) fn begin_behind(&self, id: raft::LogId) -> io::Result<()> {
        let id = LogId(id);
        let begin = |log: &mut RaftLog<Types>| {
            let state = log.log_state();
            if state.committed() > Some(&id) || state.purged().is_some_and(|purged| purged.0.index >= id.0.index) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("its entry {} is not the one that was committed and applied", id.0.index),
                ));
            }
            let kept = state.purged().max(state.committed());
            log.truncate(kept.map_or(0, |id| id.0.index + 1))?;
            log.purge(id).map(drop)
        };
        self.write(begin, true, Told::Nobody)
    }

    fn waiting_committed(&self) -> MutexGuard<'_, Option<LogId>> {
        self.shared.committed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Entries from `from` on and before `to`, of about `limit` bytes at most, but at least one.
    pub(super) fn read(&self, from: u64, to: u64, limit: usize) -> io::Result<Vec<Entry>> {
        self.with(|log| {
            let mut bytes = 0;
            let mut entries = Vec::new();
            for found in log.read(from, to) {
                let (log_id, payload) = found?;
                bytes += payload.weight();
                if bytes > limit && !entries.is_empty() {
                    break;
                }
                entries.push(Entry {
                    log_id: log_id.0,
                    payload: Arc::unwrap_or_clone(payload.0),
                });
            }
            Ok(entries)
        })
    }

    /// Waits until all that was written is on disk, and closes the files. Blocks.
    pub(super) fn close(&self) {
        // If it cannot be written, Raft finds it again; a failed write has been reported.
        let _ = self.write(|log| self.write_committed(log), true, Told::Nobody);
        let closed = self.lock().take();
        drop(closed);
    }

    /// Puts the commit position into the log if it is not there yet.
    fn write_committed(&self, log: &mut RaftLog<Types>) -> io::Result<()> {
        let committed = self.waiting_committed().take();
        let state = log.log_state();
        // While a snapshot is being installed, the commit position is ahead of the log.
        if let Some(committed) = committed
            && Some(&committed) <= state.last()
            && Some(&committed) > state.committed()
        {
            log.commit(committed)?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<RaftLog<Types>>> {
        self.shared.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, work: impl FnOnce(&mut RaftLog<Types>) -> io::Result<T>) -> io::Result<T> {
        let mut log = self.lock();
        work(log.as_mut().ok_or_else(|| io::Error::other("the log is closed"))?)
    }

    /// Writes something and has it flushed; a failure ends the server.
    fn write(
        &self,
        what: impl FnOnce(&mut RaftLog<Types>) -> io::Result<()>,
        sync: bool,
        told: Told,
    ) -> io::Result<()> {
        let fatal = self.shared.fatal.clone();
        let flushed = Flushed {
            fatal: fatal.clone(),
            told,
        };
        let written = self.with(|log| {
            what(log)?;
            #[cfg(test)]
            if let Some(simulated) = &self.shared.simulated {
                return simulated.flush(log, sync, flushed);
            }
            log.flush(sync, Some(flushed))
        });
        if let Err(e) = &written {
            fatal.report(format!(
                "cannot write the log: {e}; free or replace the disk, then start the server again"
            ));
        }
        written
    }

    /// The same, and waits until it is durable.
    async fn write_through(&self, what: impl FnOnce(&mut RaftLog<Types>) -> io::Result<()>) -> io::Result<()> {
        let (told, durable) = oneshot::channel();
        self.write(what, true, Told::Waiting(told))?;
        durable
            .await
            .map_err(|_| io::Error::other("the log's writer has ended"))?
    }
}

/// What a server that was killed has written is believed from now on, and others count on it: it may never have been
/// on the disk.
fn make_durable(dir: &Path) -> io::Result<()> {
    disk::list(dir)?.iter().try_for_each(|file| disk::sync_data(file))
}

fn config(dir: &str) -> raft_log::Config {
    raft_log::Config {
        wal: raft_log::chunked_wal::Config {
            // For replaying a file at the start.
            read_buffer_size: Some(1 << 20),
            chunk_max_size: Some(CHUNK_BYTES),
            truncate_incomplete_record: Some(true),
            // Commands are gathered before they become an entry; waiting here would only add delay.
            flush_batch_wait: Some(Duration::ZERO),
            ..raft_log::chunked_wal::Config::new(dir)
        },
        log_cache_capacity: Some(CACHE_BYTES),
        ..raft_log::Config::default()
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        let (from, to) = half_open(&range);
        self.read(from, to, usize::MAX)
            .map_err(|e| StorageIOError::read_logs(&e).into())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        self.read(start, end, READ_BYTES)
            .map_err(|e| StorageIOError::read_logs(&e).into())
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let (last_purged_log_id, last_log_id) = self.bounds().map_err(|e| StorageIOError::read_logs(&e))?;
        Ok(LogState {
            last_purged_log_id,
            last_log_id,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &raft::Vote) -> Result<(), StorageError> {
        let vote = Vote(*vote);
        let written = self.write_through(|log| log.save_vote(vote).map(drop)).await;
        written.map_err(|e| StorageIOError::write_vote(&e).into())
    }

    async fn read_vote(&mut self) -> Result<Option<raft::Vote>, StorageError> {
        let vote = self.with(|log| Ok(log.log_state().vote().map(|vote| vote.0)));
        let mut vote = vote.map_err(|e| StorageIOError::read_vote(&e))?;
        if let Some(vote) = &mut vote
            && self.shared.owner.get() == Some(&vote.leader_id.node_id)
        {
            vote.committed = false;
        }
        Ok(vote)
    }

    async fn save_committed(&mut self, committed: Option<raft::LogId>) -> Result<(), StorageError> {
        *self.waiting_committed() = committed.map(LogId);
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<raft::LogId>, StorageError> {
        self.committed().map_err(|e| StorageIOError::read_logs(&e).into())
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let entries = entries
            .into_iter()
            .map(|entry| (LogId(entry.log_id), Payload(Arc::new(entry.payload))));
        let size = &self.shared.size;
        let write = |log: &mut RaftLog<Types>| {
            self.write_committed(log)?;
            for (log_id, payload) in entries {
                // Purged is applied and in a snapshot: there is nothing left to write.
                if Some(&log_id) <= log.log_state().purged() {
                    continue;
                }
                size.add(payload.weight());
                log.append([(log_id, payload)])?;
            }
            Ok(())
        };
        let sync = !failpoint::planted("ack-before-fsync");
        self.write(write, sync, Told::Openraft(callback))
            .map_err(|e| StorageIOError::write_logs(&e).into())
    }

    async fn truncate(&mut self, log_id: raft::LogId) -> Result<(), StorageError> {
        let written = self.write_through(|log| log.truncate(log_id.index).map(drop)).await;
        written.map_err(|e| StorageIOError::write_logs(&e).into())
    }

    async fn purge(&mut self, log_id: raft::LogId) -> Result<(), StorageError> {
        self.write(|log| log.purge(LogId(log_id)).map(drop), true, Told::Nobody)
            .map_err(|e| StorageIOError::write_logs(&e).into())
    }
}

/// The range as its first index and the first after it.
fn half_open(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(from) => *from,
        Bound::Excluded(from) => from + 1,
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(to) => to.saturating_add(1),
        Bound::Excluded(to) => *to,
        Bound::Unbounded => u64::MAX,
    };
    (from, to.max(from))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::chance::seeded;
    use crate::simulation::disk::Disk;

    #[tokio::test]
    async fn who_led_before_a_start_has_to_be_elected_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogStore::open(dir.path(), Fatal::default()).unwrap();
        let elected = raft::Vote::new_committed(3, 1);
        log.save_vote(&elected).await.unwrap();

        log.belongs_to(1);
        assert_eq!(log.read_vote().await.unwrap(), Some(raft::Vote::new(3, 1)));
        let follows = LogStore::open(tempfile::tempdir().unwrap().path(), Fatal::default()).unwrap();
        follows.clone().save_vote(&elected).await.unwrap();
        follows.belongs_to(2);
        assert_eq!(follows.clone().read_vote().await.unwrap(), Some(elected));
    }

    /// A server that was killed has written what no disk has been asked for. Once it is up again it says that it has
    /// it, and others count on that.
    #[test]
    fn what_a_start_believes_outlives_a_power_cut() {
        let vote = raft::Vote::new(3, 1);
        let mut lost = 0;
        for (seed, restarted) in (0..8).flat_map(|seed| [(seed, false), (seed, true)]) {
            let dir = tempfile::tempdir().unwrap();
            let log_dir = dir.path().join("log");
            disk::create_dir(&log_dir).unwrap();
            let simulated = Disk::new(dir.path());
            seeded::begin(Some(seed));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            runtime.unwrap().block_on(async {
                let mut log = LogStore::open(&log_dir, Fatal::default()).unwrap();
                assert!(log.save_vote(&vote).now_or_never().is_none(), "the disk takes its time");
            });
            let voted = || {
                LogStore::open(&log_dir, Fatal::default())
                    .unwrap()
                    .read_vote()
                    .now_or_never()
            };
            if restarted {
                assert_eq!(voted().unwrap().unwrap(), Some(vote));
            }
            simulated.lose().unwrap();
            let left = voted().unwrap().unwrap();
            lost += usize::from(left.is_none());
            assert!(!restarted || left == Some(vote));
            simulated.forget();
        }
        seeded::begin(None);
        assert!(lost > 0, "what nobody has believed may go");
    }

    #[test]
    fn every_range_has_a_first_index_and_one_after_it() {
        assert_eq!(half_open(&(2..5)), (2, 5));
        assert_eq!(half_open(&(2..=5)), (2, 6));
        assert_eq!(half_open(&..), (0, u64::MAX));
        assert_eq!(half_open(&(Bound::Excluded(2), Bound::Unbounded)), (3, u64::MAX));
    }
}
