//! Between a set in place and a set that is confirmed: the pause before the program is told, and the probe
//! behind it.

use std::time::{Duration, Instant};

use kvapi::problem::exit;

use super::{Action, Core, Level, Phase};

/// The part of `splay` that is waited, for a share of chance between 0 and 1.
fn pause(splay: Duration, share: f64) -> Duration {
    splay.mul_f64(share.clamp(0.0, 1.0))
}

impl Core {
    /// Chance is not the core's own: a share between 0 and 1 for the next pause.
    pub fn draw(&mut self, share: f64) {
        self.share = share;
    }

    /// Applies what is in place now, or after a pause by chance so that not all agents do it at once.
    ///
    /// Nothing is put off that has no program to disturb: a start, or files that nobody is told of.
    pub(super) fn apply_soon(&mut self, now: Instant, out: &mut Vec<Action>) {
        let pause = pause(self.policy().splay, self.share);
        let (reaction, starts) = self.reaction();
        if self.first || pause.is_zero() || starts || reaction.is_nothing() {
            return self.apply(now, out);
        }
        let told = format!("the program is told in {} (splay)", kvapi::duration::format(pause));
        out.push(Action::Say(Level::Info, told));
        // A program that dies meanwhile has not died of what it was not told.
        self.phase = Phase::Pausing(now + pause);
    }

    /// The pause is over when its time has come, or when it all ends: then the next start applies.
    pub(super) fn pause_over(&mut self, now: Instant, out: &mut Vec<Action>) {
        match self.phase {
            Phase::Pausing(_) if self.supervise.ending() => self.phase = Phase::Idle,
            Phase::Pausing(until) if until <= now => self.apply(now, out),
            _ => {}
        }
    }

    /// The program was told: somebody is asked whether it does well, or nobody is.
    ///
    /// Nobody is asked about the first start, which has nothing to go back to and takes as long as it
    /// takes, nor about the way back.
    pub(super) fn applied(&mut self, idle: bool, now: Instant, out: &mut Vec<Action>) {
        let starts = self.first && self.policy().supervises;
        let back = matches!(self.phase, Phase::Reapplying);
        match &self.policy().confirm {
            Some(confirm) if !idle && !starts && !back => {
                out.push(Action::Probe {
                    attempt: self.attempt,
                    confirm: confirm.clone(),
                });
                self.phase = Phase::Probing;
            }
            _ => {
                let settle = if idle { Duration::ZERO } else { self.policy().settle };
                self.confirmed(settle, now, out);
            }
        }
    }

    /// What [`Action::Probe`] brought.
    pub(super) fn probed(&mut self, result: Result<(), String>, now: Instant, out: &mut Vec<Action>) {
        if !matches!(self.phase, Phase::Probing) {
            return;
        }
        match result {
            // It has shown that it uses them: nothing is left to settle.
            Ok(()) => {
                out.push(Action::Say(Level::Info, format!("confirmed {}", self.revisions)));
                self.confirmed(Duration::ZERO, now, out);
            }
            Err(reason) => self.apply_failed(format!("{} is not confirmed: {reason}", self.revisions), now, out),
        }
    }

    /// The set is what the program uses; it may take `settle` longer to read it.
    fn confirmed(&mut self, settle: Duration, now: Instant, out: &mut Vec<Action>) {
        self.keep(out);
        out.push(Action::Remember {
            cluster: self.view.cluster().to_owned(),
            revisions: self.revisions,
        });
        if self.first {
            out.push(Action::Ready);
            // There is nothing older that this process has ever run with.
            self.before = None;
        }
        (self.first, self.unapplied) = (false, None);
        self.unstarted.over();
        if self.policy().once {
            out.push(Action::Exit(exit::OK));
        }
        self.phase = Phase::Settling(now + settle);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_pause_is_no_longer_than_splay(splay in 0u64..100_000, share in -1.0f64..2.0) {
            let splay = Duration::from_millis(splay);
            prop_assert!(pause(splay, share) <= splay);
            prop_assert_eq!(pause(splay, 1.0), splay);
            prop_assert_eq!(pause(splay, 0.0), Duration::ZERO);
        }
    }
}
