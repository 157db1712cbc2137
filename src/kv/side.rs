//! Two states of some keys, and what differs between them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kvapi::{Entry, Revision};
use serde::Serialize;

use super::shown::{Value, plain};
use crate::diff;

/// A value and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) value: Bytes,
    /// A file has none.
    pub(super) flags: Option<u64>,
    pub(super) revision: Option<Revision>,
}

impl From<Entry> for Version {
    fn from(entry: Entry) -> Self {
        Self {
            value: entry.value,
            flags: Some(entry.flags),
            revision: Some(entry.modify_index),
        }
    }
}

/// Some keys as they were or are somewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Side {
    /// What stands before each name, such as `dir/`.
    pub(super) root: String,
    /// What is said behind each name, such as `revision 844`.
    pub(super) note: String,
    pub(super) versions: BTreeMap<String, Version>,
}

impl Side {
    /// Entries under their keys.
    pub(super) fn of(entries: Vec<Entry>, note: String) -> Self {
        let versions = entries.into_iter().map(|entry| (entry.key.clone(), entry.into()));
        Self {
            root: String::new(),
            note,
            versions: versions.collect(),
        }
    }

    /// The same, each name without `root`, so that two places can be compared.
    pub(super) fn below(self, root: &str) -> Self {
        let versions = self.versions.into_iter().filter_map(|(key, version)| {
            let name = key.strip_prefix(root)?.to_owned();
            Some((name, version))
        });
        Self {
            root: root.to_owned(),
            note: self.note,
            versions: versions.collect(),
        }
    }

    /// A name as the head of a diff has it.
    fn label(&self, name: &str) -> String {
        let tab = if self.note.is_empty() { "" } else { "\t" };
        let name = plain(&format!("{}{name}", self.root));
        format!("{name}{tab}{}", self.note)
    }
}

/// A key that is not the same on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Difference<'a> {
    pub(super) key: &'a str,
    pub(super) before: Option<&'a Version>,
    pub(super) after: Option<&'a Version>,
    sides: [&'a Side; 2],
}

/// What differs, in byte order of the keys. A revision alone is no difference.
pub(super) fn differences<'a>(before: &'a Side, after: &'a Side) -> Vec<Difference<'a>> {
    let keys: BTreeSet<&String> = before.versions.keys().chain(after.versions.keys()).collect();
    let pairs = keys.into_iter().map(|key| Difference {
        key,
        before: before.versions.get(key),
        after: after.versions.get(key),
        sides: [before, after],
    });
    pairs.filter(|pair| !pair.is_same()).collect()
}

/// A difference as `-o json` shows it.
#[derive(Debug, Serialize)]
pub(super) struct ShownDifference<'a> {
    key: &'a str,
    /// `added`, `removed` or `changed`.
    op: &'static str,
    before: Option<ShownVersion>,
    after: Option<ShownVersion>,
}

#[derive(Debug, Serialize)]
struct ShownVersion {
    #[serde(flatten)]
    value: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mod_revision: Option<Revision>,
}

impl<'a> Difference<'a> {
    fn is_same(&self) -> bool {
        match (self.before, self.after) {
            (Some(before), Some(after)) => {
                let flags = [before.flags, after.flags];
                before.value == after.value && (flags[0] == flags[1] || flags.contains(&None))
            }
            _ => false,
        }
    }

    /// As a unified diff; flags that changed are a line of their own.
    pub(super) fn text(&self) -> String {
        let names = self.sides.map(|side| side.label(self.key));
        let side = |i: usize, version: Option<&'a Version>| diff::Side {
            name: &names[i],
            value: version.map(|version| version.value.as_ref()),
        };
        let mut text = diff::unified(side(0, self.before), side(1, self.after));
        if let (Some(before), Some(after)) = (self.before, self.after)
            && let (Some(old), Some(new)) = (before.flags, after.flags)
            && old != new
        {
            if text.is_empty() {
                text = format!("--- {}\n+++ {}\n", names[0], names[1]);
            }
            text.push_str(&format!("flags: {old} became {new}\n"));
        }
        text
    }

    pub(super) fn shown(&self) -> ShownDifference<'a> {
        let shown = |version: &Version| ShownVersion {
            value: (&version.value).into(),
            flags: version.flags,
            mod_revision: version.revision,
        };
        ShownDifference {
            key: self.name(),
            op: self.op(),
            before: self.before.map(shown),
            after: self.after.map(shown),
        }
    }

    /// The key; where two keys are compared, which have no name in common, the first of them.
    pub(super) fn name(&self) -> &'a str {
        if self.key.is_empty() {
            &self.sides[0].root
        } else {
            self.key
        }
    }

    fn op(&self) -> &'static str {
        match (self.before, self.after) {
            (None, _) => "added",
            (_, None) => "removed",
            _ => "changed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(note: &str, pairs: &[(&str, &'static str, u64)]) -> Side {
        let versions = pairs.iter().map(|(key, value, flags)| {
            let version = Version {
                value: Bytes::from_static(value.as_bytes()),
                flags: Some(*flags),
                revision: None,
            };
            ((*key).to_owned(), version)
        });
        Side {
            root: String::new(),
            note: note.into(),
            versions: versions.collect(),
        }
    }

    #[test]
    fn keys_that_are_the_same_are_not_told() {
        let before = side("revision 2", &[("a", "1", 0), ("b", "1", 0), ("c", "1", 0)]);
        let after = side("revision 5", &[("a", "1", 0), ("b", "2", 0), ("d", "1", 0)]);

        let found = differences(&before, &after);

        let told: Vec<_> = found.iter().map(|one| (one.key, one.op())).collect();
        assert_eq!(told, [("b", "changed"), ("c", "removed"), ("d", "added")]);
        assert_eq!(
            found[0].text(),
            "--- b\trevision 2\n+++ b\trevision 5\n@@ -1 +1 @@\n-1\n+2\n"
        );
        assert!(found[1].text().contains("+++ /dev/null\n"));
    }

    #[test]
    fn flags_are_compared_where_both_sides_have_them() {
        let (before, mut after) = (side("x", &[("a", "1", 0)]), side("y", &[("a", "1", 7)]));

        assert_eq!(
            differences(&before, &after)[0].text(),
            "--- a\tx\n+++ a\ty\nflags: 0 became 7\n"
        );
        after.versions.get_mut("a").unwrap().flags = None;
        assert_eq!(differences(&before, &after), []);
    }

    #[test]
    fn two_places_are_compared_by_what_is_below_them() {
        let (before, after) = (side("", &[("a/x", "1", 0)]), side("", &[("b/x", "2", 0)]));

        let (before, after) = (before.below("a/"), after.below("b/"));

        let found = differences(&before, &after);
        assert_eq!(found[0].key, "x");
        assert!(found[0].text().starts_with("--- a/x\n+++ b/x\n"));
    }
}
