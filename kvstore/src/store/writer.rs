//! The one thread that writes the state on disk, behind the log and behind memory.
//!
//! Applied rows are handed over in apply order. A pass takes what waits, up to a batch, and writes
//! the newest row of each changed key once. What waits is bounded: beyond
//! [`LAG_BYTES`] the one who applies has to wait too, without holding up anybody else.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::fatal::Fatal;
use super::tables::{self, BATCH_BYTES, BATCH_ROWS, Mark, Tables};
use crate::state::State;
use crate::state::rows::{Row, Table};

/// How far the disk may fall behind, in bytes of rows.
const LAG_BYTES: usize = 64 << 20;

/// What a row weighs beside its key and value, in bytes.
const OVERHEAD: usize = 128;

/// Hands work to the thread. Clones hand it to the same one.
#[derive(Clone)]
pub(super) struct Writer {
    jobs: Sender<Job>,
    room: Arc<Semaphore>,
}

enum Job {
    Rows(Rows),
    Replace {
        state: Arc<State>,
        mark: Mark,
        done: oneshot::Sender<()>,
    },
    Checkpoint(oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}

/// The rows of one apply, and the mark that they lead to.
struct Rows {
    rows: Vec<Row>,
    mark: Mark,
    room: OwnedSemaphorePermit,
}

impl Writer {
    /// Starts the thread. It ends when it is told to close, when all handles are gone, or with
    /// the server, when the disk fails.
    pub(super) fn start(tables: Tables, fatal: Fatal) -> io::Result<Self> {
        let (jobs, waiting) = channel();
        std::thread::Builder::new().name("state-writer".into()).spawn(move || {
            let dir = tables.dir().to_owned();
            let ended = catch_unwind(AssertUnwindSafe(|| run(tables, &waiting)));
            let (reason, damaged) = match ended {
                Ok(Ok(())) => return,
                Ok(Err(e)) => (e.to_string(), !matches!(e, sled::Error::Io(_))),
                Err(panic) => (panic_text(&*panic), true),
            };
            if damaged {
                tables::mark_damaged(&dir);
            }
            fatal.report(format!(
                "cannot write the state on disk: {reason}; free or replace the disk, then start the server again"
            ));
        })?;
        Ok(Self {
            jobs,
            room: Arc::new(Semaphore::new(LAG_BYTES)),
        })
    }

    /// Has rows written some time. Waits while too much is waiting.
    pub(super) async fn write(&self, rows: Vec<Row>, mark: Mark) -> io::Result<()> {
        let weight = rows.iter().map(weight).sum::<usize>().clamp(1, LAG_BYTES);
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room)
            .acquire_many_owned(weight)
            .await
            .map_err(|_| ended())?;
        self.send(Job::Rows(Rows { rows, mark, room }))
    }

    /// Has another state written in place of the one on disk, and made durable, some time.
    pub(super) fn replace_later(&self, state: Arc<State>, mark: Mark) -> io::Result<()> {
        self.send(Job::Replace {
            state,
            mark,
            done: oneshot::channel().0,
        })?;
        self.send(Job::Checkpoint(oneshot::channel().0))
    }

    /// Writes another state in place of the one on disk, and makes it durable.
    pub(super) async fn replace(&self, state: Arc<State>, mark: Mark) -> io::Result<()> {
        self.ask(|done| Job::Replace { state, mark, done }).await?;
        self.checkpoint().await
    }

    /// Makes durable what has been handed over before.
    pub(super) async fn checkpoint(&self) -> io::Result<()> {
        self.ask(Job::Checkpoint).await
    }

    /// Writes what is waiting, makes it durable and closes the files.
    pub(super) async fn close(&self) -> io::Result<()> {
        self.ask(Job::Close).await
    }

    async fn ask(&self, job: impl FnOnce(oneshot::Sender<()>) -> Job) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        self.send(job(done))?;
        answer.await.map_err(|_| ended())
    }

    fn send(&self, job: Job) -> io::Result<()> {
        self.jobs.send(job).map_err(|_| ended())
    }
}

fn run(mut tables: Tables, jobs: &Receiver<Job>) -> sled::Result<()> {
    let mut next = None;
    while let Some(job) = next.take().or_else(|| jobs.recv().ok()) {
        // Whoever asked may have given up by the time the answer is there.
        match job {
            Job::Rows(first) => next = write_pass(&mut tables, first, jobs)?,
            Job::Replace { state, mark, done } => {
                tables.replace(&state, &mark)?;
                let _ = done.send(());
            }
            Job::Checkpoint(done) => {
                tables.checkpoint()?;
                let _ = done.send(());
            }
            Job::Close(done) => {
                tables.checkpoint()?;
                drop(tables);
                let _ = done.send(());
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Writes rows that are waiting, up to a batch of them: so a pass is cut in two only if a single
/// apply was larger. Returns the job that stood behind them.
fn write_pass(tables: &mut Tables, first: Rows, jobs: &Receiver<Job>) -> sled::Result<Option<Job>> {
    let mut pass = Gathered::of(first);
    let next = loop {
        match jobs.try_recv() {
            Ok(Job::Rows(more)) if pass.has_room_for(&more) => pass.add(more),
            Ok(other) => break Some(other),
            Err(_) => break None,
        }
    };
    tables.write(pass.newest.into_values(), &pass.mark)?;
    Ok(next)
}

/// The newest row of each key, out of several applies.
struct Gathered {
    newest: BTreeMap<(Table, Vec<u8>), Row>,
    mark: Mark,
    /// Weight of all rows that came in, those that were overtaken included.
    bytes: usize,
    _rooms: Vec<OwnedSemaphorePermit>,
}

impl Gathered {
    fn of(first: Rows) -> Self {
        let mut gathered = Self {
            newest: BTreeMap::new(),
            mark: first.mark.clone(),
            bytes: 0,
            _rooms: Vec::new(),
        };
        gathered.add(first);
        gathered
    }

    /// Whether everything would still be one batch.
    fn has_room_for(&self, more: &Rows) -> bool {
        self.newest.len() + more.rows.len() < BATCH_ROWS / 2 && self.bytes + more.room.num_permits() < BATCH_BYTES / 2
    }

    fn add(&mut self, more: Rows) {
        self.newest
            .extend(more.rows.into_iter().map(|row| ((row.table(), row.key()), row)));
        self.mark = more.mark;
        self.bytes += more.room.num_permits();
        self._rooms.push(more.room);
    }
}

/// About how much memory a row holds on to while it waits.
fn weight(row: &Row) -> usize {
    let value = |entry: &crate::state::Entry| entry.value.len();
    OVERHEAD
        + match row {
            Row::Key(_, Some(entry)) | Row::Version(_, _, Some(Some(entry))) => value(entry),
            Row::Request(_, Some(_))
            | Row::Counters(_)
            | Row::Key(_, None)
            | Row::Version(_, _, None | Some(None))
            | Row::Record(..)
            | Row::Tombstone(..)
            | Row::Request(_, None) => 0,
        }
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".into())
}

fn ended() -> io::Error {
    io::Error::other("the writer of the state on disk has ended")
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use kvapi::{Key, Revision};

    use super::*;
    use crate::raft::StoredMembership;
    use crate::state::Entry;

    fn rows(bytes: usize) -> Vec<Row> {
        let value = vec![0; bytes].into();
        let entry = Entry {
            value,
            flags: 0,
            create: Revision(2),
            modify: Revision(2),
            lock_index: 0,
            session: None,
        };
        vec![Row::Key(Key::new("a").unwrap(), Some(Arc::new(entry)))]
    }

    #[tokio::test]
    async fn whoever_applies_waits_while_too_much_is_unwritten() {
        let (jobs, waiting) = channel();
        let writer = Writer {
            jobs,
            room: Arc::new(Semaphore::new(LAG_BYTES)),
        };
        let mark = || Mark::of(&State::default(), None, StoredMembership::default());
        writer.write(rows(LAG_BYTES / 2), mark()).await.unwrap();

        let mut second = Box::pin(writer.write(rows(LAG_BYTES / 2), mark()));

        assert!((&mut second).now_or_never().is_none());
        drop(waiting.recv().unwrap());
        second.await.unwrap();
    }

    #[tokio::test]
    async fn a_writer_that_has_ended_says_so() {
        let (jobs, waiting) = channel();
        let writer = Writer {
            jobs,
            room: Arc::new(Semaphore::new(LAG_BYTES)),
        };
        drop(waiting);

        assert!(writer.checkpoint().await.is_err());
    }

    #[tokio::test]
    async fn a_disk_that_fails_ends_the_server_with_a_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let fatal = Fatal::default();
        let writer = Writer::start(Tables::open(&state).unwrap(), fatal.clone()).unwrap();

        // A checkpoint makes the files' names durable, and here they have gone.
        crate::disk::remove_dir(&state).unwrap();
        assert!(writer.checkpoint().await.is_err());

        let reason = fatal.wait().await.to_string();
        assert!(
            reason.contains("cannot write the state on disk") && reason.contains("start the server again"),
            "{reason}"
        );
    }
}
