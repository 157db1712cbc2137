//! One watcher: a cursor that pulls what it has not seen yet.
//!
//! It begins with a snapshot, or after a revision. What comes next it takes from the ring; if it
//! was too slow for that, from the history; if that is gone too, it says `compacted` and gives a
//! snapshot. One frame per revision, in order, none left out. While nothing happens it says every
//! [`KEEP_ALIVE`] that it lives, and how far it is.

use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use kvapi::{Key, Revision};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::frame;
use super::hub::Subscription;
use super::passage::{PIECE, Passage};
use super::patterns::{Part, Patterns};
use super::ring;
use crate::clock;
use crate::failpoint;
use crate::held::{Cut, Held};
use crate::state::{Event, State};
use crate::view::Views;

/// How often an idle stream says that it lives.
pub const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// How many revisions are looked at at a time.
const LOOK: usize = 64;

/// How many entries of a snapshot are looked up at a time.
const AT_ONCE: usize = 64;

/// See the module. Gives frames, and pieces of snapshots, for as long as it is asked.
pub struct Stream {
    subscription: Subscription,
    /// Everything up to here has been handed out.
    cursor: Revision,
    ready: VecDeque<Bytes>,
    /// What comes behind those, if it is large.
    passage: Option<Box<Passage>>,
    snapshot: Option<Snapshot>,
    keep_alive: Pin<Box<clock::Sleep>>,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    ended: bool,
}

impl Stream {
    /// Begins with everything in `view`. The subscription must be older than the view.
    #[must_use]
    pub fn snapshot(subscription: Subscription, view: &Arc<State>, stopping: CancellationToken) -> Self {
        let mut stream = Self::since(subscription, view.revision(), stopping);
        stream.begin_snapshot(view);
        stream
    }

    /// Says that what came after `since` is no longer kept, and begins with everything in `view`.
    #[must_use]
    pub fn compacted(
        subscription: Subscription,
        since: Revision,
        view: &Arc<State>,
        stopping: CancellationToken,
    ) -> Self {
        let mut stream = Self::snapshot(subscription, view, stopping);
        stream.ready.push_back(frame::compacted(since, view.history().floor()));
        stream
    }

    /// Begins after a revision.
    #[must_use]
    pub fn since(subscription: Subscription, revision: Revision, stopping: CancellationToken) -> Self {
        subscription.look_again(revision.next());
        Self {
            subscription,
            cursor: revision,
            ready: VecDeque::new(),
            passage: None,
            snapshot: None,
            keep_alive: Box::pin(clock::sleep(KEEP_ALIVE)),
            stopping: Box::pin(stopping.cancelled_owned()),
            ended: false,
        }
    }

    /// The next bytes to send; `None` once the stream has ended. `views` has the state as it is now,
    /// for when the ring does not reach back far enough.
    pub fn poll_next(&mut self, cx: &mut Context<'_>, views: &Views) -> Poll<Option<Result<Bytes, Cut>>> {
        loop {
            if let Some(bytes) = self.next_ready(views) {
                self.ended |= bytes.is_err();
                return Poll::Ready(Some(bytes));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            if self.stopping.as_mut().poll(cx).is_ready() {
                self.ended = true;
                return Poll::Ready(Some(Ok(frame::end("the server is stopping; connect again to go on"))));
            }
            self.subscription.wake(cx.waker());
            if self.pull(views) {
                continue;
            }
            if self.keep_alive.as_mut().poll(cx).is_ready() {
                self.keep_alive.as_mut().reset(clock::now() + KEEP_ALIVE);
                return Poll::Ready(Some(Ok(self.sign_of_life())));
            }
            return Poll::Pending;
        }
    }

    fn next_ready(&mut self, views: &Views) -> Option<Result<Bytes, Cut>> {
        if let Some(bytes) = self.ready.pop_front() {
            return Some(Ok(bytes));
        }
        if let Some(passage) = self.passage.as_mut() {
            if let Some(piece) = passage.next_piece(&self.subscription, views) {
                return Some(piece);
            }
            self.passage = None;
        }
        let snapshot = self.snapshot.as_mut()?;
        let bytes = snapshot.next_piece(self.subscription.patterns(), views);
        if bytes.is_none() {
            self.snapshot = None;
        }
        bytes
    }

    /// Looks for news. `false` if there was nothing to look at.
    fn pull(&mut self, views: &Views) -> bool {
        let Some(first) = self.subscription.take() else {
            return false;
        };
        if self.subscription.take_replaced() {
            self.begin_snapshot(&views.current());
            return true;
        }
        // Nothing between the cursor and the first mark concerns us.
        self.cursor = self.cursor.max(Revision(first.0.saturating_sub(1)));
        match self.subscription.hub().since(self.cursor, LOOK) {
            Some(items) => {
                let more = items.len() == LOOK;
                let taken = self.take_all(
                    items
                        .iter()
                        .map(|item| (&*item.event, item.is_large(), || item.whole())),
                );
                if more || !taken {
                    self.subscription.look_again(self.cursor.next());
                }
            }
            None if failpoint::planted("ring-drops-events") => self.cursor = self.subscription.hub().published(),
            None => self.pull_from_history(&views.current()),
        }
        true
    }

    fn pull_from_history(&mut self, view: &Arc<State>) {
        if self.cursor >= view.revision() {
            return;
        }
        let history = view.history();
        let events = if self.subscription.patterns().wants_own() {
            None
        } else {
            history.since(self.cursor)
        };
        let Some(mut events) = events else {
            self.ready.push_back(frame::compacted(self.cursor, history.floor()));
            self.begin_snapshot(view);
            return;
        };
        let taken = loop {
            let Some(event) = events.next() else { break true };
            let large = ring::is_large(&event);
            if !self.take_all(std::iter::once((&event, large, || frame::change(&event, |_| true)))) {
                break false;
            }
        };
        if taken {
            // Every change that was marked so far is in this view: it is set before the hub hears of it.
            self.cursor = view.revision();
        } else {
            self.subscription.look_again(self.cursor.next());
        }
    }

    /// Makes frames of what concerns us. `false` if it had to stop before the end.
    fn take_all<'a, F: FnOnce() -> Bytes>(&mut self, events: impl Iterator<Item = (&'a Event, bool, F)>) -> bool {
        for (event, large, whole) in events {
            if self.passage.is_some() || self.ready.iter().map(Bytes::len).sum::<usize>() >= PIECE {
                return false;
            }
            let patterns = self.subscription.patterns();
            match patterns.part_of(event) {
                Part::Nothing => {}
                _ if large => self.passage = Some(Box::new(Passage::of(event.revision))),
                Part::Some => self.ready.push_back(frame::change(event, |key| patterns.matches(key))),
                Part::Whole => self.ready.push_back(whole()),
            }
            self.cursor = event.revision;
        }
        true
    }

    fn begin_snapshot(&mut self, view: &Arc<State>) {
        self.cursor = view.revision();
        self.snapshot = Some(Snapshot::of(Arc::clone(view)));
    }

    /// What an idle stream says: how far it is, if that is further than before.
    fn sign_of_life(&mut self) -> Bytes {
        let published = self.subscription.hub().published();
        if published > self.cursor && self.subscription.is_quiet() {
            self.cursor = published;
            return frame::progress(published);
        }
        frame::KEEP_ALIVE
    }
}

/// A snapshot event on its way, all of one revision. Of its entries, only those of the next piece are
/// in memory. The state is held as [`Held`] says; after that the rest comes from a newer one, as it
/// was.
struct Snapshot {
    revision: Revision,
    source: Source,
    /// The last key that was sent.
    last: Option<Key>,
    /// And so much of the long value behind it.
    offset: usize,
    started: bool,
    ended: bool,
}

/// What the next piece is made of.
enum Source {
    /// Most snapshots are one piece.
    Fresh(Arc<State>),
    Held(Held),
}

impl Snapshot {
    fn of(state: Arc<State>) -> Self {
        Self {
            revision: state.revision(),
            source: Source::Fresh(state),
            last: None,
            offset: 0,
            started: false,
            ended: false,
        }
    }

    fn next_piece(&mut self, patterns: &Patterns, views: &Views) -> Option<Result<Bytes, Cut>> {
        if self.ended {
            return None;
        }
        let state = match &self.source {
            Source::Fresh(state) => Arc::clone(state),
            Source::Held(held) => held.state(),
        };
        if !patterns.readable(&state, self.revision) {
            self.ended = true;
            return Some(Err(Cut));
        }
        let mut out = Vec::new();
        if !std::mem::replace(&mut self.started, true) {
            out = frame::snapshot_start(self.revision);
        }
        'piece: while out.len() < PIECE {
            let entries = patterns.entries_after(&state, self.revision, self.last.as_ref(), AT_ONCE);
            if entries.is_empty() {
                out.extend_from_slice(frame::SNAPSHOT_END);
                self.ended = true;
                break;
            }
            for (key, entry) in entries {
                let offset = std::mem::take(&mut self.offset);
                if offset == 0 && self.last.is_some() {
                    out.push(b',');
                }
                if let Some(offset) = frame::entry(&mut out, &key, &entry, offset, PIECE) {
                    self.offset = offset;
                    break 'piece;
                }
                self.last = Some(key);
                if out.len() >= PIECE {
                    break;
                }
            }
        }
        if !self.ended && matches!(self.source, Source::Fresh(_)) {
            self.source = Source::Held(Held::new(state, views.clone()));
        }
        Some(Ok(out.into()))
    }
}

#[cfg(test)]
mod tests;
