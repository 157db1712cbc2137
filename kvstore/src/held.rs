//! A state that is held for a client that takes its time over a list or a snapshot.
//!
//! Holding a state costs nothing by itself, but whatever is replaced meanwhile stays in memory with
//! it. So it is held for as long as that is little, however slow the client is and whether it takes
//! anything or not. Then the newest state takes its place, and what is left is read from that as it
//! was: exact, as every read of the past, or the client is cut off.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock;
use crate::state::State;
use crate::view::{Counted, Views};

/// How long a state is held at least, whatever is replaced.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it is looked whether too much was.
const LOOK: Duration = Duration::from_secs(1);

/// What all the states that are held for longer may cost together, in bytes: what the oldest of them
/// costs, since what the others hold is a part of that: it counts all that has gone since it was the newest, not
/// only what is in it.
const MOST: u64 = 32 << 20;

/// See the module.
pub struct Held {
    views: Views,
    slot: Arc<Slot>,
    timer: tokio::task::AbortHandle,
}

#[derive(Default)]
struct Slot(Mutex<Option<(Arc<State>, Counted)>>);

/// Why a client was cut off.
#[derive(Debug, thiserror::Error)]
#[error("cut off: the client was so slow that what it was to get is no longer kept")]
pub struct Cut;

impl Held {
    #[must_use]
    pub fn new(state: Arc<State>, views: Views) -> Self {
        Self::with(PATIENCE, LOOK, MOST, state, views)
    }

    fn with(patience: Duration, look: Duration, most: u64, state: Arc<State>, views: Views) -> Self {
        let slot = Arc::new(Slot::default());
        slot.put(Some((state, views.count_held())));
        let (held, newest) = (Arc::clone(&slot), views.clone());
        let timer = tokio::spawn(async move {
            clock::sleep(patience).await;
            loop {
                if let Some(state) = held.get()
                    && newest.current().cost_of_holding(&state) > most
                {
                    held.put(None);
                }
                clock::sleep(look).await;
            }
        });
        Self {
            views,
            slot,
            timer: timer.abort_handle(),
        }
    }

    /// The state; the newest, if it was let go.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        if let Some(state) = self.slot.get() {
            return state;
        }
        let state = self.views.current();
        self.slot.put(Some((Arc::clone(&state), self.views.count_held())));
        state
    }

    /// As if too much had been replaced.
    #[cfg(test)]
    pub fn let_go(&self) {
        self.slot.put(None);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.timer.abort();
        // The task may be a moment longer there than we are.
        self.slot.put(None);
    }
}

impl Slot {
    fn get(&self) -> Option<Arc<State>> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().map(|(state, _)| Arc::clone(state))
    }

    fn put(&self, state: Option<(Arc<State>, Counted)>) {
        let old = {
            let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *held, state)
        };
        // Outside of the lock: it may be the last, and large.
        drop(old);
    }
}

#[cfg(test)]
mod tests {
    use kvapi::Key;

    use super::*;
    use crate::command::{Action, Command};

    const SOON: Duration = Duration::from_millis(1);

    fn put(views: &Views, key: &str, length: usize) {
        let action = Action::Put {
            key: Key::new(key).unwrap(),
            value: vec![b'x'; length].into(),
            flags: views.current().revision().0,
            cas: None,
        };
        act(views, action);
    }

    fn act(views: &Views, action: Action) {
        let mut state = State::clone(&views.current());
        let command = Command::from(action);
        state.apply(1, &command);
        views.set(Arc::new(state));
    }

    #[tokio::test]
    async fn a_state_is_let_go_once_too_much_of_it_was_replaced_whether_it_is_used_or_not() {
        let views = Views::default();
        for key in ["a", "b", "c"] {
            put(&views, key, 10_000);
        }
        let state = views.current();
        let weak = Arc::downgrade(&state);
        let held = Held::with(SOON, SOON, 15_000, state, views.clone());
        let other = Held::with(SOON, SOON, 40_000, views.current(), views.clone());

        put(&views, "a", 10_000);
        for _ in 0..20 {
            clock::sleep(SOON).await;
            assert!(Arc::ptr_eq(&held.state(), &weak.upgrade().unwrap()));
        }
        assert_eq!(views.held(), 2);

        put(&views, "b", 10_000);
        while Arc::ptr_eq(&held.state(), &weak.upgrade().unwrap()) {
            clock::sleep(SOON).await;
        }
        assert!(Arc::ptr_eq(&other.state(), &weak.upgrade().unwrap()));
        drop(other);
        while weak.upgrade().is_some() {
            clock::sleep(SOON).await;
            drop(held.state());
        }
        assert_eq!(held.state().revision(), views.current().revision());
        drop(held);
        assert_eq!(views.held(), 0);
    }

    #[tokio::test]
    async fn however_many_begin_at_different_times_what_they_hold_together_is_little() {
        let views = Views::default();
        let (mut held, mut states) = (Vec::new(), Vec::new());
        // Each holds another copy of a store that is smaller than what one may cost.
        for _ in 0..30 {
            for key in ["a", "b"] {
                put(&views, key, 10_000);
            }
            let state = views.current();
            states.push(Arc::downgrade(&state));
            held.push(Held::with(SOON, SOON, 65_000, state, views.clone()));
        }

        let there = || states.iter().filter(|state| state.strong_count() > 0).count();
        for _ in 0..200 {
            clock::sleep(SOON).await;
        }
        assert_eq!(
            there(),
            3,
            "the newest, and two whose four values are in memory besides"
        );
    }

    #[tokio::test]
    async fn a_state_is_let_go_once_too_much_has_left_the_history_that_it_has() {
        let views = Views::default();
        put(&views, "a", 10_000);
        put(&views, "a", 1);
        let state = views.current();
        let weak = Arc::downgrade(&state);
        let held = Held::with(SOON, SOON, 10_000, state, views.clone());
        for _ in 0..20 {
            clock::sleep(SOON).await;
        }
        assert!(weak.upgrade().is_some());

        let limits = crate::command::Limits {
            bytes: 0,
            ..views.current().history().limits()
        };
        act(&views, Action::Keep(limits));

        for _ in 0..200 {
            clock::sleep(SOON).await;
        }
        assert!(weak.upgrade().is_none());
        drop(held);
    }

    #[tokio::test]
    async fn whatever_is_replaced_a_state_is_held_for_a_while() {
        let views = Views::default();
        put(&views, "a", 10_000);
        let state = views.current();
        let held = Held::with(Duration::from_secs(3600), SOON, 0, Arc::clone(&state), views.clone());
        put(&views, "a", 1);

        for _ in 0..20 {
            clock::sleep(SOON).await;
        }
        assert!(Arc::ptr_eq(&held.state(), &state));
    }
}
