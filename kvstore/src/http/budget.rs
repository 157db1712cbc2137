//! Bytes that all connections share: what they send, what waits to be sent to them. Whoever wants more than
//! is left is refused, so memory stays bounded however many there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::snapshot::SENT_AT_A_TIME;
use crate::config::MOST;

/// What request bodies may take while they are being read.
const BODIES: usize = 128 << 20;

/// What large answers may take while their clients take them.
const ANSWERS: usize = 256 << 20;

/// What may be watched: names, and what finds them.
const WATCHES: usize = 256 << 20;

// Whatever a server can be told to take in one request fits, or nobody could ever send it.
const _: () = assert!(MOST.txn_bytes <= BODIES && MOST.value_bytes <= BODIES);

/// The budgets of a server.
#[derive(Debug)]
pub struct Budgets {
    pub bodies: Arc<Budget>,
    pub answers: Arc<Budget>,
    pub watches: Arc<Budget>,
    /// Backups that are being sent.
    pub snapshots: Arc<Semaphore>,
    /// Backups that are being restored.
    pub restores: Semaphore,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            bodies: Budget::new(BODIES),
            answers: Budget::new(ANSWERS),
            watches: Budget::new(WATCHES),
            snapshots: Arc::new(Semaphore::new(SENT_AT_A_TIME)),
            restores: Semaphore::new(1),
        }
    }
}

/// A number of bytes to share.
#[derive(Debug)]
pub struct Budget {
    most: usize,
    taken: AtomicUsize,
}

impl Budget {
    #[must_use]
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            taken: AtomicUsize::new(0),
        })
    }

    /// How much there is to share.
    #[must_use]
    pub const fn most(&self) -> usize {
        self.most
    }

    /// How much is taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// A share that begins with nothing.
    #[must_use]
    pub fn share(self: &Arc<Self>) -> Share {
        Share {
            budget: Arc::clone(self),
            bytes: 0,
        }
    }
}

/// A part of a [`Budget`], until it is dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Share {
    /// Becomes this large; `false`, and nothing taken, if so much is not left.
    pub fn grow_to(&mut self, bytes: usize) -> bool {
        self.grow(bytes, self.budget.most)
    }

    /// The same, and no more than a quarter of all may be taken then: for what is better to have, and can be
    /// done without.
    pub fn grow_while_little_is_taken(&mut self, bytes: usize) -> bool {
        self.grow(bytes, self.budget.most / 4)
    }

    fn grow(&mut self, bytes: usize, most: usize) -> bool {
        let by = bytes.saturating_sub(self.bytes);
        let more = |taken: usize| taken.checked_add(by).filter(|taken| *taken <= most);
        let grown = self
            .budget
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok();
        if grown {
            self.bytes += by;
        }
        grown
    }

    /// Bytes that hold this share for as long as anybody holds them.
    #[must_use]
    pub fn hold(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Held { bytes, _share: self })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

struct Held {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_never_more_than_there_is_and_all_of_it_comes_back() {
        let budget = Budget::new(10);
        let (mut a, mut b) = (budget.share(), budget.share());

        assert!(
            a.grow_to(6) && !b.grow_to(5) && b.grow_to(3) && b.grow_to(4) && !a.grow_to(7) && !a.grow_to(usize::MAX)
        );

        drop(a);
        assert_eq!(budget.taken(), 4);
        assert!(b.grow_to(10));
        let held = b.hold(Bytes::from_static(b"text"));
        let part = held.slice(1..2);
        drop(held);
        assert_eq!(budget.taken(), 10);
        drop(part);
        assert_eq!(budget.taken(), 0);
    }
}
