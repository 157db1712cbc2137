//! Lock-delays: keys that nobody may lock for a while, since a session that held them has ended.
//!
//! Whoever held such a key may not have noticed yet that it holds it no more. A delay belongs to the
//! key's name, whatever becomes of the key, and stops nothing but a lock. Its end is a time of the log,
//! computed from the entry that ended the session, so that every server has the same one, after a
//! restart and from a snapshot too. (Consul keeps it on each server by that server's clock, starts it
//! anew when the log is read again, and loses it with a snapshot: reference 3.5.)

use imbl::OrdMap;
use kvapi::Key;

use super::rows::Row;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Delays {
    by_key: OrdMap<Key, u64>,
    /// The order in which they end. Derived.
    by_end: OrdMap<(u64, Key), ()>,
}

impl Delays {
    /// Whether a key may not be locked at `at`, in log time.
    #[must_use]
    pub fn shuts(&self, key: &Key, at: u64) -> bool {
        self.by_key.get(key).is_some_and(|end| at < *end)
    }

    /// Until when a key may not be locked, while that is kept.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<u64> {
        self.by_key.get(key).copied()
    }

    /// How many keys there is one of.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    pub(super) fn insert(&mut self, key: Key, end: u64, rows: &mut Vec<Row>) {
        rows.push(Row::Delay(key.clone(), Some(end)));
        self.restore(key, end);
    }

    /// Forgets those that are over at `now`.
    pub(super) fn expire(&mut self, now: u64, rows: &mut Vec<Row>) {
        while let Some(((end, key), ())) = self.by_end.get_min() {
            if now < *end {
                return;
            }
            let (end, key) = (*end, key.clone());
            self.by_end.remove(&(end, key.clone()));
            self.by_key.remove(&key);
            rows.push(Row::Delay(key, None));
        }
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        self.by_key.iter().map(|(key, end)| Row::Delay(key.clone(), Some(*end)))
    }

    pub(super) fn restore(&mut self, key: Key, end: u64) {
        if let Some(before) = self.by_key.insert(key.clone(), end) {
            self.by_end.remove(&(before, key.clone()));
        }
        self.by_end.insert((end, key), ());
    }
}
