//! What is handed over to the writer of the state on disk: changed rows, and jobs.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::tables::Mark;
use crate::clock::{self, Instant};
use crate::state::State;
use crate::state::rows::RowId;

/// How far the disk may fall behind: what is remembered for it, and the values that a state being
/// written holds on to while others overtake them.
pub(super) const LAG_BYTES: usize = 64 << 20;

/// Changes that are handed over before the thread is woken to look which of them are the same.
pub(super) const HAND_OVER_BYTES: usize = 4 << 20;

/// Work that is not a change.
pub(super) enum Job {
    Replace {
        state: Arc<State>,
        mark: Mark,
        done: oneshot::Sender<()>,
    },
    Checkpoint(oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}

/// What has been handed over. Changes do not wake the thread one by one: a wake would cost a write
/// that is alone more than all the rest that is done for it here.
#[derive(Default)]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    awake: Condvar,
}

#[derive(Default)]
pub(super) struct Waiting {
    changes: Changes,
    pub jobs: Vec<Job>,
    /// Whether the thread is to look, whatever is there.
    pub look: bool,
    /// Whether the thread looks by itself after a while.
    pub timed: bool,
    /// Whether the state has been let go: the next comes soon, and without it nothing can be written.
    away: bool,
    /// Whether the thread waits for that.
    missed: bool,
    /// Whether nothing more will come, or nobody will look any more.
    ended: bool,
}

/// Rows that have changed, the room that they take, and the state after all of them.
#[derive(Default)]
pub(super) struct Changes {
    pub rows: Vec<RowId>,
    pub room: Option<OwnedSemaphorePermit>,
    pub newest: Option<(Arc<State>, Mark)>,
}

impl Inbox {
    /// Lets the state go, so that it can be changed in place; the thread waits until the next is handed over.
    pub(super) fn let_go(&self) {
        let mut waiting = self.lock();
        waiting.away = true;
        let newest = waiting.changes.newest.take();
        drop(waiting);
        drop(newest);
    }

    /// Whether it was let go, and the thread waits for the next, if for anything.
    pub(super) fn is_away(&self) -> bool {
        self.lock().away
    }

    pub(super) fn hand_over(
        &self,
        rows: impl Iterator<Item = RowId>,
        room: OwnedSemaphorePermit,
        newest: (Arc<State>, Mark),
    ) -> io::Result<()> {
        let mut waiting = self.lock();
        if waiting.ended {
            return Err(ended());
        }
        waiting.away = false;
        let missed = std::mem::take(&mut waiting.missed);
        let changes = &mut waiting.changes;
        changes.rows.extend(rows);
        changes.newest = Some(newest);
        let room = merged(changes.room.take(), room);
        let much = room.num_permits() >= HAND_OVER_BYTES;
        changes.room = Some(room);
        // The first changes start the clock of the thread.
        waiting.look |= much || !waiting.timed;
        if waiting.look || missed {
            self.awake.notify_one();
        }
        Ok(())
    }

    /// A job that somebody waits for is done now.
    pub(super) fn put(&self, job: Job) -> io::Result<()> {
        let mut waiting = self.lock();
        if waiting.ended {
            return Err(ended());
        }
        if let Job::Replace { .. } = job {
            // What changed before is overtaken.
            waiting.changes = Changes::default();
        }
        waiting.jobs.push(job);
        waiting.look = true;
        self.awake.notify_one();
        Ok(())
    }

    pub(super) fn look(&self) {
        self.lock().look = true;
        self.awake.notify_one();
    }

    /// Whether nobody waits for the thread, nor will soon.
    pub(super) fn is_calm(&self) -> bool {
        let waiting = self.lock();
        let held = waiting
            .changes
            .room
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        waiting.jobs.is_empty() && held < LAG_BYTES / 2
    }

    /// Nobody looks any more: whoever waits is told so, and whoever comes.
    pub(super) fn end(&self) {
        let mut waiting = self.lock();
        waiting.ended = true;
        waiting.jobs.clear();
        waiting.changes = Changes::default();
    }

    /// Everything handed over, once there is reason to look or `until` has passed; `None` when
    /// nothing more will come.
    pub(super) fn take(&self, until: Option<Instant>) -> Option<(Vec<Job>, Changes)> {
        let mut waiting = self.lock();
        waiting.timed = until.is_some();
        waiting.look |= !waiting.timed && waiting.changes.newest.is_some();
        while (!waiting.look || waiting.away) && !waiting.ended {
            if waiting.away && (waiting.look || until.is_some_and(|until| until <= clock::now())) {
                waiting.missed = true;
                waiting = self.awake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            waiting = match until.map(|until| until.saturating_duration_since(clock::now())) {
                Some(Duration::ZERO) => break,
                Some(time) => {
                    let waited = self.awake.wait_timeout(waiting, time);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.awake.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            };
        }
        waiting.look = false;
        let jobs = std::mem::take(&mut waiting.jobs);
        let changes = std::mem::take(&mut waiting.changes);
        let nothing = waiting.ended && jobs.is_empty() && changes.newest.is_none();
        (!nothing).then_some((jobs, changes))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Both as one.
pub(super) fn merged(some: Option<OwnedSemaphorePermit>, mut more: OwnedSemaphorePermit) -> OwnedSemaphorePermit {
    if let Some(some) = some {
        more.merge(some);
    }
    more
}

/// The way to the thread; when the last clone has gone, nothing more will come.
pub(super) struct Handle(pub Arc<Inbox>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.awake.notify_one();
    }
}

/// Nothing is written any more.
pub(super) fn ended() -> io::Error {
    io::Error::other("the writer of the state on disk has ended")
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;
    use crate::raft::StoredMembership;
    use crate::state::rows::Row;

    fn hand_over(inbox: &Inbox, room: &Arc<Semaphore>, state: &Arc<State>) {
        let room = Arc::clone(room).try_acquire_owned().unwrap();
        let row = Row::Key(kvapi::Key::new("a").unwrap(), None).into_id();
        let mark = Mark::of(state, None, StoredMembership::default());
        inbox
            .hand_over([row].into_iter(), room, (Arc::clone(state), mark))
            .unwrap();
    }

    #[test]
    fn rows_whose_state_was_let_go_are_taken_with_the_next_one() {
        let (inbox, room) = (Arc::new(Inbox::default()), Arc::new(Semaphore::new(2)));
        let (first, second) = (Arc::new(State::default()), Arc::new(State::default()));
        hand_over(&inbox, &room, &first);
        inbox.let_go();
        assert_eq!(Arc::strong_count(&first), 1, "nobody holds it");

        let thread = {
            let inbox = Arc::clone(&inbox);
            std::thread::spawn(move || inbox.take(None))
        };
        let (done, _) = oneshot::channel();
        inbox.put(Job::Checkpoint(done)).unwrap();
        while !inbox.lock().missed {
            std::thread::yield_now();
        }
        assert!(
            !thread.is_finished(),
            "a job does not have rows taken without their state"
        );
        hand_over(&inbox, &room, &second);

        let (jobs, changes) = thread.join().unwrap().unwrap();
        assert_eq!((jobs.len(), changes.rows.len()), (1, 2));
        assert!(Arc::ptr_eq(&changes.newest.unwrap().0, &second));
    }

    #[test]
    fn nobody_waits_for_a_state_that_will_not_come() {
        let inbox = Arc::new(Inbox::default());
        hand_over(&inbox, &Arc::new(Semaphore::new(1)), &Arc::default());
        inbox.let_go();

        drop(Handle(Arc::clone(&inbox)));

        assert!(inbox.take(None).is_none());
    }
}
