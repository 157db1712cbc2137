//! The first half of a set's way: rendered, staged, checked, in place.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use kvapi::problem::{Problem, exit};

use super::{Action, Before, Core, FileSet, Level, Phase, Unfit};
use crate::graph::TemplateId;
use crate::policy::Missing;
use crate::render::{Held, Lack, Rendered};
use crate::view::Revisions;
use crate::words;

impl Core {
    pub(super) fn rendered(&mut self, rendered: Vec<Rendered>, out: &mut Vec<Action>) {
        let Phase::Rendering(revisions) = std::mem::replace(&mut self.phase, Phase::Idle) else {
            return;
        };
        let ids: BTreeSet<TemplateId> = rendered.iter().map(|one| one.id).collect();
        let mut texts = self.texts.clone();
        let (mut outside, mut lacks, mut broken) = (false, Vec::new(), Vec::new());
        for one in rendered {
            self.graph.set(one.id, one.reads);
            match one.outcome {
                Ok(text) => texts[one.id] = Some(text.into()),
                Err(Held::Outside) => outside = true,
                Err(Held::Missing(keys)) => lacks.extend(keys),
                Err(Held::Broken(told)) => broken.push(told),
            }
        }
        if outside {
            self.due.extend(ids);
            self.urgent = true;
            out.push(Action::Watch(self.stream.widen(&self.graph.scope())));
        } else if !lacks.is_empty() || !broken.is_empty() {
            self.due.extend(ids);
            self.held(lacks, broken, out);
        } else {
            self.lacking.clear();
            self.stage(texts, ids, revisions, out);
        }
    }

    /// A set cannot be rendered: the files stay as they are.
    pub(super) fn held(&mut self, mut lacks: Vec<Lack>, broken: Vec<String>, out: &mut Vec<Action>) {
        let fail = self.first && self.policy().missing == Missing::Fail;
        if let Some(told) = broken.first().filter(|_| fail || (self.first && self.policy().once)) {
            out.push(Action::Fail(words::broken(told)));
            return;
        }
        for told in broken {
            out.push(Action::Say(
                Level::Error,
                format!("{}; the files stay as they are", words::held(&told)),
            ));
        }
        lacks.sort();
        if lacks != self.lacking {
            self.lacking.clone_from(&lacks);
            if !lacks.is_empty() {
                self.given_up = fail;
                out.push(Action::Lacking { lacks, fatal: fail });
            }
        }
    }

    pub(super) fn stage(
        &mut self,
        texts: Vec<Option<Arc<str>>>,
        rendered: BTreeSet<TemplateId>,
        revisions: Revisions,
        out: &mut Vec<Action>,
    ) {
        if texts == self.texts && !self.first {
            self.revisions = revisions;
            self.keep(out);
            return;
        }
        let Some(texts) = texts.into_iter().collect::<Option<Vec<_>>>() else {
            self.due = (0..self.texts.len()).collect();
            self.urgent = true;
            return;
        };
        let set = FileSet {
            revisions,
            cluster: self.view.cluster().to_owned(),
            texts,
            rendered,
        };
        out.push(Action::Check {
            program: Arc::clone(&self.program),
            set: set.clone(),
        });
        self.phase = Phase::Checking(set);
    }

    pub(super) fn checked(&mut self, result: Result<BTreeSet<TemplateId>, Unfit>, now: Instant, out: &mut Vec<Action>) {
        let Phase::Checking(set) = std::mem::replace(&mut self.phase, Phase::Idle) else {
            return;
        };
        match result.map(|changed| self.with_environment(changed, &set)) {
            Err(Unfit::Unwritable(reason)) => self.unwritable(set, &reason, now, out),
            Err(Unfit::Refused(reason)) => {
                self.due.extend(set.rendered);
                if self.first && self.policy().once {
                    out.push(Action::Fail(words::refused(reason)));
                } else {
                    let told = format!("{} is refused, the old files stay: {reason}", set.revisions);
                    out.push(Action::Say(Level::Error, told));
                }
            }
            Ok(changed) if changed.is_empty() => {
                self.settle_texts(&set);
                if self.first || self.unapplied.is_some() {
                    self.untold = self.owed();
                    self.apply(now, out);
                } else {
                    self.keep(out);
                }
            }
            Ok(changed) => {
                let shown = |ids: &BTreeSet<TemplateId>| -> Vec<String> {
                    let config = &self.program.config;
                    ids.iter().map(|id| config.shown(*id).to_owned()).collect()
                };
                out.push(Action::Say(
                    Level::Info,
                    format!("rendered {}: {}", set.revisions, shown(&changed).join(", ")),
                ));
                let untold = changed.union(&self.owed()).copied().collect();
                out.push(Action::Promote { owed: shown(&untold) });
                self.untold = untold;
                self.phase = Phase::Promoting(set);
            }
        }
    }

    /// The files of a run before this one that the program was not told of.
    fn owed(&self) -> BTreeSet<TemplateId> {
        let Some(names) = &self.unapplied else {
            return BTreeSet::new();
        };
        let templates = self.program.config.templates.iter().enumerate();
        let owed = templates.filter(|(_, template)| names.is_empty() || names.contains(&template.shown));
        owed.map(|(id, _)| id).collect()
    }

    pub(super) fn settle_texts(&mut self, set: &FileSet) {
        self.texts = set.texts.iter().cloned().map(Some).collect();
        self.settle_environment(set);
        self.revisions = set.revisions;
    }

    pub(super) fn promoted(&mut self, result: Result<(), String>, now: Instant, out: &mut Vec<Action>) {
        let Phase::Promoting(set) = std::mem::replace(&mut self.phase, Phase::Idle) else {
            return;
        };
        if let Err(reason) = result {
            return self.unwritable(set, &reason, now, out);
        }
        self.trouble.over();
        let (texts, revisions) = (std::mem::take(&mut self.texts), self.revisions);
        let environment = self.environment.take();
        self.settle_texts(&set);
        self.before = Some(Before {
            texts,
            revisions,
            environment,
            rendered: set.rendered,
        });
        self.apply_soon(now, out);
    }

    /// Some files are of the set that was to be put in place: nothing else is done before the old ones are back.
    pub(super) fn half_way(&mut self, reason: &str, now: Instant, out: &mut Vec<Action>) {
        let Phase::Promoting(set) = std::mem::replace(&mut self.phase, Phase::Idle) else {
            return;
        };
        let told = format!("{} could not be put in place: {reason}", set.revisions);
        if self.first {
            let told = format!("{told}; the next start makes the files whole");
            out.push(Action::Fail(Problem::new(exit::LEFT, told)));
            return;
        }
        self.due.extend(set.rendered);
        let (at, _) = self.trouble.again(reason, now);
        self.phase = Phase::PuttingBack {
            end: None,
            again: Some(at),
        };
        let told = format!("{told}; files of two sets are in place, so nothing is reloaded; it is tried again");
        out.push(Action::Say(Level::Error, told));
    }

    /// The files cannot be written: the old ones stay, and it is tried again. Before anything runs
    /// it is the end instead.
    fn unwritable(&mut self, set: FileSet, reason: &str, now: Instant, out: &mut Vec<Action>) {
        let told = format!(
            "{} could not be put in place, the old files stay: {reason}",
            set.revisions
        );
        if self.first {
            out.push(Action::Fail(Problem::new(exit::AGENT, told).help(words::WRITABLE)));
            return;
        }
        self.due.extend(set.rendered);
        let (at, news) = self.trouble.again(reason, now);
        self.retry_at = Some(at);
        if news {
            out.push(Action::Say(Level::Error, format!("{told}; it is tried again")));
        }
    }
}
