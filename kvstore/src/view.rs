//! What readers see: the state after the last applied command, as a value that never changes.
//!
//! The state itself is here, and a view of it is made when somebody looks. What nobody looks at is changed in
//! place: a map that a view shares has to be copied, node by node, wherever it is changed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::state::{Event, State};

/// Who hears of applied entries. Called in apply order, from the one task that applies; must not
/// wait.
pub trait Sink: Send + Sync + 'static {
    /// Entries were applied: the state after them, and their news, oldest first.
    fn applied(&self, view: &Arc<State>, events: Vec<Arc<Event>>);

    /// Another state has taken the place of the old one, and what was told before says nothing of how.
    fn replaced(&self, view: &Arc<State>);

    /// The state is further than what was told, as another server has it: what is between is in its history.
    fn overtaken(&self, view: &Arc<State>);
}

/// The current view, shared by whoever reads.
#[derive(Debug, Clone, Default)]
pub struct Views {
    live: Arc<Mutex<Live>>,
    held: Arc<AtomicUsize>,
}

/// The state, and the view of it if somebody has looked since the last change.
#[derive(Debug, Default)]
struct Live {
    state: State,
    shown: Option<Arc<State>>,
}

/// One more state that is held for a slow client, until it is dropped.
#[derive(Debug)]
pub struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Views {
    /// The state as it is now. Holding it holds nobody up.
    #[must_use]
    pub fn current(&self) -> Arc<State> {
        let Live { state, shown } = &mut *self.lock();
        Arc::clone(shown.get_or_insert_with(|| Arc::new(state.clone())))
    }

    /// Puts another state in place.
    pub fn set(&self, view: Arc<State>) {
        let state = State::clone(&view);
        let shown = Some(view);
        let before = std::mem::replace(&mut *self.lock(), Live { state, shown });
        // It may be large, and nobody need wait for that.
        drop(before);
    }

    /// Changes the state where it is; who wants to look waits. For what is done soon.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut live = self.lock();
        live.shown = None;
        change(&mut live.state)
    }

    /// The same beside those who look, who see the state before it until it is done. Only one changes it at a time.
    pub(crate) fn change_aside<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = State::clone(&self.current());
        let done = change(&mut state);
        self.set(Arc::new(state));
        done
    }

    /// How many clients a state is held for.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Counts one of them.
    #[must_use]
    pub fn count_held(&self) -> Counted {
        self.held.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(&self.held))
    }

    fn lock(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use kvapi::Key;

    use super::*;
    use crate::command::{Action, Command};

    fn put(state: &mut State, key: &str, value: &str) {
        let action = Action::Put {
            key: Key::new(key).unwrap(),
            value: value.to_owned().into(),
            flags: 0,
            cas: None,
        };
        let command = Command::from(action);
        state.apply(1, &command);
    }

    fn value(state: &State, key: &str) -> String {
        String::from_utf8(state.get(key).unwrap().value.to_vec()).unwrap()
    }

    #[test]
    fn a_view_never_changes_and_the_next_one_shows_what_has() {
        let views = Views::default();
        views.change(|state| put(state, "a", "1"));
        let first = views.current();
        views.change(|state| put(state, "a", "2"));
        let second = views.current();
        views.change_aside(|state| put(state, "a", "3"));

        assert_eq!(value(&first, "a"), "1");
        assert_eq!(value(&second, "a"), "2");
        assert_eq!(value(&views.current(), "a"), "3");
        assert!(
            Arc::ptr_eq(&views.current(), &views.current()),
            "one view until it changes"
        );
    }

    #[test]
    fn what_nobody_looks_at_is_changed_in_place_and_what_somebody_holds_is_copied() {
        let views = Views::default();
        views.change(|state| {
            put(state, "a", "1");
            put(state, "b", "1");
        });
        // Its neighbour shares a node of the maps with it: each copy of that holds it once more.
        let neighbour = Arc::clone(views.current().get("a").unwrap());
        let alone = Arc::strong_count(&neighbour);

        views.change(|state| put(state, "b", "2"));
        assert_eq!(Arc::strong_count(&neighbour), alone, "nobody looked");

        let held = views.current();
        views.change(|state| put(state, "b", "3"));
        assert!(Arc::strong_count(&neighbour) > alone, "somebody looks");

        drop(held);
        views.change(|state| put(state, "b", "4"));
        assert_eq!(Arc::strong_count(&neighbour), alone, "nobody looks any more");
    }
}
