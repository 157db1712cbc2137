//! The one thread that writes the state on disk, behind the log and behind memory.
//!
//! Which rows an apply has changed is handed over in apply order and gathered for a while, since
//! what changes often is overtaken by its next change and need not be written. Then a pass writes
//! them as they are in the newest state. What is gathered is bounded in time and bytes; what
//! waits beyond [`LAG_BYTES`] makes the one who applies wait too, without holding up anybody else.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::fatal::Fatal;
use super::inbox::{Changes, Handle, Inbox, Job, LAG_BYTES, ended, merged};
use super::pages::Pages;
use super::tables::{self, Mark, Tables};
use super::unwritten::{Unwritten, weight};
use crate::clock::{self, Instant};
use crate::state::State;
use crate::state::rows::Row;

/// Gathered changes of this size are written.
const GATHER_BYTES: usize = LAG_BYTES / 4;

/// The longest that changes are gathered. A start after a kill finds in the log what this leaves
/// out.
const GATHER_FOR: Duration = Duration::from_secs(15);

/// Hands work to the thread. Clones hand it to the same one.
#[derive(Clone)]
pub(super) struct Writer {
    inbox: Arc<Handle>,
    room: Arc<Semaphore>,
    /// Whether what is waiting is to be left unwritten.
    leaving: Arc<AtomicBool>,
}

impl Writer {
    /// Starts the thread. It ends when it is told to close, when all handles are gone, or with
    /// the server, when the disk fails.
    pub(super) fn start(tables: Tables, fatal: Fatal) -> io::Result<Self> {
        let (writer, inbox) = Self::new();
        let left = Arc::clone(&writer.leaving);
        #[cfg(test)]
        let at_work = crate::simulation::disk::at_work(tables.dir());
        std::thread::Builder::new().name("state-writer".into()).spawn(move || {
            #[cfg(test)]
            let _at_work = at_work;
            let dir = tables.dir().to_owned();
            let ended = catch_unwind(AssertUnwindSafe(|| run(tables, &inbox, &left)));
            let (reason, damaged) = match ended {
                Ok(Ok(())) => return inbox.end(),
                Ok(Err(e)) => (e.to_string(), !matches!(e, sled::Error::Io(_))),
                Err(panic) => (panic_text(&*panic), true),
            };
            if damaged {
                tables::mark_damaged(&dir);
            }
            fatal.report(format!(
                "cannot write the state on disk: {reason}; free or replace the disk, then start the server again"
            ));
            // Behind the reason: who finds the writer gone would be heard first, and knows none.
            inbox.end();
        })?;
        Ok(writer)
    }

    fn new() -> (Self, Arc<Inbox>) {
        let inbox = Arc::new(Inbox::default());
        let writer = Self {
            inbox: Arc::new(Handle(Arc::clone(&inbox))),
            room: Arc::new(Semaphore::new(LAG_BYTES)),
            leaving: Arc::default(),
        };
        (writer, inbox)
    }

    /// Lets go of the state that was handed over last, so that it can be changed in place, unless there may be no room
    /// for what that brings: `bytes` of commands. The state after it has to be handed over soon, by [`Writer::write`].
    pub(super) fn let_go(&self, bytes: usize) {
        if self.room.available_permits() >= LAG_BYTES / 2 && bytes <= LAG_BYTES / 16 {
            self.inbox().let_go();
        }
    }

    /// Has changed rows written some time, as they are in `state` or a later one. Waits while too
    /// much is waiting.
    pub(super) async fn write(&self, rows: Vec<Row>, state: &Arc<State>, mark: Mark) -> io::Result<()> {
        let weight = rows.iter().map(weight).sum::<usize>().clamp(1, LAG_BYTES);
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        let room = match Arc::clone(&self.room).try_acquire_many_owned(weight) {
            Ok(room) => room,
            // The thread waits for this state and makes no room before: what there is has to do.
            Err(_) if self.inbox().is_away() => {
                let rest = u32::try_from(self.room.available_permits()).unwrap_or(u32::MAX);
                Arc::clone(&self.room)
                    .try_acquire_many_owned(rest)
                    .map_err(|_| ended())?
            }
            Err(_) => {
                // Which changes are the same is found out by the thread, and may make room.
                self.inbox().look();
                let room = Arc::clone(&self.room).acquire_many_owned(weight);
                room.await.map_err(|_| ended())?
            }
        };
        let rows = rows.into_iter().map(Row::into_id);
        self.inbox().hand_over(rows, room, (Arc::clone(state), mark))
    }

    /// Has another state written in place of the one on disk, and made durable, some time.
    pub(super) fn replace_later(&self, state: Arc<State>, mark: Mark) -> io::Result<()> {
        let done = oneshot::channel().0;
        self.inbox().put(Job::Replace { state, mark, done })?;
        self.inbox().put(Job::Checkpoint(oneshot::channel().0))
    }

    /// Writes another state in place of the one on disk, and makes it durable.
    pub(super) async fn replace(&self, state: Arc<State>, mark: Mark) -> io::Result<()> {
        self.ask(|done| Job::Replace { state, mark, done }).await?;
        self.checkpoint().await
    }

    /// What has been handed over and is not written, in bytes.
    pub(super) fn unwritten_bytes(&self) -> usize {
        LAG_BYTES.saturating_sub(self.room.available_permits())
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
    /// left out is told that the writer has ended, once the pass has been given to the system.
    pub(super) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
        self.inbox().look();
    }

    async fn ask(&self, job: impl FnOnce(oneshot::Sender<()>) -> Job) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        self.inbox().put(job(done))?;
        clock::standing(answer).await.map_err(|_| ended())
    }

    fn inbox(&self) -> &Inbox {
        &self.inbox.0
    }
}

fn run(mut tables: Tables, inbox: &Inbox, leaving: &AtomicBool) -> sled::Result<()> {
    let mut gathered = Gathered::default();
    while let Some((jobs, changes)) = inbox.take(gathered.at) {
        if leaving.load(Ordering::Relaxed) {
            // Before the jobs go, and those who wait for them with the process.
            return tables.flush();
        }
        // Changes that were handed over before a replacement have gone from the inbox with it.
        let (replacements, jobs): (Vec<Job>, Vec<Job>) =
            jobs.into_iter().partition(|job| matches!(job, Job::Replace { .. }));
        for job in replacements {
            if let Job::Replace { state, mark, done } = job {
                gathered = Gathered::default();
                tables.replace(&state, &mark)?;
                // Whoever asked may have given up by the time the answer is there.
                let _ = done.send(());
            }
        }
        gathered.add(changes, tables.pages());
        if gathered.is_due() || !jobs.is_empty() {
            // A pass that nobody waits for takes half of one processor, not all of it.
            let mut between = |took| {
                if jobs.is_empty() && inbox.is_calm() && !leaving.load(Ordering::Relaxed) {
                    clock::block(took);
                }
            };
            std::mem::take(&mut gathered).write(&mut tables, &mut between)?;
        }
        for job in jobs {
            match job {
                Job::Replace { .. } => {}
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
    }
    gathered.write(&mut tables, &mut |_| {})
}

/// What the thread holds between two passes.
#[derive(Default)]
struct Gathered {
    unwritten: Unwritten,
    newest: Option<(Arc<State>, Mark)>,
    room: Option<OwnedSemaphorePermit>,
    /// When it is to be written.
    at: Option<Instant>,
}

impl Gathered {
    fn is_due(&self) -> bool {
        self.unwritten.bytes() >= GATHER_BYTES || self.at.is_some_and(|at| at <= clock::now())
    }

    /// Takes changes in, and gives back the room of those that were there already.
    fn add(&mut self, changes: Changes, pages: &Pages) {
        let Some(more) = changes.room else { return };
        for row in changes.rows {
            self.unwritten.add(row, pages);
        }
        let mut room = merged(self.room.take(), more);
        drop(room.split(room.num_permits().saturating_sub(self.unwritten.bytes())));
        self.room = Some(room);
        // Without a newer one the rows are written as they were in the older: it is a whole state too.
        if changes.newest.is_some() {
            self.newest = changes.newest;
        }
        self.at.get_or_insert_with(|| clock::now() + GATHER_FOR);
    }

    /// Writes everything that is gathered.
    fn write(self, tables: &mut Tables, between: &mut dyn FnMut(Duration)) -> sled::Result<()> {
        let Some((state, mark)) = &self.newest else {
            return Ok(());
        };
        tables.write(self.unwritten, state, mark, between)
    }
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".into())
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use kvapi::{Key, Revision};

    use super::*;
    use crate::raft::StoredMembership;
    use crate::state::Entry;
    use crate::store::inbox::HAND_OVER_BYTES;

    fn rows(bytes: usize) -> Vec<Row> {
        let entry = Arc::new(Entry {
            value: vec![0; bytes].into(),
            flags: 0,
            create: Revision(2),
            modify: Revision(2),
            lock_index: 0,
            session: None,
        });
        vec![Row::Key(Key::new("a").unwrap(), Some(entry))]
    }

    async fn write(writer: &Writer, bytes: usize) {
        let mark = Mark::of(&State::default(), None, StoredMembership::default());
        writer.write(rows(bytes), &Arc::default(), mark).await.unwrap();
    }

    #[tokio::test]
    async fn a_state_is_let_go_while_there_is_room_and_nobody_waits_for_room_without_one() {
        let (writer, inbox) = Writer::new();
        writer.let_go(LAG_BYTES);
        assert!(!inbox.is_away(), "so much may find no room");
        writer.let_go(1);
        assert!(inbox.is_away());
        write(&writer, LAG_BYTES / 4 * 3).await;
        assert!(!inbox.is_away());
        writer.let_go(1);
        assert!(!inbox.is_away(), "there is too little room");

        inbox.let_go();
        write(&writer, LAG_BYTES).await;

        assert_eq!(writer.unwritten_bytes(), LAG_BYTES);
        assert!(!inbox.is_away());
    }

    #[tokio::test]
    async fn room_is_held_for_what_is_different_not_for_how_often_it_changed() {
        let (writer, inbox) = Writer::new();
        let mut gathered = Gathered::default();

        for _ in 0..1000 {
            write(&writer, 100_000).await;
            gathered.add(inbox.take(None).unwrap().1, &Pages::default());
        }

        assert!(!gathered.is_due(), "one row is far from what is gathered");
        let held = LAG_BYTES - writer.room.available_permits();
        assert_eq!(held, gathered.unwritten.bytes());
        drop(gathered);
        assert_eq!(writer.room.available_permits(), LAG_BYTES);
    }

    #[tokio::test]
    async fn whoever_applies_waits_while_too_much_is_unwritten() {
        let (writer, inbox) = Writer::new();
        write(&writer, LAG_BYTES / 2).await;

        let mut second = Box::pin(write(&writer, LAG_BYTES / 2));

        assert!((&mut second).now_or_never().is_none());
        drop(inbox.take(None));
        second.await;
    }

    #[tokio::test]
    async fn a_writer_that_has_ended_says_so() {
        let (writer, inbox) = Writer::new();
        let waiting = tokio::spawn({
            let writer = writer.clone();
            async move { writer.checkpoint().await }
        });
        while inbox.lock().jobs.is_empty() {
            tokio::task::yield_now().await;
        }

        inbox.end();

        assert!(waiting.await.unwrap().is_err());
        assert!(writer.checkpoint().await.is_err());
    }

    #[tokio::test]
    async fn the_thread_is_woken_for_the_first_change_for_much_and_for_a_job() {
        let (writer, inbox) = Writer::new();
        write(&writer, 1).await;
        assert_eq!(inbox.take(None).unwrap().1.rows.len(), 1);

        // As while the thread waits for its time.
        inbox.lock().timed = true;
        for (bytes, looks) in [(1, false), (1, false), (HAND_OVER_BYTES, true)] {
            write(&writer, bytes).await;
            assert_eq!(inbox.lock().look, looks);
        }
        assert_eq!(inbox.take(None).unwrap().1.rows.len(), 3);
        inbox.lock().timed = true;
        inbox.put(Job::Checkpoint(oneshot::channel().0)).unwrap();
        assert!(inbox.take(None).unwrap().1.newest.is_none());
        drop(writer);
        assert!(inbox.take(None).is_none());
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
