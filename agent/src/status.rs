//! The status document: what `agent status -o json` prints and `GET /status` answers.
//!
//! Made from the core's [`State`] and what the loop knows beside it. Members are added, never
//! removed; `version` would rise otherwise. It quotes no value of the store: reasons come in with
//! values taken out, and a file is told by its hash.

mod told;

use std::time::Instant;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::core::state::{ChildState, Link, Mark, Standing, State, TemplateState, VariablesState};
use crate::helpers::encode::hex;
use crate::view::Revisions;

/// The form of this document.
const VERSION: u32 = 1;

/// The longest report in bytes, while a store takes values of 512 KiB.
const LONGEST_REPORT: usize = 256 << 10;

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    version: u32,
    /// When this is told.
    #[serde(default)]
    at: String,
    agent: About,
    state: Overall,
    ready: bool,
    waiting: Option<Waiting>,
    cluster: Option<String>,
    revisions: All,
    store: Store,
    templates: Vec<Template>,
    /// How many are left out of a report, which has a length that every store takes.
    #[serde(default, skip_serializing_if = "is_none")]
    templates_omitted: usize,
    #[serde(default)]
    variables: Option<Variables>,
    #[serde(default)]
    cache: Option<Cache>,
    child: Option<Child>,
    last_refusal: Option<Refusal>,
    trouble: Option<Trouble>,
}

/// Who tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Its name, as in a report.
    pub name: String,
    /// The program's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// When it was started.
    pub since: String,
}

/// What the loop knows and the core does not.
pub struct Facts<'a> {
    /// Who tells.
    pub agent: About,
    /// Which server answered last.
    pub address: Option<String>,
    /// The child's process.
    pub child: Option<i32>,
    /// When this is told.
    pub now: Instant,
    /// What a clock says of a moment.
    pub when: &'a dyn Fn(Instant) -> String,
}

/// The whole in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overall {
    /// Every file is in place and used.
    InPlace,
    /// Something is being done, and needs nobody.
    OnItsWay,
    /// Something has to come from elsewhere.
    Waiting,
    /// Somebody has to look.
    Failed,
    /// It is about to end.
    Ending,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Waiting {
    r#for: String,
    since: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct All {
    seen: Option<At>,
    rendered: Option<At>,
    applied: Option<At>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct At {
    settings: u64,
    live: u64,
    at: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Store {
    state: String,
    since: Option<String>,
    address: Option<String>,
    reason: Option<String>,
    reconnects: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Template {
    destination: String,
    state: String,
    since: Option<String>,
    revision: Option<u64>,
    sha256: Option<String>,
    keys: Vec<Key>,
    reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Variables {
    names: Vec<String>,
    #[serde(default, skip_serializing_if = "is_none")]
    names_omitted: usize,
    state: String,
    since: Option<String>,
    revision: Option<u64>,
    keys: Vec<Key>,
    reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Cache {
    current_at: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Key {
    key: String,
    place: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Child {
    pid: Option<i32>,
    state: String,
    since: Option<String>,
    restarts: u64,
    last_exit: Option<Ended>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Ended {
    how: String,
    at: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Refusal {
    revision: u64,
    reason: String,
    at: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Trouble {
    reason: String,
    tries: u64,
    next_try: Option<String>,
}

impl Status {
    /// What is so now.
    #[must_use]
    pub fn of(state: &State, facts: Facts<'_>) -> Self {
        let when = facts.when;
        let at = |mark: &Mark| at(mark, when);
        let child = state.child.map(|child| Child {
            pid: facts.child,
            state: child_word(child).to_owned(),
            since: state.child_since.map(when),
            restarts: state.counts.starts.saturating_sub(1),
            last_exit: state.last_exit.as_ref().map(|(how, at)| Ended {
                how: how.clone(),
                at: when(*at),
            }),
        });
        Self {
            version: VERSION,
            at: when(facts.now),
            agent: facts.agent,
            state: overall(state),
            ready: state.ready,
            waiting: state.waiting.as_ref().map(|(what, since)| Waiting {
                r#for: what.clone(),
                since: since.map(when),
            }),
            cluster: Some(state.cluster.clone()).filter(|id| !id.is_empty()),
            revisions: All {
                seen: state.seen.as_ref().map(at),
                rendered: state.rendered.as_ref().map(at),
                applied: state.applied.as_ref().map(at),
            },
            store: Store {
                state: link_word(state.link).to_owned(),
                since: state.link_since.map(when),
                address: facts.address,
                reason: state.link_reason.clone(),
                reconnects: state.counts.reconnects,
            },
            templates: state.templates.iter().map(|one| template(one, when)).collect(),
            templates_omitted: 0,
            variables: state.variables.as_ref().map(|all| variables(all, when)),
            cache: state.cached.map(|at| Cache { current_at: when(at) }),
            child,
            last_refusal: state.refusal.as_ref().map(|(mark, reason)| Refusal {
                revision: mark.revisions.settings.0,
                reason: reason.clone(),
                at: when(mark.at),
            }),
            trouble: state.trouble.as_ref().map(|(reason, tries, next)| Trouble {
                reason: reason.clone(),
                tries: *tries,
                next_try: next.map(when),
            }),
        }
    }

    /// The document.
    #[must_use]
    pub fn json(&self) -> String {
        // Texts and numbers always have a form.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The document, no longer than a report may be: of many files those that are in place are left out
    /// first, and names of variables behind them.
    #[must_use]
    pub fn report(mut self) -> String {
        let all = self.templates.len();
        self.templates.sort_by_key(|one| one.state == "in_place");
        loop {
            self.templates_omitted = all - self.templates.len();
            let text = self.json();
            let names = self.variables.as_mut().filter(|all| !all.names.is_empty());
            match (text.len() <= LONGEST_REPORT, names) {
                (false, _) if !self.templates.is_empty() => self.templates.truncate(self.templates.len() / 2),
                (false, Some(all)) => {
                    let kept = all.names.len() / 2;
                    all.names_omitted += all.names.len() - kept;
                    all.names.truncate(kept);
                }
                _ => return text,
            }
        }
    }

    /// Whether every file is in place, and the program runs if there is one.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.ready && self.state == Overall::InPlace
    }
}

fn at(mark: &Mark, when: &dyn Fn(Instant) -> String) -> At {
    let Revisions { settings, live } = mark.revisions;
    At {
        settings: settings.0,
        live: live.0,
        at: when(mark.at),
    }
}

/// The word for how far it is, the keys that are missing, the reason.
fn standing(standing: &Standing) -> (String, Vec<Key>, Option<String>) {
    let (state, keys, reason) = match standing {
        Standing::InPlace => ("in_place", &[][..], None),
        Standing::OnItsWay => ("on_its_way", &[][..], None),
        Standing::WaitingForStore => ("waiting_for_store", &[][..], None),
        Standing::WaitingForKeys(lacks) => ("waiting_for_keys", lacks.as_slice(), None),
        Standing::Broken(told) => ("broken", &[][..], Some(told)),
        Standing::Held => ("held_by_others", &[][..], None),
        Standing::Refused(told) => ("refused", &[][..], Some(told)),
        Standing::Unwritable(told) => ("unwritable", &[][..], Some(told)),
        Standing::NotApplied(told) => ("not_applied", &[][..], told.as_ref()),
        Standing::PutBack(told) => ("put_back", &[][..], Some(told)),
        Standing::PuttingBack => ("being_put_back", &[][..], None),
    };
    let keys = keys.iter().map(|lack| Key {
        key: lack.key.clone(),
        place: lack.place.clone(),
    });
    (state.to_owned(), keys.collect(), reason.cloned())
}

fn variables(all: &VariablesState, when: &dyn Fn(Instant) -> String) -> Variables {
    let (state, keys, reason) = standing(&all.standing);
    Variables {
        names: all.names.clone(),
        names_omitted: 0,
        state,
        since: all.since.map(when),
        revision: all.revisions.map(|revisions| revisions.settings.0),
        keys,
        reason,
    }
}

fn template(one: &TemplateState, when: &dyn Fn(Instant) -> String) -> Template {
    let (state, keys, reason) = standing(&one.standing);
    Template {
        destination: one.destination.clone(),
        state,
        since: one.since.map(when),
        revision: one.revisions.map(|revisions| revisions.settings.0),
        sha256: one
            .text
            .as_ref()
            .map(|text| hex(&sha2::Sha256::digest(text.as_bytes()))),
        keys,
        reason,
    }
}

/// The worst of all templates and variables, of the child, and of the end.
fn overall(state: &State) -> Overall {
    let of = |standing: &Standing| match standing {
        Standing::InPlace => 0,
        Standing::OnItsWay | Standing::NotApplied(None) => 1,
        Standing::WaitingForStore | Standing::WaitingForKeys(_) | Standing::Held => 2,
        Standing::Broken(_)
        | Standing::Refused(_)
        | Standing::Unwritable(_)
        | Standing::NotApplied(Some(_))
        | Standing::PutBack(_)
        | Standing::PuttingBack => 3,
    };
    let files = state.templates.iter().map(|one| &one.standing);
    let all = files.chain(state.variables.as_ref().map(|all| &all.standing));
    let worst = all.map(of).max().unwrap_or(0);
    match (state.ending, worst, state.child) {
        (true, _, _) => Overall::Ending,
        (false, 3, _) => Overall::Failed,
        (false, 2, _) => Overall::Waiting,
        (false, 1, _) | (false, _, Some(ChildState::Stopping | ChildState::NotStarted)) => Overall::OnItsWay,
        (false, _, Some(ChildState::Pausing | ChildState::Gone)) => Overall::Failed,
        (false, _, _) => Overall::InPlace,
    }
}

fn is_none(count: &usize) -> bool {
    *count == 0
}

fn link_word(link: Link) -> &'static str {
    match link {
        Link::Connecting => "connecting",
        Link::Connected => "connected",
        Link::Away => "away",
        Link::Refused => "refused",
    }
}

fn child_word(child: ChildState) -> &'static str {
    match child {
        ChildState::NotStarted => "not_started",
        ChildState::Running => "running",
        ChildState::Stopping => "stopping",
        ChildState::Pausing => "waits_to_be_started",
        ChildState::Gone => "gone",
    }
}

#[cfg(test)]
mod tests;
