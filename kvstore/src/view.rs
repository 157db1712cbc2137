//! What readers see: the state after the last applied entry, as a value that never changes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::state::{Event, State};

/// Who hears of applied entries. Called in apply order, from the one task that applies; must not
/// wait.
pub trait Sink: Send + Sync + 'static {
    /// Entries were applied: the state after them, and their news, oldest first.
    fn applied(&self, view: &Arc<State>, events: Vec<Arc<Event>>);

    /// Another state has taken the place of the old one: a snapshot was installed.
    fn replaced(&self, view: &Arc<State>);
}

/// The current view, shared by whoever reads.
#[derive(Debug, Clone, Default)]
pub struct Views {
    current: Arc<RwLock<Arc<State>>>,
    held: Arc<AtomicUsize>,
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
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a newer state in place.
    pub fn set(&self, view: Arc<State>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = view;
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
}
