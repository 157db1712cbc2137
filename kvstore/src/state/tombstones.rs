//! Where keys were deleted, so that the index of a list rises when something leaves it.
//!
//! The newest [`KEPT`] deleted keys are remembered one by one; of the older ones only the highest
//! revision, the floor, below which no list's index falls again. So an index never goes back,
//! and at worst a reader is woken for a deletion elsewhere.
//! (Consul forgets after 15 minutes and lets the index fall: reference 2.3 of its API.)

use imbl::OrdMap;
use kvapi::{Key, Revision};

use super::rows::Row;

/// How many deleted keys are remembered.
pub const KEPT: usize = 100_000;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tombstones {
    by_key: OrdMap<Key, Revision>,
    /// The order in which they are forgotten. Derived.
    by_revision: OrdMap<(Revision, Key), ()>,
    floor: Revision,
}

impl Tombstones {
    /// The highest revision of what has been forgotten.
    #[must_use]
    pub const fn floor(&self) -> Revision {
        self.floor
    }

    /// The newest deletion under a prefix, Keyway's own keys aside unless asked for; the floor
    /// if none is remembered.
    #[must_use]
    pub fn newest(&self, prefix: &str) -> Revision {
        super::range(&self.by_key, prefix)
            .map(|(_, revision)| *revision)
            .max()
            .unwrap_or_default()
            .max(self.floor)
    }

    /// When a key was deleted, if that is remembered and it has not come back.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Revision> {
        self.by_key.get(key).copied()
    }

    pub(super) fn insert(&mut self, key: Key, revision: Revision, rows: &mut Vec<Row>) {
        rows.push(Row::Tombstone(key.clone(), Some(revision)));
        self.restore(key, revision);
        while self.by_key.len() > KEPT {
            let Some(((revision, key), ())) = self.by_revision.get_min().cloned() else {
                return;
            };
            self.by_revision.remove(&(revision, key.clone()));
            self.by_key.remove(&key);
            self.floor = self.floor.max(revision);
            rows.push(Row::Tombstone(key, None));
        }
    }

    /// The key is there again.
    pub(super) fn remove(&mut self, key: &Key, rows: &mut Vec<Row>) {
        // Most keys were never deleted, and a removal copies its way through the map to find out.
        if self.by_key.contains_key(key)
            && let Some(revision) = self.by_key.remove(key)
        {
            self.by_revision.remove(&(revision, key.clone()));
            rows.push(Row::Tombstone(key.clone(), None));
        }
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        self.by_key
            .iter()
            .map(|(key, revision)| Row::Tombstone(key.clone(), Some(*revision)))
    }

    pub(super) fn with(floor: Revision) -> Self {
        Self {
            floor,
            ..Self::default()
        }
    }

    pub(super) fn restore(&mut self, key: Key, revision: Revision) {
        if let Some(older) = self.by_key.insert(key.clone(), revision) {
            self.by_revision.remove(&(older, key.clone()));
        }
        self.by_revision.insert((revision, key), ());
    }
}
