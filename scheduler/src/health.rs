//! What the checks of an instance have said, and what follows from it.

use std::time::Duration;

use crate::app::HealthCheck;
use crate::time::Timestamp;

/// What one probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    Good,
    Bad(String),
    /// Neither: an informational answer that the check ignores.
    Ignored,
}

/// What one check of an instance has said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckHealth {
    /// Failures that counted, in a row.
    pub failures: u32,
    pub first_success: Option<Timestamp>,
    pub last_success: Option<Timestamp>,
    pub last_failure: Option<Timestamp>,
    pub last_cause: Option<String>,
    /// What it found last, if that was bad, whether it counted or not.
    pub last_bad: Option<String>,
}

impl CheckHealth {
    /// Whether it has said anything that counts.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.last_success.is_some() || self.last_failure.is_some()
    }

    /// The last that counted was a success.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        match (self.last_success, self.last_failure) {
            (Some(_), None) => true,
            // What fails at the moment of a success came behind it: a success takes the failures away.
            (Some(_), Some(_)) => self.failures == 0,
            (None, _) => false,
        }
    }
}

/// What all checks of an instance have said, in the order of its app's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    pub checks: Vec<CheckHealth>,
}

/// What follows from a probe.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The check is alive now and was not, or the other way round.
    pub flipped: Option<bool>,
    /// A failure that counts.
    pub failed: bool,
    /// It failed as often as it may.
    pub kill: bool,
}

/// What else counts for a probe.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    pub now: Timestamp,
    pub running_since: Timestamp,
    /// It was healthy once.
    pub proved: bool,
}

impl Health {
    /// None has been asked yet.
    #[must_use]
    pub fn unknown(checks: usize) -> Self {
        Self {
            checks: vec![CheckHealth::default(); checks],
        }
    }

    /// All checks together: `None` until each has said something. Without any, it is well.
    #[must_use]
    pub fn is_healthy(&self) -> Option<bool> {
        let known = self.checks.iter().all(CheckHealth::is_known);
        known.then(|| self.checks.iter().all(CheckHealth::is_alive))
    }

    /// What the first check that is not alive has found last.
    #[must_use]
    pub fn complaint(&self) -> Option<&str> {
        let ill = self.checks.iter().filter(|check| !check.is_alive());
        ill.filter_map(|check| check.last_bad.as_deref()).next()
    }

    /// Takes what a probe of the check `index` found.
    pub fn take(&mut self, index: usize, check: &HealthCheck, probe: Probe, moment: Moment) -> Verdict {
        let Some(health) = self.checks.get_mut(index) else {
            return Verdict::default();
        };
        let before = health.is_alive();
        let was_known = health.is_known();
        let mut verdict = Verdict::default();
        match probe {
            Probe::Ignored => return verdict,
            Probe::Good => {
                health.failures = 0;
                health.last_cause = None;
                health.last_bad = None;
                health.first_success.get_or_insert(moment.now);
                health.last_success = Some(moment.now);
            }
            Probe::Bad(cause) => {
                health.last_bad = Some(cause.clone());
                let proved = moment.proved || health.first_success.is_some();
                if !proved && moment.now < moment.running_since + grace(check) {
                    return verdict;
                }
                verdict.failed = true;
                verdict.kill = is_last_straw(check, health.failures);
                health.failures += 1;
                health.last_failure = Some(moment.now);
                health.last_cause = Some(cause);
            }
        }
        let after = health.is_alive();
        verdict.flipped = (after != before || !was_known).then_some(after);
        verdict
    }
}

/// Whether one more failure is one too many. Marathon's own checks look at the failures before this one, and 0 is never;
/// those that Mesos makes count this one too, and 0 is the first.
fn is_last_straw(check: &HealthCheck, before: u32) -> bool {
    if check.mesos {
        before + 1 >= check.max_failures
    } else {
        check.max_failures > 0 && before >= check.max_failures
    }
}

/// How long failures do not count, while an instance was never healthy: what it asked for, and no less than the time
/// before Marathon asks for the first time.
fn grace(check: &HealthCheck) -> Duration {
    const FIRST_TICK: Duration = Duration::from_secs(5);
    check.grace.max(check.interval.min(FIRST_TICK))
}

/// How long after `moment` a check is asked again. At once when the task has come up; soon again as long as failures do
/// not count, so that nobody waits for an interval to hear that it is well; then once an interval, at a `place` in it (from
/// 0 to 1) that is the instance's own, so that a thousand that started together are not asked together. `asked` is how
/// often it was asked before.
#[must_use]
pub fn next_probe(check: &HealthCheck, moment: Moment, asked: u32, place: f64) -> Duration {
    const SOON: Duration = Duration::from_millis(20);
    if asked == 0 {
        return if check.mesos { check.delay } else { Duration::ZERO };
    }
    if !moment.proved && moment.now < moment.running_since + grace(check) {
        return SOON
            .mul_f64(1.5_f64.powi(asked.min(30).cast_signed() - 1))
            .min(check.interval);
    }
    let interval = check.interval.max(Duration::from_millis(1));
    let offset = interval.mul_f64(place.clamp(0.0, 1.0));
    let running = moment.now.since(moment.running_since + offset);
    let into = Duration::from_millis(u64::try_from(running.as_millis() % interval.as_millis()).unwrap_or(0));
    match moment.now < moment.running_since + offset {
        true => (moment.running_since + offset).since(moment.now),
        false => interval - into,
    }
}

/// A place in the interval for the `n`th instance: each new one falls into the largest gap that the others left.
#[must_use]
pub fn place(n: u32) -> f64 {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    (f64::from(n) * GOLDEN).fract()
}

#[cfg(test)]
#[path = "health/tests.rs"]
mod tests;
