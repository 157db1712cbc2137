//! The past: versions of keys, by revision.
//!
//! Kept are all versions of the newest `limits.revisions` revisions that changed a setting (the
//! *window*), and the newest `limits.versions` versions of each key, and of all that no more than
//! `limits.bytes`; what is oldest goes first. Keyway's own keys have no history. Every change
//! is also a list of rows, so that the disk follows without looking.
//!
//! By example, with `revisions: 2, versions: 1`:
//!
//! ```text
//! r2 put a=1 | r3 put b=1 | r4 put a=2 | r5 put c=1     the window is r4, r5
//! kept: b@3 (the newest of b), a@4, c@5                  a@2 is gone: not in the window, and
//!                                                        one newer version of a is kept
//! ```
//!
//! A watch can resume after any revision from [`History::floor`] on, because from there on every
//! version of every key is kept.

use std::sync::Arc;

use imbl::OrdMap;
use kvapi::{Key, Revision};
use serde::{Deserialize, Serialize};

use super::entry::{Entry, Event};
use super::rows::Row;
use crate::command::Limits;

/// What a version counts for beside its key and value, in bytes.
const OVERHEAD: u64 = 128;

/// When and by whom a revision was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub at: u64,
    pub author: Option<Arc<str>>,
    pub message: Option<Arc<str>>,
}

/// A key as it was from one revision on; `None` means deleted.
pub type Version = Option<Arc<Entry>>;

/// See the module. Clones are cheap and never change.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    limits: Limits,
    /// Every kept version, by revision: the order in which they go.
    by_revision: OrdMap<(Revision, Key), Version>,
    /// The same versions by key. Derived.
    by_key: OrdMap<(Key, Revision), ()>,
    records: OrdMap<Revision, Arc<Record>>,
    /// The revisions of the window, those of which nothing is kept any more included. Derived
    /// from the records: a revision of the window keeps its record.
    window: OrdMap<Revision, ()>,
    /// The last revision that has left the window.
    floor: Revision,
    /// Derived.
    bytes: u64,
}

impl History {
    /// How much is kept.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// The oldest revision after which everything is kept: a watch can resume after it, or after
    /// any later one.
    #[must_use]
    pub const fn floor(&self) -> Revision {
        self.floor
    }

    /// Keys and values kept, in bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When and by whom a revision was made, while it is kept.
    #[must_use]
    pub fn record(&self, revision: Revision) -> Option<&Arc<Record>> {
        self.records.get(&revision)
    }

    /// The kept versions of a key, newest first.
    pub fn versions(&self, key: &Key) -> impl Iterator<Item = (Revision, &Version)> {
        self.by_key
            .range((key.clone(), Revision(0))..=(key.clone(), Revision(u64::MAX)))
            .rev()
            .filter_map(|((key, revision), ())| Some((*revision, self.by_revision.get(&(*revision, key.clone()))?)))
    }

    /// The settings changed after `revision`, oldest event first; `None` if not all are kept.
    #[must_use]
    pub fn since(&self, revision: Revision) -> Option<impl Iterator<Item = Event> + '_> {
        (revision >= self.floor).then(|| {
            self.records.range(revision.next()..).map(|(revision, record)| Event {
                revision: *revision,
                at: record.at,
                author: record.author.clone(),
                message: record.message.clone(),
                changes: self
                    .versions_of(*revision)
                    .map(|(key, version)| (key.clone(), version.clone()))
                    .collect(),
            })
        })
    }

    /// The kept versions from one on, in the order of revisions and keys.
    pub fn versions_from(&self, start: (Revision, Key)) -> impl Iterator<Item = (&(Revision, Key), &Version)> {
        self.by_revision.range(start..)
    }

    /// What a revision made of a key, while it is kept.
    #[must_use]
    pub fn version(&self, revision: Revision, key: &Key) -> Option<&Version> {
        self.by_revision.get(&(revision, key.clone()))
    }

    /// The first kept version.
    #[must_use]
    pub fn first(&self) -> Option<&(Revision, Key)> {
        self.by_revision.get_min().map(|(id, _)| id)
    }

    /// Takes the news of a revision, without Keyway's own keys.
    pub(super) fn push(&mut self, event: &Event, rows: &mut Vec<Row>) {
        let mut changed = event.changes.iter().filter(|(key, _)| !key.is_own()).peekable();
        if changed.peek().is_none() {
            return;
        }
        let record = Arc::new(Record {
            at: event.at,
            author: event.author.clone(),
            message: event.message.clone(),
        });
        rows.push(Row::Record(event.revision, Some(Arc::clone(&record))));
        self.records.insert(event.revision, record);
        self.window.insert(event.revision, ());
        for (key, version) in changed {
            rows.push(Row::Version(event.revision, key.clone(), Some(version.clone())));
            self.insert(event.revision, key.clone(), version.clone());
            self.drop_surplus(key, rows);
        }
        self.shrink_window(rows);
        self.shrink_bytes(rows);
    }

    /// Keeps another amount from now on.
    pub(super) fn keep(&mut self, limits: Limits, rows: &mut Vec<Row>) {
        self.limits = limits;
        self.shrink_window(rows);
        let keys: std::collections::BTreeSet<Key> = self.by_key.keys().map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.drop_surplus(&key, rows);
        }
        self.shrink_bytes(rows);
    }

    /// Versions of the key that are neither in the window nor among the newest go.
    fn drop_surplus(&mut self, key: &Key, rows: &mut Vec<Row>) {
        let keep = usize::try_from(self.limits.versions.max(1)).unwrap_or(usize::MAX);
        let surplus: Vec<Revision> = self
            .by_key
            .range((key.clone(), Revision(0))..=(key.clone(), self.floor))
            .map(|((_, revision), ())| *revision)
            .collect();
        if surplus.is_empty() {
            return;
        }
        let newer = self
            .by_key
            .range((key.clone(), self.floor.next())..=(key.clone(), Revision(u64::MAX)))
            .take(keep)
            .count();
        let go = surplus.len().saturating_sub(keep - newer);
        for revision in surplus.into_iter().take(go) {
            self.remove(revision, key, rows);
        }
    }

    fn shrink_window(&mut self, rows: &mut Vec<Row>) {
        while self.window.len() as u64 > self.limits.revisions.max(1) {
            self.pass_oldest(rows);
        }
    }

    /// The oldest revision leaves the window.
    fn pass_oldest(&mut self, rows: &mut Vec<Row>) {
        let Some(oldest) = self.window.get_min().map(|(revision, ())| *revision) else {
            return;
        };
        self.window.remove(&oldest);
        self.floor = oldest;
        for key in self.keys_of(oldest) {
            self.drop_surplus(&key, rows);
        }
        self.drop_record_if_empty(oldest, rows);
    }

    /// The oldest versions go, whatever else would keep them. The newest revision always stays.
    fn shrink_bytes(&mut self, rows: &mut Vec<Row>) {
        while self.bytes > self.limits.bytes {
            let Some(((oldest, _), _)) = self.by_revision.get_min() else {
                return;
            };
            let oldest = *oldest;
            if self.records.get_max().is_none_or(|(newest, _)| *newest == oldest) {
                return;
            }
            while self.floor < oldest {
                self.pass_oldest(rows);
            }
            for key in self.keys_of(oldest) {
                self.remove(oldest, &key, rows);
            }
        }
    }

    /// The kept versions of one revision, in byte order of the keys.
    fn versions_of(&self, revision: Revision) -> impl Iterator<Item = (&Key, &Version)> {
        self.by_revision
            .range(start_of(revision)..start_of(revision.next()))
            .map(|((_, key), version)| (key, version))
    }

    fn keys_of(&self, revision: Revision) -> Vec<Key> {
        self.versions_of(revision).map(|(key, _)| key.clone()).collect()
    }

    fn insert(&mut self, revision: Revision, key: Key, version: Version) {
        self.bytes += weight(&key, &version);
        self.by_key.insert((key.clone(), revision), ());
        self.by_revision.insert((revision, key), version);
    }

    fn remove(&mut self, revision: Revision, key: &Key, rows: &mut Vec<Row>) {
        if let Some(version) = self.by_revision.remove(&(revision, key.clone())) {
            self.by_key.remove(&(key.clone(), revision));
            self.bytes -= weight(key, &version);
            rows.push(Row::Version(revision, key.clone(), None));
            self.drop_record_if_empty(revision, rows);
        }
    }

    fn drop_record_if_empty(&mut self, revision: Revision, rows: &mut Vec<Row>) {
        if revision <= self.floor
            && self.versions_of(revision).next().is_none()
            && self.records.remove(&revision).is_some()
        {
            rows.push(Row::Record(revision, None));
        }
    }

    /// Every version and record as rows, in order.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        let versions = self
            .by_revision
            .iter()
            .map(|((revision, key), version)| Row::Version(*revision, key.clone(), Some(version.clone())));
        let records = self
            .records
            .iter()
            .map(|(revision, record)| Row::Record(*revision, Some(Arc::clone(record))));
        versions.chain(records)
    }

    /// An empty history with these numbers, to be filled by [`History::restore`].
    pub(super) fn with(limits: Limits, floor: Revision) -> Self {
        Self {
            limits,
            floor,
            ..Self::default()
        }
    }

    /// Puts back what [`History::rows`] gave.
    pub(super) fn restore(&mut self, revision: Revision, key: Key, version: Version) {
        self.insert(revision, key, version);
    }

    /// Puts back what [`History::rows`] gave.
    pub(super) fn restore_record(&mut self, revision: Revision, record: Arc<Record>) {
        if revision > self.floor {
            self.window.insert(revision, ());
        }
        self.records.insert(revision, record);
    }
}

fn weight(key: &Key, version: &Version) -> u64 {
    (key.as_str().len() + version.as_ref().map_or(0, |entry| entry.value.len())) as u64 + OVERHEAD
}

/// Where the versions of a revision begin: no key is smaller than a single NUL.
fn start_of(revision: Revision) -> (Revision, Key) {
    (revision, Key::new("\0").expect("it is neither empty nor long"))
}
