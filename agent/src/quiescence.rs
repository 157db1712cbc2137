//! When a burst of changes is over: `min` after the last one, `max` after the first.
//!
//! There is no timer in it: a deadline goes out and the loop sleeps. Only changes that affect a
//! template are to be fed in, so that strangers' changes delay nobody.

use std::time::Instant;

use crate::policy::Wait;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct Quiescence {
    wait: Wait,
    burst: Option<Burst>,
}

#[derive(Debug, Clone, Copy)]
struct Burst {
    first: Instant,
    last: Instant,
}

impl Quiescence {
    /// No burst yet.
    #[must_use]
    pub fn new(wait: Wait) -> Self {
        Self { wait, burst: None }
    }

    /// A change came in.
    pub fn touch(&mut self, now: Instant) {
        let first = self.burst.map_or(now, |burst| burst.first);
        self.burst = Some(Burst { first, last: now });
    }

    /// When to act; `None` while nothing has changed.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.burst
            .map(|burst| (burst.last + self.wait.min).min(burst.first + self.wait.max))
    }

    /// Ends the burst: what is done now covers it.
    pub fn end(&mut self) {
        self.burst = None;
    }

    /// Ends the burst if it is due; true means act now.
    pub fn take_due(&mut self, now: Instant) -> bool {
        let due = self.deadline().is_some_and(|at| at <= now);
        self.burst = self.burst.filter(|_| !due);
        due
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_burst_is_due_at_min_after_the_last_or_max_after_the_first(
            min in 0u64..50, more in 0u64..100, steps in prop::collection::vec(0u64..30, 1..20),
        ) {
            let wait = Wait { min: Duration::from_millis(min), max: Duration::from_millis(min + more) };
            let mut quiescence = Quiescence::new(wait);
            let first = Instant::now();
            let mut last = first;
            quiescence.touch(first);
            for step in steps {
                last += Duration::from_millis(step);
                quiescence.touch(last);
            }
            let due = quiescence.deadline().unwrap();

            prop_assert_eq!(due, (last + wait.min).min(first + wait.max));
            prop_assert!(!quiescence.take_due(due - Duration::from_nanos(1)));
            prop_assert!(quiescence.take_due(due));
            prop_assert_eq!(quiescence.deadline(), None);
        }
    }

    #[test]
    fn a_stream_of_changes_cannot_put_it_off_for_ever() {
        let start = Instant::now();
        let mut quiescence = Quiescence::new("10ms:25ms".parse().unwrap());
        for n in 0..10 {
            quiescence.touch(start + Duration::from_millis(n * 5));
        }
        assert_eq!(quiescence.deadline(), Some(start + Duration::from_millis(25)));
    }
}
