//! The child's life: when it is started, asked to stop, killed, started again.
//!
//! Wishes and exits come in, [`Deed`]s go out. Three invariants: once the end is decided nothing is
//! started again; SIGKILL comes no earlier than `kill_timeout` after the first request unless a
//! second one asks for it; and nothing is started beside what a child before it has left in its
//! process group, which is asked to end and killed as the child is. A child that ends by itself may
//! be started again, after pauses that grow until one has run for ten seconds.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::policy::{Policy, Restart};

/// A child that has run for so long did start.
const STEADY: Duration = Duration::from_secs(10);

/// The pause before the first start again, and the longest.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);

/// What was killed is gone within this time, or cannot be helped.
const GONE: Duration = Duration::from_secs(2);

/// What has to be done to the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Start it.
    Start,
    /// Signal its whole process group, or what it has left of it.
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

/// What a child that has ended left of its process group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// It was asked to end.
    Asked { kill_at: Instant },
    /// It was killed.
    Killed { until: Instant },
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
    left: Option<Left>,
    /// Somebody wants the end.
    ending: bool,
    /// The child has ended, and that was all.
    over: bool,
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
            left: None,
            ending: false,
            over: false,
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

    /// Whether something is left of the process group of a child that has ended.
    #[must_use]
    pub fn sweeping(&self) -> bool {
        self.left.is_some()
    }

    /// Whether the end is decided.
    #[must_use]
    pub fn ending(&self) -> bool {
        self.ending || self.over
    }

    /// New ways to stop and to start again, from a configuration that was read again.
    pub fn adopt(&mut self, policy: &Policy) {
        (self.kill_signal, self.kill_timeout) = (policy.kill_signal, policy.kill_timeout);
        self.restart = policy.restart;
    }

    /// Wants a child.
    pub fn start(&mut self, now: Instant) -> Option<Deed> {
        if self.ending() || self.alive() {
            return None;
        }
        if self.sweeping() {
            self.state = State::Waiting { until: now };
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
        if self.ending() || !self.restart.wanted(code, self.failures) {
            return None;
        }
        let pause = (PAUSE * 2u32.saturating_pow(self.failures)).min(LONGEST);
        self.failures += 1;
        self.state = State::Waiting { until: now + pause };
        Some(pause)
    }

    /// The child that has ended was the last one.
    pub fn finish(&mut self) {
        self.over = true;
        self.state = State::Absent;
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
            State::Absent | State::Waiting { .. } => {
                self.state = State::Absent;
                (again && self.sweeping()).then(|| self.kill_left(now))
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
        match (self.left, self.state) {
            (Some(Left::Asked { kill_at: at } | Left::Killed { until: at }), _) => Some(at),
            (None, state) => Self::due(state),
        }
    }

    fn due(state: State) -> Option<Instant> {
        match state {
            State::Stopping { kill_at, .. } => kill_at,
            State::Waiting { until } => Some(until),
            State::Absent | State::Running { .. } => None,
        }
    }

    /// Kills if the time for a graceful stop is over; starts if the pause before a start is.
    pub fn tick(&mut self, now: Instant) -> Option<Deed> {
        match self.left {
            Some(Left::Asked { kill_at }) if kill_at <= now => return Some(self.kill_left(now)),
            Some(Left::Killed { until }) if until <= now => self.left = None,
            Some(_) => return None,
            None => {}
        }
        match &mut self.state {
            State::Stopping { kill_at, .. } if kill_at.is_some_and(|at| at <= now) => {
                *kill_at = None;
                Some(Deed::Signal(Signal::SIGKILL))
            }
            State::Waiting { until } if *until <= now => self.start(now),
            State::Waiting { .. } | State::Stopping { .. } | State::Absent | State::Running { .. } => None,
        }
    }

    fn kill_left(&mut self, now: Instant) -> Deed {
        self.left = Some(Left::Killed { until: now + GONE });
        Deed::Signal(Signal::SIGKILL)
    }

    /// Nothing is left of the process group of a child that has ended.
    pub fn swept(&mut self) {
        self.left = None;
    }

    /// The child is gone. `left` says that others of its process group are not: they are asked to end
    /// like the child, if they were not together with it.
    pub fn exited(&mut self, left: bool, now: Instant) -> (Exited, Option<Deed>) {
        let state = std::mem::replace(&mut self.state, State::Absent);
        let mut deed = None;
        if left {
            self.left = Some(match state {
                State::Stopping { kill_at: None, .. } => Left::Killed { until: now + GONE },
                State::Stopping {
                    kill_at: Some(kill_at), ..
                } => Left::Asked { kill_at },
                State::Running { .. } | State::Absent | State::Waiting { .. } => {
                    deed = Some(Deed::Signal(self.kill_signal));
                    Left::Asked {
                        kill_at: now + self.kill_timeout,
                    }
                }
            });
        }
        (self.meaning(state, now), deed)
    }

    fn meaning(&self, state: State, now: Instant) -> Exited {
        match state {
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
mod tests;
