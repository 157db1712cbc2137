//! What goes by is remembered, as far as the decisions themselves do not need it: since when, how
//! often, why.
//!
//! [`Core::note`] sees an event before it is taken in, [`Core::observe`] the actions that follow. A
//! change costs what it affects: templates that are in place and stay so are not looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use kvapi::types::WatchEvent;

use super::state::{ChildState, Counts, Link, Mark};
use super::{Action, Core, Event, Phase, Unfit};
use crate::graph::TemplateId;
use crate::render::{Held, Lack};
use crate::view::Revisions;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    OnItsWay,
    Store,
    Keys,
    Broken,
    Held,
    Refused,
    Unwritable,
    NotApplied,
    PutBack,
    PuttingBack,
}

/// What is waited for, without the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    Set(Kind),
    Link(Link),
    Child(ChildState),
}

#[derive(Debug)]
pub(super) enum Hold {
    Missing(Vec<Lack>),
    Broken(String),
}

#[derive(Debug)]
pub(super) enum Blocked {
    Refused(String),
    Unwritable(String),
    NotApplied(String),
    PutBack(String),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) counts: Counts,
    pub(super) seen: Option<Mark>,
    pub(super) rendered: Option<Mark>,
    pub(super) applied: Option<Mark>,
    /// The set that was tried last.
    pub(super) set: Option<Revisions>,
    /// The revision that the event in hand is about, if it is about a set.
    pub(super) about: Option<Revisions>,
    /// Its templates, until it is in place or they are due again.
    pub(super) trying: BTreeSet<TemplateId>,
    pub(super) holds: BTreeMap<TemplateId, Hold>,
    pub(super) blocked: Option<Blocked>,
    pub(super) tries: u64,
    pub(super) refusal: Option<(Mark, String)>,
    /// Why something is not applied, told by the event in hand.
    pub(super) cause: Option<String>,
    pub(super) of: BTreeMap<TemplateId, Revisions>,
    /// What the last promotion replaced of that.
    pub(super) of_before: Vec<(TemplateId, Option<Revisions>)>,
    pub(super) unsettled: BTreeMap<TemplateId, (Kind, Instant)>,
    pub(super) settled: BTreeMap<TemplateId, Instant>,
    pub(super) wait: Option<(Wait, Instant)>,
    pub(super) link: Link,
    pub(super) link_since: Option<Instant>,
    pub(super) link_reason: Option<String>,
    pub(super) connections: u64,
    pub(super) child: Option<(ChildState, Instant)>,
    pub(super) last_exit: Option<(String, Instant)>,
    /// How many were due before the event in hand, and the leader's time in it.
    pub(super) before: (usize, Option<u64>),
    pub(super) reapplying: bool,
    /// The oldest change that is not on its way yet, and the oldest that is: the leader's time,
    /// and our own.
    pub(super) pending: Option<(u64, Instant)>,
    pub(super) in_flight: Option<(u64, Instant)>,
    pub(super) fresh: Option<u64>,
    pub(super) version: u64,
}

impl Tally {
    /// Takes the other templates of a configuration that was read again.
    pub(super) fn adopt(&mut self) {
        self.trying.clear();
        self.holds.clear();
        self.of.clear();
        self.of_before.clear();
        self.unsettled.clear();
        self.settled.clear();
        self.blocked = None;
    }

    fn link(&mut self, link: Link, reason: Option<&str>, now: Instant) {
        if self.link != link {
            (self.link, self.link_since) = (link, Some(now));
        }
        self.link_reason = reason.map(str::to_owned);
    }

    fn unfit(&mut self, unfit: &Unfit, now: Instant) {
        let (Unfit::Refused(reason) | Unfit::Unwritable(reason)) = unfit;
        if let Some(revisions) = self.set {
            self.refusal = Some((Mark { revisions, at: now }, reason.clone()));
        }
        self.blocked = Some(match unfit {
            Unfit::Refused(reason) => {
                self.counts.refused += 1;
                Blocked::Refused(reason.clone())
            }
            Unfit::Unwritable(reason) => {
                self.counts.unwritable += 1;
                self.tries += 1;
                Blocked::Unwritable(reason.clone())
            }
        });
    }
}

impl Core {
    /// Before an event is taken in.
    pub(super) fn note(&mut self, event: &Event, now: Instant) {
        let due = self.due.len();
        let tally = &mut self.tally;
        tally.before = (due, None);
        tally.reapplying = matches!(self.phase, Phase::Reapplying);
        tally.cause = None;
        // What the program does, it does with the files that are in place.
        let in_place = tally.reapplying || matches!(event, Event::Exited { .. });
        tally.about = match in_place {
            true => Some(self.revisions).filter(|_| !self.first),
            false => tally.set,
        };
        let mut told = true;
        match event {
            Event::Connected { .. } => {
                tally.counts.reconnects += u64::from(tally.connections > 0);
                tally.connections += 1;
                tally.link(Link::Connected, None, now);
                tally.about = None;
            }
            Event::Lost { reason, .. } => {
                tally.link(Link::Away, Some(reason), now);
                tally.about = None;
            }
            Event::Denied(problem) => {
                tally.link(Link::Refused, Some(&problem.what), now);
                tally.about = None;
            }
            Event::Stream(event) => {
                if let WatchEvent::Change(change) = event {
                    tally.before.1 = Some(change.at);
                }
                (tally.about, told) = (None, false);
            }
            Event::Rendered(rendered) => {
                for one in rendered {
                    tally.counts.renders += 1;
                    match &one.outcome {
                        Ok(_) | Err(Held::Outside) => drop(tally.holds.remove(&one.id)),
                        Err(Held::Missing(lacks)) => {
                            tally.holds.insert(one.id, Hold::Missing(lacks.clone()));
                        }
                        Err(Held::Broken(told)) => {
                            tally.counts.broken += 1;
                            tally.holds.insert(one.id, Hold::Broken(told.clone()));
                        }
                    }
                }
            }
            Event::Checked(Err(unfit)) => tally.unfit(unfit, now),
            Event::HalfWay(reason) => {
                tally.unfit(&Unfit::Unwritable(reason.clone()), now);
                tally.of_before.clear();
            }
            Event::Promoted(Err(reason)) => tally.unfit(&Unfit::Unwritable(reason.clone()), now),
            Event::Checked(Ok(_)) => tally.blocked = None,
            Event::Promoted(Ok(())) => {
                (tally.blocked, tally.tries) = (None, 0);
                if let Phase::Promoting(set) = &self.phase {
                    let placed = |id: &TemplateId| (*id, tally.of.insert(*id, set.revisions));
                    tally.of_before = tally.trying.iter().map(placed).collect();
                }
            }
            Event::PutBack(Ok(())) => {
                let reason = tally
                    .refusal
                    .as_ref()
                    .map(|(_, reason)| Blocked::PutBack(reason.clone()));
                (tally.blocked, tally.tries) = (reason, 0);
                for (id, before) in std::mem::take(&mut tally.of_before) {
                    match before {
                        Some(before) => drop(tally.of.insert(id, before)),
                        None => drop(tally.of.remove(&id)),
                    }
                }
            }
            Event::PutBack(Err(reason)) => {
                tally.counts.unwritable += 1;
                tally.tries += 1;
                tally.blocked = Some(Blocked::Unwritable(reason.clone()));
            }
            Event::Applied { attempt, result } | Event::Probed { attempt, result } => {
                if let (true, Err(reason)) = (*attempt == self.attempt, result) {
                    tally.cause = Some(reason.clone());
                }
            }
            Event::NotStarted { reason, .. } => {
                tally.cause = Some(reason.clone());
                tally.child = Some((ChildState::Gone, now));
            }
            Event::Exited { told, .. } => {
                tally.last_exit = Some((told.clone(), now));
                tally.cause = Some(format!("the process {told}"));
            }
            Event::Started | Event::Swept => {}
            Event::Stop(_) | Event::Pass(_) | Event::Loaded(_) | Event::Recalled(_) => tally.about = None,
            Event::Tick => (tally.about, told) = (None, false),
        }
        tally.version += u64::from(told);
    }

    /// After an event was taken in, and before its actions are performed.
    pub(super) fn observe(&mut self, actions: &[Action], now: Instant) {
        let seen = self.view.revisions();
        let tally = &mut self.tally;
        if tally.seen.is_none_or(|mark| mark.revisions != seen) && tally.connections > 0 {
            tally.seen = Some(Mark {
                revisions: seen,
                at: now,
            });
        }
        let renders = actions.iter().any(|action| matches!(action, Action::Render { .. }));
        if let (before, Some(at)) = tally.before
            && (renders || self.due.len() > before)
        {
            tally.pending.get_or_insert((at, now));
            tally.version += 1;
        }
        for action in actions {
            match action {
                Action::Render { ids, view, .. } => {
                    tally.trying.extend(ids);
                    tally.set = Some(view.revisions());
                    let pending = tally.pending.take();
                    tally.in_flight = tally.in_flight.or(pending);
                    tally.version += 1;
                }
                Action::Check { set, .. } => {
                    let mark = Mark {
                        revisions: set.revisions,
                        at: now,
                    };
                    tally.rendered = Some(mark);
                }
                Action::PutBack if tally.cause.is_some() => {
                    tally.counts.put_back += 1;
                    let cause = tally.cause.take().unwrap_or_default();
                    let revisions = tally.set.unwrap_or(self.revisions);
                    tally.refusal = Some((Mark { revisions, at: now }, cause));
                }
                Action::Start => tally.counts.starts += 1,
                Action::Remember { revisions, .. } => {
                    tally.applied = Some(Mark {
                        revisions: *revisions,
                        at: now,
                    });
                    if tally.reapplying {
                        tally.pending = tally.in_flight.take().or(tally.pending);
                    } else {
                        tally.counts.applied += 1;
                        tally.blocked = None;
                        if let Some((at, arrived)) = tally.in_flight.take() {
                            tally.counts.latency.add(now.saturating_duration_since(arrived));
                            tally.fresh = Some(at);
                        }
                    }
                }
                _ => {}
            }
        }
        let tried_again = self.first && self.retry_at.is_some();
        if (matches!(self.phase, Phase::Settling(_)) || tried_again)
            && tally.applied.is_none_or(|mark| mark.at != now)
            && let Some(cause) = tally.cause.take()
        {
            let revisions = self.revisions;
            tally.refusal = Some((Mark { revisions, at: now }, cause.clone()));
            tally.blocked = Some(Blocked::NotApplied(cause));
        }
        self.settle_kinds(now);
        self.note_child(now);
        let wait = self.wait();
        if self.tally.wait.map(|(wait, _)| wait) != wait {
            self.tally.wait = wait.map(|wait| (wait, now));
            self.tally.version += 1;
        }
    }
}
