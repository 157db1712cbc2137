//! The history on disk: not a row a version, but a page of many.
//!
//! A busy store makes a version with every write and drops an old one for it, so rows of their
//! own would be most of what the disk is asked for. A page holds what is kept of a stretch of
//! versions, in the order of revisions and keys, and is named by where the stretch begins. New
//! versions go into the last page until it is full, then into new ones; a page that has lost
//! versions is written again, and one that has lost all of them goes. What is in a page is
//! always looked up in a state, so nothing of it is held here.
//!
//! ```text
//! stretches      [r2 a ........ r9 c) [r9 c ...... r14 b) [r14 b ...
//! r6 a goes      the first page is written again, without it
//! ```

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdSet;
use kvapi::{Key, Revision};
use serde::{Deserialize, Serialize};

use crate::state::history::{History, Record, Version, smallest};
use crate::state::rows::Row;

/// Versions of a page.
const VERSIONS: usize = 64;

/// A page is full when it has grown to this size, in bytes.
const BYTES: usize = 32 << 10;

/// Where a stretch begins.
pub(super) type Start = (Revision, Key);

/// One version, as it stands in a page. The first one of a revision has the record with it.
#[derive(Debug, Serialize, Deserialize)]
struct Line(Revision, Key, Version, Option<Arc<Record>>);

/// Which pages there are. A clone is cheap and never changes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Pages {
    starts: OrdSet<Start>,
    /// Versions up to this revision are in a page.
    to: Revision,
}

impl Pages {
    /// The pages that begin there, of a history up to a revision.
    pub(super) fn found(starts: impl IntoIterator<Item = Start>, to: Revision) -> Self {
        Self {
            starts: starts.into_iter().collect(),
            to,
        }
    }

    /// The page that a version is in; `None` if it is in none yet.
    pub(super) fn page_of(&self, version: &Start) -> Option<&Start> {
        let in_one = version.0 <= self.to;
        in_one.then(|| self.starts.get_prev(version)).flatten()
    }

    /// Makes room for the versions that are in no page yet. Returns the pages that have something
    /// new in them.
    pub(super) fn extend(&mut self, history: &History, to: Revision) -> Vec<Start> {
        let first = self.starts.get_max().cloned();
        let first = first.or_else(|| history.first().map(|revision| (revision, smallest())));
        let Some(first) = first else {
            self.to = to;
            return Vec::new();
        };
        let mut start = first.clone();
        let mut changed = Vec::new();
        let (mut versions, mut bytes, mut has_new) = (0, 0, false);
        self.starts.insert(first.clone());
        for (revision, key, version) in history.versions_from(&first) {
            if versions == VERSIONS || bytes >= BYTES {
                if has_new {
                    changed.push(start);
                }
                start = (revision, key.clone());
                self.starts.insert(start.clone());
                (versions, bytes, has_new) = (0, 0, false);
            }
            versions += 1;
            bytes += key.as_str().len() + version.as_ref().map_or(0, |entry| entry.value.len());
            has_new |= revision > self.to;
        }
        if has_new {
            changed.push(start);
        }
        self.to = to;
        changed
    }

    /// What is in a page, as bytes; `None` if nothing is left of it.
    pub(super) fn content(&self, start: &Start, history: &History) -> Option<Vec<u8>> {
        let next = self
            .starts
            .range::<_, Start>((Bound::Excluded(start), Bound::Unbounded))
            .next();
        let mut last = None;
        let lines: Vec<Line> = history
            .versions_from(start)
            .take_while(|(revision, key, _)| next.is_none_or(|next| (*revision, *key) < (next.0, &next.1)))
            .map(|(revision, key, version)| {
                let is_first = last.replace(revision) != Some(revision);
                let record = is_first.then(|| history.record(revision).cloned()).flatten();
                Line(revision, key.clone(), version.clone(), record)
            })
            .collect();
        let packed = || rmp_serde::to_vec(&lines).expect("our own types have a form in MessagePack");
        (!lines.is_empty()).then(packed)
    }

    /// There is nothing in that page any more.
    pub(super) fn remove(&mut self, start: &Start) {
        self.starts.remove(start);
    }
}

/// The rows of the versions and records in a page.
pub(super) fn rows(content: &[u8]) -> Result<Vec<Row>, String> {
    let lines: Vec<Line> = rmp_serde::from_slice(content).map_err(|e| e.to_string())?;
    let mut rows = Vec::with_capacity(lines.len() * 2);
    for Line(revision, key, version, record) in lines {
        rows.push(Row::Version(revision, key, Some(version)));
        rows.extend(record.map(|record| Row::Record(revision, Some(record))));
    }
    Ok(rows)
}

/// The name of a page, in the order of pages.
pub(super) fn name((revision, key): &Start) -> Vec<u8> {
    [&revision.0.to_be_bytes(), key.as_str().as_bytes()].concat()
}

/// The page of that name.
pub(super) fn named(name: &[u8]) -> Option<Start> {
    let (revision, key) = name.split_first_chunk()?;
    let key = Key::new(std::str::from_utf8(key).ok()?).ok()?;
    Some((Revision(u64::from_be_bytes(*revision)), key))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::command::{Action, Command, Limits};
    use crate::state::State;
    use crate::state::rows::RowId;

    /// What a disk holds, page by page, written as the writer does it.
    #[derive(Default)]
    struct Disk {
        pages: Pages,
        content: BTreeMap<Vec<u8>, Vec<u8>>,
        stale: BTreeSet<Start>,
    }

    impl Disk {
        fn hear(&mut self, rows: &[Row]) {
            for row in rows {
                if let RowId::Version(revision, key) = row.id() {
                    self.stale.extend(self.pages.page_of(&(revision, key)).cloned());
                }
            }
        }

        fn write(&mut self, state: &State) {
            self.stale.extend(self.pages.extend(state.history(), state.revision()));
            for start in std::mem::take(&mut self.stale) {
                match self.pages.content(&start, state.history()) {
                    Some(content) => drop(self.content.insert(name(&start), content)),
                    None => {
                        self.content.remove(&name(&start));
                        self.pages.remove(&start);
                    }
                }
            }
        }

        fn rows(&self) -> BTreeMap<RowId, Row> {
            let rows = self.content.values().flat_map(|content| rows(content).unwrap());
            rows.map(|row| (row.id(), row)).collect()
        }
    }

    fn command((kind, key, size): (u8, u8, usize)) -> Command {
        let text = format!("k{key}");
        let action = match kind {
            0 => Action::Delete {
                key: Key::new(text).unwrap(),
                cas: None,
            },
            1 => Action::DeletePrefix { prefix: "k".into() },
            2 => Action::Keep(Limits {
                revisions: size as u64 % 90,
                versions: 3,
                bytes: 100_000,
            }),
            _ => Action::Put {
                key: Key::new(text).unwrap(),
                value: vec![key; size].into(),
                flags: 0,
                cas: None,
            },
        };
        Command {
            request: None,
            author: None,
            message: Some(format!("{key}").into()),
            action,
        }
    }

    proptest! {
        #[test]
        fn pages_hold_the_versions_and_records_that_the_history_keeps(
            commands in prop::collection::vec((0..20u8, 0..9u8, 0..3000usize), 0..400),
            every in 1..120usize,
        ) {
            let mut state = State::default();
            let mut disk = Disk::default();

            for (number, what) in commands.into_iter().enumerate() {
                let applied = state.apply(number as u64, &command(what));
                disk.hear(&applied.rows);
                if number % every == 0 {
                    disk.write(&state);
                }
            }
            disk.write(&state);

            let kept: BTreeMap<RowId, Row> = state
                .rows()
                .map(|row| (row.id(), row))
                .filter(|(id, _)| matches!(id, RowId::Version(..) | RowId::Record(_)))
                .collect();
            prop_assert_eq!(disk.rows(), kept);
            let names: Vec<Start> = disk.content.keys().map(|key| named(key).unwrap()).collect();
            prop_assert_eq!(Pages::found(names, state.revision()), disk.pages);
        }
    }

    #[test]
    fn a_page_is_bounded_by_versions_and_by_bytes() {
        let mut state = State::default();
        for number in 0..200 {
            let size = if number < 100 { 10 } else { BYTES };
            state.apply(1, &command((9, u8::try_from(number).unwrap(), size)));
        }
        let mut pages = Pages::default();

        let changed = pages.extend(state.history(), state.revision());

        assert_eq!(
            changed.len(),
            2 + 100 - 1,
            "the first large one still fits into the second page"
        );
        assert_eq!(
            pages.page_of(&(Revision(70), Key::new("x").unwrap())),
            Some(&changed[1])
        );
    }
}
