//! How it begins while the store is silent: from what an earlier run has kept, or not at all.
//!
//! All of this is over once the first set is in place: from then on an outage ends nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kvapi::codes;
use kvapi::problem::Problem;

use super::{Action, Core, Level};
use crate::graph::Graph;
use crate::view::{Refusal, View};

/// How long a store that neither answers nor is plainly away may keep a start waiting.
const PATIENCE: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Begin {
    /// Since when the store has not told what is asked for.
    silent: Option<Instant>,
    /// It is plainly away: every address was tried, or none may be believed. The last reason.
    away: Option<String>,
    recall: Recall,
    /// When what was recalled was known to be current, if it was.
    current_at: Option<Instant>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Recall {
    #[default]
    NotYet,
    Asked,
    Over,
}

/// What an earlier run has kept, and how long ago it was known to be current; or why it is of no use.
pub type Recalled = Result<Option<(View, Duration)>, String>;

impl Core {
    /// The store is plainly away.
    pub(super) fn store_away(&mut self, reason: &str) {
        self.begin.away = Some(reason.to_owned());
    }

    /// Begins without the store, or gives up, when it is time.
    pub(super) fn begin(&mut self, now: Instant, out: &mut Vec<Action>) {
        if !self.first || self.stream.current() || self.supervise.ending() {
            (self.begin.silent, self.begin.away) = (None, None);
            return;
        }
        let silent = *self.begin.silent.get_or_insert(now);
        let limit = self.policy().retry_for.filter(|limit| silent + *limit <= now);
        let impatient = self.begin.away.is_some() || silent + PATIENCE <= now || limit.is_some();
        match (self.begin.recall, limit) {
            (Recall::NotYet, _) if impatient && self.program.config.cache.is_some() => {
                self.begin.recall = Recall::Asked;
                out.push(Action::Recall);
            }
            (Recall::NotYet | Recall::Over, Some(limit)) => {
                let reason = self.begin.away.as_deref().unwrap_or("no answer");
                let limit = kvapi::duration::format(limit);
                let told = format!("the store did not tell within {limit} what the templates read: {reason}");
                let problem = Problem::of(&codes::UNAVAILABLE, told);
                let problem = problem.help("is the server running? Name it with --addr or KEYWAY_ADDR");
                out.push(Action::Fail(problem.help("--retry-for 0 waits for ever")));
            }
            (Recall::NotYet | Recall::Asked | Recall::Over, _) => {}
        }
    }

    /// When it is time.
    pub(super) fn begin_at(&self) -> Option<Instant> {
        let silent = self.begin.silent?;
        let cache = self.begin.recall == Recall::NotYet && self.program.config.cache.is_some();
        let give_up = self.policy().retry_for.filter(|_| self.begin.recall != Recall::Asked);
        let waits = [cache.then_some(PATIENCE), give_up];
        waits.into_iter().flatten().min().map(|wait| silent + wait)
    }

    /// What [`Action::Recall`] brought.
    pub(super) fn recalled(&mut self, found: Recalled, now: Instant, out: &mut Vec<Action>) {
        self.begin.recall = Recall::Over;
        if !self.first || self.stream.current() {
            return; // the store was faster
        }
        let (kept, age) = match found {
            Ok(Some(found)) => found,
            Ok(None) => return,
            Err(reason) => {
                out.push(Action::Say(Level::Warn, format!("the cache is not used: {reason}")));
                return;
            }
        };
        let scope = kept.scope().clone();
        // What was put in place and never applied is worth less than what was.
        let older = self.unapplied.is_some() && self.view.scope().is_empty();
        match Arc::make_mut(&mut self.view).recall(kept, older) {
            Ok(()) => {
                let told = format!(
                    "begins from the cache: {}, known to be current {} ago",
                    self.view.revisions(),
                    kvapi::duration::format(age)
                );
                out.push(Action::Say(Level::Warn, told));
                self.begin.current_at = now.checked_sub(age);
                self.graph = Graph::default();
                self.due = (0..self.texts.len()).collect();
                self.urgent = true;
                out.push(Action::Watch(self.stream.recalled(&scope)));
            }
            Err(Refusal::AnotherCluster { followed, answered }) => out.push(Action::Say(
                Level::Warn,
                format!("the cache is not used: it is of cluster {answered}, and the files are of {followed}"),
            )),
            Err(Refusal::Contradiction { .. }) => {}
            Err(Refusal::Lower { seen, offered }) => out.push(Action::Say(
                Level::Warn,
                format!("the cache is not used: it is of revision {offered}, and the files are of {seen}"),
            )),
        }
    }

    /// When what the files show was known to be current, if that is of the cache and the store has not told since.
    pub(super) fn cached(&self) -> Option<Instant> {
        self.begin.current_at.filter(|_| self.stream.kept())
    }

    /// What the files show is good, and worth to begin with another time.
    pub(super) fn keep(&mut self, out: &mut Vec<Action>) {
        out.extend(self.rendered_from.take().map(Action::Keep));
    }

    /// Whether what was kept last is what the store has, so that nothing in it is stale.
    #[must_use]
    pub fn kept_is_current(&self) -> bool {
        self.stream.fresh() && self.due.is_empty() && !self.first
    }
}
