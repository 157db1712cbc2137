//! One command at work on the model's map.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use kvapi::Key;

use super::{Held, Map, is_shown};
use crate::command::Op;
use crate::state::Entry;
use crate::state::sessions::Behavior;

/// One command at work on a copy.
pub(super) struct Work {
    pub(super) map: Map,
    pub(super) revision: u64,
    pub(super) touched: BTreeSet<String>,
    pub(super) sessions: BTreeSet<String>,
    pub(super) shut: BTreeSet<String>,
}

type Shown = Vec<(Key, Arc<Entry>)>;

impl Work {
    fn modify(&self, key: &Key) -> u64 {
        self.map.get(key.as_str()).map_or(0, |held| held.modify)
    }

    pub(super) fn put(&mut self, key: &Key, value: &Bytes, flags: u64, cas: Option<u64>) -> bool {
        if cas.is_some_and(|cas| cas != self.modify(key)) {
            return false;
        }
        let session = self.map.get(key.as_str()).and_then(|old| old.session.clone());
        self.write(key, value, flags, 0, session);
        true
    }

    /// What is there already is not written.
    fn write(&mut self, key: &Key, value: &Bytes, flags: u64, lock_index: u64, session: Option<String>) {
        let old = self.map.get(key.as_str());
        let mut held = Held {
            value: value.clone(),
            flags,
            create: old.map_or(self.revision, |old| old.create),
            modify: old.map_or(self.revision, |old| old.modify),
            lock_index,
            session,
        };
        if old != Some(&held) {
            held.modify = self.revision;
            self.map.insert(key.as_str().to_owned(), held);
            self.touched.insert(key.as_str().to_owned());
        }
    }

    pub(super) fn acquire(&mut self, key: &Key, value: &Bytes, flags: u64, session: &str) -> Result<bool, String> {
        if session.is_empty() {
            return Err("missing session".to_owned());
        }
        if !self.sessions.contains(&session.to_lowercase()) {
            return Err(format!("invalid session \"{session}\""));
        }
        let count = self.map.get(key.as_str()).map_or(0, |held| held.lock_index);
        let count = match self.map.get(key.as_str()).and_then(|held| held.session.as_deref()) {
            None => count + 1,
            Some(holder) if holder == session => count,
            Some(_) => return Ok(false),
        };
        self.write(key, value, flags, count, Some(session.to_owned()));
        Ok(true)
    }

    pub(super) fn release(&mut self, key: &Key, value: &Bytes, flags: u64, session: &str) -> Result<bool, String> {
        if session.is_empty() {
            return Err("missing session".to_owned());
        }
        match self.map.get(key.as_str()) {
            Some(held) if held.session.as_deref() == Some(session) => {
                let count = held.lock_index;
                self.write(key, value, flags, count, None);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Returns the names that the session held.
    pub(super) fn end(&mut self, id: &str, behavior: Behavior) -> Vec<String> {
        let held = |held: &Held| held.session.as_ref().is_some_and(|holder| holder.to_lowercase() == id);
        let names: Vec<String> = (self.map.iter().filter(|(_, entry)| held(entry)))
            .map(|(name, _)| name.clone())
            .collect();
        for name in &names {
            match behavior {
                Behavior::Delete => drop(self.map.remove(name)),
                Behavior::Release => {
                    let entry = self.map.get_mut(name).unwrap();
                    entry.session = None;
                    entry.modify = self.revision;
                }
            }
            self.touched.insert(name.clone());
        }
        names
    }

    pub(super) fn is_shut(&self, op: &Op) -> bool {
        matches!(op, Op::Lock { key, .. } if self.shut.contains(key.as_str()))
    }

    pub(super) fn delete(&mut self, key: &Key, cas: Option<u64>) -> bool {
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

    pub(super) fn delete_prefix(&mut self, prefix: &str) {
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

    pub(super) fn op(&mut self, op: &Op) -> Result<Shown, String> {
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
                    lock_index: 0,
                    session: None,
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
            Op::CheckSession { key, session } => {
                let holder = self.map[key.as_str()].session.clone().unwrap_or_default();
                if holder != **session {
                    return Err(format!(
                        "failed session check for key \"{key}\", current session \"{holder}\" != \"{session}\""
                    ));
                }
                self.meta(key)
            }
            Op::Lock {
                key,
                value,
                flags,
                session,
            } => {
                if !self.acquire(key, value, *flags, session)? {
                    return Err(format!("failed to lock key \"{key}\", lock is already held"));
                }
                self.meta(key)
            }
            Op::Unlock {
                key,
                value,
                flags,
                session,
            } => {
                if !self.release(key, value, *flags, session)? {
                    return Err(format!(
                        "failed to unlock key \"{key}\", lock isn't held, or is held by another session"
                    ));
                }
                self.meta(key)
            }
            Op::CheckNotExists { key } if self.modify(key) != 0 => return Err(format!("key \"{key}\" exists")),
            Op::CheckNotExists { .. } => vec![],
        })
    }
}
