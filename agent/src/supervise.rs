//! The child's life: when it is started, asked to stop, killed, started again.
//!
//! Wishes and exits come in, [`Deed`]s go out. Two invariants: once the end is decided nothing is
//! started again, and SIGKILL comes no earlier than `kill_timeout` after the first request unless
//! a second one asks for it. A child that ends by itself may be started again, after pauses that
//! grow until one has run for ten seconds.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::policy::{Policy, Restart};

/// A child that has run for so long did start.
const STEADY: Duration = Duration::from_secs(10);

/// The pause before the first start again, and the longest.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);

/// What has to be done to the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Start it.
    Start,
    /// Signal its whole process group.
    Signal(Signal),
}

/// Why the child is being stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To start it again.
    Restart,
    /// To end.
    End,
}

/// What an exit means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exited {
    /// It was asked for, and the child is to be started again.
    Again,
    /// It was asked for, and this is the end.
    End,
    /// Nobody asked for it.
    Unasked {
        /// How long it ran.
        ran: Duration,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Absent,
    /// To be started again.
    Waiting {
        until: Instant,
    },
    Running {
        since: Instant,
    },
    Stopping {
        purpose: Purpose,
        kill_at: Option<Instant>,
    },
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Supervise {
    kill_signal: Signal,
    kill_timeout: Duration,
    restart: Restart,
    /// Starts in a row that did not last.
    failures: u32,
    state: State,
    ending: bool,
}

impl Supervise {
    /// No child yet.
    #[must_use]
    pub fn new(policy: &Policy) -> Self {
        Self {
            kill_signal: policy.kill_signal,
            kill_timeout: policy.kill_timeout,
            restart: policy.restart,
            failures: 0,
            state: State::Absent,
            ending: false,
        }
    }

    /// Whether there is a child, stopping or not.
    #[must_use]
    pub fn alive(&self) -> bool {
        matches!(self.state, State::Running { .. } | State::Stopping { .. })
    }

    /// Whether the child runs and nobody has asked it to stop.
    #[must_use]
    pub fn running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// Whether the end is decided.
    #[must_use]
    pub fn ending(&self) -> bool {
        self.ending
    }

    /// New ways to stop and to start again, from a configuration that was read again.
    pub fn adopt(&mut self, policy: &Policy) {
        (self.kill_signal, self.kill_timeout) = (policy.kill_signal, policy.kill_timeout);
        self.restart = policy.restart;
    }

    /// Wants a child.
    pub fn start(&mut self, now: Instant) -> Option<Deed> {
        if self.ending || self.alive() {
            return None;
        }
        self.state = State::Running { since: now };
        Some(Deed::Start)
    }

    /// Wants a child again after one ended by itself with this code, if the policy says so.
    /// Returns the pause before it.
    pub fn again(&mut self, code: u8, ran: Duration, now: Instant) -> Option<Duration> {
        if ran >= STEADY {
            self.failures = 0;
        }
        if self.ending || !self.restart.wanted(code, self.failures) {
            return None;
        }
        let pause = (PAUSE * 2u32.saturating_pow(self.failures)).min(LONGEST);
        self.failures += 1;
        self.state = State::Waiting { until: now + pause };
        Some(pause)
    }

    /// The start did not succeed.
    pub fn not_started(&mut self) {
        self.state = State::Absent;
    }

    /// Wants the child stopped. The second wish to end kills at once.
    pub fn stop(&mut self, purpose: Purpose, now: Instant) -> Option<Deed> {
        let again = self.ending && purpose == Purpose::End;
        self.ending |= purpose == Purpose::End;
        match &mut self.state {
            State::Absent => None,
            State::Waiting { .. } => {
                self.state = State::Absent;
                None
            }
            State::Running { .. } => {
                self.state = State::Stopping {
                    purpose,
                    kill_at: Some(now + self.kill_timeout),
                };
                Some(Deed::Signal(self.kill_signal))
            }
            State::Stopping {
                purpose: current,
                kill_at,
            } => {
                if self.ending {
                    *current = Purpose::End;
                }
                if again {
                    *kill_at = None;
                }
                again.then_some(Deed::Signal(Signal::SIGKILL))
            }
        }
    }

    /// When to look again.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Stopping { kill_at, .. } => kill_at,
            State::Waiting { until } => Some(until),
            State::Absent | State::Running { .. } => None,
        }
    }

    /// Kills if the time for a graceful stop is over; starts if the pause before a start is.
    pub fn tick(&mut self, now: Instant) -> Option<Deed> {
        match &mut self.state {
            State::Stopping { kill_at, .. } if kill_at.is_some_and(|at| at <= now) => {
                *kill_at = None;
                Some(Deed::Signal(Signal::SIGKILL))
            }
            State::Waiting { until } if *until <= now => self.start(now),
            State::Waiting { .. } | State::Stopping { .. } | State::Absent | State::Running { .. } => None,
        }
    }

    /// The child is gone.
    pub fn exited(&mut self, now: Instant) -> Exited {
        match std::mem::replace(&mut self.state, State::Absent) {
            _ if self.ending => Exited::End,
            State::Stopping {
                purpose: Purpose::Restart,
                ..
            } => Exited::Again,
            State::Stopping {
                purpose: Purpose::End, ..
            } => Exited::End,
            State::Running { since } => Exited::Unasked {
                ran: now.saturating_duration_since(since),
            },
            State::Absent | State::Waiting { .. } => Exited::Unasked { ran: Duration::ZERO },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Start,
        Stop(bool),
        Tick(u64),
        Exit,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            Just(Step::Start),
            any::<bool>().prop_map(Step::Stop),
            (0u64..200).prop_map(Step::Tick),
            Just(Step::Exit),
        ]
    }

    proptest! {
        #[test]
        fn after_the_end_nothing_starts_and_nothing_is_killed_too_early(steps in prop::collection::vec(step(), 0..40)) {
            let policy = Policy {
                kill_timeout: Duration::from_millis(100),
                restart: Restart::Always,
                ..Policy::default()
            };
            let mut supervise = Supervise::new(&policy);
            let mut now = Instant::now();
            let (mut ended, mut ends, mut asked) = (false, 0, None);
            for step in steps {
                let deed = match step {
                    Step::Start => supervise.start(now),
                    Step::Stop(end) => {
                        ended |= end;
                        ends += u32::from(end);
                        supervise.stop(if end { Purpose::End } else { Purpose::Restart }, now)
                    }
                    Step::Tick(millis) => {
                        now += Duration::from_millis(millis);
                        supervise.tick(now)
                    }
                    Step::Exit => {
                        asked = None;
                        let exited = supervise.exited(now);
                        prop_assert!(!ended || exited == Exited::End);
                        if let Exited::Unasked { ran } = exited {
                            supervise.again(1, ran, now);
                        }
                        None
                    }
                };
                match deed {
                    Some(Deed::Start) => prop_assert!(!ended),
                    Some(Deed::Signal(Signal::SIGKILL)) => {
                        let since = asked.map(|at| now - at);
                        prop_assert!(ends > 1 || since >= Some(Duration::from_millis(100)));
                    }
                    Some(Deed::Signal(_)) => asked = Some(now),
                    None => {}
                }
            }
        }
    }

    #[test]
    fn a_child_that_does_not_last_is_started_after_growing_pauses_until_the_limit() {
        let policy = Policy {
            restart: Restart::OnFailure(Some(3)),
            ..Policy::default()
        };
        let mut supervise = Supervise::new(&policy);
        let mut now = Instant::now();
        let mut fails = |supervise: &mut Supervise, ran: u64| {
            assert_eq!(supervise.start(now), Some(Deed::Start));
            now += Duration::from_secs(ran);
            let Exited::Unasked { ran } = supervise.exited(now) else {
                panic!("nobody asked")
            };
            supervise.again(1, ran, now).map(|pause| pause.as_millis())
        };

        let pauses: Vec<_> = (0..4).map(|_| fails(&mut supervise, 1)).collect();

        assert_eq!(pauses, [Some(100), Some(200), Some(400), None]);
        assert_eq!(
            fails(&mut supervise, 10),
            Some(100),
            "it had run long enough to count as started"
        );
    }

    #[test]
    fn a_start_that_waits_is_done_when_it_is_due_or_wished_and_not_after_the_end() {
        let policy = Policy {
            restart: Restart::Always,
            ..Policy::default()
        };
        let mut supervise = Supervise::new(&policy);
        let now = Instant::now();
        supervise.start(now);
        supervise.exited(now);
        assert_eq!(supervise.again(0, Duration::ZERO, now), Some(PAUSE));
        assert_eq!((supervise.deadline(), supervise.alive()), (Some(now + PAUSE), false));
        assert_eq!(supervise.tick(now), None);
        assert_eq!(supervise.tick(now + PAUSE), Some(Deed::Start));

        supervise.exited(now);
        supervise.again(0, Duration::ZERO, now);
        assert_eq!(supervise.stop(Purpose::End, now), None);
        assert_eq!((supervise.deadline(), supervise.tick(now + LONGEST)), (None, None));
    }
}
