//! The store as one would write it who need not be fast: the whole map of every revision there ever
//! was. Written from what the API says, so that the real one has something to be compared with.

mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use kvapi::Revision;

use crate::command::{Action, Command, Limits, Op, Outcome, Reply};
use crate::state::Entry;
use crate::state::sessions::{Behavior, Terms};
use work::Work;

const TEN_MINUTES_MS: u64 = 10 * 60 * 1000;

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) value: Bytes,
    pub(crate) flags: u64,
    pub(crate) create: u64,
    pub(crate) modify: u64,
    pub(crate) lock_index: u64,
    pub(crate) session: Option<String>,
}

impl Held {
    pub(crate) fn of(entry: &Entry) -> Self {
        Self {
            value: entry.value.clone(),
            flags: entry.flags,
            create: entry.create.0,
            modify: entry.modify.0,
            lock_index: entry.lock_index,
            session: entry.session.as_deref().map(str::to_owned),
        }
    }

    fn entry(&self) -> Arc<Entry> {
        Arc::new(Entry {
            value: self.value.clone(),
            flags: self.flags,
            create: Revision(self.create),
            modify: Revision(self.modify),
            lock_index: self.lock_index,
            session: self.session.as_deref().map(Into::into),
        })
    }
}

pub(crate) type Map = BTreeMap<String, Held>;

/// A session, as far as it matters to keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) behavior: Behavior,
    /// Milliseconds.
    delay: u64,
    pub(crate) create: u64,
}

/// What a request id was told.
struct Told {
    at: u64,
    action: Action,
    reply: Reply,
}

/// See the module.
pub(crate) struct Model {
    /// One map for each revision; the first is that of revision 1, and empty.
    maps: Vec<Map>,
    /// The keys that each revision wrote or deleted; nothing for revision 1.
    touched: Vec<BTreeSet<String>>,
    told: BTreeMap<String, Told>,
    sessions: BTreeMap<String, Life>,
    /// The newest revision that began or ended a session.
    of_sessions: u64,
    /// Until when each name may not be locked.
    shut: BTreeMap<String, u64>,
    now: u64,
    limits: Limits,
    floor: u64,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            maps: vec![Map::new()],
            touched: vec![BTreeSet::new()],
            told: BTreeMap::new(),
            sessions: BTreeMap::new(),
            of_sessions: 1,
            shut: BTreeMap::new(),
            now: 0,
            limits: Limits::default(),
            floor: 1,
        }
    }
}

/// Whether somebody who asks for `prefix` is shown `key`.
pub(crate) fn is_shown(prefix: &str, key: &str) -> bool {
    key.starts_with(prefix) && (!key.starts_with("_keyway/") || prefix.starts_with("_keyway/"))
}

impl Model {
    /// The newest revision.
    pub(crate) fn revision(&self) -> u64 {
        self.maps.len() as u64
    }

    /// The map as it was at a revision.
    pub(crate) fn at(&self, revision: u64) -> &Map {
        &self.maps[usize::try_from(revision - 1).unwrap()]
    }

    pub(crate) fn newest(&self) -> &Map {
        self.at(self.revision())
    }

    /// What a revision did to the keys that `wanted` picks: what is there now, or nothing.
    pub(crate) fn changes(&self, revision: u64, wanted: impl Fn(&str) -> bool) -> BTreeMap<String, Option<Held>> {
        let keys = self.touched[usize::try_from(revision - 1).unwrap()].iter();
        keys.filter(|key| wanted(key))
            .map(|key| (key.clone(), self.at(revision).get(key).cloned()))
            .collect()
    }

    /// The revisions after `since` that touched a key that `wanted` picks.
    pub(crate) fn revisions(&self, since: u64, wanted: impl Fn(&str) -> bool) -> Vec<u64> {
        (since + 1..=self.revision())
            .filter(|revision| !self.changes(*revision, &wanted).is_empty())
            .collect()
    }

    /// The oldest revision after which every change of a setting is kept, as far as the number of
    /// revisions decides it.
    pub(crate) const fn floor(&self) -> u64 {
        self.floor
    }

    /// The index of a read: the newest revision that touched what `wanted` picks; if none ever did,
    /// the newest of the same kind, Keyway's own or a setting.
    fn index(&self, own: bool, wanted: impl Fn(&str) -> bool) -> u64 {
        let of_its_kind = |key: &str| key.starts_with("_keyway/") == own;
        let newest = |revisions: Vec<u64>| revisions.last().copied();
        newest(self.revisions(1, wanted))
            .or_else(|| newest(self.revisions(1, of_its_kind)))
            .unwrap_or(1)
    }

    pub(crate) fn index_of_prefix(&self, prefix: &str) -> u64 {
        self.index(prefix.starts_with("_keyway/"), |key| is_shown(prefix, key))
    }

    pub(crate) fn index_of_key(&self, name: &str) -> u64 {
        match self.newest().get(name) {
            Some(held) => held.modify,
            // A key that is not there reports the newest change of its kind.
            None => self.index(name.starts_with("_keyway/"), |_| false),
        }
    }

    pub(crate) const fn sessions(&self) -> &BTreeMap<String, Life> {
        &self.sessions
    }

    pub(crate) const fn index_of_sessions(&self) -> u64 {
        self.of_sessions
    }

    /// Whether a name may not be locked now.
    pub(crate) fn is_shut(&self, name: &str) -> bool {
        self.shut.get(name).is_some_and(|end| self.now < *end)
    }

    pub(crate) fn apply(&mut self, at: u64, command: &Command) -> Reply {
        self.now = self.now.max(at);
        let now = self.now;
        self.told.retain(|_, told| told.at + TEN_MINUTES_MS >= now);
        let id = command.request.as_ref().map(|id| id.0.to_string());
        if let Some(told) = id.as_ref().and_then(|id| self.told.get(id)) {
            if same_question(&told.action, &command.action) {
                return told.reply.clone();
            }
            return Reply {
                revision: Revision(self.revision()),
                outcome: Outcome::RequestReused,
            };
        }
        let outcome = self.perform(&command.action);
        let reply = Reply {
            revision: Revision(self.revision()),
            outcome,
        };
        if let Some(id) = id {
            let told = Told {
                at: now,
                action: command.action.clone(),
                reply: reply.clone(),
            };
            self.told.insert(id, told);
        }
        reply
    }

    fn perform(&mut self, action: &Action) -> Outcome {
        let mut work = Work {
            map: self.newest().clone(),
            revision: self.revision() + 1,
            touched: BTreeSet::new(),
            sessions: self.sessions.keys().cloned().collect(),
            shut: (self.shut.iter().filter(|(_, end)| self.now < **end))
                .map(|(name, _)| name.clone())
                .collect(),
        };
        let mut of_sessions = false;
        let outcome = match action {
            Action::Put { key, value, flags, cas } => Outcome::Done(work.put(key, value, *flags, *cas)),
            Action::Delete { key, cas } => Outcome::Done(work.delete(key, *cas)),
            Action::DeletePrefix { prefix } => {
                work.delete_prefix(prefix);
                Outcome::Done(true)
            }
            Action::Acquire { key, .. } if work.shut.contains(key.as_str()) => Outcome::Done(false),
            Action::Acquire {
                key,
                value,
                flags,
                session,
            } => single(work.acquire(key, value, *flags, session)),
            Action::Release {
                key,
                value,
                flags,
                session,
            } => single(work.release(key, value, *flags, session)),
            Action::CreateSession { id, terms } => {
                if !self.sessions.contains_key(&**id) {
                    of_sessions = true;
                    let life = Life {
                        behavior: terms.behavior,
                        delay: u64::try_from(terms.lock_delay.max(0)).unwrap().div_ceil(1_000_000),
                        create: work.revision,
                    };
                    self.sessions.insert(id.to_string(), life);
                }
                Outcome::Session(Arc::clone(id))
            }
            Action::EndSession { id } => {
                let id = id.to_lowercase();
                if let Some(life) = self.sessions.remove(&id) {
                    of_sessions = true;
                    for name in work.end(&id, life.behavior) {
                        self.shut.insert(name, self.now + life.delay.min(60_000));
                    }
                }
                Outcome::Done(true)
            }
            Action::Txn { ops } if ops.iter().any(|op| work.is_shut(op)) => {
                let shut = ops.iter().enumerate().filter(|(_, op)| work.is_shut(op));
                let what = |(n, op): (usize, &Op)| {
                    let Op::Lock { key, .. } = op else { unreachable!() };
                    (n, format!("failed to lock key \"{key}\" due to lock delay"))
                };
                Outcome::Failed(shut.map(what).collect())
            }
            Action::Txn { ops } => {
                let results: Vec<_> = ops.iter().map(|op| work.op(op)).collect();
                let failed: Vec<_> = (results.iter().enumerate())
                    .filter_map(|(n, result)| Some((n, result.as_ref().err()?.clone())))
                    .collect();
                if failed.is_empty() {
                    Outcome::Shown(results.into_iter().flat_map(Result::unwrap).collect())
                } else {
                    Outcome::Failed(failed)
                }
            }
            Action::Keep(limits) => {
                self.limits = *limits;
                Outcome::Done(true)
            }
            Action::Compact { revision } => {
                self.floor = self.floor.max(revision.0.min(self.revision()));
                Outcome::Done(true)
            }
            Action::Stage { .. } | Action::Restore { .. } => unreachable!("restores.rs is about these"),
            Action::Retain(retain) => {
                self.limits = retain.limits(self.limits);
                let compact_to = retain.compact_to.map_or(0, |revision| revision.0);
                self.floor = self.floor.max(compact_to.min(self.revision()));
                Outcome::Done(true)
            }
        };
        if !matches!(outcome, Outcome::Failed(_)) && (of_sessions || !work.touched.is_empty()) {
            if of_sessions {
                self.of_sessions = work.revision;
            }
            self.maps.push(work.map);
            self.touched.push(work.touched);
        }
        self.raise_floor();
        outcome
    }

    fn raise_floor(&mut self) {
        let settings = self.revisions(1, |key| !key.starts_with("_keyway/"));
        let kept = usize::try_from(self.limits.revisions).unwrap_or(usize::MAX);
        if let Some(gone) = settings.len().checked_sub(kept + 1) {
            self.floor = self.floor.max(settings[gone]);
        }
    }
}

/// Whether two writes with the same id are the same write.
fn same_question(a: &Action, b: &Action) -> bool {
    match (a, b) {
        // The id is the answer, and the server the one that was asked.
        (Action::CreateSession { terms: a, .. }, Action::CreateSession { terms: b, .. }) => {
            let elsewhere = |terms: &Terms| Terms {
                node: "".into(),
                ..terms.clone()
            };
            elsewhere(a) == elsewhere(b)
        }
        (a, b) => a == b,
    }
}

fn single(result: Result<bool, String>) -> Outcome {
    result.map_or_else(Outcome::Refused, Outcome::Done)
}
