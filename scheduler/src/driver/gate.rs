//! Whether anything may still be started.
//!
//! Whoever leads has given its driver much to start, and that goes on behind it. When it leads no more, the next one looks
//! at what runs and starts what is missing: what came up after that look would run beside it, known to nobody. So the gate
//! is closed before the lock is given up, and it is shut when the lock's time is over, whether anybody has noticed or not.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedRwLockReadGuard, RwLock};
use tokio::time::Instant;

/// See the module. Clones are the same gate.
#[derive(Debug, Clone)]
pub struct Gate {
    is_open: Arc<RwLock<bool>>,
    until: Arc<Mutex<Option<Instant>>>,
}

/// One start under way.
#[derive(Debug)]
pub(super) struct Entered {
    _held: OwnedRwLockReadGuard<bool>,
    until: Arc<Mutex<Option<Instant>>>,
}

impl Entered {
    /// Whether the time was over while it was under way: this process may have stood still in between. The next one may
    /// have looked before it came up, so what came up has to go.
    pub(super) fn is_late(&self) -> bool {
        is_over(&self.until)
    }
}

fn is_over(until: &Mutex<Option<Instant>>) -> bool {
    let until = *until.lock().unwrap_or_else(PoisonError::into_inner);
    until.is_some_and(|until| Instant::now() >= until)
}

impl Default for Gate {
    /// Open until it is closed.
    fn default() -> Self {
        Self {
            is_open: Arc::new(RwLock::new(true)),
            until: Arc::default(),
        }
    }
}

impl Gate {
    /// Shuts by itself at this time, if it is not moved on before.
    pub fn open_until(&self, until: Instant) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// Nothing is started any more, and what was being started is. Whether that came to an end in this time.
    pub async fn close(&self, within: Duration) -> bool {
        self.open_until(Instant::now());
        let closed = tokio::time::timeout(within, self.is_open.write()).await;
        closed.map(|mut is_open| *is_open = false).is_ok()
    }

    /// To be held while something is started; `None` if nothing may be.
    pub(super) async fn enter(&self) -> Option<Entered> {
        let held = Arc::clone(&self.is_open).read_owned().await;
        let is_open = *held && !is_over(&self.until);
        is_open.then(|| Entered {
            _held: held,
            until: Arc::clone(&self.until),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn nothing_enters_behind_its_time_or_once_it_is_closed_and_who_is_inside_is_waited_for() {
        let gate = Gate::default();
        gate.open_until(Instant::now() + LONG);
        let inside = gate.enter().await.expect("it is open");
        assert!(!inside.is_late());

        assert!(!gate.close(Duration::ZERO).await, "somebody is inside");
        assert!(gate.enter().await.is_none());
        gate.open_until(Instant::now() + LONG);
        drop(inside);
        assert!(gate.close(LONG).await);
        gate.open_until(Instant::now() + LONG);
        assert!(gate.enter().await.is_none(), "what is closed stays so");

        let other = Gate::default();
        other.open_until(Instant::now() + LONG);
        let inside = other.enter().await.expect("it is open");
        other.open_until(Instant::now());
        assert!(inside.is_late());
        assert!(other.enter().await.is_none(), "its time is over");
    }
}
