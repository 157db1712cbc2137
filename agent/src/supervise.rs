//! The child's life: when it is started, asked to stop, killed, started again.
//!
//! Wishes and exits come in, [`Deed`]s go out. Two invariants: once the end is decided nothing is
//! started again, and SIGKILL comes no earlier than `kill_timeout` after the first request unless
//! a second one asks for it. A policy for restarts after failures belongs here.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

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
    Unasked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Absent,
    Running,
    Stopping { purpose: Purpose, kill_at: Option<Instant> },
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Supervise {
    kill_signal: Signal,
    kill_timeout: Duration,
    state: State,
    ending: bool,
}

impl Supervise {
    /// No child yet.
    #[must_use]
    pub fn new(kill_signal: Signal, kill_timeout: Duration) -> Self {
        Self {
            kill_signal,
            kill_timeout,
            state: State::Absent,
            ending: false,
        }
    }

    /// Whether there is a child, stopping or not.
    #[must_use]
    pub fn alive(&self) -> bool {
        self.state != State::Absent
    }

    /// Whether the child runs and nobody has asked it to stop.
    #[must_use]
    pub fn running(&self) -> bool {
        self.state == State::Running
    }

    /// Whether the end is decided.
    #[must_use]
    pub fn ending(&self) -> bool {
        self.ending
    }

    /// New ways to stop, from a configuration that was read again.
    pub fn adopt(&mut self, kill_signal: Signal, kill_timeout: Duration) {
        (self.kill_signal, self.kill_timeout) = (kill_signal, kill_timeout);
    }

    /// Wants a child.
    pub fn start(&mut self) -> Option<Deed> {
        if self.ending || self.alive() {
            return None;
        }
        self.state = State::Running;
        Some(Deed::Start)
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
            State::Running => {
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
            State::Absent | State::Running => None,
        }
    }

    /// Kills if the time for a graceful stop is over.
    pub fn tick(&mut self, now: Instant) -> Option<Deed> {
        match &mut self.state {
            State::Stopping { kill_at, .. } if kill_at.is_some_and(|at| at <= now) => {
                *kill_at = None;
                Some(Deed::Signal(Signal::SIGKILL))
            }
            State::Stopping { .. } | State::Absent | State::Running => None,
        }
    }

    /// The child is gone.
    pub fn exited(&mut self) -> Exited {
        match std::mem::replace(&mut self.state, State::Absent) {
            _ if self.ending => Exited::End,
            State::Stopping {
                purpose: Purpose::Restart,
                ..
            } => Exited::Again,
            State::Stopping {
                purpose: Purpose::End, ..
            } => Exited::End,
            State::Running | State::Absent => Exited::Unasked,
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
            let mut supervise = Supervise::new(Signal::SIGTERM, Duration::from_millis(100));
            let mut now = Instant::now();
            let (mut ended, mut ends, mut asked) = (false, 0, None);
            for step in steps {
                let deed = match step {
                    Step::Start => supervise.start(),
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
                        let exited = supervise.exited();
                        prop_assert!(!ended || exited == Exited::End);
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
}
