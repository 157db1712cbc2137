//! The store as one would write it who need not be fast: the whole map of every revision there ever
//! was. Written from what the API says, so that the real one has something to be compared with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use kvapi::{Key, Revision};

use crate::command::{Action, Command, Limits, Op, Outcome, Reply};
use crate::state::Entry;

const TEN_MINUTES_MS: u64 = 10 * 60 * 1000;

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) value: Bytes,
    pub(crate) flags: u64,
    pub(crate) create: u64,
    pub(crate) modify: u64,
}

impl Held {
    pub(crate) fn of(entry: &Entry) -> Self {
        Self {
            value: entry.value.clone(),
            flags: entry.flags,
            create: entry.create.0,
            modify: entry.modify.0,
        }
    }

    fn entry(&self) -> Arc<Entry> {
        Arc::new(Entry {
            value: self.value.clone(),
            flags: self.flags,
            create: Revision(self.create),
            modify: Revision(self.modify),
            lock_index: 0,
            session: None,
        })
    }
}

pub(crate) type Map = BTreeMap<String, Held>;

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

    pub(crate) fn apply(&mut self, at: u64, command: &Command) -> Reply {
        self.now = self.now.max(at);
        let now = self.now;
        self.told.retain(|_, told| told.at + TEN_MINUTES_MS >= now);
        let id = command.request.as_ref().map(|id| id.0.to_string());
        if let Some(told) = id.as_ref().and_then(|id| self.told.get(id)) {
            if told.action == command.action {
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
        };
        let outcome = match action {
            Action::Put { key, value, flags, cas } => Outcome::Done(work.put(key, value, *flags, *cas)),
            Action::Delete { key, cas } => Outcome::Done(work.delete(key, *cas)),
            Action::DeletePrefix { prefix } => {
                work.delete_prefix(prefix);
                Outcome::Done(true)
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
            Action::Retain(retain) => {
                self.limits = retain.limits(self.limits);
                let compact_to = retain.compact_to.map_or(0, |revision| revision.0);
                self.floor = self.floor.max(compact_to.min(self.revision()));
                Outcome::Done(true)
            }
        };
        if !matches!(outcome, Outcome::Failed(_)) && !work.touched.is_empty() {
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

/// One command at work on a copy.
struct Work {
    map: Map,
    revision: u64,
    touched: BTreeSet<String>,
}

type Shown = Vec<(Key, Arc<Entry>)>;

impl Work {
    fn modify(&self, key: &Key) -> u64 {
        self.map.get(key.as_str()).map_or(0, |held| held.modify)
    }

    fn put(&mut self, key: &Key, value: &Bytes, flags: u64, cas: Option<u64>) -> bool {
        if cas.is_some_and(|cas| cas != self.modify(key)) {
            return false;
        }
        let old = self.map.get(key.as_str());
        if old.is_some_and(|old| old.value == *value && old.flags == flags) {
            return true;
        }
        let held = Held {
            value: value.clone(),
            flags,
            create: old.map_or(self.revision, |old| old.create),
            modify: self.revision,
        };
        self.map.insert(key.as_str().to_owned(), held);
        self.touched.insert(key.as_str().to_owned());
        true
    }

    fn delete(&mut self, key: &Key, cas: Option<u64>) -> bool {
        if !self.map.contains_key(key.as_str()) {
            return true;
        }
        if cas.is_some_and(|cas| cas != self.modify(key)) {
            return false;
        }
        self.map.remove(key.as_str());
        self.touched.insert(key.as_str().to_owned());
        true
    }

    fn delete_prefix(&mut self, prefix: &str) {
        let gone: Vec<String> = self.map.keys().filter(|key| is_shown(prefix, key)).cloned().collect();
        for key in gone {
            self.map.remove(&key);
            self.touched.insert(key);
        }
    }

    fn show(&self, key: &Key) -> Option<(Key, Arc<Entry>)> {
        Some((key.clone(), self.map.get(key.as_str())?.entry()))
    }

    /// As `show`, with the value left out.
    fn meta(&self, key: &Key) -> Shown {
        let bare = self.show(key).map(|(key, entry)| {
            let value = Bytes::new();
            (
                key,
                Arc::new(Entry {
                    value,
                    ..Entry::clone(&entry)
                }),
            )
        });
        bare.into_iter().collect()
    }

    fn op(&mut self, op: &Op) -> Result<Shown, String> {
        Ok(match op {
            Op::Set { key, value, flags } => {
                self.put(key, value, *flags, None);
                self.meta(key)
            }
            Op::Cas {
                key,
                value,
                flags,
                index,
            } => {
                if !self.put(key, value, *flags, Some(*index)) {
                    return Err(format!("failed to set key \"{key}\", index is stale"));
                }
                self.meta(key)
            }
            Op::Get { key } => vec![self.show(key).ok_or(format!("key \"{key}\" doesn't exist"))?],
            Op::GetOrEmpty { key, flags, index, .. } => {
                let empty = Held {
                    value: Bytes::new(),
                    flags: *flags,
                    create: 0,
                    modify: *index,
                };
                vec![self.show(key).unwrap_or_else(|| (key.clone(), empty.entry()))]
            }
            Op::GetTree { prefix } => (self.map.iter())
                .filter(|(key, _)| is_shown(prefix, key))
                .map(|(key, held)| (Key::new(key).unwrap(), held.entry()))
                .collect(),
            Op::Delete { key } => {
                self.delete(key, None);
                vec![]
            }
            Op::DeleteCas { key, index } => {
                if !self.delete(key, Some(*index)) {
                    return Err(format!("failed to delete key \"{key}\", index is stale"));
                }
                vec![]
            }
            Op::DeleteTree { prefix } => {
                self.delete_prefix(prefix);
                vec![]
            }
            Op::CheckIndex { key, index } => match self.modify(key) {
                0 => return Err(format!("failed to check index, key \"{key}\" doesn't exist")),
                now if now != *index => {
                    return Err(format!(
                        "failed index check for key \"{key}\", current modify index {now} != {index}"
                    ));
                }
                _ => self.meta(key),
            },
            Op::CheckSession { key, .. } if self.modify(key) == 0 => {
                return Err(format!("failed to check session, key \"{key}\" doesn't exist"));
            }
            // Nobody holds a key yet.
            Op::CheckSession { key, session } if !session.is_empty() => {
                return Err(format!(
                    "failed session check for key \"{key}\", current session \"\" != \"{session}\""
                ));
            }
            Op::CheckSession { key, .. } => self.meta(key),
            Op::CheckNotExists { key } if self.modify(key) != 0 => return Err(format!("key \"{key}\" exists")),
            Op::CheckNotExists { .. } => vec![],
        })
    }
}
