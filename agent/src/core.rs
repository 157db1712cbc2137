//! The agent's decisions.
//!
//! Everything that can happen is an [`Event`], everything that can be done is an [`Action`];
//! [`Core::on`] is all that stands between, and [`Core::deadline`] says when it wants to be asked
//! again. It keeps these invariants:
//!
//! - all files of a set are rendered from one [`View`], and the next set begins only when the
//!   last one is confirmed; what changes meanwhile becomes one next set;
//! - a set that cannot be rendered or does not pass its checks leaves every file as it is, and its
//!   templates stay due, so a later set cannot mix revisions;
//! - a set whose apply fails is put back, and the old one applied again, once;
//! - nothing is rendered from an older revision or another cluster.
//!
//! ```text
//! Idle -> Rendering -> Checking -> Promoting -> [Pausing] -> Applying -> [Probing] -> Settling -> Idle
//!                                                              |            |
//!                                                              +-> PuttingBack -> Reapplying -> Settling
//! ```

mod apply;
mod begin;
mod confirm;
mod environment;
mod events;
mod set;
mod standing;
pub mod state;
mod tally;
mod trouble;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use self::apply::Telling;
use self::begin::Begin;
pub use self::begin::Recalled;
pub use self::events::{Action, Event, FileSet, Level, Unfit};
use self::tally::Tally;
use self::trouble::Trouble;
use crate::graph::{Graph, TemplateId};
use crate::load::Program;
use crate::policy::Policy;
use crate::quiescence::Quiescence;
use crate::render::Lack;
use crate::stream::{Effect, Stream};
use crate::supervise::{Deed, Supervise};
use crate::view::{Revisions, View};

#[derive(Debug)]
enum Phase {
    Idle,
    Rendering(Revisions),
    Checking(FileSet),
    /// A gradual release will hold a checked set before this phase, until it has leave.
    Promoting(FileSet),
    /// In place; the program is told at that time.
    Pausing(Instant),
    Applying,
    /// The program was told; whether it does well is being asked.
    Probing,
    PuttingBack {
        /// Why this is the end, if it is.
        end: Option<String>,
        /// When it is tried again, if it has failed. Until it is done nothing is applied: what is
        /// in place is of two sets.
        again: Option<Instant>,
    },
    Reapplying,
    Settling(Instant),
}

/// What to go back to when an apply fails.
#[derive(Debug)]
struct Before {
    texts: Vec<Option<Arc<str>>>,
    revisions: Revisions,
    environment: Option<Arc<str>>,
    rendered: BTreeSet<TemplateId>,
}

/// See the module.
#[derive(Debug)]
pub struct Core {
    program: Arc<Program>,
    next_program: Option<Arc<Program>>,
    view: Arc<View>,
    stream: Stream,
    graph: Graph,
    quiescence: Quiescence,
    /// Templates whose files may not be of the view's revision.
    due: BTreeSet<TemplateId>,
    /// Render at once, without waiting for quiet.
    urgent: bool,
    retry_at: Option<Instant>,
    trouble: Trouble,
    /// Why the first set is not applied yet.
    unstarted: Trouble,
    texts: Vec<Option<Arc<str>>>,
    revisions: Revisions,
    /// The variables that the program is to have, and whether it is to be started again for them.
    environment: Option<Arc<str>>,
    environment_untold: bool,
    phase: Phase,
    before: Option<Before>,
    /// What the set under way is rendered from, if that is to be kept.
    rendered_from: Option<Arc<View>>,
    /// No set is in place yet.
    first: bool,
    begin: Begin,
    /// What is in place was never applied: a run before this one was killed in between. These are the files that
    /// the program was not told of; all of them if there are none.
    unapplied: Option<Vec<String>>,
    attempt: u64,
    /// How much of `splay` the next pause is.
    share: f64,
    /// The files that the program is to be told of.
    untold: BTreeSet<TemplateId>,
    /// How the program is being told, and what is left of that.
    telling: Telling,
    supervise: Supervise,
    /// It ends with the keys that are missing, once somebody has looked for the ones that were meant.
    given_up: bool,
    /// The code to end with when nothing is left of the child's process group.
    end: Option<u8>,
    /// What was said last about keys that are missing, so that it is said once.
    lacking: Vec<Lack>,
    /// What can be told.
    tally: Tally,
}

impl Core {
    /// An agent that has done nothing yet. `view` knows what the last run rendered from, and
    /// `unapplied` which files it did not come to tell the program of, if it ended between promotion and apply.
    #[must_use]
    pub fn new(program: Arc<Program>, view: View, unapplied: Option<Vec<String>>) -> Self {
        let policy = &program.config.policy;
        let count = program.config.texts();
        Self {
            supervise: Supervise::new(policy),
            quiescence: Quiescence::new(policy.wait),
            due: (0..count).collect(),
            texts: vec![None; count],
            revisions: view.revisions(),
            view: Arc::new(view),
            program,
            next_program: None,
            stream: Stream::default(),
            graph: Graph::default(),
            urgent: true,
            retry_at: None,
            trouble: Trouble::default(),
            unstarted: Trouble::default(),
            environment: None,
            environment_untold: false,
            phase: Phase::Idle,
            before: None,
            rendered_from: None,
            first: true,
            begin: Begin::default(),
            unapplied,
            attempt: 0,
            share: 0.0,
            given_up: false,
            end: None,
            untold: BTreeSet::new(),
            telling: Telling::default(),
            lacking: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Something happened; what to do about it, in order.
    pub fn on(&mut self, event: Event, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.given_up && !matches!(event, Event::Stop(_)) {
            return actions;
        }
        self.note(&event, now);
        self.take(event, now, &mut actions);
        self.advance(now, &mut actions);
        self.observe(&actions, now);
        actions
    }

    /// When to be asked again, with [`Event::Tick`].
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let confirmed = match self.phase {
            Phase::Settling(until) | Phase::Pausing(until) => Some(until),
            Phase::PuttingBack { again, .. } => again,
            _ => None,
        };
        let quiet = self.quiescence.deadline().filter(|_| self.may_render());
        let retry = self.retry_at.filter(|_| self.may_render());
        let times = [
            confirmed,
            quiet,
            retry,
            self.supervise.deadline(),
            self.stream.deadline(),
            self.begin_at(),
        ];
        times.into_iter().flatten().min()
    }

    fn policy(&self) -> &Policy {
        &self.program.config.policy
    }

    fn take(&mut self, event: Event, now: Instant, out: &mut Vec<Action>) {
        match event {
            Event::Connected { cluster } => {
                let effect = self.stream.connected(Arc::make_mut(&mut self.view), &cluster, now);
                self.follow(effect, now, out);
            }
            Event::Lost { reason, everywhere } => {
                if everywhere {
                    self.store_away(&reason);
                }
                let effect = self.stream.lost(&reason);
                self.follow(effect, now, out);
            }
            Event::Denied(problem) if self.first && self.policy().once => out.push(Action::Fail(problem)),
            Event::Denied(problem) => {
                self.store_away(&problem.what);
                let effect = self.stream.denied(&problem.what);
                self.follow(effect, now, out);
            }
            Event::Stream(event) => {
                let effect = self.stream.event(Arc::make_mut(&mut self.view), event, now);
                self.follow(effect, now, out);
            }
            Event::Recalled(found) => self.recalled(found, now, out),
            Event::Rendered(rendered) => self.rendered(rendered, out),
            Event::Checked(result) => self.checked(result, now, out),
            Event::Promoted(result) => self.promoted(result, now, out),
            Event::HalfWay(reason) => self.half_way(&reason, now, out),
            Event::Applied { attempt, result } if attempt == self.attempt => self.told(result, now, out),
            Event::Applied { .. } => {}
            Event::Probed { attempt, result } if attempt == self.attempt => self.probed(result, now, out),
            Event::Probed { .. } => {}
            Event::PutBack(result) => self.put_back(result, now, out),
            Event::Started if self.telling.by_start => self.apply_ended(Ok(()), now, out),
            Event::Started => {}
            Event::NotStarted { code, reason } => self.not_started(code, reason, out),
            Event::Exited { code, told, left } => self.exited(code, &told, left, now, out),
            Event::Swept => self.supervise.swept(),
            Event::Stop(signal) => self.stop(signal, now, out),
            Event::Pass(signal) if self.supervise.alive() => out.push(Action::SignalChild(signal)),
            Event::Pass(_) | Event::Tick => {}
            Event::Loaded(program) => self.next_program = Some(program),
        }
    }

    /// Does what time or the end of the last set has made possible.
    fn advance(&mut self, now: Instant, out: &mut Vec<Action>) {
        out.extend(self.supervise.tick(now).map(deed));
        if !self.supervise.sweeping() {
            out.extend(self.end.take().map(Action::Exit));
        }
        if self.stream.retry_due(now) {
            out.push(Action::Watch(self.stream.again()));
        }
        self.pause_over(now, out);
        if matches!(self.phase, Phase::Settling(until) if until <= now) {
            self.phase = Phase::Idle;
            self.before = None;
            out.push(Action::Settled);
        }
        if let Phase::PuttingBack { again, .. } = &mut self.phase
            && again.take_if(|at| *at <= now).is_some()
        {
            out.push(Action::PutBack);
        }
        if matches!(self.phase, Phase::Idle)
            && let Some(program) = self.next_program.take()
        {
            self.adopt(program);
        }
        self.begin(now, out);
        if !self.may_render() {
            return;
        }
        let retry = self.retry_at.is_some_and(|at| at <= now);
        if self.quiescence.take_due(now) || self.urgent || retry {
            (self.urgent, self.retry_at) = (false, None);
            self.quiescence.end();
            let ids = std::mem::take(&mut self.due);
            self.phase = Phase::Rendering(self.view.revisions());
            let keeps = self.program.config.cache.is_some() && !self.stream.kept();
            let shown = keeps && !self.view.scope().is_empty();
            self.rendered_from = shown.then(|| Arc::clone(&self.view));
            out.push(Action::Render {
                program: Arc::clone(&self.program),
                ids,
                view: Arc::clone(&self.view),
            });
        }
    }

    fn may_render(&self) -> bool {
        // Who has nothing to render still begins.
        let is_due = !self.due.is_empty() || (self.first && self.texts.is_empty());
        matches!(self.phase, Phase::Idle) && is_due && self.stream.current() && !self.supervise.ending()
    }

    /// Takes over templates and choices that were read again. Files that stay the same are not
    /// written again, so nothing happens if nothing differs.
    fn adopt(&mut self, program: Arc<Program>) {
        self.untold.clear();
        self.environment_untold = false;
        let count = program.config.texts();
        self.program = program;
        let policy = self.program.config.policy.clone();
        self.supervise.adopt(&policy);
        self.quiescence = Quiescence::new(policy.wait);
        self.graph = Graph::default();
        self.texts = vec![None; count];
        self.due = (0..count).collect();
        self.urgent = true;
        self.lacking.clear();
        self.tally.adopt();
    }

    /// What the stream brought.
    fn follow(&mut self, effect: Effect, now: Instant, out: &mut Vec<Action>) {
        match effect {
            Effect::Nothing => {}
            Effect::Say(level, text) => out.push(Action::Say(level, text)),
            Effect::Refused(refusal) => {
                self.store_away(&refusal.to_string());
                let folder = self.program.config.state_dir.display();
                let told = format!("{refusal}; nothing is rendered from it (to start over with it, remove {folder})");
                out.push(Action::Say(Level::Error, told));
            }
            Effect::Watch(scope) => out.push(Action::Watch(scope)),
            Effect::Changed(names) => {
                let affected = self.graph.affected(names.iter().map(String::as_str));
                if !affected.is_empty() {
                    self.due.extend(affected);
                    self.quiescence.touch(now);
                }
            }
        }
    }
}

fn deed(deed: Deed) -> Action {
    match deed {
        Deed::Start => Action::Start,
        Deed::Signal(signal) => Action::SignalGroup(signal),
    }
}

#[cfg(test)]
mod tests;
