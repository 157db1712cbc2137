//! When this server last heard of a leader, or gave its vote.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{self, Instant};

/// See the module. Clones are the same.
#[derive(Clone)]
pub(crate) struct Contact(Arc<Times>);

struct Times {
    start: Instant,
    /// Milliseconds since `start`.
    heard: AtomicU64,
    voted: AtomicU64,
}

impl Contact {
    /// As if a leader were heard of now.
    pub(crate) fn start() -> Self {
        Self(Arc::new(Times {
            start: clock::now(),
            heard: AtomicU64::new(0),
            voted: AtomicU64::new(0),
        }))
    }

    /// The time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.0.start.elapsed()
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.now().as_millis()).unwrap_or(u64::MAX)
    }

    /// A leader was heard of.
    pub(crate) fn heard(&self) {
        self.0.heard.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Another server got this one's vote.
    pub(crate) fn voted(&self) {
        self.0.voted.store(self.now_ms(), Ordering::Relaxed);
    }

    /// When a leader was heard of, since the start.
    pub(crate) fn heard_at(&self) -> Duration {
        Duration::from_millis(self.0.heard.load(Ordering::Relaxed))
    }

    /// When another server got this one's vote, since the start.
    pub(crate) fn voted_at(&self) -> Duration {
        Duration::from_millis(self.0.voted.load(Ordering::Relaxed))
    }

    /// Milliseconds since a leader was heard of.
    pub(crate) fn ms(&self) -> u64 {
        self.now_ms().saturating_sub(self.0.heard.load(Ordering::Relaxed))
    }
}
