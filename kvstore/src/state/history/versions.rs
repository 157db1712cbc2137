//! The kept versions, by revision and by key.
//!
//! Every write adds to both maps and takes from both, so what it finds there has to be found
//! with few steps: a revision holds its versions, a key the list of its revisions. Clones are
//! cheap and never change.

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use imbl::OrdMap;
use kvapi::{Key, Revision};

use super::{Record, Version};
use crate::state::Gone;

/// What a version counts for beside its key and value, in bytes.
const OVERHEAD: u64 = 128;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Versions {
    /// The order in which they go.
    by_revision: OrdMap<Revision, Arc<Kept>>,
    /// The revisions that have a version of the key, oldest first. Derived.
    by_key: OrdMap<Key, Arc<Vec<Revision>>>,
    /// Derived.
    bytes: u64,
    gone: Gone,
}

/// What is kept of a revision: at least one version.
#[derive(Debug, Clone, PartialEq)]
struct Kept {
    record: Arc<Record>,
    versions: OneOrMany,
}

/// What is there of a revision after something was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// It was not there.
    Same,
    /// Other versions.
    Others,
    /// Nothing: the revision has gone.
    Nothing,
}

/// Most revisions change one key, and a map for it would be far larger than it is.
#[derive(Debug, Clone, PartialEq)]
enum OneOrMany {
    One(Key, Version),
    Many(OrdMap<Key, Version>),
}

impl OneOrMany {
    fn iter(&self) -> impl Iterator<Item = (&Key, &Version)> {
        let (one, many) = match self {
            Self::One(key, version) => (Some((key, version)), None),
            Self::Many(map) => (None, Some(map.iter())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    fn from(&self, start: &Key) -> impl Iterator<Item = (&Key, &Version)> {
        let (one, many) = match self {
            Self::One(key, version) => (Some((key, version)).filter(|(key, _)| *key >= start), None),
            Self::Many(map) => (None, Some(map.range(start.clone()..))),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    fn get(&self, key: &Key) -> Option<&Version> {
        match self {
            Self::One(one, version) => (one == key).then_some(version),
            Self::Many(map) => map.get(key),
        }
    }

    /// Removes one of many.
    fn remove(&mut self, key: &Key) {
        let Self::Many(map) = self else { return };
        map.remove(key);
        // Equal contents are equal, whatever was there before.
        if map.len() == 1
            && let Some((key, version)) = map.get_min()
        {
            *self = Self::One(key.clone(), version.clone());
        }
    }

    fn insert(&mut self, key: Key, version: Version) {
        match self {
            Self::One(one, before) if *one == key => *before = version,
            Self::One(one, before) => {
                *self = Self::Many(OrdMap::from_iter([(one.clone(), before.clone()), (key, version)]));
            }
            Self::Many(map) => drop(map.insert(key, version)),
        }
    }
}

impl Versions {
    /// Keys and values, in bytes.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What has gone, in bytes, since the state was loaded.
    pub(super) const fn gone(&self) -> u64 {
        self.gone.0
    }

    /// Adds a version that is not there yet.
    pub(super) fn insert(&mut self, revision: Revision, key: Key, version: Version, record: Arc<Record>) {
        self.bytes += weight(&key, &version);
        match self.by_key.get_mut(&key) {
            Some(revisions) => {
                let revisions = Arc::make_mut(revisions);
                // It is the newest, but for a history that is being restored.
                let at = revisions.partition_point(|earlier| *earlier < revision);
                revisions.insert(at, revision);
            }
            None => drop(self.by_key.insert(key.clone(), Arc::new(vec![revision]))),
        }
        if self.newest() < Some(revision) {
            let versions = OneOrMany::One(key, version);
            self.by_revision.insert(revision, Arc::new(Kept { record, versions }));
            return;
        }
        match self.by_revision.get_mut(&revision) {
            Some(kept) => Arc::make_mut(kept).versions.insert(key, version),
            None => {
                let versions = OneOrMany::One(key, version);
                self.by_revision.insert(revision, Arc::new(Kept { record, versions }));
            }
        }
    }

    /// What it makes of the revision if a version goes.
    pub(super) fn remove(&mut self, revision: Revision, key: &Key) -> Left {
        let left = self.take(revision, key);
        if left != Left::Same
            && let Some(revisions) = self.by_key.get_mut(key)
        {
            let revisions = Arc::make_mut(revisions);
            revisions.retain(|other| *other != revision);
            if revisions.is_empty() {
                self.by_key.remove(key);
            }
        }
        left
    }

    /// Removes the oldest versions of a key that has more. `gone` is told of each.
    pub(super) fn remove_oldest(&mut self, key: &Key, count: usize, mut gone: impl FnMut(Revision, Left)) {
        let Some(revisions) = self.by_key.get_mut(key) else {
            return;
        };
        let oldest: Vec<Revision> = Arc::make_mut(revisions).drain(..count).collect();
        if revisions.is_empty() {
            self.by_key.remove(key);
        }
        for revision in oldest {
            gone(revision, self.take(revision, key));
        }
    }

    /// Takes a version out of its revision, and the revision out of the map with its last one.
    fn take(&mut self, revision: Revision, key: &Key) -> Left {
        // Most revisions have one version, so it is taken out before one looks.
        let Some(mut kept) = self.by_revision.remove(&revision) else {
            return Left::Same;
        };
        let removed = kept.versions.get(key).map(|version| weight(key, version));
        self.bytes -= removed.unwrap_or_default();
        self.gone.0 += removed.unwrap_or_default();
        if removed.is_some() && matches!(kept.versions, OneOrMany::One(..)) {
            return Left::Nothing;
        }
        if removed.is_some() {
            Arc::make_mut(&mut kept).versions.remove(key);
        }
        self.by_revision.insert(revision, kept);
        if removed.is_some() { Left::Others } else { Left::Same }
    }

    pub(super) fn get(&self, revision: Revision, key: &Key) -> Option<&Version> {
        self.by_revision.get(&revision)?.versions.get(key)
    }

    /// The record of a revision that has versions.
    pub(super) fn record(&self, revision: Revision) -> Option<&Arc<Record>> {
        self.by_revision.get(&revision).map(|kept| &kept.record)
    }

    /// Gives a revision that has versions its record.
    pub(super) fn set_record(&mut self, revision: Revision, record: Arc<Record>) {
        if let Some(kept) = self.by_revision.get_mut(&revision) {
            Arc::make_mut(kept).record = record;
        }
    }

    /// The oldest revision that has versions.
    pub(super) fn oldest(&self) -> Option<Revision> {
        self.by_revision.get_min().map(|(revision, _)| *revision)
    }

    /// The newest revision that has versions.
    pub(super) fn newest(&self) -> Option<Revision> {
        self.by_revision.get_max().map(|(revision, _)| *revision)
    }

    /// The first revision after this one that has versions.
    pub(super) fn after(&self, revision: Revision) -> Option<Revision> {
        self.by_revision
            .get_next(&revision.next())
            .map(|(revision, _)| *revision)
    }

    /// The versions of one revision, in byte order of the keys.
    pub(super) fn of(&self, revision: Revision) -> impl Iterator<Item = (&Key, &Version)> {
        let kept = self.by_revision.get(&revision);
        kept.into_iter().flat_map(|kept| kept.versions.iter())
    }

    /// The versions from one on, in the order of revisions and keys.
    pub(super) fn from(&self, (revision, key): &(Revision, Key)) -> impl Iterator<Item = (Revision, &Key, &Version)> {
        let of = self.by_revision.get(revision);
        let first = of.into_iter().flat_map(|kept| kept.versions.from(key));
        let first = first.map(|(key, version)| (*revision, key, version));
        let rest = self.by_revision.range(revision.next()..);
        first.chain(rest.flat_map(|(revision, kept)| {
            let all = kept.versions.iter();
            all.map(|(key, version)| (*revision, key, version))
        }))
    }

    /// The versions up to a revision, in the order of revisions and keys.
    pub(super) fn up_to(&self, revision: Revision) -> impl Iterator<Item = (Revision, &Key)> {
        self.by_revision
            .range(..=revision)
            .flat_map(|(revision, kept)| kept.versions.iter().map(|(key, _)| (*revision, key)))
    }

    /// The revisions that have versions, with their records, oldest first.
    pub(super) fn records(
        &self,
        range: impl RangeBounds<Revision>,
    ) -> impl DoubleEndedIterator<Item = (Revision, &Arc<Record>)> {
        self.by_revision
            .range::<_, Revision>(range)
            .map(|(revision, kept)| (*revision, &kept.record))
    }

    /// The revisions that have a version of the key, oldest first.
    pub(super) fn of_key(&self, key: &Key) -> &[Revision] {
        self.by_key.get(key).map_or(&[], |revisions| revisions)
    }

    /// The first key, from `start` on, that has versions.
    pub(super) fn key_from(&self, start: Bound<&Key>) -> Option<&Key> {
        let (key, _) = self.by_key.range::<_, Key>((start, Bound::Unbounded)).next()?;
        Some(key)
    }

    /// Every key that has versions.
    pub(super) fn keys(&self) -> Vec<Key> {
        self.by_key.keys().cloned().collect()
    }
}

fn weight(key: &Key, version: &Version) -> u64 {
    (key.as_str().len() + version.as_ref().map_or(0, |entry| entry.value.len())) as u64 + OVERHEAD
}

/// No key is smaller than a single NUL.
pub(crate) fn smallest() -> Key {
    Key::new("\0").expect("it is neither empty nor long")
}
