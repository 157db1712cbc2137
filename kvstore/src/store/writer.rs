//! The one thread that writes the state on disk, behind the log and behind memory.
//!
//! Applied rows are handed over in apply order. A pass takes what waits, up to a batch, and writes
//! the newest row of each changed key once. What waits is bounded: beyond
//! [`LAG_BYTES`] the one who applies has to wait too, without holding up anybody else.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::fatal::Fatal;
use super::tables::{self, BATCH_BYTES, BATCH_ROWS, Mark, Tables};
use crate::state::rows::{Row, Table};
use crate::state::{Entry, State};

/// How far the disk may fall behind, in bytes of rows.
const LAG_BYTES: usize = 64 << 20;

/// What a row weighs beside its key and value, in bytes.
const OVERHEAD: usize = 128;

/// Hands work to the thread. Clones hand it to the same one.
#[derive(Clone)]
pub(super) struct Writer {
    jobs: Sender<Job>,
    room: Arc<Semaphore>,
    /// Whether what is waiting is to be left unwritten.
    leaving: Arc<AtomicBool>,
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
        let leaving = Arc::new(AtomicBool::new(false));
        let left = Arc::clone(&leaving);
        std::thread::Builder::new().name("state-writer".into()).spawn(move || {
            let dir = tables.dir().to_owned();
            let ended = catch_unwind(AssertUnwindSafe(|| run(tables, &waiting, &left)));
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
            leaving,
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

    /// Has the thread end after the pass that it is at: nothing after it is written any more, so
    /// the state on disk stays a whole one, of an earlier log entry. Whoever waits for what is
    /// left out is told that the writer has ended.
    pub(super) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
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

fn run(mut tables: Tables, jobs: &Receiver<Job>, leaving: &AtomicBool) -> sled::Result<()> {
    let mut next = None;
    while let Some(job) = next.take().or_else(|| jobs.recv().ok()) {
        if leaving.load(Ordering::Relaxed) {
            return Ok(());
        }
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
    let text = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
    let entry = |entry: &Option<Arc<Entry>>| {
        entry
            .as_ref()
            .map_or(0, |entry| entry.value.len() + text(&entry.session))
    };
    OVERHEAD
        + match row {
            Row::Counters(_) => 0,
            Row::Key(key, now) => key.as_str().len() + entry(now),
            Row::Version(_, key, version) => key.as_str().len() + version.as_ref().map_or(0, entry),
            Row::Record(_, record) => record
                .as_ref()
                .map_or(0, |record| text(&record.author) + text(&record.message)),
            Row::Tombstone(key, _) => key.as_str().len(),
            Row::Request(id, answer) => id.0.len() + answer.as_ref().map_or(0, |answer| answer.reply.weight()),
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
    use crate::command::{Action, Outcome, Reply, RequestId};
    use crate::raft::StoredMembership;
    use crate::state::requests::Remembered;

    fn entry(bytes: usize) -> Arc<Entry> {
        Arc::new(Entry {
            value: vec![0; bytes].into(),
            flags: 0,
            create: Revision(2),
            modify: Revision(2),
            lock_index: 0,
            session: None,
        })
    }

    fn rows(bytes: usize) -> Vec<Row> {
        vec![Row::Key(Key::new("a").unwrap(), Some(entry(bytes)))]
    }

    #[test]
    fn a_row_weighs_what_it_holds_on_to() {
        let key = || Key::new("k".repeat(500)).unwrap();
        let reply = Reply {
            revision: Revision(2),
            outcome: Outcome::Shown(vec![(key(), entry(10_000)); 3]),
        };
        let answer = Remembered {
            order: 1,
            at: 1,
            action: Action::Delete { key: key(), cas: None }.fingerprint(),
            reply,
        };
        let answered = Row::Request(RequestId("r".into()), Some(Arc::new(answer)));

        assert!(weight(&answered) > 31_500, "{}", weight(&answered));
        assert_eq!(weight(&Row::Tombstone(key(), None)), OVERHEAD + 500);
        assert_eq!(weight(&Row::Key(key(), Some(entry(7)))), OVERHEAD + 507);
        assert_eq!(
            weight(&Row::Version(Revision(2), key(), Some(Some(entry(7))))),
            OVERHEAD + 507
        );
    }

    #[tokio::test]
    async fn whoever_applies_waits_while_too_much_is_unwritten() {
        let (jobs, waiting) = channel();
        let writer = Writer {
            jobs,
            room: Arc::new(Semaphore::new(LAG_BYTES)),
            leaving: Arc::default(),
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
            leaving: Arc::default(),
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
