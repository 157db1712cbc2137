//! Keys that are locked, unlocked and set free. Consul's rules, reference 3.3 to 3.5.

use std::sync::Arc;

use bytes::Bytes;
use kvapi::Key;

use super::{Draft, Stop, differs, failed};
use crate::command::{Op, Outcome};
use crate::state::Entry;
use crate::state::sessions::{Behavior, NoSession};

/// What a single lock or unlock answers.
pub(super) fn answer(result: Result<bool, NoSession>) -> Outcome {
    match result {
        Ok(done) => Outcome::Done(done),
        Err(reason) => Outcome::Refused(reason.to_string()),
    }
}

impl From<NoSession> for Stop {
    fn from(reason: NoSession) -> Self {
        failed(reason.to_string())
    }
}

impl Draft<'_> {
    /// The operations that lock a key that is shut, and Consul's words for it.
    pub(super) fn shut(&self, ops: &[Op]) -> Vec<(usize, String)> {
        let shut = |(index, op): (usize, &Op)| match op {
            Op::Lock { key, .. } if self.is_shut(key) => {
                Some((index, format!("failed to lock key \"{key}\" due to lock delay")))
            }
            _ => None,
        };
        ops.iter().enumerate().filter_map(shut).collect()
    }

    pub(super) fn lock(&mut self, key: &Key, value: &Bytes, flags: u64, session: &Arc<str>) -> Result<(), Stop> {
        if self.acquire(key, value, flags, session)? {
            return Ok(());
        }
        Err(failed(format!("failed to lock key \"{key}\", lock is already held")))
    }

    pub(super) fn unlock(&mut self, key: &Key, value: &Bytes, flags: u64, session: &Arc<str>) -> Result<(), Stop> {
        if self.release(key, value, flags, session)? {
            return Ok(());
        }
        Err(failed(format!(
            "failed to unlock key \"{key}\", lock isn't held, or is held by another session"
        )))
    }

    /// A key that is shut is so for whoever asks: Consul looks at the session only then.
    pub(super) fn acquire_unless_shut(
        &mut self,
        key: &Key,
        value: &Bytes,
        flags: u64,
        session: &Arc<str>,
    ) -> Result<bool, NoSession> {
        if self.is_shut(key) {
            return Ok(false);
        }
        self.acquire(key, value, flags, session)
    }

    fn is_shut(&self, key: &Key) -> bool {
        self.sessions.delays().shuts(key, self.at)
    }

    /// `false` if another session holds it. For the holder it is an ordinary write.
    fn acquire(&mut self, key: &Key, value: &Bytes, flags: u64, session: &Arc<str>) -> Result<bool, NoSession> {
        self.sessions.check(session)?;
        let current = self.map.get(key);
        let lock_index = current.map_or(0, |entry| entry.lock_index);
        let lock_index = match current.and_then(|entry| entry.session.as_ref()) {
            Some(holder) if holder != session => return Ok(false),
            Some(_) => lock_index,
            None => lock_index + 1,
        };
        let entry = Entry {
            value: value.clone(),
            flags,
            create: current.map_or(self.revision, |entry| entry.create),
            modify: self.revision,
            lock_index,
            session: Some(Arc::clone(session)),
        };
        if current.is_none_or(|current| differs(current, &entry)) {
            self.set(key, Some(entry));
        }
        Ok(true)
    }

    /// `false` if that session does not hold it. The value is written over.
    pub(super) fn release(
        &mut self,
        key: &Key,
        value: &Bytes,
        flags: u64,
        session: &Arc<str>,
    ) -> Result<bool, NoSession> {
        if session.is_empty() {
            return Err(NoSession::Missing);
        }
        let held = self
            .map
            .get(key)
            .filter(|entry| entry.session.as_ref() == Some(session));
        let Some(current) = held else { return Ok(false) };
        let entry = Entry {
            value: value.clone(),
            flags,
            create: current.create,
            modify: self.revision,
            lock_index: current.lock_index,
            session: None,
        };
        self.set(key, Some(entry));
        Ok(true)
    }

    /// The session that holds a key has ended.
    pub(in super::super) fn free(&mut self, key: &Key, behavior: Behavior) {
        let Some(current) = self.map.get(key) else { return };
        let entry = match behavior {
            Behavior::Delete => None,
            Behavior::Release => Some(Entry {
                modify: self.revision,
                session: None,
                ..Entry::clone(current)
            }),
        };
        self.set(key, entry);
    }
}
