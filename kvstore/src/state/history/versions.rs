//! The kept versions, by revision and by key.
//!
//! Two maps and no more, since every write adds to each and takes from each: the record of a
//! revision is held by its versions, not in a map of its own. Clones are cheap and never change.

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use imbl::OrdMap;
use kvapi::{Key, Revision};

use super::{Record, Version};

/// What a version counts for beside its key and value, in bytes.
const OVERHEAD: u64 = 128;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Versions {
    /// The order in which they go.
    by_revision: OrdMap<(Revision, Key), Kept>,
    /// The same versions. Derived.
    by_key: OrdMap<(Key, Revision), ()>,
    /// Derived.
    bytes: u64,
}

#[derive(Debug, Clone, PartialEq)]
struct Kept {
    version: Version,
    /// That of the revision; the same one for all its versions.
    record: Arc<Record>,
}

impl Versions {
    /// Keys and values, in bytes.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn insert(&mut self, revision: Revision, key: Key, version: Version, record: Arc<Record>) {
        self.bytes += weight(&key, &version);
        self.by_key.insert((key.clone(), revision), ());
        self.by_revision.insert((revision, key), Kept { version, record });
    }

    /// `false` if it was not there.
    pub(super) fn remove(&mut self, revision: Revision, key: &Key) -> bool {
        let Some(kept) = self.by_revision.remove(&(revision, key.clone())) else {
            return false;
        };
        self.by_key.remove(&(key.clone(), revision));
        self.bytes -= weight(key, &kept.version);
        true
    }

    pub(super) fn get(&self, revision: Revision, key: &Key) -> Option<&Version> {
        self.by_revision.get(&(revision, key.clone())).map(|kept| &kept.version)
    }

    /// The record of a revision that has versions.
    pub(super) fn record(&self, revision: Revision) -> Option<&Arc<Record>> {
        let of = self.by_revision.range(start_of(revision)..start_of(revision.next()));
        of.map(|(_, kept)| &kept.record).next()
    }

    /// Gives all versions of a revision their record.
    pub(super) fn set_record(&mut self, revision: Revision, record: &Arc<Record>) {
        let keys: Vec<Key> = self.of(revision).map(|(key, _)| key.clone()).collect();
        for key in keys {
            if let Some(kept) = self.by_revision.get_mut(&(revision, key)) {
                kept.record = Arc::clone(record);
            }
        }
    }

    /// The oldest and the newest revision that has versions.
    pub(super) fn oldest(&self) -> Option<Revision> {
        self.by_revision.get_min().map(|((revision, _), _)| *revision)
    }

    pub(super) fn newest(&self) -> Option<Revision> {
        self.by_revision.get_max().map(|((revision, _), _)| *revision)
    }

    /// The first revision after this one that has versions.
    pub(super) fn after(&self, revision: Revision) -> Option<Revision> {
        let ((next, _), _) = self.by_revision.range(start_of(revision.next())..).next()?;
        Some(*next)
    }

    /// The versions of one revision, in byte order of the keys.
    pub(super) fn of(&self, revision: Revision) -> impl Iterator<Item = (&Key, &Version)> {
        self.by_revision
            .range(start_of(revision)..start_of(revision.next()))
            .map(|((_, key), kept)| (key, &kept.version))
    }

    /// The versions from one on, in the order of revisions and keys.
    pub(super) fn from(&self, start: (Revision, Key)) -> impl Iterator<Item = (&(Revision, Key), &Version)> {
        self.by_revision.range(start..).map(|(id, kept)| (id, &kept.version))
    }

    /// The versions up to a revision, in the order of revisions and keys.
    pub(super) fn up_to(&self, revision: Revision) -> impl Iterator<Item = &(Revision, Key)> {
        self.by_revision.range(..start_of(revision.next())).map(|(id, _)| id)
    }

    /// The revisions from one on, with their records, oldest first.
    pub(super) fn records_from(&self, revision: Revision) -> impl Iterator<Item = (Revision, &Arc<Record>)> {
        distinct(self.by_revision.range(start_of(revision)..))
    }

    /// The revisions before one, with their records, newest first.
    pub(super) fn records_before(&self, revision: Revision) -> impl Iterator<Item = (Revision, &Arc<Record>)> {
        distinct(self.by_revision.range(..start_of(revision)).rev())
    }

    /// The revisions of the versions of a key, oldest first.
    pub(super) fn of_key<'a, R: RangeBounds<Revision>>(
        &'a self,
        key: &Key,
        range: R,
    ) -> impl DoubleEndedIterator<Item = Revision> + use<'a, R> {
        let start = match range.start_bound().cloned() {
            Bound::Unbounded => Bound::Included((key.clone(), Revision(0))),
            bound => bound.map(|revision| (key.clone(), revision)),
        };
        let end = match range.end_bound().cloned() {
            Bound::Unbounded => Bound::Included((key.clone(), Revision(u64::MAX))),
            bound => bound.map(|revision| (key.clone(), revision)),
        };
        self.by_key
            .range::<_, (Key, Revision)>((start, end))
            .map(|((_, revision), ())| *revision)
    }

    /// The first key, from `start` on, that has versions.
    pub(super) fn key_from(&self, start: Bound<&Key>) -> Option<&Key> {
        let start = match start {
            Bound::Included(key) => Bound::Included((key.clone(), Revision(0))),
            Bound::Excluded(key) => Bound::Excluded((key.clone(), Revision(u64::MAX))),
            Bound::Unbounded => Bound::Unbounded,
        };
        let ((key, _), ()) = self
            .by_key
            .range::<_, (Key, Revision)>((start, Bound::Unbounded))
            .next()?;
        Some(key)
    }

    /// Every key that has versions, each once.
    pub(super) fn keys(&self) -> std::collections::BTreeSet<Key> {
        self.by_key.keys().map(|(key, _)| key.clone()).collect()
    }
}

/// The versions of a revision stand together: of each the first.
fn distinct<'a>(
    versions: impl Iterator<Item = (&'a (Revision, Key), &'a Kept)>,
) -> impl Iterator<Item = (Revision, &'a Arc<Record>)> {
    let mut last = None;
    versions.filter_map(move |((revision, _), kept)| {
        let is_first = last.replace(*revision) != Some(*revision);
        is_first.then_some((*revision, &kept.record))
    })
}

fn weight(key: &Key, version: &Version) -> u64 {
    (key.as_str().len() + version.as_ref().map_or(0, |entry| entry.value.len())) as u64 + OVERHEAD
}

/// Where the versions of a revision begin.
fn start_of(revision: Revision) -> (Revision, Key) {
    (revision, smallest())
}

/// No key is smaller than a single NUL.
pub(in crate::state) fn smallest() -> Key {
    Key::new("\0").expect("it is neither empty nor long")
}
