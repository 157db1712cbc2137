//! The second half of a set's way: applied and confirmed, or put back; and the child's end.

use std::collections::VecDeque;
use std::time::Instant;

use kvapi::codes;
use kvapi::problem::{Problem, exit};
use nix::sys::signal::Signal;

use super::{Action, Core, Level, Phase, deed};
use crate::policy::{CommandLine, OnChange};
use crate::reaction::Reaction;
use crate::supervise::{Exited, Purpose};

/// How the program is told of new files: what is left of it.
#[derive(Debug, Default)]
pub(super) struct Telling {
    commands: VecDeque<CommandLine>,
    signals: VecDeque<Signal>,
    restart: bool,
    starts: bool,
    /// The program is told by being started, which has been asked for.
    pub(super) by_start: bool,
    /// All of it.
    reaction: Reaction,
}

impl Core {
    /// Makes the program use what is in place.
    pub(super) fn apply(&mut self, now: Instant, out: &mut Vec<Action>) {
        self.attempt += 1;
        self.phase = Phase::Applying;
        let (reaction, starts) = self.reaction();
        self.telling = Telling {
            commands: reaction.commands.iter().cloned().collect(),
            signals: reaction.signals.iter().copied().collect(),
            restart: reaction.restart,
            starts,
            by_start: false,
            reaction,
        };
        self.tell(now, out);
    }

    /// What tells the program of the files that it does not know, and whether it has to be started for that.
    pub(super) fn reaction(&self) -> (Reaction, bool) {
        let starts = self.policy().supervises && !self.supervise.alive();
        let config = &self.program.config;
        let wanted = self.untold.iter().filter_map(|id| {
            let own = config.templates.get(*id)?.on_change.as_ref();
            // What follows any change is about a program that runs.
            own.or((!starts).then_some(&config.policy.on_change))
        });
        // A program that is to have other variables has to be started again.
        let restart = self.environment_untold.then_some(&OnChange::Restart);
        (Reaction::of(wanted.chain(restart)), starts)
    }

    /// A step of telling has ended.
    pub(super) fn told(&mut self, result: Result<(), String>, now: Instant, out: &mut Vec<Action>) {
        match result {
            Ok(()) if matches!(self.phase, Phase::Applying | Phase::Reapplying) => self.tell(now, out),
            result => self.apply_ended(result, now, out),
        }
    }

    /// Takes the next step of telling: commands, then the program.
    fn tell(&mut self, now: Instant, out: &mut Vec<Action>) {
        let attempt = self.attempt;
        let telling = &mut self.telling;
        if let Some(command) = telling.commands.pop_front() {
            out.push(Action::Run { attempt, command });
        } else if std::mem::take(&mut telling.starts) && !self.supervise.alive() {
            telling.by_start = true;
            out.extend(self.supervise.start(now).map(deed));
        } else if let Some(signal) = telling.signals.pop_front().filter(|_| self.supervise.running()) {
            out.push(Action::Reload { attempt, signal });
        } else if std::mem::take(&mut telling.restart) && self.supervise.running() {
            telling.by_start = true;
            out.extend(self.supervise.stop(Purpose::Restart, now).map(deed));
        } else {
            self.apply_ended(Ok(()), now, out);
        }
    }

    pub(super) fn apply_ended(&mut self, result: Result<(), String>, now: Instant, out: &mut Vec<Action>) {
        if !matches!(self.phase, Phase::Applying | Phase::Reapplying) {
            return;
        }
        if let Err(reason) = result {
            let told = format!("{} could not be applied: {reason}", self.revisions);
            return self.apply_failed(told, now, out);
        }
        let Telling { reaction, by_start, .. } = std::mem::take(&mut self.telling);
        let idle = reaction.is_nothing() && !by_start && !self.first;
        if self.before.is_some() && !self.first && !idle {
            let how = if reaction.is_nothing() {
                "start".to_owned()
            } else {
                reaction.to_string()
            };
            out.push(Action::Say(Level::Info, format!("applied {} ({how})", self.revisions)));
        }
        self.applied(idle, now, out);
    }

    pub(super) fn apply_failed(&mut self, told: String, now: Instant, out: &mut Vec<Action>) {
        let once = self.first && self.policy().once;
        match self.before {
            Some(_) if once => {
                out.push(Action::PutBack);
                self.phase = Phase::PuttingBack {
                    end: Some(told),
                    again: None,
                };
            }
            None if once => out.push(Action::Fail(Problem::new(exit::LEFT, told))),
            // Nothing runs yet that could go on with the old files: it is tried again.
            _ if self.first => {
                let (at, news) = self.unstarted.again(&told, now);
                self.retry_at = Some(at);
                if news {
                    out.push(Action::Say(Level::Error, format!("{told}; it is tried again")));
                }
                self.due.extend(&self.untold);
                self.phase = Phase::Idle;
                self.undo(out);
            }
            Some(_) => {
                out.push(Action::Say(Level::Error, format!("{told}; the old files are put back")));
                self.undo(out);
            }
            None => {
                out.push(Action::Say(Level::Error, told));
                self.phase = Phase::Settling(now + self.policy().settle);
            }
        }
    }

    pub(super) fn put_back(&mut self, result: Result<(), String>, now: Instant, out: &mut Vec<Action>) {
        let Phase::PuttingBack { end, again } = &mut self.phase else {
            return;
        };
        let failed = result
            .err()
            .map(|reason| format!("the old files could not be put back: {reason}"));
        if let Some(told) = end.take() {
            self.phase = Phase::Idle;
            out.push(Action::Fail(match failed {
                None => Problem::of(&codes::ROLLED_BACK, format!("{told}; the old files are back")),
                Some(worse) => Problem::new(exit::LEFT, format!("{told}; and {worse}")),
            }));
            return;
        }
        if let Some(told) = failed {
            let (at, news) = self.trouble.again(&told, now);
            *again = Some(at);
            if news {
                let told = format!("{told}; files of two sets are in place, so nothing is reloaded; it is tried again");
                out.push(Action::Say(Level::Error, told));
            }
            return;
        }
        self.trouble.over();
        self.phase = Phase::Idle;
        if self.first {
            return;
        }
        self.apply(now, out);
        if matches!(self.phase, Phase::Applying) {
            self.phase = Phase::Reapplying;
        }
    }

    pub(super) fn not_started(&mut self, code: u8, reason: String, out: &mut Vec<Action>) {
        self.supervise.not_started();
        if self.before.is_some() && !self.first {
            out.push(Action::Say(
                Level::Error,
                format!("{}: {reason}; the old files are put back", self.revisions),
            ));
            self.undo(out);
        } else {
            out.push(Action::Fail(Problem::new(code, reason)));
        }
    }

    pub(super) fn exited(&mut self, code: u8, told: &str, left: bool, now: Instant, out: &mut Vec<Action>) {
        let (exited, sweep) = self.supervise.exited(left, now);
        out.extend(sweep.map(deed));
        match exited {
            Exited::End => self.end = Some(code),
            Exited::Again => out.extend(self.supervise.start(now).map(deed)),
            Exited::Unasked { ran } => {
                // Died of what we gave it: go back. Anything else is its own business.
                let ours = matches!(self.phase, Phase::Applying | Phase::Probing | Phase::Settling(_))
                    && self.before.is_some();
                if matches!(self.phase, Phase::PuttingBack { .. }) {
                    return;
                }
                if ours && code != 0 {
                    let told = format!("the process {told} with {}; the old files are put back", self.revisions);
                    out.push(Action::Say(Level::Error, told));
                    self.undo(out);
                } else if let Some(pause) = self.supervise.again(code, ran, now) {
                    let pause = kvapi::duration::format(pause);
                    let told = format!("the process {told}; it is started again in {pause}");
                    out.push(Action::Say(Level::Warn, told));
                } else {
                    out.push(Action::Say(Level::Info, format!("the process {told}")));
                    self.supervise.finish();
                    self.end = Some(code);
                }
            }
        }
    }

    /// Goes back to the set before; its files are put back and applied once more.
    pub(super) fn undo(&mut self, out: &mut Vec<Action>) {
        let Some(before) = self.before.take() else { return };
        self.rendered_from = None;
        out.push(Action::PutBack);
        self.attempt += 1;
        self.phase = Phase::PuttingBack { end: None, again: None };
        self.texts = before.texts;
        self.revisions = before.revisions;
        self.environment = before.environment;
        self.due.extend(before.rendered);
    }

    pub(super) fn stop(&mut self, signal: Signal, now: Instant, out: &mut Vec<Action>) {
        let deeds = self.supervise.stop(Purpose::End, now);
        out.extend(deeds.map(deed));
        if !self.supervise.alive() {
            // A program that never ran ends as if the signal had hit it.
            let unfinished = self.policy().supervises || self.policy().once;
            let code = if unfinished { 128 + signal as u8 } else { exit::OK };
            self.end.get_or_insert(code);
        }
    }
}
