//! Takes in the news of every revision and wakes those it concerns.
//!
//! What applies commands only puts events into a queue; one dispatcher task does the rest, so
//! that no number of watchers slows a write. It puts a whole batch into the ring first and then
//! marks the subscribers whom the [`Index`] finds: whoever is woken finds everything there.
//! They are woken a few at a time, so that whoever wrote need not stand in line behind all who
//! watch. If the dispatcher falls far behind, the ring starts anew and everybody is woken: they
//! go on from the history. A subscriber is a mark and a waker, never a queue.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::task::{Context, Poll, Waker};

use futures_util::task::AtomicWaker;
use kvapi::Revision;
use tokio::sync::{Notify, watch};

use super::index::{Id, Index};
use super::patterns::Patterns;
use super::ring::{Bounds, Item, Ring, weight};
use crate::state::{Event, State};
use crate::view::Sink;

/// What may wait for the dispatcher.
const QUEUE: Bounds = Bounds {
    bytes: 64 << 20,
    events: 65_536,
};

/// Subscribers that are woken before other tasks get their turn.
const WAKE_AT_ONCE: usize = 16;

/// See the module.
pub struct Hub {
    queue: Mutex<Queue>,
    work: Arc<Notify>,
    ring: RwLock<Ring>,
    index: Mutex<Index<Arc<Mark>>>,
    /// All marks of events up to this revision are made.
    published: AtomicU64,
    /// How often the whole state was replaced.
    replacements: AtomicU64,
    next_id: AtomicU64,
    subscribers: AtomicUsize,
    sessions: watch::Sender<SessionNews>,
}

/// The index of the sessions, and how often the whole state was replaced. No key tells of a session, so
/// they have a way of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionNews {
    pub index: Revision,
    pub replaced: u64,
}

#[derive(Default)]
struct Queue {
    /// What comes before the events: the ring starts anew at this revision.
    reset: Option<Reset>,
    events: Vec<Arc<Event>>,
    bytes: usize,
}

struct Reset {
    revision: Revision,
    replaced: bool,
}

impl Queue {
    fn begun_anew(revision: Revision, replaced: bool) -> Self {
        Self {
            reset: Some(Reset { revision, replaced }),
            ..Self::default()
        }
    }

    /// What is waiting, and whatever else there is up to a revision, is left to the history.
    fn skip_to(&mut self, revision: Revision) {
        let replaced = self.reset.as_ref().is_some_and(|reset| reset.replaced);
        *self = Self::begun_anew(revision, replaced);
    }
}

impl Hub {
    /// Starts the dispatcher; it ends when the hub is dropped.
    #[must_use]
    pub fn start() -> Arc<Self> {
        let hub = Arc::new(Self::new(Bounds::default()));
        tokio::spawn(dispatch(Arc::downgrade(&hub), Arc::clone(&hub.work)));
        hub
    }

    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            queue: Mutex::default(),
            work: Arc::default(),
            ring: RwLock::new(Ring::new(bounds)),
            index: Mutex::default(),
            published: AtomicU64::new(0),
            replacements: AtomicU64::new(0),
            next_id: AtomicU64::new(1),
            subscribers: AtomicUsize::new(0),
            sessions: watch::Sender::new(SessionNews {
                index: Revision(0),
                replaced: 0,
            }),
        }
    }

    /// Subscribes to changes from now on. To miss nothing, subscribe first and look then.
    #[must_use]
    pub fn subscribe(self: &Arc<Self>, patterns: Patterns) -> Subscription {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mark = Arc::new(Mark::default());
        let mut index = lock(&self.index);
        for pattern in patterns.iter() {
            index.insert(pattern, id, Arc::clone(&mark));
        }
        drop(index);
        self.subscribers.fetch_add(1, Ordering::SeqCst);
        Subscription {
            hub: Arc::clone(self),
            id,
            patterns,
            mark,
            replacements: self.replacements(),
        }
    }

    /// What becomes of the sessions from now on. The state that it is of is published by then.
    #[must_use]
    pub fn sessions(&self) -> watch::Receiver<SessionNews> {
        self.sessions.subscribe()
    }

    /// At most `most` events after `revision`; `None` if the ring does not reach back that far.
    pub(super) fn since(&self, revision: Revision, most: usize) -> Option<Vec<Arc<Item>>> {
        self.ring
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .since(revision, most)
    }

    /// The event of a revision, if the ring has it.
    pub(super) fn event(&self, revision: Revision) -> Option<Arc<Event>> {
        let items = self.since(Revision(revision.0.saturating_sub(1)), 1)?;
        let item = items.first()?;
        (item.event.revision == revision).then(|| Arc::clone(&item.event))
    }

    /// Whoever watches something that changed up to this revision has been told.
    pub(super) fn published(&self) -> Revision {
        Revision(self.published.load(Ordering::SeqCst))
    }

    fn replacements(&self) -> u64 {
        self.replacements.load(Ordering::SeqCst)
    }

    /// How many subscriptions there are.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.subscribers.load(Ordering::SeqCst)
    }

    /// Publishes what waits. Those who are marked are to be woken.
    pub(super) fn publish(&self) -> Vec<Arc<Mark>> {
        let Queue { reset, events, .. } = std::mem::take(&mut *lock(&self.queue));
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(reset) = &reset {
            ring.reset(reset.revision);
        }
        for event in &events {
            ring.push(Arc::clone(event));
        }
        let newest = ring.newest();
        drop(ring);
        let mut marked = Vec::new();
        let mut index = lock(&self.index);
        if let Some(reset) = reset {
            self.replacements.fetch_add(u64::from(reset.replaced), Ordering::SeqCst);
            index.visit_all(|mark| {
                mark.set(Revision(1));
                marked.push(Arc::clone(mark));
            });
        }
        if let Some(first) = events.first().map(|event| event.revision) {
            for event in &events {
                for (key, _) in &event.changes {
                    index.visit(key.as_str(), first, event.revision, |mark| {
                        mark.set(event.revision);
                        marked.push(Arc::clone(mark));
                    });
                }
            }
        }
        if let Some(newest) = newest {
            self.published.store(newest.0, Ordering::SeqCst);
        }
        marked
    }
}

impl Sink for Hub {
    fn applied(&self, view: &Arc<State>, events: Vec<Arc<Event>>) {
        if events.is_empty() {
            return;
        }
        let index = view.sessions().index();
        self.sessions
            .send_if_modified(|news| std::mem::replace(&mut news.index, index) != index);
        let mut queue = lock(&self.queue);
        queue.bytes += events.iter().map(|event| weight(event)).sum::<usize>();
        queue.events.extend(events);
        if queue.events.len() > QUEUE.events || queue.bytes > QUEUE.bytes {
            queue.skip_to(view.revision());
        }
        drop(queue);
        self.work.notify_one();
    }

    fn replaced(&self, view: &Arc<State>) {
        self.sessions.send_modify(|news| {
            news.index = view.sessions().index();
            news.replaced += 1;
        });
        *lock(&self.queue) = Queue::begun_anew(view.revision(), true);
        self.work.notify_one();
    }

    fn overtaken(&self, view: &Arc<State>) {
        // What ended a session is not in the history.
        self.sessions.send_modify(|news| {
            news.index = view.sessions().index();
            news.replaced += 1;
        });
        lock(&self.queue).skip_to(view.revision());
        self.work.notify_one();
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.work.notify_one();
    }
}

async fn dispatch(hub: Weak<Hub>, work: Arc<Notify>) {
    loop {
        work.notified().await;
        let Some(marked) = hub.upgrade().map(|hub| hub.publish()) else {
            return;
        };
        for some in marked.chunks(WAKE_AT_ONCE) {
            some.iter().for_each(|mark| mark.waker.wake());
            tokio::task::yield_now().await;
        }
    }
}

/// What is kept for a subscriber.
#[derive(Default)]
pub(super) struct Mark {
    /// The first change that was not looked at yet; 0 if there is none.
    first: AtomicU64,
    waker: AtomicWaker,
}

impl Mark {
    /// The lowest mark stays: the reader has to begin there.
    fn set(&self, revision: Revision) {
        let lower = |first| (first == 0 || revision.0 < first).then_some(revision.0);
        // Refused is to be lower already.
        let _ = self.first.fetch_update(Ordering::SeqCst, Ordering::SeqCst, lower);
    }
}

/// A place in the hub; dropping it gives it up.
pub struct Subscription {
    hub: Arc<Hub>,
    id: Id,
    patterns: Patterns,
    mark: Arc<Mark>,
    replacements: u64,
}

impl Subscription {
    #[must_use]
    pub const fn patterns(&self) -> &Patterns {
        &self.patterns
    }

    pub(super) const fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Waits until something that is watched has changed since the last time, or everything may
    /// have. Cancel-safe.
    pub async fn changed(&self) {
        std::future::poll_fn(|cx: &mut Context<'_>| {
            self.wake(cx.waker());
            if self.take().is_some() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Whether the whole state was replaced since the last time.
    pub fn take_replaced(&mut self) -> bool {
        let now = self.hub.replacements();
        std::mem::replace(&mut self.replacements, now) != now
    }

    /// Who is to be woken by the next change. Register first, then look.
    pub(super) fn wake(&self, waker: &Waker) {
        self.mark.waker.register(waker);
    }

    /// The first revision that changed something since the last time; it may be lower than what
    /// was seen already.
    pub(super) fn take(&self) -> Option<Revision> {
        match self.mark.first.swap(0, Ordering::SeqCst) {
            0 => None,
            first => Some(Revision(first)),
        }
    }

    /// There is more to look at from `revision` on. It wakes nobody: who calls it looks itself.
    pub(super) fn look_again(&self, revision: Revision) {
        self.mark.set(revision);
    }

    /// Whether there is nothing to look at.
    pub(super) fn is_quiet(&self) -> bool {
        self.mark.first.load(Ordering::SeqCst) == 0
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut index = lock(&self.hub.index);
        for pattern in self.patterns.iter() {
            index.remove(pattern, self.id);
        }
        self.hub.subscribers.fetch_sub(1, Ordering::SeqCst);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::index::Pattern;
    use crate::watch::ring::tests::event;

    fn hub() -> Arc<Hub> {
        Arc::new(Hub::new(Bounds::default()))
    }

    fn prefix(text: &str) -> Patterns {
        Patterns::one(Pattern::Prefix(text))
    }

    fn publish(hub: &Hub, revision: u64, keys: &[&str]) {
        hub.applied(&Arc::default(), vec![event(revision, keys)]);
        hub.publish();
    }

    #[test]
    fn only_those_whom_a_change_concerns_are_marked() {
        let hub = hub();
        let (a, b) = (hub.subscribe(prefix("a/")), hub.subscribe(prefix("b/")));

        publish(&hub, 2, &["a/x"]);

        assert_eq!((a.take(), b.take()), (Some(Revision(2)), None));
        assert_eq!(hub.published(), Revision(2));
    }

    #[test]
    fn an_older_mark_stays_until_it_is_taken() {
        let hub = hub();
        let a = hub.subscribe(prefix("a/"));

        publish(&hub, 2, &["a/x"]);
        publish(&hub, 3, &["a/y"]);

        assert_eq!((a.take(), a.take()), (Some(Revision(2)), None));
    }

    #[test]
    fn a_dispatcher_far_behind_lets_go_of_the_ring_and_wakes_everyone() {
        let hub = hub();
        let a = hub.subscribe(prefix("a/"));
        publish(&hub, 2, &["b"]);

        for revision in 3..=3 + QUEUE.events as u64 {
            hub.applied(&Arc::default(), vec![event(revision, &["b"])]);
        }
        hub.publish();

        assert!(a.take().is_some());
        assert!(hub.since(Revision(2), 9).is_none_or(|items| items.is_empty()));
    }

    #[test]
    fn a_replaced_state_is_news_to_everyone() {
        let hub = hub();
        let mut a = hub.subscribe(prefix("a/"));

        hub.replaced(&Arc::default());
        hub.publish();

        assert!(a.take().is_some());
        assert!(a.take_replaced());
        assert!(!a.take_replaced());
    }

    #[test]
    fn a_dropped_subscription_leaves_nothing_behind() {
        let hub = hub();

        drop(hub.subscribe(prefix("a/")));

        assert!(lock(&hub.index).is_empty());
    }

    #[tokio::test]
    async fn a_waiter_is_woken_by_the_dispatcher() {
        let hub = Hub::start();
        let subscription = hub.subscribe(prefix("a/"));
        let waiting = tokio::spawn(async move { subscription.changed().await });

        hub.applied(&Arc::default(), vec![event(2, &["a/x"])]);

        waiting.await.unwrap();
    }
}
