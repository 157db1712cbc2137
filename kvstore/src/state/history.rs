//! The past: versions of keys, by revision.
//!
//! Kept are all versions of the newest `limits.revisions` revisions that changed a setting (the
//! *window*), of each key the version that stood when the window began, and the newest
//! `limits.versions` versions of each key, and of all that no more than `limits.bytes`; what is
//! oldest goes first. Keyway's own keys have no history. Every change is also a list of rows, so
//! that the disk follows without looking.
//!
//! By example, with `revisions: 2, versions: 1`:
//!
//! ```text
//! r2 put a=1 | r3 put b=1 | r4 put a=2 | r5 put c=1     the window is r4, r5, the floor r3
//! kept: a@2 (stood at r3), b@3 (the newest of b), a@4, c@5
//! r6 put b=2                                            the window is r5, r6, the floor r4
//! kept: b@3 (stands at r4), a@4, c@5, b@6               a@2 is gone
//! ```
//!
//! A watch can resume after any revision from [`History::floor`] on, because from there on every
//! version of every key is kept. The state can be read at any revision from [`History::oldest`]
//! on, which is the same unless `limits.bytes` cost some key the version that stood there. Of
//! each key an unbroken run of its newest versions is kept, so older reads of one key may be
//! possible too: past.rs.

mod versions;

use std::ops::Bound;
use std::sync::Arc;

use kvapi::{Key, Revision};
use serde::{Deserialize, Serialize};

use super::entry::{Entry, Event};
use super::rows::Row;
use crate::command::Limits;
pub(crate) use versions::smallest;
use versions::{Left, Versions};

/// When and by whom a revision was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    versions: Versions,
    /// How many revisions are in the window. Every version of theirs is kept, so it is derived.
    window: u64,
    /// The last revision that has left the window.
    floor: Revision,
    /// From here on no key lacks the version that stood, be the floor lower: raised where
    /// `limits.bytes` took one away.
    whole: Revision,
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

    /// The oldest revision at which every key can be read.
    #[must_use]
    pub fn oldest(&self) -> Revision {
        self.floor.max(self.whole)
    }

    pub(super) const fn whole(&self) -> Revision {
        self.whole
    }

    /// Keys and values kept, in bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.versions.bytes()
    }

    /// Keys and values that have gone since the state was loaded, in bytes.
    pub(super) const fn gone(&self) -> u64 {
        self.versions.gone()
    }

    /// When and by whom a revision was made, while it is kept.
    #[must_use]
    pub fn record(&self, revision: Revision) -> Option<&Arc<Record>> {
        self.versions.record(revision)
    }

    /// The kept versions of a key, newest first.
    pub fn versions(&self, key: &Key) -> impl Iterator<Item = (Revision, &Version)> {
        self.versions_before(key, Revision(u64::MAX))
    }

    /// The kept versions of a key that are older than `before`, newest first.
    pub fn versions_before(&self, key: &Key, before: Revision) -> impl Iterator<Item = (Revision, &Version)> {
        let revisions = self.versions.of_key(key);
        let older = &revisions[..revisions.partition_point(|revision| *revision < before)];
        let key = key.clone();
        let newest_first = older.iter().rev();
        newest_first.filter_map(move |revision| Some((*revision, self.versions.get(*revision, &key)?)))
    }

    /// The newest kept version of a key at or before `revision`, if there is one.
    pub(super) fn version_at(&self, key: &Key, revision: Revision) -> Option<&Version> {
        self.versions.get(self.newest_by(key, revision)?, key)
    }

    /// The oldest kept version's revision of a key.
    pub(super) fn first_of(&self, key: &Key) -> Option<Revision> {
        self.versions.of_key(key).first().copied()
    }

    /// The first key, from `start` on, of which a version is kept.
    pub(super) fn key_from(&self, start: Bound<&Key>) -> Option<&Key> {
        self.versions.key_from(start)
    }

    /// Every kept change below `before`, the newest first.
    pub fn before(&self, before: Revision) -> impl Iterator<Item = (Revision, &Arc<Record>)> {
        self.versions.records(..before).rev()
    }

    /// The settings changed after `revision`, oldest event first; `None` if not all are kept.
    #[must_use]
    pub fn since(&self, revision: Revision) -> Option<impl Iterator<Item = Event> + '_> {
        (revision >= self.floor).then(|| {
            self.versions
                .records(revision.next()..)
                .map(|(revision, record)| Event {
                    revision,
                    at: record.at,
                    author: record.author.clone(),
                    message: record.message.clone(),
                    changes: self
                        .versions_of(revision)
                        .map(|(key, version)| (key.clone(), version.clone()))
                        .collect(),
                })
        })
    }

    /// The kept versions from one on, in the order of revisions and keys.
    pub fn versions_from(&self, start: &(Revision, Key)) -> impl Iterator<Item = (Revision, &Key, &Version)> {
        self.versions.from(start)
    }

    /// What a revision made of a key, while it is kept.
    #[must_use]
    pub fn version(&self, revision: Revision, key: &Key) -> Option<&Version> {
        self.versions.get(revision, key)
    }

    /// The oldest revision of which a version is kept.
    #[must_use]
    pub fn first(&self) -> Option<Revision> {
        self.versions.oldest()
    }

    /// Takes the news of a revision, without Keyway's own keys. `before` is what was there, of
    /// every key that it changed.
    pub(super) fn push(&mut self, event: &Event, before: &[Version], rows: &mut Vec<Row>) {
        for ((key, _), before) in event.changes.iter().zip(before) {
            if let Some(before) = before
                && before.modify <= self.floor
                && !key.is_own()
                && self.versions.of_key(key).binary_search(&before.modify).is_err()
            {
                // What stood until now was given up for its bytes, and the map forgets it too.
                self.whole = event.revision;
            }
        }
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
        self.window += 1;
        for (key, version) in changed {
            rows.push(Row::Version(event.revision, key.clone(), Some(version.clone())));
            self.versions
                .insert(event.revision, key.clone(), version.clone(), Arc::clone(&record));
            self.drop_surplus(key, rows);
        }
        self.shrink_window(rows);
        self.shrink_bytes(rows);
    }

    /// Keeps another amount from now on.
    pub(super) fn keep(&mut self, limits: Limits, rows: &mut Vec<Row>) {
        self.limits = limits;
        self.shrink_window(rows);
        for key in self.versions.keys() {
            self.drop_surplus(&key, rows);
        }
        self.shrink_bytes(rows);
    }

    /// Forgets what no read at `revision` or later needs, whatever else would keep it.
    pub(super) fn compact(&mut self, revision: Revision, rows: &mut Vec<Row>) {
        while self.versions.after(self.floor).is_some_and(|oldest| oldest <= revision) {
            self.pass_oldest(rows);
        }
        self.floor = self.floor.max(revision);
        let older = self.versions.up_to(revision);
        let older: Vec<(Revision, Key)> = older.map(|(old, key)| (old, key.clone())).collect();
        for (old, key) in older {
            let stands = self.version_at(&key, revision).is_some_and(Option::is_some);
            let newest_by_then = self.newest_by(&key, revision) == Some(old);
            if !(stands && newest_by_then) {
                self.remove(old, &key, rows);
            }
        }
    }

    /// Versions of the key that are neither in the window nor among the newest go, but for the
    /// one that stands at the floor.
    fn drop_surplus(&mut self, key: &Key, rows: &mut Vec<Row>) {
        let keep = usize::try_from(self.limits.versions.max(1)).unwrap_or(usize::MAX);
        let all = self.versions.of_key(key);
        let (surplus, newer) = all.split_at(all.partition_point(|revision| *revision <= self.floor));
        let Some(last) = surplus.last() else { return };
        let go = match keep.saturating_sub(newer.len()) {
            0 => {
                let stands = matches!(self.versions.get(*last, key), Some(Some(_)));
                surplus.len() - usize::from(stands)
            }
            more => surplus.len().saturating_sub(more),
        };
        if go > 0 {
            self.versions
                .remove_oldest(key, go, |revision, left| forgotten(revision, key, left, rows));
        }
    }

    fn shrink_window(&mut self, rows: &mut Vec<Row>) {
        while self.window > self.limits.revisions.max(1) {
            self.pass_oldest(rows);
        }
    }

    /// The oldest revision leaves the window.
    fn pass_oldest(&mut self, rows: &mut Vec<Row>) {
        let Some(oldest) = self.versions.after(self.floor) else {
            return;
        };
        self.window -= 1;
        self.floor = oldest;
        for key in self.keys_of(oldest) {
            self.drop_surplus(&key, rows);
        }
    }

    /// The oldest versions go, whatever else would keep them. The newest revision always stays.
    fn shrink_bytes(&mut self, rows: &mut Vec<Row>) {
        while self.bytes() > self.limits.bytes {
            let Some(oldest) = self.versions.oldest() else { return };
            if self.versions.newest() == Some(oldest) {
                return;
            }
            while self.floor < oldest {
                self.pass_oldest(rows);
            }
            for key in self.keys_of(oldest) {
                let stood = self.version_at(&key, oldest).is_some_and(Option::is_some);
                self.remove(oldest, &key, rows);
                if stood && let Some(next) = self.first_of(&key) {
                    self.whole = self.whole.max(next);
                }
            }
        }
    }

    /// The newest kept version's revision of a key, of those at or before `revision`.
    fn newest_by(&self, key: &Key, revision: Revision) -> Option<Revision> {
        let revisions = self.versions.of_key(key);
        let by_then = revisions.partition_point(|other| *other <= revision);
        revisions[..by_then].last().copied()
    }

    /// The kept versions of one revision, in byte order of the keys.
    pub fn versions_of(&self, revision: Revision) -> impl Iterator<Item = (&Key, &Version)> {
        self.versions.of(revision)
    }

    fn keys_of(&self, revision: Revision) -> Vec<Key> {
        self.versions_of(revision).map(|(key, _)| key.clone()).collect()
    }

    fn remove(&mut self, revision: Revision, key: &Key, rows: &mut Vec<Row>) {
        let left = self.versions.remove(revision, key);
        forgotten(revision, key, left, rows);
    }

    /// Every version and record as rows, in order.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        let versions = self.versions.records(..).flat_map(|(revision, _)| {
            let of = self.versions.of(revision);
            of.map(move |(key, version)| Row::Version(revision, key.clone(), Some(version.clone())))
        });
        let records = self.versions.records(..);
        let records = records.map(|(revision, record)| Row::Record(revision, Some(Arc::clone(record))));
        versions.chain(records)
    }

    /// An empty history with these numbers, to be filled by [`History::restore`].
    pub(super) fn with(limits: Limits, floor: Revision, whole: Revision) -> Self {
        Self {
            limits,
            floor,
            whole,
            ..Self::default()
        }
    }

    /// Puts back what [`History::rows`] gave.
    pub(super) fn restore(&mut self, revision: Revision, key: Key, version: Version) {
        let record = self.versions.record(revision).cloned();
        if record.is_none() && revision > self.floor {
            self.window += 1;
        }
        self.versions.insert(revision, key, version, record.unwrap_or_default());
    }

    /// Puts back what [`History::rows`] gave, whether some of the revision's versions are there
    /// already or all.
    pub(super) fn restore_record(&mut self, revision: Revision, record: Arc<Record>) {
        self.versions.set_record(revision, record);
    }
}

/// The rows of a version that went.
fn forgotten(revision: Revision, key: &Key, left: Left, rows: &mut Vec<Row>) {
    if left != Left::Same {
        rows.push(Row::Version(revision, key.clone(), None));
    }
    if left == Left::Nothing {
        rows.push(Row::Record(revision, None));
    }
}
