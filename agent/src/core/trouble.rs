//! A trouble that is tried again: told when it is news, and with ever longer pauses.

use std::time::{Duration, Instant};

/// The first pause.
const FIRST: Duration = Duration::from_secs(5);

/// The longest one.
const LONGEST: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    told: Option<String>,
    pause: Duration,
    tries: u64,
}

impl Trouble {
    /// When to try again, and whether this reason has not been told yet.
    pub(super) fn again(&mut self, reason: &str, now: Instant) -> (Instant, bool) {
        self.tries += 1;
        self.pause = (self.pause * 2).clamp(FIRST, LONGEST);
        let news = self.told.as_deref() != Some(reason);
        if news {
            self.told = Some(reason.to_owned());
        }
        (now + self.pause, news)
    }

    /// How often it was tried.
    pub(super) fn tries(&self) -> u64 {
        self.tries
    }

    /// It is over.
    pub(super) fn over(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_once_and_tried_less_and_less_often() {
        let mut trouble = Trouble::default();
        let now = Instant::now();
        let tries: Vec<_> = (0..6).map(|_| trouble.again("full", now)).collect();
        let pauses: Vec<u64> = tries.iter().map(|(at, _)| (*at - now).as_secs()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
        assert_eq!(tries.iter().filter(|(_, news)| *news).count(), 1);
        assert!(trouble.again("read-only", now).1);

        trouble.over();

        assert_eq!(trouble.again("read-only", now), (now + FIRST, true));
    }
}
