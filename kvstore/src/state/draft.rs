//! A command at work on the map: changes are made in place and can be taken back whole.

mod locks;

use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use kvapi::{Key, Revision};

use super::entry::Entry;
use super::history::Version;
use super::sessions::Sessions;
use crate::command::{Action, Op, Outcome, shown_weight};
use locks::answer;

type Map = OrdMap<Key, Arc<Entry>>;

/// How much a transaction shows: keys and values, and [`FRAME`](crate::command::FRAME) for each
/// entry. Every replica, and every later start, must refuse the same, so from the first
/// release on another number is another format of the log.
pub(super) const SHOWN_BYTES: usize = 32 << 20;

/// And how many entries.
pub(super) const SHOWN_ENTRIES: usize = 65_536;

/// What the operations of a transaction show, as far as there is room for it.
#[derive(Default)]
struct Shown {
    entries: Vec<(Key, Arc<Entry>)>,
    bytes: usize,
}

impl Shown {
    fn push(&mut self, key: &Key, entry: Arc<Entry>) -> Result<(), TooMuch> {
        self.bytes += shown_weight(key, &entry);
        if self.bytes > SHOWN_BYTES || self.entries.len() == SHOWN_ENTRIES {
            return Err(TooMuch);
        }
        self.entries.push((key.clone(), entry));
        Ok(())
    }
}

/// A transaction would show more than it may.
#[derive(Debug, thiserror::Error)]
#[error(
    "the answer is too large: a transaction shows at most {} MiB and {SHOWN_ENTRIES} entries; \
     show less, or read the tree as a list: GET /v1/kv/PREFIX?recurse",
    SHOWN_BYTES >> 20
)]
struct TooMuch;

/// Why an operation ends a transaction or makes it fail.
enum Stop {
    /// The other operations are tried all the same.
    Failed(String),
    TooMuch(TooMuch),
}

impl From<TooMuch> for Stop {
    fn from(reason: TooMuch) -> Self {
        Self::TooMuch(reason)
    }
}

fn failed(what: String) -> Stop {
    Stop::Failed(what)
}

/// See the module. [`Draft::finish`] ends it.
pub(super) struct Draft<'a> {
    map: &'a mut Map,
    revision: Revision,
    sessions: &'a Sessions,
    /// Log time.
    at: u64,
    /// What was done, in order.
    steps: Vec<Step>,
}

/// A key, what was there before and what is there now.
struct Step {
    key: Key,
    before: Version,
    now: Version,
}

impl<'a> Draft<'a> {
    /// A draft of the revision that is taken if anything changes.
    pub(super) fn new(map: &'a mut Map, revision: Revision, sessions: &'a Sessions, at: u64) -> Self {
        Self {
            map,
            revision,
            sessions,
            at,
            steps: Vec::new(),
        }
    }

    pub(super) fn perform(&mut self, action: &Action) -> Outcome {
        match action {
            Action::Put { key, value, flags, cas } => Outcome::Done(self.put(key, value, *flags, *cas)),
            Action::Delete { key, cas } => Outcome::Done(self.delete(key, *cas)),
            Action::DeletePrefix { prefix } => {
                self.delete_prefix(prefix);
                Outcome::Done(true)
            }
            Action::Txn { ops } => self.txn(ops),
            Action::Acquire {
                key,
                value,
                flags,
                session,
            } => answer(self.acquire_unless_shut(key, value, *flags, session)),
            Action::Release {
                key,
                value,
                flags,
                session,
            } => answer(self.release(key, value, *flags, session)),
            // These change more than the map, or something else: the state does it itself.
            Action::Keep(_)
            | Action::Compact { .. }
            | Action::Retain(_)
            | Action::CreateSession { .. }
            | Action::EndSession { .. }
            | Action::Stage { .. }
            | Action::Restore { .. } => Outcome::Done(true),
        }
    }

    /// Takes everything back if the command failed. Returns what is different, in key order, and
    /// what was there before.
    pub(super) fn finish(mut self, outcome: &Outcome) -> (Vec<(Key, Version)>, Vec<Version>) {
        if let Outcome::Failed(_) = outcome {
            for Step { key, before, .. } in self.steps.into_iter().rev() {
                match before {
                    Some(entry) => drop(self.map.insert(key, entry)),
                    None => drop(self.map.remove(&key)),
                }
            }
            return (Vec::new(), Vec::new());
        }
        // Of the steps of one key, which stay in order, the first knows what was there and the last
        // what is.
        self.steps.sort_by(|a, b| a.key.cmp(&b.key));
        self.steps.dedup_by(|next, first| {
            let same = next.key == first.key;
            if same {
                first.now = next.now.take();
            }
            same
        });
        let steps = self.steps.into_iter();
        steps.map(|step| ((step.key, step.now), step.before)).unzip()
    }

    /// `false` if the swap lost.
    fn put(&mut self, key: &Key, value: &Bytes, flags: u64, cas: Option<u64>) -> bool {
        let current = self.map.get(key);
        if cas.is_some_and(|expected| expected != current.map_or(0, |entry| entry.modify.0)) {
            return false;
        }
        let entry = Entry {
            value: value.clone(),
            flags,
            create: current.map_or(self.revision, |entry| entry.create),
            modify: self.revision,
            // Consul's quirk: an ordinary write resets the count and leaves the holder.
            lock_index: 0,
            session: current.and_then(|entry| entry.session.clone()),
        };
        if current.is_none_or(|current| differs(current, &entry)) {
            self.set(key, Some(entry));
        }
        true
    }

    /// `false` if the swap lost. What is not there is deleted already.
    fn delete(&mut self, key: &Key, cas: Option<u64>) -> bool {
        let Some(current) = self.map.get(key) else { return true };
        if cas.is_some_and(|expected| expected != current.modify.0) {
            return false;
        }
        self.set(key, None);
        true
    }

    fn delete_prefix(&mut self, prefix: &str) {
        let keys = super::range(self.map, prefix).map(|(key, _)| key);
        let keys: Vec<Key> = keys
            .filter(|key| !key.as_str().starts_with(super::SERVERS))
            .cloned()
            .collect();
        for key in keys {
            self.set(&key, None);
        }
    }

    /// Every operation is tried, and all that fail are named (Consul's rule); but the first for
    /// whose answer there is no room is the last.
    ///
    /// Keys that are shut are found before anything is tried, and then only they are named.
    fn txn(&mut self, ops: &[Op]) -> Outcome {
        let shut = self.shut(ops);
        if !shut.is_empty() {
            return Outcome::Failed(shut);
        }
        let mut shown = Shown::default();
        let mut failed = Vec::new();
        for (index, op) in ops.iter().enumerate() {
            match self.op(op, &mut shown) {
                Ok(()) => {}
                Err(Stop::Failed(what)) => failed.push((index, what)),
                Err(Stop::TooMuch(reason)) => {
                    failed.push((index, reason.to_string()));
                    break;
                }
            }
        }
        if failed.is_empty() {
            Outcome::Shown(shown.entries)
        } else {
            Outcome::Failed(failed)
        }
    }

    fn op(&mut self, op: &Op, shown: &mut Shown) -> Result<(), Stop> {
        match op {
            Op::Set { key, value, flags } => {
                self.put(key, value, *flags, None);
                self.show_without_value(key, shown)?;
            }
            Op::Cas {
                key,
                value,
                flags,
                index,
            } => {
                if !self.put(key, value, *flags, Some(*index)) {
                    return Err(failed(format!("failed to set key \"{key}\", index is stale")));
                }
                self.show_without_value(key, shown)?;
            }
            Op::Get { key } => shown.push(key, self.existing(key)?)?,
            Op::GetOrEmpty {
                key,
                flags,
                index,
                session,
            } => {
                let empty = || {
                    Arc::new(Entry {
                        value: Bytes::new(),
                        flags: *flags,
                        create: Revision(0),
                        modify: Revision(*index),
                        lock_index: 0,
                        session: session.clone(),
                    })
                };
                shown.push(key, self.map.get(key).cloned().unwrap_or_else(empty))?;
            }
            Op::GetTree { prefix } => {
                for (key, entry) in super::range(self.map, prefix) {
                    shown.push(key, Arc::clone(entry))?;
                }
            }
            Op::Delete { key } => drop(self.delete(key, None)),
            Op::DeleteCas { key, index } => {
                if !self.delete(key, Some(*index)) {
                    return Err(failed(format!("failed to delete key \"{key}\", index is stale")));
                }
            }
            Op::DeleteTree { prefix } => self.delete_prefix(prefix),
            Op::CheckIndex { key, index } => {
                let Some(entry) = self.map.get(key) else {
                    return Err(failed(format!("failed to check index, key \"{key}\" doesn't exist")));
                };
                if entry.modify.0 != *index {
                    let now = entry.modify;
                    return Err(failed(format!(
                        "failed index check for key \"{key}\", current modify index {now} != {index}"
                    )));
                }
                self.show_without_value(key, shown)?;
            }
            Op::CheckSession { key, session } => {
                let Some(entry) = self.map.get(key) else {
                    return Err(failed(format!("failed to check session, key \"{key}\" doesn't exist")));
                };
                let now = entry.session.as_deref().unwrap_or_default();
                if now != &**session {
                    return Err(failed(format!(
                        "failed session check for key \"{key}\", current session \"{now}\" != \"{session}\""
                    )));
                }
                self.show_without_value(key, shown)?;
            }
            Op::Lock {
                key,
                value,
                flags,
                session,
            } => {
                self.lock(key, value, *flags, session)?;
                self.show_without_value(key, shown)?;
            }
            Op::Unlock {
                key,
                value,
                flags,
                session,
            } => {
                self.unlock(key, value, *flags, session)?;
                self.show_without_value(key, shown)?;
            }
            Op::CheckNotExists { key } => {
                if self.map.contains_key(key) {
                    return Err(failed(format!("key \"{key}\" exists")));
                }
            }
        }
        Ok(())
    }

    fn existing(&self, key: &Key) -> Result<Arc<Entry>, Stop> {
        self.map
            .get(key)
            .cloned()
            .ok_or_else(|| failed(format!("key \"{key}\" doesn't exist")))
    }

    fn show_without_value(&self, key: &Key, shown: &mut Shown) -> Result<(), TooMuch> {
        let Some(entry) = self.map.get(key) else { return Ok(()) };
        let entry = Entry {
            value: Bytes::new(),
            ..Entry::clone(entry)
        };
        shown.push(key, Arc::new(entry))
    }

    fn set(&mut self, key: &Key, entry: Option<Entry>) {
        let now = entry.map(Arc::new);
        let before = match &now {
            Some(entry) => self.map.insert(key.clone(), Arc::clone(entry)),
            None => self.map.remove(key),
        };
        let key = key.clone();
        self.steps.push(Step { key, before, now });
    }
}

/// Whether a write would change anything that a reader sees.
fn differs(a: &Entry, b: &Entry) -> bool {
    a.value != b.value || a.flags != b.flags || a.lock_index != b.lock_index || a.session != b.session
}
