//! Every change since a revision, as one server tells it: what watches and acknowledgements are held against.

use std::collections::BTreeMap;

use kvapi::Entry;
use kvapi::types::{Change, KeyChange, WatchRequest};

use super::history::Operation;

/// See the module. It begins with an empty store, or with one whose keys nobody looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Past {
    pub(crate) changes: BTreeMap<u64, Change>,
}

impl Past {
    pub(crate) fn new(changes: impl IntoIterator<Item = Change>) -> Self {
        let changes = changes.into_iter().map(|change| (change.revision.0, change));
        Self {
            changes: changes.collect(),
        }
    }

    /// What a watch shows of one revision.
    pub(crate) fn shown(change: &Change, request: &WatchRequest) -> Vec<KeyChange> {
        let changes = change.changes.iter().filter(|change| request.matches(&change.key));
        changes.cloned().collect()
    }

    /// The keys that a watch shows, as they were at a revision.
    pub(crate) fn state(&self, request: &WatchRequest, revision: u64) -> BTreeMap<String, Entry> {
        let mut state = BTreeMap::new();
        for (_, change) in self.changes.range(..=revision) {
            for change in Self::shown(change, request) {
                match change.entry {
                    Some(entry) => drop(state.insert(change.key, entry)),
                    None => drop(state.remove(&change.key)),
                }
            }
        }
        state
    }

    /// What is wrong with it by itself: entries that do not follow from each other, time that goes back.
    pub(crate) fn check(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut state: BTreeMap<&str, &Entry> = BTreeMap::new();
        let mut time = 0;
        for (revision, change) in &self.changes {
            if change.at < time {
                found.push(format!("{revision}: its time is {}, after {time}", change.at));
            }
            time = change.at;
            for KeyChange { key, entry } in &change.changes {
                let before = state.remove(key.as_str());
                match entry {
                    None if before.is_none() => found.push(format!("{revision}: {key} is deleted twice")),
                    None => {}
                    Some(entry) => {
                        let created = before.map_or(*revision, |before| before.create_index.0);
                        if entry.modify_index.0 != *revision || entry.create_index.0 != created || entry.key != *key {
                            found.push(format!("{revision}: {entry:?} after {before:?}"));
                        }
                        state.insert(key, entry);
                    }
                }
            }
        }
        found
    }

    /// The acknowledged writes that it does not have, or has otherwise.
    pub(crate) fn without(&self, operations: &[Operation]) -> Vec<String> {
        let missing = |operation: &&Operation| {
            let Some((revision, written)) = operation
                .answer
                .filter(|answer| answer.done)
                .and_then(|answer| answer.revision)
                .zip(operation.writes().flatten())
            else {
                return false;
            };
            let entry = self
                .changes
                .get(&revision)
                .and_then(|change| change.changes.iter().find(|change| change.key == operation.key))
                .and_then(|change| change.entry.as_ref());
            entry.is_none_or(|entry| *entry.value != *written.to_string().as_bytes())
        };
        let lost = operations.iter().filter(missing);
        lost.map(|operation| format!("acknowledged, and not in the past: {operation:?}"))
            .collect()
    }

    /// Where two servers tell different pasts.
    pub(crate) fn differs(&self, other: &Self) -> Vec<String> {
        let revisions = self.changes.keys().chain(other.changes.keys());
        let mut revisions: Vec<&u64> = revisions.collect();
        revisions.sort_unstable();
        revisions.dedup();
        let told = |past: &Self, revision: &u64| format!("{:?}", past.changes.get(revision));
        revisions
            .into_iter()
            .filter(|revision| self.changes.get(revision) != other.changes.get(revision))
            .map(|revision| format!("{revision}: {} and {}", told(self, revision), told(other, revision)))
            .collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use kvapi::Revision;

    use super::super::history::tests::operation;
    use super::super::history::{Answer, Asked};
    use super::*;

    /// A change of these keys, `None` for a deletion, else what value and created when.
    pub(crate) fn change(revision: u64, keys: &[(&str, Option<(u64, u64)>)]) -> Change {
        let change = |(key, entry): &(&str, Option<(u64, u64)>)| KeyChange {
            key: (*key).into(),
            entry: entry.map(|(value, created)| Entry {
                lock_index: 0,
                key: (*key).into(),
                flags: 0,
                value: value.to_string().into(),
                session: None,
                create_index: Revision(created),
                modify_index: Revision(revision),
            }),
        };
        Change {
            revision: Revision(revision),
            at: revision,
            author: None,
            message: None,
            changes: keys.iter().map(change).collect(),
            omitted: 0,
        }
    }

    /// Two keys that come, change together and go.
    pub(crate) fn example() -> Past {
        Past::new([
            change(2, &[("a/1", Some((1, 2)))]),
            change(3, &[("a/2", Some((2, 3))), ("b", Some((2, 3)))]),
            change(4, &[("a/1", Some((3, 2))), ("a/2", Some((3, 3)))]),
            change(5, &[("b", Some((4, 3)))]),
            change(6, &[("a/1", None)]),
            change(7, &[("a/2", Some((5, 3)))]),
        ])
    }

    fn put(key: &str, value: u64, revision: u64) -> Operation {
        let mut put = operation(1, 2, Asked::Put(value));
        put.key = key.into();
        put.answer = put.answer.map(|answer| Answer {
            revision: Some(revision),
            ..answer
        });
        put
    }

    #[test]
    fn a_past_that_holds_together_is_taken() {
        let past = example();
        assert_eq!(past.check(), [] as [&str; 0]);
        assert_eq!(past.differs(&past.clone()), [] as [&str; 0]);
        assert_eq!(past.without(&[put("b", 4, 5)]), [] as [&str; 0]);
    }

    #[test]
    fn a_change_that_does_not_follow_is_found() {
        for wrong in [
            change(8, &[("a/1", None)]),
            change(8, &[("a/2", Some((9, 8)))]),
            change(8, &[("a/1", Some((9, 2)))]),
            Change {
                at: 1,
                ..change(8, &[("b", None)])
            },
        ] {
            let mut past = example();
            past.changes.insert(8, wrong.clone());
            assert_eq!(past.check().len(), 1, "{wrong:?}");
        }
        // One left out is seen where the next does not follow from it.
        let mut past = example();
        past.changes.remove(&3);
        assert!(!past.check().is_empty());
    }

    #[test]
    fn two_pasts_and_an_acknowledged_write_that_differ_are_found() {
        let past = example();
        let mut other = example();
        other.changes.remove(&5);
        assert_eq!(past.differs(&other).len(), 1);
        assert_eq!(other.without(&[put("b", 4, 5), put("a/2", 5, 7)]).len(), 1);
        assert_eq!(past.without(&[put("b", 3, 5)]).len(), 1);
    }
}
