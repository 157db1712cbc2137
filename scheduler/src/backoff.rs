//! How long an app that fails waits before it is started again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::app::Backoff;
use crate::time::Timestamp;

/// The pause of one app's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// The configuration that failed: another one begins without a pause.
    pub config: Timestamp,
    pub millis: u64,
    /// From when it is counted: the last failure, or the last start since.
    pub from: Timestamp,
}

impl Pause {
    /// When something may start again.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        self.from + Duration::from_millis(self.millis)
    }

    /// The pause after one more failure.
    #[must_use]
    pub fn after_failure(before: Option<&Self>, config: Timestamp, backoff: Backoff, now: Timestamp) -> Self {
        let before = before.filter(|pause| pause.holds(config, backoff, now));
        let millis = match before {
            // A factor may be as large as somebody likes: what is more than can be said is the longest.
            Some(pause) => {
                let seconds = Duration::from_millis(pause.millis).as_secs_f64() * backoff.factor.max(1.0);
                Duration::try_from_secs_f64(seconds).unwrap_or(backoff.max)
            }
            None => backoff.first,
        };
        Self {
            config,
            millis: u64::try_from(millis.min(backoff.max).as_millis()).unwrap_or(u64::MAX),
            from: now,
        }
    }

    /// Whether it is that of this configuration, and not over.
    #[must_use]
    pub fn holds(&self, config: Timestamp, backoff: Backoff, now: Timestamp) -> bool {
        self.config == config && !self.is_over(backoff, now)
    }

    /// Nothing has failed for so long that it is forgotten.
    #[must_use]
    pub fn is_over(&self, backoff: Backoff, now: Timestamp) -> bool {
        now > self.from + backoff.max.max(Duration::from_millis(self.millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff(first: u64, factor: f64, max: u64) -> Backoff {
        Backoff {
            first: Duration::from_secs(first),
            factor,
            max: Duration::from_secs(max),
        }
    }

    #[test]
    fn each_failure_makes_the_pause_longer_up_to_the_longest() {
        let backoff = backoff(10, 2.0, 300);
        let first = Pause::after_failure(None, Timestamp(1), backoff, Timestamp(0));
        let second = Pause::after_failure(Some(&first), Timestamp(1), backoff, Timestamp(0));

        assert_eq!(first.until(), Timestamp(10_000));
        assert_eq!(second.until(), Timestamp(20_000));
        let long = (0..20).fold(second, |pause, _| {
            Pause::after_failure(Some(&pause), Timestamp(1), backoff, Timestamp(0))
        });
        assert_eq!(long.until(), Timestamp(300_000));
    }

    #[test]
    fn case_38_the_default_grows_by_15_hundredths() {
        let backoff = backoff(1, 1.15, 300);
        let first = Pause::after_failure(None, Timestamp(1), backoff, Timestamp(0));
        let second = Pause::after_failure(Some(&first), Timestamp(1), backoff, Timestamp(0));
        let third = Pause::after_failure(Some(&second), Timestamp(1), backoff, Timestamp(0));

        assert_eq!((first.millis, second.millis, third.millis), (1000, 1150, 1322));
    }

    #[test]
    fn a_factor_beyond_all_measure_makes_the_longest_pause() {
        let backoff = backoff(1, f64::MAX, 300);
        let first = Pause::after_failure(None, Timestamp(1), backoff, Timestamp(0));

        assert_eq!(
            Pause::after_failure(Some(&first), Timestamp(1), backoff, Timestamp(0)).until(),
            Timestamp(300_000)
        );
    }

    #[test]
    fn another_configuration_and_a_long_quiet_begin_anew() {
        let backoff = backoff(1, 2.0, 60);
        let failed = Pause::after_failure(None, Timestamp(1), backoff, Timestamp(0));
        let again =
            |config, now| Pause::after_failure(Some(&failed), Timestamp(config), backoff, Timestamp(now)).millis;

        assert_eq!(again(1, 60_000), 2000);
        assert_eq!(again(2, 60_000), 1000);
        assert_eq!(again(1, 60_001), 1000);
    }
}
