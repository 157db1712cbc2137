//! Where each template, the program and the agent as a whole stand.

use std::collections::BTreeSet;
use std::time::Instant;

use super::state::{ChildState, Link, Standing, State, TemplateState, VariablesState};
use super::tally::{Blocked, Hold, Kind, Wait};
use super::{Core, Phase};
use crate::environment::variables;
use crate::graph::TemplateId;
use crate::redact::redact;
use crate::render::Lack;
use crate::view::Revisions;

impl Core {
    /// Where each template that is not in place stands, and since when.
    pub(super) fn settle_kinds(&mut self, now: Instant) {
        let not_applied = matches!(self.tally.blocked, Some(Blocked::NotApplied(_)));
        if matches!(self.phase, Phase::Idle | Phase::Settling(_)) && !not_applied {
            let done = std::mem::take(&mut self.tally.trying);
            for id in done.iter().filter(|id| !self.due.contains(id)) {
                self.tally.of.insert(*id, self.revisions);
            }
            if self.due.is_empty() {
                self.tally.in_flight = None;
            }
        }
        let open: BTreeSet<TemplateId> = self.due.union(&self.tally.trying).copied().collect();
        let gone: Vec<TemplateId> = self
            .tally
            .unsettled
            .keys()
            .filter(|id| !open.contains(id))
            .copied()
            .collect();
        for id in gone {
            self.tally.unsettled.remove(&id);
            self.tally.settled.insert(id, now);
        }
        for id in open {
            let kind = self.kind(id);
            let entry = self.tally.unsettled.entry(id).or_insert((kind, now));
            if entry.0 != kind {
                *entry = (kind, now);
            }
        }
    }

    pub(super) fn note_child(&mut self, now: Instant) {
        let state = self.child_state();
        if let Some(state) = state
            && self.tally.child.is_none_or(|(old, _)| old != state)
        {
            self.tally.child = Some((state, now));
        }
    }

    fn child_state(&self) -> Option<ChildState> {
        let supervise = &self.supervise;
        self.policy().supervises.then(|| match supervise {
            _ if supervise.running() => ChildState::Running,
            _ if supervise.alive() || supervise.sweeping() => ChildState::Stopping,
            _ if supervise.deadline().is_some() => ChildState::Pausing,
            _ if self.tally.counts.starts == 0 => ChildState::NotStarted,
            _ => ChildState::Gone,
        })
    }

    fn kind(&self, id: TemplateId) -> Kind {
        let tally = &self.tally;
        match &self.phase {
            Phase::PuttingBack { .. } if tally.trying.contains(&id) => return Kind::PuttingBack,
            Phase::Pausing(_) | Phase::Applying | Phase::Probing | Phase::Reapplying if tally.trying.contains(&id) => {
                return Kind::NotApplied;
            }
            _ => {}
        }
        match (tally.holds.get(&id), &tally.blocked) {
            (Some(Hold::Missing(_)), _) => Kind::Keys,
            (Some(Hold::Broken(_)), _) => Kind::Broken,
            (None, Some(Blocked::Refused(_))) => Kind::Refused,
            (None, Some(Blocked::Unwritable(_))) => Kind::Unwritable,
            (None, Some(Blocked::NotApplied(_))) => Kind::NotApplied,
            (None, Some(Blocked::PutBack(_))) => Kind::PutBack,
            (None, None) if !self.stream.current() => Kind::Store,
            (None, None) if !tally.holds.is_empty() => Kind::Held,
            (None, None) => Kind::OnItsWay,
        }
    }

    pub(super) fn wait(&self) -> Option<Wait> {
        let worst = [
            Kind::PuttingBack,
            Kind::Keys,
            Kind::Broken,
            Kind::Unwritable,
            Kind::Refused,
            Kind::PutBack,
            Kind::Store,
            Kind::NotApplied,
            Kind::OnItsWay,
        ];
        let open = &self.tally.unsettled;
        let has = |kind: &Kind| open.values().any(|(other, _)| other == kind);
        if let Some(kind) = worst.into_iter().find(has) {
            return Some(Wait::Set(kind));
        }
        match (self.tally.link, self.child_state()) {
            (link @ (Link::Away | Link::Refused), _) => Some(Wait::Link(link)),
            (_, Some(state @ (ChildState::Stopping | ChildState::Pausing))) => Some(Wait::Child(state)),
            _ => None,
        }
    }

    fn waiting(&self, wait: Wait) -> String {
        let tally = &self.tally;
        let reason = || {
            tally
                .link_reason
                .as_deref()
                .map_or(String::new(), |why| format!(": {why}"))
        };
        match wait {
            Wait::Set(Kind::Keys) => {
                let missing = tally.holds.values().filter_map(|hold| match hold {
                    Hold::Missing(lacks) => Some(lacks.as_slice()),
                    Hold::Broken(_) => None,
                });
                let mut lacks: Vec<&Lack> = missing.flatten().collect();
                lacks.sort();
                lacks.dedup_by(|a, b| a.key == b.key);
                let first = lacks
                    .first()
                    .map_or(String::new(), |lack| format!(" `{}` ({})", lack.key, lack.place));
                match lacks.len() {
                    0 | 1 => format!("the key{first}"),
                    more => format!("the key{first} and {} more", more - 1),
                }
            }
            Wait::Set(Kind::Broken) => "a template that cannot be rendered to be mended".to_owned(),
            Wait::Set(Kind::Refused) => "values that the check accepts".to_owned(),
            Wait::Set(Kind::PutBack) => "values that the program takes".to_owned(),
            Wait::Set(Kind::Unwritable) => "the files to be writable".to_owned(),
            Wait::Set(Kind::PuttingBack) => "the old files to be put back".to_owned(),
            Wait::Set(Kind::Store) => format!("the store{}", reason()),
            Wait::Set(Kind::NotApplied) => match self.phase {
                Phase::Pausing(_) => "the pause before the program is told (splay)".to_owned(),
                Phase::Probing => "the program to be found well with the files ([confirm])".to_owned(),
                _ => "the program to use the files".to_owned(),
            },
            Wait::Set(Kind::OnItsWay | Kind::Held) => "the next set to be rendered and put in place".to_owned(),
            Wait::Link(Link::Refused) => format!("the store to allow a watch{}", reason()),
            Wait::Link(_) => format!("the store to come back{}", reason()),
            Wait::Child(ChildState::Pausing) => "the pause before the program is started again".to_owned(),
            Wait::Child(_) => "the program to stop".to_owned(),
        }
    }

    /// The revision that what was just decided is about, for log lines.
    #[must_use]
    pub fn about(&self) -> Option<Revisions> {
        self.tally.about
    }

    /// Rises with everything that is worth a report.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.tally.version
    }

    /// The leader's time of the oldest change in the set that was just applied; asked once.
    pub fn freshly_applied(&mut self) -> Option<u64> {
        self.tally.fresh.take()
    }

    /// What others have said, without values of the store and without others that are given.
    #[must_use]
    pub fn redacted<'a>(&'a self, text: &str, others: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
        redact(text, self.view.values().chain(others))
    }

    /// Everything that can be told.
    #[must_use]
    pub fn state(&self) -> State {
        let tally = &self.tally;
        let names = &self.program.config.templates;
        let templates = names.iter().zip(&self.texts).enumerate().map(|(id, (template, text))| {
            let (standing, since) = self.stands(id);
            TemplateState {
                destination: template.shown.clone(),
                standing,
                since,
                revisions: tally.of.get(&id).copied(),
                text: text.clone(),
            }
        });
        let variables = self.program.config.environment_id().map(|id| {
            let (standing, since) = self.stands(id);
            let text = self.environment.as_deref().unwrap_or_default();
            VariablesState {
                names: variables(text).map(|(name, _)| name.to_owned()).collect(),
                standing,
                since,
                revisions: tally.of.get(&id).copied(),
            }
        });
        let child = self.child_state();
        let trouble = match &tally.blocked {
            Some(Blocked::Unwritable(reason)) => {
                let next = match self.phase {
                    Phase::PuttingBack { again, .. } => again,
                    _ => self.retry_at,
                };
                Some((reason.clone(), tally.tries, next))
            }
            Some(Blocked::NotApplied(reason) | Blocked::PutBack(reason)) if self.first => {
                Some((reason.clone(), self.unstarted.tries(), self.retry_at))
            }
            Some(Blocked::Refused(_) | Blocked::NotApplied(_) | Blocked::PutBack(_)) | None => None,
        };
        State {
            cluster: self.view.cluster().to_owned(),
            seen: tally.seen,
            rendered: tally.rendered,
            applied: tally.applied,
            link: tally.link,
            link_since: tally.link_since,
            link_reason: tally.link_reason.clone(),
            templates: templates.collect(),
            variables,
            cached: self.cached(),
            waiting: tally.wait.map(|(wait, since)| (self.waiting(wait), Some(since))),
            child,
            child_since: tally.child.map(|(_, since)| since),
            last_exit: tally.last_exit.clone(),
            refusal: tally.refusal.clone(),
            trouble,
            ready: !self.first && !self.supervise.ending() && (child.is_none() || self.supervise.alive()),
            ending: self.supervise.ending(),
            counts: tally.counts.clone(),
        }
    }

    /// How far one text of the set is, and since when.
    fn stands(&self, id: TemplateId) -> (Standing, Option<Instant>) {
        match self.tally.unsettled.get(&id) {
            Some((kind, since)) => (self.standing(id, *kind), Some(*since)),
            None => (Standing::InPlace, self.tally.settled.get(&id).copied()),
        }
    }

    fn standing(&self, id: TemplateId, kind: Kind) -> Standing {
        let tally = &self.tally;
        let reason = match &tally.blocked {
            Some(
                Blocked::Refused(told) | Blocked::Unwritable(told) | Blocked::NotApplied(told) | Blocked::PutBack(told),
            ) => Some(told.clone()),
            None => None,
        };
        match (kind, tally.holds.get(&id)) {
            (Kind::Keys, Some(Hold::Missing(lacks))) => Standing::WaitingForKeys(lacks.clone()),
            (Kind::Broken, Some(Hold::Broken(told))) => Standing::Broken(told.clone()),
            (Kind::Store, _) => Standing::WaitingForStore,
            (Kind::Held, _) => Standing::Held,
            (Kind::Refused, _) => Standing::Refused(reason.unwrap_or_default()),
            (Kind::Unwritable, _) => Standing::Unwritable(reason.unwrap_or_default()),
            (Kind::NotApplied, _) => Standing::NotApplied(reason),
            (Kind::PutBack, _) => Standing::PutBack(reason.unwrap_or_default()),
            (Kind::PuttingBack, _) => Standing::PuttingBack,
            (Kind::OnItsWay | Kind::Keys | Kind::Broken, _) => Standing::OnItsWay,
        }
    }
}
